"""Bodies on their way: bounded one by one, in number and in sum, and out of memory at once when they are given up."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect

from anygpt.config.schema import ServiceLimits
from pipelines.serving.access import client_of
from pipelines.serving.errors import ServiceError, stopping

RECEIVING_PER_PLACE = 4  # bodies that may be on their way for each request that may be answered
CLIENT_SHARE = 0.5  # of them for one address, so that it cannot take all


class BodiesInFlight:
    """Receives bodies.

    Args:
        limits: of the service.
    """

    def __init__(self, limits: ServiceLimits) -> None:
        self.limits = limits
        self.held_bytes = 0
        self.stopping = False
        self._bodies: set[Body] = set()

    def stop(self) -> None:
        """Give up all bodies that are on their way; their clients are told."""
        self.stopping = True
        for body in self._bodies:
            if body.reading is not None:
                body.reading.cancel()

    @asynccontextmanager
    async def receive(self, http: Request) -> AsyncIterator[Body]:
        """A request's body; its bytes count until it is let go, at the end of the block at the latest.

        Raises:
            ServiceError: 413 if it is too long, 408 if it takes too long, 429 if there are too many of them, 503 if the
                service stops meanwhile.
        """
        most, client = RECEIVING_PER_PLACE * self.limits.max_requests, client_of(http)
        own = sum(body.client == client and not body.is_here for body in self._bodies) if client else 0
        if len(self._bodies) >= most or own >= most * CLIENT_SHARE:
            raise ServiceError(429, "too many requests are being received; try again later", code="overloaded")
        body = Body(self, _declared_bytes(http, self.limits.max_body_bytes), client)
        self._bodies.add(body)
        try:
            body.reading = asyncio.ensure_future(body.read(http))
            await self._in_time(body.reading)
            body.is_here = True
            yield body
        finally:
            body.let_go()
            self._bodies.discard(body)

    async def _in_time(self, reading: asyncio.Future[None]) -> None:
        try:
            await asyncio.wait_for(reading, self.limits.body_timeout_s)
        except asyncio.TimeoutError as error:
            message = f"body: not here within {self.limits.body_timeout_s:g} seconds; send it again"
            raise ServiceError(408, message) from error
        except ClientDisconnect as error:
            raise ServiceError(400, "body: the client went away before its end") from error
        except asyncio.CancelledError:
            if self.stopping:
                raise stopping() from None
            raise


class Body:
    """One body, in memory of its own: taken as bytes arrive, given back to the system when it is let go."""

    def __init__(self, among: BodiesInFlight, capacity: int, client: str | None) -> None:
        self.among = among
        self.client = client
        self.is_here = False
        self.reading: asyncio.Future[None] | None = None
        self._memory: mmap.mmap | None = mmap.mmap(-1, max(capacity, 1))
        self._length = 0

    async def read(self, http: Request) -> None:
        """Take it in.

        Raises:
            ServiceError: 413 if it is too long, 429 if all bodies together are.
        """
        limits = self.among.limits
        async for piece in http.stream():
            if self._length + len(piece) > limits.max_body_bytes:
                raise _too_long(limits.max_body_bytes)
            if self.among.held_bytes + len(piece) > limits.max_body_bytes_in_flight:
                raise ServiceError(
                    429,
                    f"bodies of more than {limits.max_body_bytes_in_flight} bytes are being received; try again later",
                    code="overloaded",
                )
            assert self._memory is not None
            self._memory.write(piece)
            self._length += len(piece)
            self.among.held_bytes += len(piece)

    def data(self) -> bytes:
        """A copy of what has arrived."""
        assert self._memory is not None
        return self._memory[: self._length]

    def let_go(self) -> None:
        """Free its memory; a second time does nothing."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
            self.among.held_bytes -= self._length


def _declared_bytes(http: Request, max_bytes: int) -> int:
    """How long the body says that it is, or the most that it may be."""
    declared = http.headers.get("content-length", "")
    if not declared.isdigit():
        return max_bytes
    if int(declared) > max_bytes:
        raise _too_long(max_bytes)
    return int(declared)


def _too_long(max_bytes: int) -> ServiceError:
    return ServiceError(413, f"body: more than {max_bytes} bytes given, which is the limit; shrink the media")
