"""What a caller may ask for besides the conversation itself: how to write, what to produce, how to draw."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from anygpt.errors import RequestError

if TYPE_CHECKING:
    from typing_extensions import Unpack

MODALITIES = ("text", "image", "audio", "video", "points")
OUTPUT_MODALITIES = ("text", "image", "audio", "video")
MAX_SEED = 2**63 - 1
_DRAWN_SEEDS = 2**31  # short enough to type again


def drawn_seed() -> int:
    """A seed for a request that gives none, so that every reply differs."""
    return secrets.randbelow(_DRAWN_SEEDS)


@dataclass(frozen=True)
class Option:
    """One number that a request may give: its name everywhere, its range, and what it is about.

    Attributes:
        name: of the field in `GenerationOptions` or `SamplingOptions`, in Python and over HTTP.
        kind: int or float; a float takes whole numbers, too.
        range: what is possible at all, in words, for messages.
        least, most: of that range.
        without_least: `least` itself is impossible.
        modalities: the media that it is about; empty where it is about no special ones.
        limit: the field of a generator's config that says how much may be asked for.
        help: a line for the command line.
        flag: its name on the command line, where that differs.
        label: its name on the page; None where the page has no field for it.
    """

    name: str
    kind: type[int] | type[float]
    help: str
    least: float
    range: str
    most: float = sys.float_info.max
    without_least: bool = False
    modalities: tuple[str, ...] = ()
    limit: str | None = None
    flag: str | None = None
    label: str | None = None

    def check(self, value: Any) -> None:
        """Refuse a value that is impossible.

        Raises:
            RequestError: naming the option, the value and what was expected.
        """
        if self.kind is int and not _is_whole(value):
            raise RequestError(f"{self.name}: {value!r} given, expected a whole number")
        is_possible = _is_number(value) and self.least <= value <= self.most
        if not is_possible or (self.without_least and value == self.least):
            raise RequestError(f"{self.name}: {value!r} given, expected {self.range}")


SAMPLING = (
    Option("max_tokens", int, "Most text tokens of the reply.", 1, "at least 1", label="Length"),
    Option("temperature", float, "0 writes the likeliest text.", 0, "0 to 10", 10, label="Temperature"),
    Option("top_p", float, "Sample from the likeliest tokens of this mass.", 0, "more than 0 and at most 1", 1, True),
    Option("top_k", int, "Sample from so many of the likeliest tokens; 0 takes all.", 0, "0 (all) or more"),
)
GENERATION = (
    Option("steps", int, "Denoising steps.", 1, "at least 1", limit="max_steps", label="Steps"),
    Option("guidance", float, "Classifier-free guidance scale; 1 turns it off.", 0, "0 to 100", 100, label="Guidance"),
    Option("width_px", int, "Width in pixels.", 1, "at least 1", modalities=("image", "video"), flag="--width"),
    Option("height_px", int, "Height in pixels.", 1, "at least 1", modalities=("image", "video"), flag="--height"),
    Option(
        *("frames", int, "Frames of a video.", 1, "at least 1"),
        modalities=("video",),
        limit="max_frames",
        label="Frames",
    ),
    Option(
        *("duration_s", float, "Seconds of a sound.", 0, "a number above 0"),
        without_least=True,
        modalities=("audio",),
        limit="max_duration_s",
        flag="--duration",
        label="Seconds",
    ),
)
OPTIONS = {option.name: option for option in (*SAMPLING, *GENERATION)}


class ReplyOptions(TypedDict, total=False):
    """What may be given by name for a reply; None is the same as not given. See the classes below."""

    seed: int | None
    modalities: str | Sequence[str] | None
    stop: str | Sequence[str] | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    steps: int | None
    guidance: float | None
    width_px: int | None
    height_px: int | None
    frames: int | None
    duration_s: float | None


@dataclass(frozen=True)
class GenerationOptions:
    """How a generator samples one medium; None takes the generator's configured default. `GENERATION` says more.

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
        for name, value in self.asked.items():
            OPTIONS[name].check(value)

    @property
    def asked(self) -> dict[str, Any]:
        """What was given besides the seed: option → value."""
        return {option.name: value for option in GENERATION if (value := getattr(self, option.name)) is not None}


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
        for option in SAMPLING:
            if option.name != "max_tokens" or self.max_tokens is not None:
                option.check(getattr(self, option.name))
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

    def possible(self, modalities: Collection[str]) -> list[str]:
        """Those of the modalities that the reply may hold; all of them where it may hold none."""
        return [*filter(self.allows, modalities)] or [*modalities]

    @property
    def forced_modality(self) -> str | None:
        """The medium that the reply must hold, if exactly one that is not text was asked for."""
        wanted = set(self.modalities or ())
        return wanted.pop() if len(wanted) == 1 and "text" not in wanted else None


@dataclass(frozen=True)
class RequestOptions(GenerationOptions):
    """Everything that may be asked besides the conversation.

    Attributes:
        seed: rules text and media alike; drawn anew where none is given.
    """

    seed: int = field(default_factory=drawn_seed)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)

    def __post_init__(self) -> None:
        if not _is_whole(self.seed) or not 0 <= self.seed <= MAX_SEED:
            raise RequestError(f"seed: {self.seed!r} given, expected a whole number from 0 to {MAX_SEED}")
        super().__post_init__()

    def generation(self, index: int) -> GenerationOptions:
        """Options of the reply's `index`-th medium; each has a seed of its own."""
        return GenerationOptions(self.seed + index, **self.asked)


def request_options(**options: Unpack[ReplyOptions]) -> RequestOptions:
    """Options by name. Without a seed one is drawn.

    Raises:
        RequestError: if a name is unknown or a value impossible.
    """
    given: Mapping[str, Any] = {name: value for name, value in options.items() if value is not None}
    known = ReplyOptions.__annotations__
    for name in options.keys() - known.keys():
        raise RequestError(f"options: no option is called '{name}'; there are: {', '.join(known)}")
    lists: dict[str, Any] = {name: several(name, given[name]) for name in ("modalities", "stop") if name in given}
    sampling = {option.name: given[option.name] for option in SAMPLING if option.name in given}
    generation = {option.name: given[option.name] for option in GENERATION if option.name in given}
    seed = given["seed"] if "seed" in given else drawn_seed()
    return RequestOptions(seed=seed, sampling=SamplingOptions(**sampling, **lists), **generation)


def several(name: str, values: Any) -> tuple[Any, ...]:
    """A list of values; a single string counts as one.

    Raises:
        RequestError: if it is something else.
    """
    if not isinstance(values, (str, list, tuple)):
        raise RequestError(f"{name}: a {type(values).__name__} given, expected a list")
    return (values,) if isinstance(values, str) else tuple(values)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)
