"""Admission: each request that is being answered holds a place, and its decoded media count until it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from anygpt.config.schema import ServiceLimits
from pipelines.any_to_any import Request as PipelineRequest
from pipelines.serving.errors import ServiceError, stopping
from pipelines.serving.metrics import Metrics
from pipelines.serving.requests import media_bytes


class Slots:
    """The places of a service, `max_requests` of them."""

    def __init__(self, limits: ServiceLimits, metrics: Metrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self.taken = 0
        self.media_bytes = 0
        self.under_way: set[threading.Event] = set()  # what cancels each request
        self.stopping = False

    def stop(self) -> None:
        """Give no more places, and cancel the requests that have one."""
        self.stopping = True
        for cancel in self.under_way:
            cancel.set()

    def check(self) -> None:
        """Refuse a request for which there is no place.

        Raises:
            ServiceError: 503 if the service stops, 429 if all places are taken.
        """
        if self.stopping:
            raise stopping()
        if self.taken >= self.limits.max_requests:
            message = f"{self.limits.max_requests} requests are being answered, which is the limit; try again later"
            raise ServiceError(429, message, code="overloaded")

    def take(self, requests: Sequence[PipelineRequest], route: str, entered: float) -> Slot:
        """A place for a request of the service, which may be several of the pipeline.

        Args:
            requests: with their media decoded.
            route: for the metrics.
            entered: when it came, by `time.perf_counter`.
        Raises:
            ServiceError: as `check`, and 429 if all requests together would hold too many bytes of media.
        """
        self.check()
        num_bytes, limit = sum(map(media_bytes, requests)), self.limits.max_media_bytes_in_flight
        if self.media_bytes + num_bytes > limit:
            message = f"media of more than {limit} bytes are being looked at; try again later"
            raise ServiceError(429, message, code="overloaded")
        return Slot(self, requests, num_bytes, route, entered)


class Slot:
    """One place; leave it once."""

    def __init__(
        self, places: Slots, requests: Sequence[PipelineRequest], num_bytes: int, route: str, entered: float
    ) -> None:
        self.places, self.num_bytes, self.route, self.entered = places, num_bytes, route, entered
        self.cancels = {request.cancel for request in requests}
        places.taken += 1
        places.media_bytes += num_bytes
        places.under_way |= self.cancels
        places.metrics.in_flight.inc()

    def leave(self, status: int) -> None:
        """Make room, and count the request."""
        places = self.places
        places.taken -= 1
        places.media_bytes -= self.num_bytes
        places.under_way -= self.cancels
        places.metrics.in_flight.dec()
        places.metrics.requests.labels(self.route, status).inc()
        places.metrics.seconds.labels(self.route).observe(time.perf_counter() - self.entered)


class EventStream(StreamingResponse):
    """Server-sent events; it says when it has ended, however it does."""

    media_type = "text/event-stream"
    when_ended: Callable[[int], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.when_ended(self.status_code)
