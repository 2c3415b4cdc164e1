"""The web page: a chat in the browser. The one file that knows gradio, which is imported only when a page is built."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anygpt.errors import MissingExtraError, RequestError
from pipelines.demo.backends import Backend
from pipelines.demo.conversation import Session
from pipelines.demo.examples import examples_of
from pipelines.demo.handlers import Handlers
from pipelines.demo.media import endings, in_words, upload_limit_bytes

if TYPE_CHECKING:
    import gradio as gr

REPLIES_AT_ONCE = 8
CLEAN_UP_EVERY_S, KEEP_FILES_S = 3600, 24 * 3600
# No statistics: none are sent, and none are worked out after every event.
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9)}
# gradio's share button would upload a picture to a public site.
CSS = """
button[aria-label="Share"] { display: none }
.message .md { white-space: pre-wrap }
.message img { min-width: 12rem; object-fit: contain !important }
.message .minimal-audio-player { white-space: normal }
.message video { min-width: 12rem; max-height: 20rem }
.message .model3D { width: 18rem; max-width: 100%; height: 18rem }
"""


@contextmanager
def serve_page(backend: Backend, host: str = "127.0.0.1", port: int = 7860) -> Iterator[str]:
    """Serve the page beside the caller; leaving the context ends it and removes all its files.

    Yields:
        The page's address.
    Raises:
        MissingExtraError: without gradio.
        RequestError: if the port cannot be had.
    """
    _check_port(host, port)
    with tempfile.TemporaryDirectory(prefix="anygpt-demo-") as folder, _environment(GRADIO_TEMP_DIR=folder, **QUIET):
        with ThreadPoolExecutor(1) as starter:
            page = starter.submit(asyncio.run, _start(backend, host, port)).result()
        try:
            yield str(page.local_url)
        finally:
            _close(page)


async def _start(backend: Backend, host: str, port: int) -> gr.Blocks:
    """The page, being served. A coroutine: outside of one, gradio makes event loops that it never closes."""
    page = build_page(backend)
    page.queue(default_concurrency_limit=REPLIES_AT_ONCE, api_open=False).launch(
        server_name=host,
        server_port=port,
        theme=_theme(),
        css=CSS,
        max_file_size=upload_limit_bytes(backend.limits, backend.input_modalities),
        prevent_thread_lock=True,
        share=False,
        inbrowser=False,
        show_error=True,
        quiet=True,
        ssr_mode=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
    )
    return page


def _close(page: Any) -> None:
    """End the page at once: replies under way are cancelled instead of waited for."""
    log = logging.getLogger("uvicorn.error")
    log.disabled = True  # it would trace every request that is cut off
    page.server.force_exit = True
    page.close(verbose=False)
    log.disabled = False


def _check_port(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"--port: {host}:{port} cannot be listened on ({reason}); give another port") from error


def launch_page(backend: Backend, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the page until Ctrl-C or a request to terminate; errors as in `serve_page`."""
    for number in (signal.SIGINT, signal.SIGTERM):  # both, as shells start background programs deaf to SIGINT
        signal.signal(number, signal.default_int_handler)
    with serve_page(backend, host, port) as url:
        print(f"anygpt: the page is at {url} (Ctrl-C ends it)", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


def build_page(backend: Backend, *, title: str = "anygpt") -> gr.Blocks:
    """The page's components and what they do, not yet served.

    Raises:
        MissingExtraError: without gradio.
    """
    gr = _import_gradio()
    folder = Path(gr.utils.get_upload_folder())
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(CLEAN_UP_EVERY_S, KEEP_FILES_S)) as page:
        with gr.Row():
            with gr.Column(scale=4):
                chat, box = _chat(gr, backend, title)
                with gr.Row():
                    stop = gr.Button("Stop", variant="stop", interactive=False)
                    retry = gr.Button("Retry")
                    clear = gr.Button("Clear")
                examples = examples_of(backend, folder)
                gr.Examples(
                    examples, box, examples_per_page=len(examples), cache_examples=False, api_visibility="private"
                )
            with gr.Column(scale=1, min_width=220):
                settings = _settings(gr, backend)
        Handlers(gr, backend, folder, gr.State(Session()), chat, box, stop, retry, clear, settings).connect()
    return page


def _chat(gr: Any, backend: Backend, title: str) -> tuple[Any, Any]:
    """The conversation and the box to type in."""
    takes, makes = backend.input_modalities, backend.output_modalities
    ways = {"ask for": makes, "attach": takes}
    invitations = [f"{way} {in_words(modalities)}" for way, modalities in ways.items() if modalities]
    chat = gr.Chatbot(
        label=title,
        height="60vh",
        render_markdown=False,  # with `conversation._text`: all text is shown as it is written
        latex_delimiters=[],
        buttons=[],  # "copy" would copy escaped text
        placeholder=f"{', or '.join(invitations or ['say something'])}.".capitalize(),
    )
    box = gr.MultimodalTextbox(
        show_label=False,
        placeholder="Message",
        file_types=endings(takes),
        file_count="multiple",
        sources=["upload"] * bool(takes) + ["microphone"] * ("audio" in takes),
        autofocus=True,
    )
    return chat, box


def _settings(gr: Any, backend: Backend) -> dict[str, Any]:
    """The controls by the option that each sets; there are those that matter for what the backend makes."""
    makes = backend.output_modalities
    modalities = ["text", *makes]
    allowed = gr.CheckboxGroup(modalities, value=modalities, label="Media allowed")
    controls = {"modalities": allowed, "seed": _number(gr, "Seed", "The same seed gives the same reply.")}
    if makes:
        controls["steps"] = _number(gr, "Steps", "Denoising steps; 0 takes the default.")
        controls["guidance"] = _number(gr, "Guidance", "1 turns guidance off; 0 takes the default.", precision=None)
    if "video" in makes:
        controls["frames"] = _number(gr, "Frames", "Of a video; 0 takes the default.")
    if "audio" in makes:
        controls["duration_s"] = _number(gr, "Seconds", "Of a sound; 0 takes the default.", precision=None)
    controls["temperature"] = gr.Slider(0, 2, 0, step=0.1, label="Temperature", info="0 writes the likeliest text.")
    controls["max_tokens"] = _number(gr, "Length", "Most text tokens; 0 takes the default.")
    return controls


def _number(gr: Any, label: str, info: str, precision: int | None = 0) -> Any:
    return gr.Number(0, precision=precision, label=label, info=info)


def _import_gradio() -> Any:
    try:
        import gradio
    except ImportError as error:
        raise MissingExtraError("the page needs gradio: pip install 'anygpt[demo]'") from error
    return gradio


def _theme() -> Any:
    """Fonts that every system has: nothing is fetched from elsewhere."""
    gr = _import_gradio()
    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables and put them back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
