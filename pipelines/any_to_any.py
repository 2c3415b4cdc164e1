"""The pipeline: a conversation in, a stream of events out.

For every request: encode the media, let the backbone write, and start a generator the moment its signal block exists,
while the text goes on. Requests run side by side; the stages batch them. Nothing here knows where the stages run.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from anygpt.config.schema import Limits
from anygpt.errors import AnyGPTError, CancelledError, RequestError, StageError, TimedOutError
from anygpt.events import Done, Event, Failed, MediaFailed, MediaProgress, MediaReady, MediaStarted, TextDelta, Usage
from anygpt.media.kinds import KINDS
from anygpt.media.limits import limits_of_config
from anygpt.messages import MediumRef, Message, modality_of
from anygpt.options import RequestOptions
from backbone.steps import RowDone, TextPiece
from pipelines.admission import check_generation, check_request
from pipelines.executors.contract import Executor
from pipelines.executors.patience import PATIENCE, Patience
from pipelines.stack.stage_types import MediumRequest


@dataclass
class Request:
    """A conversation that ends with the user's message, and what is asked of the reply.

    `cancel.set()` ends the reply early, from any thread.
    """

    conversation: Sequence[Message]
    options: RequestOptions = field(default_factory=RequestOptions)
    cancel: threading.Event = field(default_factory=threading.Event)


class AnyToAny:
    """Runs requests on an executor."""

    def __init__(self, executor: Executor, limits: Limits | None = None) -> None:
        self.executor = executor
        self.limits = limits or Limits()

    async def run(self, requests: Sequence[Request]) -> AsyncGenerator[Event, None]:
        """Answer requests side by side.

        Yields:
            Every request's events in order, ending in `Done` or `Failed`; leaving the loop early cancels the rest.
        """
        events: asyncio.Queue[Event] = asyncio.Queue()
        replies = [_RunningRequest(self, index, request, events.put_nowait) for index, request in enumerate(requests)]
        self.executor.in_flight.update(replies)
        tasks = [asyncio.create_task(reply.run()) for reply in replies]
        unfinished = len(requests)
        try:
            while unfinished:
                event = await events.get()
                unfinished -= isinstance(event, (Done, Failed))
                yield event
        finally:
            for request in requests[: len(requests) if unfinished else 0]:
                request.cancel.set()
            await asyncio.gather(*tasks)


class _RunningRequest:
    """One request on its way."""

    def __init__(self, pipeline: AnyToAny, index: int, request: Request, emit: Callable[[Event], None]) -> None:
        self.pipeline = pipeline
        self.executor = pipeline.executor
        self.index = index
        self.request = request
        self.emit = emit
        self.timings: dict[str, float] = {}
        self.generating: list[asyncio.Task[None]] = []
        self.expired = False

    async def run(self) -> None:
        """Answer; whatever goes wrong becomes an event."""
        PATIENCE.set(Patience())
        started = time.perf_counter()
        deadline = asyncio.get_running_loop().call_later(self.pipeline.limits.timeout_s, self._expire)
        try:
            finished = await self._answer()
            self.timings["total"] = time.perf_counter() - started
            usage = Usage(finished.prompt_tokens, finished.completion_tokens)
            self.emit(Done(self.index, finished.reason, usage, self.timings))
        except AnyGPTError as error:
            self.emit(Failed(self.index, error))
        except Exception as error:
            failure = StageError("pipeline", f"{type(error).__name__}: {_first_line(error)}")
            failure.__cause__ = error
            self.emit(Failed(self.index, failure))
        finally:
            deadline.cancel()
            self.executor.in_flight.discard(self)

    def _expire(self) -> None:
        self.expired = True
        self.request.cancel.set()

    async def _answer(self) -> RowDone:
        conversation = list(self.request.conversation)
        options, made = self.request.options, self.executor.output_modalities
        check_request(conversation, options, self.pipeline.limits, made)
        await check_generation(options, made, self.executor.check_generation)
        features = await self._encode(conversation)
        finished: RowDone | None = None
        try:
            async for event in self.executor.reply(
                [message.with_refs() for message in conversation],
                features,
                options.sampling,
                options.seed,
                self.request.cancel.is_set,
            ):
                if isinstance(event, TextPiece):
                    self.emit(TextDelta(self.index, event.text, hidden=not options.sampling.allows("text")))
                elif isinstance(event, MediumRequest):
                    self._start_generator(event)
                elif isinstance(event, RowDone):
                    finished = event
                else:
                    self._add_time("backbone", event.seconds)
        finally:
            await asyncio.gather(*self.generating)
        if self.expired:
            raise TimedOutError(
                "pipeline", f"no reply within limits.timeout_s={self.pipeline.limits.timeout_s:g} seconds"
            )
        assert finished is not None, "a reply always ends with RowDone"
        return finished

    async def _encode(self, conversation: Sequence[Message]) -> dict[str, Any]:
        """Features of the user's media, by modality; media in replies are not looked at again."""
        media: dict[str, list[Any]] = {}
        for message in conversation:
            for part in message.parts if message.role != "assistant" else ():
                if modality_of(part) != "text":
                    media.setdefault(modality_of(part), []).append(await self._checked(part))
        for modality in media:
            if modality not in self.executor.input_modalities:
                known = ", ".join(("text", *self.executor.input_modalities))
                raise RequestError(f"conversation: {modality} given, but this stack only takes in: {known}")
        results = await asyncio.gather(*(self.executor.encode(modality, items) for modality, items in media.items()))
        for modality, (_, seconds) in zip(media, results, strict=True):
            self._add_time(f"encoders.{modality}", seconds)
        return {modality: features for modality, (features, _) in zip(media, results, strict=True)}

    async def _checked(self, medium: Any) -> Any:
        """The medium as encoders take it, if it is within the limits; decoding happens beside the event loop."""
        if isinstance(medium, MediumRef):
            return medium
        modality = modality_of(medium)
        with limits_of_config(modality):
            return await asyncio.to_thread(KINDS[modality].load, medium, getattr(self.pipeline.limits, modality))

    def _start_generator(self, wanted: MediumRequest) -> None:
        index = len(self.generating)
        self.emit(MediaStarted(self.index, index, wanted.modality))
        self.generating.append(asyncio.create_task(self._generate(index, wanted)))

    async def _generate(self, index: int, wanted: MediumRequest) -> None:
        stage = f"generators.{wanted.modality}"
        try:
            medium, seconds = await self.executor.generate(
                wanted.modality,
                wanted.conditioning,
                self.request.options.generation(index),
                lambda step, steps: self.emit(MediaProgress(self.index, index, step, steps)),
                self.request.cancel.is_set,
            )
        except CancelledError:
            self.emit(MediaFailed(self.index, index, wanted.modality, stage, "cancelled"))
        except Exception as error:  # the medium is lost, the reply is not
            reason = error.reason if isinstance(error, StageError) else _first_line(error)
            self.emit(MediaFailed(self.index, index, wanted.modality, stage, reason, error))
        else:
            self._add_time(stage, seconds)
            self.emit(MediaReady(self.index, index, wanted.modality, medium))

    def _add_time(self, stage: str, seconds: float) -> None:
        self.timings[stage] = self.timings.get(stage, 0.0) + seconds


def _first_line(error: BaseException) -> str:
    """The first line of an error's message; some have none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
