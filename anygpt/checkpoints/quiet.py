"""Keep other libraries' progress bars, advice and warnings to themselves while models load."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

LIBRARIES = r"(transformers|diffusers|peft|accelerate)(\..*)?"
TALKATIVE = ("transformers", "diffusers")


@contextmanager
def quiet_libraries(*libraries: str, hide_bars: bool = True) -> Iterator[None]:
    """Silence them inside the block and put everything back as it was; errors come through.

    Args:
        libraries: the ones that the block uses, of `TALKATIVE`; all of them where none is named. Importing one takes
            long, so a block that loads no diffusion model should not name diffusers.
        hide_bars: also hide progress bars, those of downloads among them.
    """
    loggings = [import_module(f"{library}.utils.logging") for library in libraries or TALKATIVE]
    kept = [(logs, logs.get_verbosity(), logs.is_progress_bar_enabled()) for logs in loggings]
    for logs, _, _ in kept:
        logs.set_verbosity(logs.CRITICAL)
        if hide_bars:
            logs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=LIBRARIES)
            yield
    finally:
        for logs, verbosity, bars in kept:
            logs.set_verbosity(verbosity)
            if hide_bars and bars:
                logs.enable_progress_bar()
