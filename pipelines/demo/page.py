"""Serves the page, beside the caller or until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from anygpt.errors import RequestError, StageError
from pipelines.demo.backends import Backend
from pipelines.demo.components import build_page, gradio_app, import_gradio
from pipelines.demo.guard import Guard
from pipelines.demo.inputs import functions_of
from pipelines.demo.public_paths import PublicPaths
from pipelines.demo.surroundings import for_gradio, ignored_variables, without_network
from pipelines.demo.uploads import Uploads
from pipelines.media_decoding.pool import DecoderPool
from pipelines.serving.hosts import ServedHosts

MAX_HEADER_BYTES = 64 * 1024
CONNECTIONS = 8192  # silent ones are closed after half a minute
EVERYWHERE = ("", "0.0.0.0", "::")


@contextmanager
def serve_page(backend: Backend, host: str = "127.0.0.1", port: int = 7860) -> Iterator[str]:
    """Serve the page beside the caller; leaving the context ends it and removes all its files.

    Yields:
        The page's address.
    Raises:
        MissingExtraError: without gradio.
        RequestError: if the port cannot be had, or no file can be written.
    """
    with _listening(host, port) as listener, _folder() as folder, for_gradio(folder), _decoders(backend) as decoders:
        with without_network():
            import_gradio()
            uploads = Uploads(folder, backend.input_modalities, backend.limits, backend.service)
            with ThreadPoolExecutor(1) as builder:  # the caller may have a running event loop
                page, app = builder.submit(asyncio.run, _built(backend, uploads, decoders)).result()
        hosts = ServedHosts(host, tuple(backend.service.allowed_origins))
        limits = (backend.service, backend.limits.max_text_chars)
        guard = Guard(app, hosts, PublicPaths(folder), uploads, functions_of(page.get_config_file()), *limits)
        server = _BesideServer(guard, listener, backend.service.write_timeout_s)
        try:
            yield address_of(host, port)
        finally:
            page.close(verbose=False)
            server.close()


async def _built(backend: Backend, uploads: Uploads, decoders: DecoderPool) -> tuple[Any, Any]:
    """The page and its application. A coroutine: outside of one, gradio makes event loops that it never closes."""
    page = build_page(backend, uploads, decoders)
    return page, gradio_app(page, backend)


class _BesideServer:
    """Serves an application in a thread until it is closed; what is under way then is cancelled."""

    def __init__(self, app: Any, listener: socket.socket, write_timeout_s: float) -> None:
        import uvicorn

        from pipelines.serving.server import Protocol

        config = uvicorn.Config(
            app,
            http=partial(Protocol, write_timeout_s=write_timeout_s),  # type: ignore[arg-type]
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            limit_concurrency=CONNECTIONS,
            workers=1,  # not what WEB_CONCURRENCY says
            ws="none",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="error",
        )
        self._server = uvicorn.Server(config)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener,), name="anygpt-page", daemon=True)
        self._thread.start()
        self._ready.wait()
        if not self._server.started:
            self._thread.join()
            raise StageError("page", "its server has not started; see the messages above")

    def close(self) -> None:
        """End it at once."""
        log = logging.getLogger("uvicorn.error")
        log.disabled = True  # it would trace every request that is cut off
        self._server.force_exit = self._server.should_exit = True
        self._thread.join()
        log.disabled = False

    def _run(self, listener: socket.socket) -> None:
        try:
            asyncio.run(self._serve(listener))
        finally:
            self._ready.set()

    async def _serve(self, listener: socket.socket) -> None:
        serving = asyncio.ensure_future(self._server.serve([listener]))
        while not (self._server.started or serving.done()):
            await asyncio.sleep(0.005)
        self._ready.set()
        await serving


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens already, so that nobody else can take the port meanwhile."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from error
    with listener:
        try:
            if os.name == "posix":  # a port that was in use a moment ago
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        yield listener


def _cannot_listen(host: str, port: int, error: Exception) -> RequestError:
    reason = getattr(error, "strerror", None) or error
    return RequestError(f"--port: {host}:{port} cannot be listened on ({reason}); give another port")


@contextmanager
def _decoders(backend: Backend) -> Iterator[DecoderPool]:
    """Processes that read attached files."""
    decoders = DecoderPool(backend.limits.decode_timeout_s)
    try:
        yield decoders
    finally:
        decoders.close()


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the page's files."""
    try:
        os.getcwd()  # gradio wants to know it
    except OSError as error:
        raise RequestError(f"the working directory is gone ({error.strerror}); change to another") from error
    try:
        folder = tempfile.TemporaryDirectory(prefix="anygpt-demo-")
    except OSError as error:
        raise RequestError(
            f"TMPDIR: no folder for the page's files can be made ({error.strerror}); set TMPDIR to one with room"
        ) from error
    with folder as path:
        yield Path(path)


def address_of(host: str, port: int) -> str:
    """Where a browser on this machine finds the page."""
    name = "localhost" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def launch_page(backend: Backend, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the page until Ctrl-C or a request to terminate; errors as in `serve_page`."""
    for number in (signal.SIGINT, signal.SIGTERM):  # both, as shells start background programs deaf to SIGINT
        signal.signal(number, signal.default_int_handler)
    if names := ignored_variables():
        print(f"anygpt: {', '.join(names)}: without effect on this page; see anygpt demo --help", file=sys.stderr)
    with serve_page(backend, host, port) as url:
        try:
            print(f"anygpt: the page is at {url} (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
