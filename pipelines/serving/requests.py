"""From OpenAI's request bodies to requests of the pipeline. Media are decoded here, within the service's limits."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from anygpt.config import StackConfig
from anygpt.errors import MediaError, RequestError
from anygpt.media.kinds import KINDS
from anygpt.messages import MediumRef, Message, Part, modality_of
from anygpt.requests import drawn_seed
from pipelines.any_to_any import Request
from pipelines.assistant import request_options
from pipelines.serving.errors import ServiceError
from pipelines.serving.schema import (
    AssistantMessage,
    ChatBody,
    ImagesBody,
    InputAudioPart,
    LostMedium,
    MediaPart,
    ReplyMedium,
    TextPart,
)
from pipelines.wire import MODALITY_OF_TYPE

FETCH_TIMEOUT_S = 10.0
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


def chat_request(body: ChatBody, config: StackConfig) -> Request:
    """The request that a chat body asks for.

    Raises:
        ServiceError: 404 for another model's name, 413 for too much.
        RequestError, MediaError: if the conversation, an option or a picture cannot be used.
    """
    _check_model(body.model, config)
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise RequestError("max_tokens: given together with max_completion_tokens; leave one out")
    budget = _MediaBudget(config)
    conversation = [_message(message, budget) for message in body.messages]
    width_px, height_px = _size(body.size)
    options = request_options(
        seed=body.seed,
        modalities=body.modalities,
        max_tokens=_tokens(body, config),
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_k=body.top_k or 0,
        stop=body.stop,
        steps=body.steps,
        guidance=body.guidance,
        width_px=width_px,
        height_px=height_px,
        frames=body.frames,
        duration_s=body.duration_s,
    )
    return Request(conversation, options)


def media_bytes(request: Request) -> int:
    """What all decoded media of a request take in memory."""
    parts = [part for message in request.conversation for part in message.parts]
    media = [part for part in parts if not isinstance(part, (str, MediumRef))]
    return sum(KINDS[modality_of(medium)].num_bytes(medium) for medium in media)


def image_requests(body: ImagesBody, config: StackConfig) -> list[Request]:
    """One request for each picture, with seeds that count up.

    Raises:
        ServiceError, RequestError: as `chat_request`.
    """
    if body.model is not None:
        _check_model(body.model, config)
    count = body.n or 1
    first_seed = drawn_seed() if body.seed is None else body.seed
    if count > config.service.max_images:
        raise RequestError(f"n: {count} given, expected at most {config.service.max_images}")
    width_px, height_px = _size(body.size)
    return [
        Request(
            [Message("user", body.prompt)],
            request_options(
                seed=first_seed + at,
                modalities=["image"],
                steps=body.steps,
                guidance=body.guidance,
                width_px=width_px,
                height_px=height_px,
            ),
        )
        for at in range(count)
    ]


def _check_model(name: str, config: StackConfig) -> None:
    if name != config.name:
        message = f"model: '{name}' given, but this service has: {config.name}"
        raise ServiceError(404, message, param="model", code="model_not_found")


def _tokens(body: ChatBody, config: StackConfig) -> int | None:
    asked = body.max_completion_tokens if body.max_tokens is None else body.max_tokens
    limit = config.service.max_tokens
    if asked is not None and asked > limit:
        raise RequestError(f"max_tokens: {asked} given, expected at most {limit}")
    return asked


def _size(size: str | None) -> tuple[int | None, int | None]:
    if size in (None, "auto"):
        return None, None
    match = _SIZE.fullmatch(size or "")
    if not match:
        raise RequestError(f"size: '{size}' given, expected widthxheight in pixels, as in 64x64, or auto")
    return int(match[1]), int(match[2])


class _MediaBudget:
    """Decodes a request's media as long as all of them together stay within the service's limit."""

    def __init__(self, config: StackConfig) -> None:
        self.config = config
        self.bytes = 0

    def load(self, part: MediaPart | ReplyMedium) -> Any:
        service = self.config.service
        modality = MODALITY_OF_TYPE.get(part.type, "audio")  # OpenAI's own part for sound has a name of its own
        kind, limits = KINDS[modality], getattr(self.config.limits, modality)
        medium = kind.load(self._source(part, kind.mime, limits.max_bytes), limits)
        self.bytes += kind.num_bytes(medium)
        if self.bytes > service.max_media_bytes:
            raise ServiceError(
                413, f"messages: media of more than {service.max_media_bytes} bytes in all, decoded; shrink them"
            )
        return medium

    def _source(self, part: MediaPart | ReplyMedium, mime: str, max_bytes: int) -> str | bytes:
        if isinstance(part, InputAudioPart):
            return f"data:audio/{part.input_audio.format};base64,{part.input_audio.data}"
        url: str = getattr(part, part.type).url
        if url.startswith("data:"):
            return url
        if _host(url) in self.config.service.allowed_hosts:
            return _fetch(part.type, url, max_bytes)
        allowed = ", ".join(self.config.service.allowed_hosts) or "none"
        raise MediaError(
            f"{part.type}: {'an address' if url else 'nothing'} given, expected a data URL (data:{mime};base64,…); "
            f"hosts that may be asked over https: {allowed}"
        )


def _host(url: str) -> str | None:
    """The host of an https address; None of anything else."""
    try:
        address = urllib.parse.urlsplit(url)
    except ValueError:
        return None
    return address.hostname if address.scheme == "https" else None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An allowed host must not send the service elsewhere."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _fetch(name: str, url: str, max_bytes: int) -> bytes:
    try:
        with urllib.request.build_opener(_NoRedirects).open(url, timeout=FETCH_TIMEOUT_S) as answer:
            data: bytes = answer.read(max_bytes + 1)
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise MediaError(f"{name}: the address cannot be read ({error}); send the file as a data URL") from error
    return data


def _message(message: Any, budget: _MediaBudget) -> Message:
    if isinstance(message, AssistantMessage):
        if message.audio and not message.audios:
            raise RequestError(
                "audio: an earlier sound by its id given, which is not kept; give its message back whole"
            )
        lost = [medium for medium in message.errors or () if medium.type in budget.config.generators]
        return Message("assistant", _reply_parts(_joined(message.content), [*message.media, *lost], budget))
    if message.role in ("system", "developer"):
        return Message("system", _joined(message.content))
    if isinstance(message.content, str):
        return Message("user", message.content)
    return Message("user", [part.text if isinstance(part, TextPart) else budget.load(part) for part in message.content])


def _joined(content: str | Sequence[TextPart] | None) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content or ())


def _reply_parts(text: str, media: Sequence[ReplyMedium | LostMedium], budget: _MediaBudget) -> list[Part]:
    """An earlier reply's parts in order: every medium, or a lost one's place, after the characters before it."""
    parts: list[Part] = []
    start = 0
    for medium in sorted(media, key=lambda medium: (medium.text_offset is None, medium.text_offset, medium.index or 0)):
        end = len(text) if medium.text_offset is None else min(max(medium.text_offset, start), len(text))
        parts += [text[start:end], MediumRef(medium.type) if isinstance(medium, LostMedium) else budget.load(medium)]
        start = end
    return [part for part in (*parts, text[start:]) if part != ""]
