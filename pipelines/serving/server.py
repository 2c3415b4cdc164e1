"""Run the service until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from anygpt.errors import MissingExtraError, RequestError
from pipelines.assistant import AnyGPT
from pipelines.executors.contract import Executor

try:
    import h11
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from pipelines.serving.access import is_loopback
    from pipelines.serving.app import create_app
    from pipelines.serving.hosts import ServedHosts
    from pipelines.serving.termination import closing_on_sigterm
except ImportError as error:
    raise MissingExtraError(f"the service needs {error.name}: pip install 'anygpt[serve]'") from error

if sys.platform != "win32":
    import fcntl
    import termios

GRACE_S = 10
ANSWER_S = 5  # for the answers of requests that are cancelled then
HEADERS_S = 30
MAX_HEADER_BYTES = 64 * 1024


class Protocol(H11Protocol):
    """HTTP that closes a connection on which no request arrives within `HEADERS_S` seconds, also after an answer, and
    one whose client takes in nothing of an answer for `write_timeout_s`."""

    def __init__(self, *args: Any, write_timeout_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.write_timeout_s = write_timeout_s
        self._taken_in_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._headers_due = self.loop.call_later(HEADERS_S, self._close_if_silent, 0)

    def on_response_complete(self) -> None:
        """Start it again."""
        self._headers_due.cancel()
        self._headers_due = self.loop.call_later(HEADERS_S, self._close_if_silent, self._untaken())
        super().on_response_complete()

    def connection_lost(self, error: Exception | None) -> None:
        """Stop all clocks."""
        self._headers_due.cancel()
        self._stop_waiting()
        super().connection_lost(error)

    def pause_writing(self) -> None:
        """Much of an answer waits for the client."""
        super().pause_writing()
        self._wait_for_client()

    def resume_writing(self) -> None:
        """It has taken it in."""
        self._stop_waiting()
        super().resume_writing()

    def send_400_response(self, message: str) -> None:
        """Answer what is no HTTP; where the request was answered before its end, close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(message)
        else:
            self.transport.close()

    def give_up_if_unread(self) -> None:
        """Close a connection whose client has not taken in its answer."""
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()

    def _close_if_silent(self, untaken_before: int) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            return
        untaken = self._untaken()
        if 0 < untaken < untaken_before:
            self._headers_due = self.loop.call_later(HEADERS_S, self._close_if_silent, untaken)
        else:
            self.transport.abort()

    def _wait_for_client(self) -> None:
        self._taken_in_due = self.loop.call_later(self.write_timeout_s, self._check_client, self._untaken())

    def _check_client(self, untaken_before: int) -> None:
        if self._untaken() < untaken_before:
            self._wait_for_client()
        else:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._taken_in_due is not None:
            self._taken_in_due.cancel()
            self._taken_in_due = None

    def _untaken(self) -> int:
        """Bytes that the client has not taken in yet: here, and where the kernel tells it, in the kernel's buffer."""
        here: int = self.transport.get_write_buffer_size()
        if sys.platform == "win32":
            return here
        try:
            in_kernel = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return here
        return here + int.from_bytes(in_kernel, sys.byteorder)


class Server(uvicorn.Server):
    """Stops in two steps: requests under way get `GRACE_S` seconds to end, the rest are cancelled and told so.

    A second signal cancels them at once, a third ends all without a word. It stops by itself where the executor can
    answer no more.
    """

    def __init__(self, config: uvicorn.Config, executor: Executor, cancel_all: Callable[[], None]) -> None:
        super().__init__(config)
        self.executor = executor
        self.cancel_all = cancel_all
        self.hurried = False

    async def on_tick(self, counter: int) -> bool:
        """See `uvicorn.Server`."""
        return await super().on_tick(counter) or self.executor.failure is not None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        if self.should_exit and not self.hurried:
            self.hurried = True
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        late = asyncio.create_task(self._cancel_late())
        try:
            await super().shutdown(sockets)
        finally:
            late.cancel()

    async def _cancel_late(self) -> None:
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and not self.hurried:
            await asyncio.sleep(0.1)
        self.cancel_all()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Protocol):
                connection.give_up_if_unread()


def make_server(model: AnyGPT, host: str, port: int, api_key: str | None = None) -> Server:
    """A server that is not running yet; `run()` serves, `should_exit = True` ends it from another thread."""
    own = None
    if api_key is None and is_loopback(host):  # a browser's pages must not use what this machine's user alone may
        own = ServedHosts(host, tuple(model.config.service.allowed_origins))
    app = create_app(model.pipeline, model.config, api_key, own)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=partial(Protocol, write_timeout_s=model.config.service.write_timeout_s),  # type: ignore[arg-type]
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S + ANSWER_S,
    )
    return Server(config, model.executor, app.state.service.stop)


def serve(load: Callable[[], AnyGPT], host: str, port: int, api_key: str | None = None) -> None:
    """Load a stack and serve it until SIGINT or SIGTERM; replies under way get `GRACE_S` seconds to end.

    Raises:
        RequestError: if the address cannot be listened on; nothing is loaded then.
        StageError: if the stages' executor failed for good.
    """
    check_address(host, port)
    if api_key is None and not is_loopback(host):
        print(f"anygpt: no API key is set: anyone who can reach {host} can use the service", file=sys.stderr)
    with closing_on_sigterm(), load() as model:
        server = make_server(model, host, port, api_key)
        print(f"anygpt: serving {model.config.name} at http://{host}:{port}/v1", file=sys.stderr, flush=True)
        server.run()
        if model.executor.failure is not None:
            raise model.executor.failure


def check_address(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, before anything is loaded.

    Raises:
        RequestError: saying why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"--host {host} --port {port}: cannot be listened on ({reason}); give others") from error
