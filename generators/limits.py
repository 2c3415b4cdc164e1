"""What a request may ask of a generator, as its config has it; no weights are needed to say so."""

from __future__ import annotations

from typing import Any

from anygpt.errors import RequestError
from anygpt.options import OPTIONS


def limit_of(config: Any, option: str) -> float | None:
    """The most of an option that a generator's config allows; None where it has no such limit."""
    field = OPTIONS[option].limit
    return None if field is None else getattr(config, field, None)


def check_limits(config: Any, modality: str, **asked: float | None) -> None:
    """Refuse more than a generator's config allows.

    Args:
        config: the generator's.
        modality: what it makes.
        asked: option → value; None is not asked for.
    Raises:
        RequestError: naming the option, the limit and how to raise it.
    """
    for name, value in asked.items():
        most, field = limit_of(config, name), OPTIONS[name].limit
        if value is not None and most is not None and value > most:
            raise RequestError(
                f"{name}: {_number(value)} given, expected at most {field}={_number(most)}; "
                f"ask for less, or raise generators.{modality}.{field}"
            )


def _number(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
