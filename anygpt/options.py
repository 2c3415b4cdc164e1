"""What a caller may ask for besides the conversation itself: how to write, what to produce, how to draw."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from anygpt.errors import RequestError

MODALITIES = ("text", "image", "audio", "video", "points")
OUTPUT_MODALITIES = ("text", "image", "audio", "video")
MAX_SEED = 2**63 - 1
_DRAWN_SEEDS = 2**31  # short enough to type again


def drawn_seed() -> int:
    """A seed for a request that gives none, so that every reply differs."""
    return secrets.randbelow(_DRAWN_SEEDS)


@dataclass(frozen=True)
class GenerationOptions:
    """How a generator samples one medium; None takes the generator's configured default.

    Attributes:
        seed: the medium's own seed.
        steps: denoising steps, at least 1.
        guidance: classifier-free guidance scale; 1 or less turns guidance off.
        width_px, height_px: size of a picture or video, in multiples that the generator names in its error.
        frames: of a video, at least 1.
        duration_s: of a sound, above 0.
    """

    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    width_px: int | None = None
    height_px: int | None = None
    frames: int | None = None
    duration_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "width_px", "height_px", "frames"):
            _check_count(name, getattr(self, name), least=1)
        if self.guidance is not None and not (_is_number(self.guidance) and 0 <= self.guidance <= 100):
            raise RequestError(f"guidance: {self.guidance!r} given, expected 0 to 100")
        if self.duration_s is not None and not (
            _is_number(self.duration_s) and 0 < self.duration_s <= sys.float_info.max
        ):
            raise RequestError(f"duration_s: {self.duration_s!r} given, expected a number above 0")


MAX_STOPS = 16  # each is looked for after every token
MAX_STOP_LENGTH = 256


@dataclass(frozen=True)
class SamplingOptions:
    """How the language model writes.

    Attributes:
        max_tokens: most text tokens of the reply; None takes the configured default.
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1].
        top_k: keep only the k likeliest tokens; 0 keeps all.
        stop: the reply ends before the first of these strings; at most `MAX_STOPS` of `MAX_STOP_LENGTH` characters.
        modalities: what may be produced; None allows all. Exactly one that is not text forces it.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    modalities: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check_count("max_tokens", self.max_tokens, least=1)
        if not (_is_number(self.temperature) and 0 <= self.temperature <= 10):
            raise RequestError(f"temperature: {self.temperature!r} given, expected 0 to 10")
        if not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise RequestError(f"top_p: {self.top_p!r} given, expected more than 0 and at most 1")
        if not _is_whole(self.top_k) or self.top_k < 0:
            raise RequestError(f"top_k: {self.top_k!r} given, expected 0 (all) or more")
        if len(self.stop) > MAX_STOPS:
            raise RequestError(f"stop: {len(self.stop):,} strings given, expected at most {MAX_STOPS}")
        for text in self.stop:
            if not isinstance(text, str) or not text:
                raise RequestError(f"stop: {text!r} given, expected strings of at least one character")
            if len(text) > MAX_STOP_LENGTH:
                raise RequestError(
                    f"stop: a string of {len(text):,} characters given, expected at most {MAX_STOP_LENGTH}"
                )
        if self.modalities is not None:
            self._check_modalities()

    def _check_modalities(self) -> None:
        unknown = [name for name in self.modalities or () if name not in OUTPUT_MODALITIES]
        if unknown or not self.modalities:
            given = ", ".join(map(repr, self.modalities or ())) or "nothing"
            raise RequestError(f"modalities: {given} given, expected some of {', '.join(OUTPUT_MODALITIES)}")

    def allows(self, modality: str) -> bool:
        """True where the reply may hold this modality."""
        return self.modalities is None or modality in self.modalities

    def in_question(self, modalities: Collection[str]) -> list[str]:
        """Those that an option may be meant for: what the reply may hold; all of them where it may hold none."""
        return [*filter(self.allows, modalities)] or [*modalities]

    @property
    def forced_modality(self) -> str | None:
        """The medium that the reply must hold, if exactly one that is not text was asked for."""
        wanted = set(self.modalities or ())
        return wanted.pop() if len(wanted) == 1 and "text" not in wanted else None


@dataclass(frozen=True)
class RequestOptions:
    """Everything that may be asked besides the conversation.

    Attributes:
        seed: rules text and media alike; drawn anew where none is given.
    """

    seed: int = field(default_factory=drawn_seed)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    steps: int | None = None
    guidance: float | None = None
    width_px: int | None = None
    height_px: int | None = None
    frames: int | None = None
    duration_s: float | None = None

    def __post_init__(self) -> None:
        if not _is_whole(self.seed) or not 0 <= self.seed <= MAX_SEED:
            raise RequestError(f"seed: {self.seed!r} given, expected a whole number from 0 to {MAX_SEED}")
        self.generation(0)

    def generation(self, index: int) -> GenerationOptions:
        """Options of the reply's `index`-th medium; each has a seed of its own."""
        return GenerationOptions(
            self.seed + index,
            self.steps,
            self.guidance,
            self.width_px,
            self.height_px,
            self.frames,
            self.duration_s,
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _check_count(name: str, value: Any, least: int) -> None:
    if value is None:
        return
    if not _is_whole(value):
        raise RequestError(f"{name}: {value!r} given, expected a whole number")
    if value < least:
        raise RequestError(f"{name}: {value} given, expected at least {least}")
