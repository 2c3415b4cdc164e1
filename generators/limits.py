"""What a request may ask of a generator, as its config has it; no weights are needed to say so."""

from __future__ import annotations

from typing import Any

from anygpt.errors import RequestError

# Option → the field of a generator's config that limits it; a generator without the field has no such option.
LIMITS = {"steps": "max_steps", "frames": "max_frames", "duration_s": "max_duration_s"}


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
        most = getattr(config, LIMITS[name], None)
        if value is not None and most is not None and value > most:
            raise RequestError(
                f"{name}: {_said(value)} given, expected at most {LIMITS[name]}={_said(most)}; "
                f"ask for less, or raise generators.{modality}.{LIMITS[name]}"
            )


def _said(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
