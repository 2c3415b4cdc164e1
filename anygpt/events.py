"""What a running request tells its caller, in order.

`request` is the request's place in the list given to `AnyToAny.run`; `index` counts the reply's media.
A medium's place in the reply is where its `MediaStarted` stands between the `TextDelta`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anygpt.errors import AnyGPTError


@dataclass(frozen=True)
class TextDelta:
    """More text of the reply.

    `hidden` text was not asked for (see `SamplingOptions.modalities`); it belongs to the conversation alone.
    """

    request: int
    text: str
    hidden: bool = False


@dataclass(frozen=True)
class MediaStarted:
    """The reply holds a medium here, and its generator has been asked for it."""

    request: int
    index: int
    modality: str


@dataclass(frozen=True)
class MediaProgress:
    """Denoising step `step` of `steps` is done."""

    request: int
    index: int
    step: int
    steps: int


@dataclass(frozen=True)
class MediaReady:
    """The medium is finished."""

    request: int
    index: int
    modality: str
    medium: Any


@dataclass(frozen=True)
class MediaFailed:
    """The medium will not come; the rest of the reply does.

    `stage` says where it was lost; `error` is what was raised there, if anything was.
    """

    request: int
    index: int
    modality: str
    stage: str
    message: str
    error: Exception | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Usage:
    """Tokens read and written, signal tokens included."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Done:
    """The reply is complete.

    Attributes:
        finish_reason: "stop", "length" or "cancelled".
        timings: stage → seconds inside it, and "total" → seconds from request to here.
    """

    request: int
    finish_reason: str
    usage: Usage
    timings: Mapping[str, float]


@dataclass(frozen=True)
class Failed:
    """The request could not be answered at all."""

    request: int
    error: AnyGPTError


Event = TextDelta | MediaStarted | MediaProgress | MediaReady | MediaFailed | Done | Failed
