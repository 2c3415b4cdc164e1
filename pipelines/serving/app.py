"""The service's routes.

Every request goes the same way: a place among `max_requests`, the body within its limits, a request of the pipeline,
its events. A client that goes away cancels its request, whatever stage it is in.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from anygpt.config import StackConfig
from anygpt.errors import AnyGPTError
from anygpt.events import Event, Failed, MediaFailed, MediaReady
from pipelines.any_to_any import AnyToAny
from pipelines.any_to_any import Request as PipelineRequest
from pipelines.serving.errors import ServiceError, as_service_error
from pipelines.serving.metrics import Metrics
from pipelines.serving.replies import ChatReply
from pipelines.serving.requests import chat_request, image_requests, media_bytes
from pipelines.serving.schema import Body, ChatBody, ImagesBody, parse_body

DISCONNECT_POLL_S = 0.1
DECODING_AT_ONCE = 2
RECEIVING_PER_PLACE = 4  # bodies that may be on their way for each request that may be answered


def create_app(pipeline: AnyToAny, config: StackConfig, api_key: str | None = None) -> FastAPI:
    """The service over a running pipeline.

    Args:
        pipeline: answers; its executor is the caller's to close.
        config: the stack's, for its name and limits.
        api_key: what clients must send as `Authorization: Bearer …`; None lets everyone in.
    """
    service = Service(pipeline, config, api_key)
    app = FastAPI(title="anygpt", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service = service
    app.add_api_route("/live", service.live, methods=["GET"])
    app.add_api_route("/ready", service.ready, methods=["GET"])
    app.add_api_route("/metrics", service.show_metrics, methods=["GET"])
    app.add_api_route("/v1/models", service.models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", service.model, methods=["GET"])
    app.add_api_route("/v1/chat/completions", service.chat, methods=["POST"])
    app.add_api_route("/v1/images/generations", service.images, methods=["POST"])
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(Exception, _unforeseen)
    return app


class Service:
    """What the routes do."""

    def __init__(self, pipeline: AnyToAny, config: StackConfig, api_key: str | None) -> None:
        self.pipeline = pipeline
        self.config = config
        self.api_key = api_key
        self.metrics = Metrics()
        self.started = int(time.time())
        self.answering = 0
        self.receiving = 0
        self.media_bytes = 0
        self.decoding = asyncio.Semaphore(DECODING_AT_ONCE)
        self.under_way: set[threading.Event] = set()  # what cancels each request
        self.bodies: set[asyncio.Future[bytes]] = set()  # those on their way
        self.stopping = False

    def stop(self) -> None:
        """Take no more requests, and cancel those under way; their clients are told."""
        self.stopping = True
        for cancel in self.under_way:
            cancel.set()
        for body in self.bodies:
            body.cancel()

    async def live(self) -> Response:
        """The process answers."""
        return JSONResponse({"status": "live"})

    async def ready(self) -> Response:
        """200 if every stage can take work, else 503; the state of each."""
        stages = await self.pipeline.executor.stage_states()
        ready = all(state == "ready" for state in stages.values())
        return JSONResponse({"status": "ready" if ready else "not ready", "stages": stages}, 200 if ready else 503)

    async def show_metrics(self) -> Response:
        """Prometheus' text format."""
        return Response(self.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self, http: Request) -> Response:
        """The one model there is."""
        self._authorize(http)
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, http: Request, name: str) -> Response:
        """A model by name."""
        self._authorize(http)
        if name != self.config.name:
            message = f"model: '{name}' given, but this service has: {self.config.name}"
            raise ServiceError(404, message, param="model", code="model_not_found")
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
        return await self._answer(http, "chat", ChatBody, self._chat)

    async def images(self, http: Request) -> Response:
        """`POST /v1/images/generations`."""
        return await self._answer(http, "images", ImagesBody, self._images)

    async def _answer(
        self,
        http: Request,
        route: str,
        schema: type[Body],
        answer: Callable[[Request, Body, _Place], Awaitable[Response]],
    ) -> Response:
        """Take the body, then answer within a place among `max_requests`; a stream keeps its place until it ends."""
        self._authorize(http)
        try:
            body = await self._body(http, schema)
            place = _Place(self, route)
        except ServiceError as error:
            self.metrics.requests.labels(route, error.status).inc()
            raise
        try:
            response = await answer(http, body, place)
        except BaseException as error:
            place.leave(error.status if isinstance(error, ServiceError) else 500)
            raise
        if isinstance(response, EventStream):
            response.when_ended = place.leave
        else:
            place.leave(response.status_code)
        return response

    async def _chat(self, http: Request, body: ChatBody, place: _Place) -> Response:
        async with self.decoding:
            with _Refusals():
                request = await asyncio.to_thread(chat_request, body, self.config)
            place.hold([request])
        reply = ChatReply(self.config.name, request.options.seed)
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            events = await _started(self.pipeline.run([request]))
            return EventStream(self._stream(http, request, events, reply, usage), media_type="text/event-stream")
        await self._collect(http, [request], [reply])
        return JSONResponse(reply.completion())

    async def _images(self, http: Request, body: ImagesBody, place: _Place) -> Response:
        with _Refusals():
            requests = image_requests(body, self.config)
        place.hold(requests)
        replies = [ChatReply(self.config.name, request.options.seed) for request in requests]
        await self._collect(http, requests, replies)
        for cause in (cause for reply in replies for cause in reply.causes):
            raise cause
        pictures = [
            {"b64_json": reply.media["images"][0]["image_url"]["url"].split(",")[1], "seed": reply.seed}
            for reply in replies
        ]
        return JSONResponse({"created": replies[0].created, "data": pictures})

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
        watching = asyncio.create_task(_cancel_when_gone(http, cancels))
        try:
            yield
        finally:
            watching.cancel()
        if self.stopping and any(cancel.is_set() for cancel in cancels):
            raise _stopping()

    def _take(self, event: Event, reply: ChatReply) -> dict[str, Any] | None:
        delta = reply.delta(event)
        if isinstance(event, (MediaReady, MediaFailed)):
            self.metrics.media.labels(event.modality, "made" if isinstance(event, MediaReady) else "lost").inc()
        if reply.done is event:
            self.metrics.count_reply(reply.usage(), reply.done.timings)
        return delta

    async def _body(self, http: Request, schema: type[Body]) -> Body:
        service = self.config.service
        kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ServiceError(415, f"content-type: '{kind}' given, expected application/json")
        if self.receiving >= RECEIVING_PER_PLACE * service.max_requests:
            raise ServiceError(429, "too many requests are being received; try again later", code="overloaded")
        self.receiving += 1
        reading = asyncio.ensure_future(_read(http, service.max_body_bytes))
        self.bodies.add(reading)
        try:
            data = await asyncio.wait_for(reading, service.body_timeout_s)
        except asyncio.TimeoutError as error:
            message = f"body: not here within {service.body_timeout_s:g} seconds; send it again"
            raise ServiceError(408, message) from error
        except ClientDisconnect as error:
            raise ServiceError(400, "body: the client went away before its end") from error
        except asyncio.CancelledError:
            if self.stopping:
                raise _stopping() from None
            raise
        finally:
            self.bodies.discard(reading)
            self.receiving -= 1
        return await asyncio.to_thread(parse_body, schema, data, service.max_json_values)

    def _authorize(self, http: Request) -> None:
        if self.api_key is None:
            return
        given = http.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {self.api_key}".encode()):
            message = "authorization: no valid key given, expected 'Authorization: Bearer KEY'"
            raise ServiceError(401, message, code="invalid_api_key")


class _Place:
    """A request's place among those that are answered at a time."""

    def __init__(self, service: Service, route: str) -> None:
        if service.stopping:
            raise _stopping()
        limit = service.config.service.max_requests
        if service.answering >= limit:
            message = f"{limit} requests are being answered, which is the limit; try again later"
            raise ServiceError(429, message, code="overloaded")
        self.service, self.route, self.entered = service, route, time.perf_counter()
        self.media_bytes = 0
        self.cancels: set[threading.Event] = set()
        service.answering += 1
        service.metrics.in_flight.inc()

    def hold(self, requests: Sequence[PipelineRequest]) -> None:
        """Take note of what to cancel when the service stops, and of the decoded media kept in memory until then.

        Raises:
            ServiceError: 503 if it is stopping, 429 if all requests together would hold too many bytes.
        """
        if self.service.stopping:
            raise _stopping()
        num_bytes = sum(map(media_bytes, requests))
        limit = self.service.config.service.max_media_bytes_in_flight
        if self.service.media_bytes + num_bytes > limit:
            raise ServiceError(
                429, f"media of more than {limit} bytes are being looked at; try again later", code="overloaded"
            )
        self.media_bytes = num_bytes
        self.service.media_bytes += num_bytes
        self.cancels = {request.cancel for request in requests}
        self.service.under_way |= self.cancels

    def leave(self, status: int) -> None:
        """Make room, and count the request."""
        self.service.media_bytes -= self.media_bytes
        self.service.under_way -= self.cancels
        self.service.answering -= 1
        self.service.metrics.in_flight.dec()
        self.service.metrics.requests.labels(self.route, status).inc()
        self.service.metrics.seconds.labels(self.route).observe(time.perf_counter() - self.entered)


class EventStream(StreamingResponse):
    """Server-sent events; it says when it has ended, however it does."""

    when_ended: Callable[[int], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.when_ended(self.status_code)


class _Refusals:
    """Turns the pipeline's errors into the service's."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, AnyGPTError):
            raise as_service_error(error) from error


async def _started(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The same events, once the first is there: what fails before any reply is an HTTP error, not a stream.

    Raises:
        ServiceError: if the request failed at once.
    """
    first = await anext(events)
    if isinstance(first, Failed):
        await events.aclose()
        raise as_service_error(first.error)

    async def all_events() -> AsyncGenerator[Event, None]:
        async with aclosing(events):
            yield first
            async for event in events:
                yield event

    return all_events()


async def _cancel_when_gone(http: Request, cancels: Collection[threading.Event]) -> None:
    while not await http.is_disconnected():
        await asyncio.sleep(DISCONNECT_POLL_S)
    for cancel in cancels:
        cancel.set()


async def _read(http: Request, max_bytes: int) -> bytes:
    too_long = ServiceError(413, f"body: more than {max_bytes} bytes given, which is the limit; shrink the media")
    declared = http.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_long
    data = bytearray()
    async for piece in http.stream():
        data += piece
        if len(data) > max_bytes:
            raise too_long
    return bytes(data)


def _stopping() -> ServiceError:
    return ServiceError(503, "the service is stopping; try again", code="stopping")


def _sse(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


async def _service_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return JSONResponse(error.body(), error.status, error.headers)


async def _http_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wanted = f"{http.method} {http.url.path}"
    return await _service_error(http, ServiceError(error.status_code, f"{wanted}: {error.detail.lower()}"))


async def _unforeseen(http: Request, error: Exception) -> Response:
    return await _service_error(http, ServiceError(503, f"{type(error).__name__}: a bug of the service; see its log"))
