"""The web page: a chat in the browser. The one file that knows gradio, which is imported only when a page is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anygpt.errors import MissingExtraError
from anygpt.options import GENERATION, OPTIONS, Option
from pipelines.demo.backends import Backend
from pipelines.demo.conversation import Session
from pipelines.demo.examples import examples_of
from pipelines.demo.handlers import Handlers
from pipelines.demo.media import endings, in_words, upload_limit_bytes
from pipelines.demo.uploads import Uploads
from pipelines.media_decoding.pool import DecoderPool

if TYPE_CHECKING:
    import gradio as gr

REPLIES_AT_ONCE = 8
REPLIES_WAITING = 256  # more are refused
SESSIONS = 1000  # the one that was used least recently is forgotten
CLEAN_UP_EVERY_S, KEEP_FILES_S = 3600, 24 * 3600
# gradio's share button would upload a picture to a public site.
CSS = """
button[aria-label="Share"] { display: none }
.message .md { white-space: pre-wrap }
.message .md small { opacity: 0.6 }
.message img { min-width: 12rem; object-fit: contain !important }
.message .minimal-audio-player { white-space: normal }
.message video { min-width: 12rem; max-height: 20rem }
.message .model3D { width: 18rem; max-width: 100%; height: 18rem }
"""


def gradio_app(page: gr.Blocks, backend: Backend) -> Any:
    """The page as an ASGI application."""
    from fastapi import FastAPI

    page.state_session_capacity = SESSIONS
    page.queue(default_concurrency_limit=REPLIES_AT_ONCE, max_size=REPLIES_WAITING, api_open=False)
    return import_gradio().mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path="/",
        root_path="",
        theme=_theme(),
        css=CSS,
        max_file_size=upload_limit_bytes(backend.limits, backend.input_modalities),
        show_error=True,
        ssr_mode=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
    )


def build_page(backend: Backend, uploads: Uploads, decoders: DecoderPool, *, title: str = "anygpt") -> gr.Blocks:
    """The page's components and what they do, not yet served.

    Args:
        backend: answers.
        uploads: the files that people attach.
        decoders: read them.
        title: of the page.
    Raises:
        MissingExtraError: without gradio.
    """
    gr = import_gradio()
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
        session = gr.State(Session(), delete_callback=lambda session: uploads.delete(session.files()))
        Handlers(gr, backend, folder, uploads, decoders, session, chat, box, stop, retry, clear, settings).connect()
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
    # Text, since a number would lose digits in the browser.
    seed = gr.Textbox(label="Seed", placeholder="drawn anew for every reply", max_lines=1)
    controls = {"modalities": allowed, "seed": seed}
    for option in GENERATION:
        if option.label and any(modality in makes for modality in option.modalities or makes):
            controls[option.name] = _number(gr, option)
    temperature = OPTIONS["temperature"]
    controls["temperature"] = gr.Slider(0, 2, 0, step=0.1, label=temperature.label, info=temperature.help)
    controls["max_tokens"] = _number(gr, OPTIONS["max_tokens"])
    return controls


def _number(gr: Any, option: Option) -> Any:
    """A field in which 0 means that nothing is asked for."""
    precision = 0 if option.kind is int else None
    return gr.Number(0, precision=precision, label=option.label, info=f"{option.help} 0 takes the default.")


def import_gradio() -> Any:
    try:
        import gradio
    except ImportError as error:
        raise MissingExtraError("the page needs gradio: pip install 'anygpt[demo]'") from error
    return gradio


def _theme() -> Any:
    """Fonts that every system has: nothing is fetched from elsewhere."""
    gr = import_gradio()
    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
