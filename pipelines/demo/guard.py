"""Stands before gradio: lets through what the page needs, and answers everything else with one line.

gradio has routes that the page does not use (a proxy, fetching of addresses, saved links, monitoring, an API). What is
not listed here does not exist. Uploads are taken in here, and gradio never gets an address or a path from a browser.
"""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import parse_qs

from anygpt.config.schema import ServiceLimits
from anygpt.errors import RequestError
from pipelines.demo.concurrency import ConcurrencyLimit
from pipelines.demo.exchange import Exchange
from pipelines.demo.payloads import SESSION, Functions, checked_cancellation, checked_event
from pipelines.demo.public_paths import PublicPaths
from pipelines.demo.receiving import receive_files
from pipelines.demo.refusals import RefusedError, quoted
from pipelines.demo.unseen_paths import UnseenPaths
from pipelines.demo.uploads import Uploads
from pipelines.serving.hosts import ServedHosts

API = "/gradio_api"
FILE, HEARTBEAT = f"{API}/file=", f"{API}/heartbeat/"
PAGES = ("/", "/config", f"{API}/app_id")  # which name files
LOOKS = ("/theme.css", "/manifest.json", "/favicon.ico", "/robots.txt")
LOOKS_UNDER = ("/assets/", "/static/")
CALLS = (f"{API}/queue/join", f"{API}/run/predict")
MAX_PATH_CHARS = 1024
DRAIN_S = 8.0  # for the rest of a body that is refused
BYTES_PER_CHAR = 12  # of text in JSON, at most

log = logging.getLogger(__name__)


class Guard:
    """An ASGI application around gradio's.

    Args:
        app: gradio's.
        hosts: whom to serve.
        paths: the public names of files.
        uploads: takes files in.
        functions: the page's functions, and what each takes.
        service, max_text_chars: what a request may weigh and how long it may take.
    """

    def __init__(
        self,
        app: Any,
        hosts: ServedHosts,
        paths: PublicPaths,
        uploads: Uploads,
        functions: Functions,
        service: ServiceLimits,
        max_text_chars: int,
    ) -> None:
        self.app, self.hosts, self.paths, self.uploads, self.functions = app, hosts, paths, uploads, functions
        self.silence_s = service.body_timeout_s
        self.max_body_bytes = BYTES_PER_CHAR * max_text_chars + 64 * 1024
        self.uploading = ConcurrencyLimit("uploads", per_person=8, in_all=64)
        self.listening = ConcurrencyLimit("open pages", per_person=256, in_all=900)
        self.calling = ConcurrencyLimit("requests", per_person=32, in_all=128)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, told_as_json=CALLS)
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            self._check_who_asks(exchange)
            await self._answer(exchange)
        except RefusedError as refusal:
            await exchange.drain(DRAIN_S)
            await exchange.refuse(refusal)
        except Exception as error:
            log.error("%s %s: %s: %s", scope["method"], scope["path"], type(error).__name__, error)
            await exchange.refuse(RefusedError(500, f"{type(error).__name__}: a bug of the page; see its log"))

    def _check_who_asks(self, exchange: Exchange) -> None:
        try:
            self.hosts.check(exchange.scope["headers"])
        except RequestError as error:
            raise RefusedError(403, str(error)) from error

    async def _answer(self, exchange: Exchange) -> None:
        path, method = exchange.path, exchange.method
        if len(path) > MAX_PATH_CHARS:
            raise RefusedError(404, f"{quoted(path[:60] + '…')}: the page has no such address; open /")
        reads = method in ("GET", "HEAD")
        if reads and (path in LOOKS or path.startswith(LOOKS_UNDER)):
            await self.app(exchange.scoped(may_be_compressed=True), exchange.receive, exchange.send)
        elif reads and path.startswith(FILE):
            await self._file(exchange, path.removeprefix(FILE))
        elif reads and path in PAGES:
            await self._through(exchange, exchange.scoped())
        elif method == "GET" and path == f"{API}/queue/data":
            (session,) = parse_qs(exchange.scope["query_string"].decode("latin-1")).get("session_hash", [""])[:1]
            with self.listening.one_for(exchange.person):
                await self._through(exchange, exchange.scoped(query=f"session_hash={_session(session)}"))
        elif method == "GET" and path.startswith(HEARTBEAT):
            _session(path.removeprefix(HEARTBEAT))
            with self.listening.one_for(exchange.person):
                await self._through(exchange, exchange.scoped())
        elif method == "POST" and path in CALLS:
            call, files = checked_event(await self._body(exchange), self.functions, self.paths)
            self.uploads.keep(files)
            await self._through(exchange, exchange.scoped(body=call), call)
        elif method == "POST" and path == f"{API}/cancel":
            call = checked_cancellation(await self._body(exchange), self.functions)
            await self._through(exchange, exchange.scoped(body=call), call)
        elif method == "POST" and path == f"{API}/reset":
            await self._body(exchange)
            await exchange.answer(200, b'{"success": true}', "application/json")
        elif method == "POST" and path == f"{API}/upload":
            await self._upload(exchange)
        else:
            raise RefusedError(404, f"{quoted(f'{method} {path}')}: the page has no such address; open /")

    async def _file(self, exchange: Exchange, name: str) -> None:
        path = self.paths.find(name)
        if path is None:
            raise RefusedError(403, f"file: {quoted(name)} given, expected a file of this page that is kept")
        await self.app(exchange.scoped(path=f"{FILE}{path}"), exchange.receive, exchange.send)

    async def _through(self, exchange: Exchange, scope: dict[str, Any], body: bytes = b"") -> None:
        """Let gradio answer, and hide this machine's paths in what it says."""
        unseen = UnseenPaths(exchange.send, self.paths.hide, is_head=exchange.method == "HEAD")
        await self.app(scope, exchange.receiving(body), unseen.send)

    async def _body(self, exchange: Exchange) -> bytes:
        with self.calling.one_for(exchange.person):
            return await exchange.body(self.max_body_bytes, self.silence_s)

    async def _upload(self, exchange: Exchange) -> None:
        with self.uploading.one_for(exchange.person):
            pieces = exchange.pieces(self.silence_s)
            files = await receive_files(exchange.header(b"content-type"), pieces, self.uploads, exchange.person)
        names = [f"{self.paths.name}/{file.parent.name}/{file.name}" for file in files]
        await exchange.answer(200, json.dumps(names).encode(), "application/json")


def _session(value: str) -> str:
    if not SESSION.fullmatch(value):
        raise RefusedError(
            400, f"session_hash: {quoted(value)} given, expected 1 to 64 letters and digits; reload the page"
        )
    return value
