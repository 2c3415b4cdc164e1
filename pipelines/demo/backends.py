"""Who answers the page: an assistant in this process, or a service (`http_backend.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from anygpt.config.schema import Limits, ServiceLimits
from anygpt.events import Event, MediaReady
from anygpt.messages import Message

if TYPE_CHECKING:
    from pipelines.assistant import AnyGPT


class Backend(Protocol):
    """Answers conversations.

    Attributes:
        input_modalities: what may be attached.
        output_modalities: what a reply may hold besides text.
        limits: what an attached file may weigh.
        service: what a person may keep on the page, and under which names it is served.
    """

    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]
    limits: Limits
    service: ServiceLimits

    def stream(
        self, conversation: Sequence[Message], options: Mapping[str, Any]
    ) -> AsyncGenerator[Event | SeedUsed, None]:
        """The reply's seed and its events. Closing the generator, or cancelling the task that waits for it, cancels it.

        Args:
            conversation: ends with the user's message.
            options: as for `AnyGPT.chat`; what is missing takes its default.
        Raises:
            AnyGPTError: if the request cannot be answered; it may come as a `Failed` event instead.
        """


@dataclass(frozen=True)
class SeedUsed:
    """The seed that the reply is made with: the one that was asked for, or the one that was drawn."""

    seed: int


@dataclass(frozen=True)
class MediaReceived(MediaReady):
    """A finished medium that came as a file; its bytes are shown as they came, since not every format is lossless."""

    file: bytes


class LocalBackend:
    """An assistant in this process. The caller closes it."""

    def __init__(self, model: AnyGPT) -> None:
        self.model = model
        self.input_modalities = tuple(model.executor.input_modalities)
        self.output_modalities = tuple(model.executor.output_modalities)
        self.limits = model.config.limits
        self.service = model.config.service

    async def stream(
        self, conversation: Sequence[Message], options: Mapping[str, Any]
    ) -> AsyncGenerator[Event | SeedUsed, None]:
        """As in `Backend`."""
        from anygpt.options import request_options
        from pipelines.any_to_any import Request

        request = Request(list(conversation), request_options(**options))
        yield SeedUsed(request.options.seed)
        events = self.model.run([request])
        waiting = ThreadPoolExecutor(1, "anygpt-demo-reply")  # its own thread: a full pool would hold other replies up
        try:
            while (event := await asyncio.get_running_loop().run_in_executor(waiting, next, events, None)) is not None:
                yield event
        finally:
            request.cancel.set()
            waiting.submit(events.close)
            waiting.shutdown(wait=False)
