"""What the routes do.

Every request goes the same way: the body within its limits, its media decoded, a place among `max_requests`, the events
of the pipeline. A client that goes away cancels its request, wherever it is on that way.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from anygpt.config.schema import StackConfig
from anygpt.errors import AnyGPTError, ConfigError
from anygpt.events import Done, Event, Failed, MediaFailed, MediaReady
from anygpt.messages import Message
from pipelines.any_to_any import AnyToAny
from pipelines.any_to_any import Request as PipelineRequest
from pipelines.media_decoding.pool import DecoderPool
from pipelines.serving.access import checked_key, client_of, is_key
from pipelines.serving.bodies import parse_body, unknown_fields
from pipelines.serving.bodies_in_flight import BodiesInFlight
from pipelines.serving.errors import ServiceError, as_service_error, stopping
from pipelines.serving.metrics import Metrics
from pipelines.serving.replies import ChatReply
from pipelines.serving.requests import chat_request, check_model, image_requests
from pipelines.serving.schema import ChatBody, ImagesBody, Sent
from pipelines.serving.slots import EventStream, Slots

DISCONNECT_POLL_S = 0.1
IGNORED = "x-anygpt-ignored"  # the header that names fields of a request that the service does not know
MAX_IGNORED_CHARS = 1000
Result = TypeVar("Result")
Sending = TypeVar("Sending", bound=Sent)


class Service:
    """A running pipeline behind HTTP.

    Args:
        api_key: what clients must send; None lets everyone in.
    Raises:
        ConfigError: if the key cannot be one, or `/metrics` needs one and there is none.
    """

    def __init__(self, pipeline: AnyToAny, config: StackConfig, api_key: str | None) -> None:
        self.pipeline = pipeline
        self.config = config
        self.api_key = checked_key(api_key)
        if config.service.metrics_key and self.api_key is None:
            raise ConfigError("service.metrics_key: true given without an API key; set ANYGPT_API_KEY, or leave it out")
        self.metrics = Metrics()
        self.started = int(time.time())
        self.decoders = DecoderPool(config.limits.decode_timeout_s)
        self.bodies = BodiesInFlight(config.service)
        self.places = Slots(config.service, self.metrics)
        self.preparing: set[asyncio.Future[Any]] = set()  # requests whose media are being decoded

    def stop(self) -> None:
        """Take no more requests, and cancel those under way; their clients are told."""
        self.places.stop()
        self.bodies.stop()
        for preparing in self.preparing:
            preparing.cancel()

    async def live(self) -> Response:
        """The process answers."""
        return JSONResponse({"status": "live"})

    async def ready(self) -> Response:
        """200 if every stage can take work, else 503; the state of each."""
        stages = await self.pipeline.executor.stage_states()
        ready = all(state == "ready" for state in stages.values())
        return JSONResponse({"status": "ready" if ready else "not ready", "stages": stages}, 200 if ready else 503)

    async def show_metrics(self, http: Request) -> Response:
        """Prometheus' text format."""
        if self.config.service.metrics_key:
            self._authorize(http)
        return Response(self.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self, http: Request) -> Response:
        """The one model there is."""
        self._authorize(http)
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, http: Request, name: str) -> Response:
        """A model by name."""
        self._authorize(http)
        check_model(name, self.config)
        return JSONResponse(self._model())

    def _model(self) -> dict[str, Any]:
        executor = self.pipeline.executor
        return {
            "id": self.config.name,
            "object": "model",
            "created": self.started,
            "owned_by": "anygpt",
            "input_modalities": ["text", *executor.input_modalities],
            "output_modalities": ["text", *executor.output_modalities],
        }

    async def chat(self, http: Request) -> Response:
        """`POST /v1/chat/completions`, streaming or not."""
        return await self._answer(http, "chat", ChatBody, self._chat_requests, self._chat)

    async def images(self, http: Request) -> Response:
        """`POST /v1/images/generations`."""
        return await self._answer(http, "images", ImagesBody, self._image_requests, self._images)

    async def _answer(
        self,
        http: Request,
        route: str,
        schema: type[Sending],
        prepare: Callable[[Sending, str | None], Coroutine[Any, Any, list[PipelineRequest]]],
        answer: Callable[[Request, Sending, list[PipelineRequest]], Coroutine[Any, Any, Response]],
    ) -> Response:
        """Take the body, then answer within a place; a stream keeps its place until it ends."""
        self._authorize(http)
        entered = time.perf_counter()
        try:
            _check_content_type(http)
            async with self.bodies.receive(http) as received:
                limit = self.config.service.max_json_values
                body = await asyncio.to_thread(parse_body, schema, received.data(), limit)
                ignored = self._ignored(body)
                self.places.check()
                requests = await self._unless_gone(http, prepare(body, client_of(http)))
            place = self.places.take(requests, route, entered)
        except ServiceError as error:
            self.metrics.requests.labels(route, error.status).inc()
            raise
        try:
            response = await answer(http, body, requests)
        except BaseException as error:
            place.leave(error.status if isinstance(error, ServiceError) else 500)
            raise
        if isinstance(response, EventStream):
            response.when_ended = place.leave
        else:
            place.leave(response.status_code)
        if ignored:
            response.headers[IGNORED] = ignored
        return response

    def _ignored(self, body: Sent) -> str:
        """Fields of a body that the service does not know, for a header.

        Raises:
            ServiceError: 400 if `service.strict` refuses them.
        """
        unknown = unknown_fields(body)
        if unknown and self.config.service.strict:
            message = f"{unknown[0]}: given, which this service does not know; leave it out"
            raise ServiceError(400, message, param=unknown[0])
        names = ", ".join(name.encode("ascii", "backslashreplace").decode() for name in unknown)
        return "".join(char for char in names if char.isprintable())[:MAX_IGNORED_CHARS]

    async def _chat_requests(self, body: ChatBody, client: str | None) -> list[PipelineRequest]:
        return [await chat_request(body, self.config, self.decoders, client)]

    async def _image_requests(self, body: ImagesBody, client: str | None) -> list[PipelineRequest]:
        return image_requests(body, self.config)

    async def _chat(self, http: Request, body: ChatBody, requests: list[PipelineRequest]) -> Response:
        service, (request,) = self.config.service, requests
        markdown = service.markdown_media if body.markdown_media is None else body.markdown_media
        reply = ChatReply(self.config.name, request.options.seed, markdown)
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            events = await self._unless_gone(http, _started(self.pipeline.run(requests)))
            return EventStream(self._stream(http, request, events, reply, usage))
        await self._collect(http, requests, [reply])
        return JSONResponse(reply.completion())

    async def _images(self, http: Request, body: ImagesBody, requests: list[PipelineRequest]) -> Response:
        """Pictures of a prompt; what the model will not draw is refused in its own words."""
        replies: list[ChatReply] = []
        for asked in (body.prompt, f"Draw {body.prompt}"):
            worded = [replace(request, conversation=[Message("user", asked)]) for request in requests]
            replies = [ChatReply(self.config.name, request.options.seed) for request in worded]
            await self._collect(http, worded, replies)
            for cause in (cause for reply in replies for cause in reply.causes):
                raise cause
            if all("images" in reply.media for reply in replies):
                return JSONResponse({"created": replies[0].created, "data": [_picture(reply) for reply in replies]})
        said = replies[0].builder.text or "nothing"
        message = f"prompt: no picture was made of it; the model says: {said}"
        raise ServiceError(400, message, param="prompt", code="no_picture")

    async def _collect(self, http: Request, requests: Sequence[PipelineRequest], replies: Sequence[ChatReply]) -> None:
        """Run requests to their end; a client that goes away cancels them."""
        with self._watched(http, requests):
            async with aclosing(self.pipeline.run(requests)) as events:
                async for event in events:
                    self._take(event, replies[event.request])

    async def _stream(
        self,
        http: Request,
        request: PipelineRequest,
        events: AsyncGenerator[Event, None],
        reply: ChatReply,
        usage: bool,
    ) -> AsyncIterator[bytes]:
        yield _sse(reply.chunk({"role": "assistant", "content": ""}))
        try:
            with self._watched(http, [request]):
                async with aclosing(events):
                    async for event in events:
                        delta = self._take(event, reply)
                        if delta:
                            yield _sse(reply.chunk(delta))
        except ServiceError as error:
            yield _sse(error.body())
        else:
            yield _sse(reply.chunk({}, reply.finish_reason()))
            if usage:
                yield _sse(reply.usage_chunk())
        yield b"data: [DONE]\n\n"

    @contextmanager
    def _watched(self, http: Request, requests: Sequence[PipelineRequest]) -> Iterator[None]:
        """Cancel the requests when their client goes away.

        Raises:
            ServiceError: 503 at the end, if the service stopped in their midst.
        """
        cancels = {request.cancel for request in requests}

        async def cancel_when_gone() -> None:
            await _until_gone(http)
            for cancel in cancels:
                cancel.set()

        watching = asyncio.create_task(cancel_when_gone())
        try:
            yield
        finally:
            watching.cancel()
        if self.places.stopping and any(cancel.is_set() for cancel in cancels):
            raise stopping()

    async def _unless_gone(self, http: Request, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of some work, which is cancelled when the client goes away or the service stops.

        Raises:
            ServiceError: 400 if the client is gone, 503 if the service stops, or what the pipeline's error stands for.
        """
        working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(http))
        self.preparing.add(working)
        try:
            await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ServiceError(400, "the client went away before its answer")
            return working.result()
        except asyncio.CancelledError:
            if self.places.stopping:
                raise stopping() from None
            raise
        except AnyGPTError as error:
            raise as_service_error(error) from error
        finally:
            self.preparing.discard(working)
            gone.cancel()
            if working.cancel():
                with suppress(asyncio.CancelledError, AnyGPTError, ServiceError):
                    await working

    def _take(self, event: Event, reply: ChatReply) -> dict[str, Any] | None:
        delta = reply.delta(event)
        match event:
            case MediaReady(modality=modality):
                self.metrics.media.labels(modality, "made").inc()
            case MediaFailed(modality=modality):
                self.metrics.media.labels(modality, "lost").inc()
            case Done(timings=timings):
                self.metrics.count_reply(reply.usage(), timings)
        return delta

    def _authorize(self, http: Request) -> None:
        if self.api_key is not None and not is_key(http.headers.get("authorization", ""), self.api_key):
            message = "authorization: no valid key given, expected 'Authorization: Bearer KEY'"
            raise ServiceError(401, message, code="invalid_api_key")


def _check_content_type(http: Request) -> None:
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ServiceError(415, f"content-type: '{kind}' given, expected application/json")


def _picture(reply: ChatReply) -> dict[str, Any]:
    """The reply's first picture as the images interface gives it."""
    url = reply.media["images"][0]["image_url"]["url"]
    return {"b64_json": url.split(",")[1], "seed": reply.seed}


async def _started(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The same events, once the first is there: what fails before any reply is an HTTP error, not a stream.

    Raises:
        AnyGPTError: if the request failed at once.
    """
    first = await anext(events)
    if isinstance(first, Failed):
        await events.aclose()
        raise first.error

    async def all_events() -> AsyncGenerator[Event, None]:
        async with aclosing(events):
            yield first
            async for event in events:
                yield event

    return all_events()


async def _until_gone(http: Request) -> None:
    while not await http.is_disconnected():
        await asyncio.sleep(DISCONNECT_POLL_S)


def _sse(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"
