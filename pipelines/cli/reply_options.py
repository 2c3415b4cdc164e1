"""Gives a command a flag for every option of a reply, as the table in `anygpt/options.py` has them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Optional, get_type_hints

import typer

from anygpt.options import MAX_SEED, OPTIONS, Option

_SEED = typer.Option("--seed", help="The same seed gives the same reply; drawn anew if not given.", min=0, max=MAX_SEED)
_MODALITIES = typer.Option("--modalities", help="What may be produced, as in: text,image,audio,video")
_STOP = typer.Option("--stop", help="End the reply before this text; may be repeated.")


def with_reply_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with flags in the place of its parameter `options`, a `ReplyOptions` that they are put into."""
    flags: dict[str, Any] = {
        "seed": Annotated[Optional[int], _SEED],  # noqa: UP045
        "modalities": Annotated[Optional[str], _MODALITIES],  # noqa: UP045
        "stop": Annotated[Optional[list[str]], _STOP],  # noqa: UP045
        **{name: _flag(option) for name, option in OPTIONS.items()},
    }
    own = get_type_hints(command, include_extras=True)
    given = [p.replace(annotation=own[p.name]) for p in inspect.signature(command).parameters.values()]
    parameters = [
        *(parameter for parameter in given if parameter.name != "options"),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=flag)
            for name, flag in flags.items()
        ),
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        options = {name: given.pop(name) for name in flags}
        if options["modalities"] is not None:
            options["modalities"] = [name.strip() for name in options["modalities"].split(",")]
        command(**given, options=options)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _flag(option: Option) -> Any:
    name = option.flag or f"--{option.name.replace('_', '-')}"
    return Annotated[option.kind | None, typer.Option(name, help=option.help)]
