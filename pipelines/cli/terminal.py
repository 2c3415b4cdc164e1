"""Replies on a terminal: text as it comes, media as files, progress on stderr."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from anygpt.config.schema import Limits
from anygpt.errors import AnyGPTError, RequestError
from anygpt.media.kinds import KINDS
from anygpt.media.limits import limits_of_config
from anygpt.messages import Message, modality_of
from pipelines.any_to_any import Request
from pipelines.assistant import AnyGPT, make_request
from pipelines.cli.error_line import error_line
from pipelines.cli.progress import Progress
from pipelines.replies import Reply, ReplyBuilder, ReplyMedium, ReplyText


def load_file(modality: str, path: Path, limits: Limits) -> Any:
    """A medium from a file, within the limits on its modality.

    Raises:
        MediaError: if it cannot be used; nothing else is printed about it, although libtiff would.
    """
    with _silenced_libraries(), limits_of_config(modality):
        return KINDS[modality].load(path, getattr(limits, modality))


@contextmanager
def _silenced_libraries() -> Iterator[None]:
    """Drop what libraries in C write past Python to the standard error; not for use beside other threads that write."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def print_reply(
    model: AnyGPT,
    request: Request,
    out_dir: Path,
    *,
    quiet: bool = False,
    first_number: int = 1,
    show_seed: bool = False,
) -> tuple[Reply, list[Path]]:
    """Answer a request; print text as it comes, save media as `reply-<number>.<type>`, print their paths at the end.

    Args:
        quiet: print nothing.
        first_number: number of the first medium; numbers follow the order of appearance in the reply.
        show_seed: print the seed on the standard error, where another seed would give another reply.
    Returns:
        The reply and the paths of its media, in order.
    Raises:
        AnyGPTError: if the request failed.
    """
    builder, paths, progress = ReplyBuilder(), dict[int, Path](), Progress()
    has_open_line = False
    try:
        with closing(model.run([request])) as events:
            for part in map(builder.take, events):
                if isinstance(part, ReplyText) and not part.hidden and not quiet:
                    progress.clear()
                    print(part.added, end="", flush=True)
                    has_open_line = True
                elif isinstance(part, ReplyMedium) and part.medium is not None:
                    paths[part.index] = _save(part, out_dir, first_number + part.index)
                elif isinstance(part, ReplyMedium) and part.step:
                    progress.show(f"medium {part.index + 1}: step {part.step} of {part.steps}")
    finally:
        progress.clear()
        if has_open_line:
            print(flush=True)
    reply = builder.reply(request)
    ordered = [path for _, path in sorted(paths.items())]
    if ordered and not quiet:
        print(*ordered, sep="\n", flush=True)
    if show_seed and not quiet and (ordered or request.options.sampling.temperature > 0):
        print(f"seed {reply.seed}", file=sys.stderr)
    return reply, ordered


def _save(finished: ReplyMedium, out_dir: Path, number: int) -> Path:
    """Save a medium as `reply-<number>`, or under the next number that no other program has taken meanwhile."""
    kind = KINDS[finished.modality]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        path = _claimed(out_dir, number, kind.suffix)
    except OSError as error:
        raise RequestError(f"--out: '{out_dir}' cannot be written ({error.strerror}); give another folder") from error
    try:
        kind.save(finished.medium, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _claimed(out_dir: Path, number: int, suffix: str) -> Path:
    """A new, empty file."""
    for own in itertools.count(number):
        path = out_dir / f"reply-{own}{suffix}"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError("numbers do not end")


def first_number(out_dir: Path) -> int:
    """The number of a reply's first medium: past those of all earlier replies in the folder, which stay as they are."""
    names = [path.stem for path in out_dir.glob("reply-*")]
    return 1 + max((int(match[1]) for name in names if (match := re.fullmatch(r"reply-(\d+)", name))), default=0)


def as_json_object(reply: Reply, paths: list[Path]) -> dict[str, Any]:
    """What `--json` prints."""
    media = [part for part in reply.parts if not isinstance(part, str)]
    return {
        "text": reply.text,
        "media": [{"type": modality_of(m), "path": str(path)} for m, path in zip(media, paths, strict=True)],
        "errors": [{"type": lost.modality, "stage": lost.stage, "message": lost.message} for lost in reply.errors],
        "seed": reply.seed,
        "usage": vars(reply.usage),
        "timings": {stage: round(seconds, 4) for stage, seconds in reply.timings.items()},
    }


COMMANDS = ", ".join(f"/{modality} FILE [PROMPT]" for modality in KINDS) + ", /new, /help, /quit"


def converse(model: AnyGPT, out_dir: Path, options: Mapping[str, Any]) -> None:
    """Read requests line by line and answer them until the input ends; a bad line costs only itself."""
    history: tuple[Message, ...] = ()
    attached: list[Any] = []
    number = first_number(out_dir)
    for line in _lines():
        command, _, argument = line.partition(" ")
        try:
            if command == "/quit":
                return
            if command == "/new":
                history, attached = (), []
                continue
            if command == "/help":
                print(COMMANDS)
                continue
            if command[1:] in KINDS and command.startswith("/"):
                path, line = _file_and_words(command, argument.strip())
                attached.append(load_file(command[1:], path, model.config.limits))
                if not line:
                    continue
            elif command.startswith("/"):
                raise RequestError(f"'{command}' is no command; there are: {COMMANDS}")
            if line or attached:
                request = make_request([*attached, *([line] if line else [])], history=history, **options)
                show_seed = options.get("seed") is None
                reply, _ = print_reply(model, request, out_dir, first_number=number, show_seed=show_seed)
                history, attached = reply.conversation, []
                number += len(reply.errors) + sum(not isinstance(part, str) for part in reply.parts)
                for lost in reply.errors:
                    print(error_line(f"{lost.modality} {lost.index + 1} is lost: {lost.message}"), file=sys.stderr)
        except AnyGPTError as error:
            print(error_line(error), file=sys.stderr)


def _file_and_words(command: str, argument: str) -> tuple[Path, str]:
    """The file of an attaching line and what is said with it; a name with spaces may stand in quotes."""
    if not argument:
        raise RequestError(f"{command}: no file given, expected one, as in: {command} FILE")
    words = argument.split(" ")
    for end in range(len(words), 0, -1):  # as many words as name a file
        name = os.path.expanduser(" ".join(words[:end]).replace("\\ ", " "))
        if os.path.isfile(name):
            return Path(name), " ".join(words[end:]).strip()
    quote = argument[0]
    name, _, said = argument[1:].partition(quote) if quote in "'\"" else argument.partition(" ")
    return Path(os.path.expanduser(name)), said.strip()


def _lines() -> Iterator[str]:
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
