"""The service's routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from anygpt.config.schema import StackConfig
from anygpt.errors import RequestError
from pipelines.any_to_any import AnyToAny
from pipelines.serving.docs_page import docs_page
from pipelines.serving.errors import ServiceError
from pipelines.serving.hosts import ServedHosts
from pipelines.serving.service import IGNORED, Service

READ = ["GET", "HEAD"]


def create_app(
    pipeline: AnyToAny, config: StackConfig, api_key: str | None = None, hosts: ServedHosts | None = None
) -> FastAPI:
    """The service over a running pipeline.

    Args:
        pipeline: answers; its executor is the caller's to close.
        config: the stack's, for its name and limits.
        api_key: what clients must send as `Authorization: Bearer …`; None lets everyone in.
        hosts: whom to serve; None serves every name and page.
    Raises:
        ConfigError: if the key cannot be one.
    """
    service = Service(pipeline, config, api_key)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        service.decoders.start()
        try:
            yield
        finally:
            service.decoders.close()

    app = FastAPI(
        title="anygpt", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=running
    )
    app.state.service = service
    _add_routes(app, service, config)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(Exception, _unforeseen)
    if hosts is not None:
        app.add_middleware(OwnHosts, hosts=hosts)
    if config.service.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.service.allowed_origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],
            expose_headers=[IGNORED, "Retry-After"],
        )
    return app


def _add_routes(app: FastAPI, service: Service, config: StackConfig) -> None:
    page = docs_page(config)
    app.add_api_route("/", lambda: _welcome(config), methods=READ)
    app.add_api_route("/docs", lambda: HTMLResponse(page), methods=READ)
    app.add_api_route("/live", service.live, methods=READ)
    app.add_api_route("/ready", service.ready, methods=READ)
    app.add_api_route("/health", service.ready, methods=READ)
    app.add_api_route("/metrics", service.show_metrics, methods=READ)
    app.add_api_route("/v1/models", service.models, methods=READ)
    app.add_api_route("/v1/models/{name:path}", service.model, methods=READ)
    app.add_api_route("/v1/chat/completions", service.chat, methods=["POST"])
    app.add_api_route("/v1/images/generations", service.images, methods=["POST"])


class OwnHosts:
    """Refuses what is asked under a foreign name or by a foreign page; an ASGI application around another."""

    def __init__(self, app: ASGIApp, hosts: ServedHosts) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["method"] != "OPTIONS":  # which asks for nothing
            try:
                self.hosts.check(scope["headers"])
            except RequestError as error:
                refusal = ServiceError(403, f"{error}, or give the service a key")
                await JSONResponse(refusal.body(), refusal.status)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _welcome(config: StackConfig) -> Response:
    links = {"docs": "/docs", "models": "/v1/models", "ready": "/ready"}
    return JSONResponse({"service": "anygpt", "model": config.name, **links})


async def _service_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return JSONResponse(error.body(), error.status, error.headers)


async def _http_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{http.method} {http.url.path}: {error.detail.lower()}; /docs lists what there is"
    if http.method == "OPTIONS":
        message += "; for a web page of another origin set service.allowed_origins"
    return await _service_error(http, ServiceError(error.status_code, message))


async def _unforeseen(http: Request, error: Exception) -> Response:
    return await _service_error(http, ServiceError(503, f"{type(error).__name__}: a bug of the service; see its log"))
