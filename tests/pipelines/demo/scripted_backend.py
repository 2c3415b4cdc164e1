"""A backend that plays a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from anygpt.config.schema import Limits, ServiceLimits
from anygpt.events import Done, Event, MediaFailed, MediaProgress, MediaStarted, TextDelta, Usage
from anygpt.media import ImageLimits
from anygpt.messages import Message
from anygpt.options import drawn_seed
from pipelines.demo.backends import SeedUsed


class ScriptedBackend:
    """Answers "wait" by hanging in the middle of a picture, "slow" by steps without end, "fail" by an error of its own,
    anything else by a lost picture between two texts."""

    input_modalities = ("image",)
    output_modalities = ("image",)
    limits = Limits(image=ImageLimits(max_bytes=2000))
    service = ServiceLimits()

    def __init__(self) -> None:
        self.conversations: list[list[Message]] = []
        self.options: list[dict[str, Any]] = []
        self.cancelled: list[str] = []

    async def stream(
        self, conversation: Sequence[Message], options: Mapping[str, Any]
    ) -> AsyncGenerator[Event | SeedUsed, None]:
        self.conversations.append(list(conversation))
        self.options.append(dict(options))
        yield SeedUsed(options.get("seed", drawn_seed()))
        text = conversation[-1].text
        yield TextDelta(0, "Here:")
        if text == "fail":
            raise ValueError("a mistake")
        yield MediaStarted(0, 0, "image")
        try:
            yield MediaProgress(0, 0, 3, 12)
            while text in ("wait", "slow"):
                await asyncio.sleep(3600 if text == "wait" else 0.05)
                yield MediaProgress(0, 0, 3, 12)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.append(text)
            raise
        yield MediaFailed(0, 0, "image", "generators.image", "out of memory")
        yield TextDelta(0, "Sorry.")
        yield Done(0, "stop", Usage(1, 1), {})
