"""What the libraries raise while they read a checkpoint, as one line that says what is wrong.

They are given files of strangers, and raise whatever comes to pass inside them; so anything but our own errors and a
lack of memory is the checkpoint's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pickle import UnpicklingError

from anygpt.checkpoints.trust import code_refusal
from anygpt.errors import AnyGPTError, CheckpointError


@contextmanager
def reading(
    what: str,
    source: str,
    *,
    advice: str,
    revision: str | None = None,
    explain: Callable[[Exception], str | None] = lambda error: None,
) -> Iterator[None]:
    """Inside the block, a library reads a checkpoint.

    Args:
        what: begins the message: "backbone.pretrained: 'org/model'".
        source: a folder, a file or a hub name.
        advice: ends the message: "correct `pretrained`".
        revision: of the hub repository.
        explain: asked for a reason and a fix once something has failed; says None where the library's reason must do.
    Raises:
        CheckpointError: for whatever is raised inside but our own errors.
    """
    try:
        yield
    except (AnyGPTError, MemoryError):
        raise
    except Exception as error:
        refusal = code_refusal(error, what, source, revision)
        explanation = None
        with suppress(OSError):  # files that may not be read
            explanation = explain(error)
        explanation = explanation or f"{reason_of(error)}; {advice}"
        raise refusal or CheckpointError(f"{what} cannot be loaded: {explanation}") from error


def reason_of(error: BaseException) -> str:
    """An error's first sentence, without line breaks and asides."""
    if isinstance(error, UnpicklingError):
        return "it is damaged or holds pickled objects besides tensors, which are not run"
    text = " ".join(str(error).split()) or type(error).__name__
    sentence = text.split(". ")[0].rstrip(".:")
    return f"{type(error).__name__}: {sentence}" if isinstance(error, (LookupError, AttributeError)) else sentence
