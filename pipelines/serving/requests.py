"""From OpenAI's request bodies to requests of the pipeline. Media are decoded by a `DecoderPool`, within the limits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from anygpt.config.schema import StackConfig
from anygpt.errors import MediaError, RequestError
from anygpt.media.kinds import KINDS
from anygpt.messages import MediumRef, Message, Part, modality_of
from anygpt.options import OPTIONS, ReplyOptions, drawn_seed, request_options
from pipelines.any_to_any import Request
from pipelines.media_decoding.fetching import is_allowed
from pipelines.media_decoding.pool import DecoderPool
from pipelines.media_json import MODALITY_OF_TYPE
from pipelines.serving.errors import ServiceError
from pipelines.serving.markdown_media import split_pictures
from pipelines.serving.schema import (
    AssistantMessage,
    ChatBody,
    ImagesBody,
    ImageUrl,
    InputAudioPart,
    LostMedium,
    MediaPart,
    ReplyImage,
    ReplyMediumPart,
    TextPart,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


async def chat_request(
    body: ChatBody, config: StackConfig, decoders: DecoderPool, client: str | None = None
) -> Request:
    """The request that a chat body asks for; cancelling it ends the decoding of its media.

    Raises:
        ServiceError: 404 for another model's name, 413 for too much.
        RequestError, MediaError: if the conversation, an option or a picture cannot be used.
    """
    check_model(body.model, config)
    if not body.messages:
        raise RequestError("messages: none given, expected at least one, the user's")
    width_px, height_px = _size(body.size)
    stop = [text for text in [body.stop] if text] if isinstance(body.stop, str) else body.stop
    asked = _options_of(
        body,
        seed=body.seed,
        modalities=body.modalities or None,
        stop=stop,
        max_tokens=_tokens(body, config),
        width_px=width_px,
        height_px=height_px,
    )
    options = request_options(**asked)  # first: what they refuse costs no decoding
    media = _Media(config, decoders, client)
    try:
        conversation = await asyncio.wait_for(media.conversation(body.messages), config.limits.decode_timeout_s)
    except asyncio.TimeoutError as error:
        raise RequestError(
            f"messages: reading their media takes longer than limits.decode_timeout_s="
            f"{config.limits.decode_timeout_s:g} seconds; send fewer or smaller ones"
        ) from error
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
        check_model(body.model, config)
    if not body.prompt.strip():
        raise RequestError("prompt: an empty text given, expected what to draw")
    count = body.n or 1
    first_seed = drawn_seed() if body.seed is None else body.seed
    if count > config.service.max_images:
        raise RequestError(f"n: {count} given, expected at most {config.service.max_images}")
    width_px, height_px = _size(body.size)
    requests = []
    for at in range(count):
        # Text is allowed, so that the model can say why it draws nothing.
        asked = _options_of(
            body, seed=first_seed + at, modalities=["text", "image"], width_px=width_px, height_px=height_px
        )
        requests.append(Request([Message("user", body.prompt)], request_options(**asked)))
    return requests


def check_model(name: str, config: StackConfig) -> None:
    """Refuse a name that is not the model's, nor one of `service.model_aliases`.

    Raises:
        ServiceError: 404.
    """
    aliases = config.service.model_aliases
    if name != config.name and name not in aliases and "*" not in aliases:
        message = f"model: '{name}' given, but this service has: {config.name}"
        raise ServiceError(404, message, param="model", code="model_not_found")


def _options_of(body: ChatBody | ImagesBody, **others: Unpack[ReplyOptions]) -> ReplyOptions:
    """The options of the table that the body has under their own names, and `others`."""
    own = {name: getattr(body, name, None) for name in OPTIONS}
    return cast(ReplyOptions, {**own, **others})


def _tokens(body: ChatBody, config: StackConfig) -> int | None:
    asked = body.max_completion_tokens if body.max_tokens is None else body.max_tokens
    if body.max_completion_tokens not in (None, asked):
        raise RequestError(
            f"max_tokens: {asked} given together with max_completion_tokens={body.max_completion_tokens}; leave one out"
        )
    limit = config.service.max_tokens
    if asked is not None and asked > limit:
        raise RequestError(f"max_tokens: {asked} given, expected at most {limit}")
    return asked


def _size(size: str | None) -> tuple[int | None, int | None]:
    if size in (None, "", "auto"):
        return None, None
    match = _SIZE.fullmatch(size or "")
    if not match:
        raise RequestError(f"size: '{size}' given, expected widthxheight in pixels, as in 64x64, or auto")
    return int(match[1]), int(match[2])


class _Media:
    """A request's messages with their media decoded, as long as all of them together stay within the limit."""

    def __init__(self, config: StackConfig, decoders: DecoderPool, client: str | None) -> None:
        self.config = config
        self.client = client
        self.decoders = decoders
        self.bytes = 0

    async def conversation(self, messages: Sequence[Any]) -> list[Message]:
        """The messages."""
        return [await self._message(message) for message in messages]

    async def _message(self, message: Any) -> Message:
        if isinstance(message, AssistantMessage):
            return await self._reply(message)
        if message.role in ("system", "developer"):
            return Message("system", _joined(message.content))
        if isinstance(message.content, str):
            return Message("user", message.content)
        parts = [part.text if isinstance(part, TextPart) else await self._load(part) for part in message.content]
        return Message("user", parts)

    async def _reply(self, message: AssistantMessage) -> Message:
        """An earlier reply's parts in order: every medium, or a lost one's place, after the characters before it."""
        if message.audio and not message.audios:
            raise RequestError(
                "audio: an earlier sound by its id given, which is not kept; give its message back whole"
            )
        text = _joined(message.content) or message.refusal or ""
        media: list[ReplyMediumPart | LostMedium] = list(message.media)
        text, shown = split_pictures(text)
        if shown:  # the pictures are in the text as Markdown; `images` holds the same ones, if it came back at all
            pictures = [_picture(offset, url) for offset, url in shown]
            media = [*pictures, *(medium for medium in media if not isinstance(medium, ReplyImage))]
        media += [medium for medium in message.errors or () if medium.type in self.config.generators]
        parts: list[Part] = []
        start = 0
        for medium in sorted(media, key=lambda m: (m.text_offset is None, m.text_offset, m.index or 0)):
            end = len(text) if medium.text_offset is None else min(max(medium.text_offset, start), len(text))
            lost = isinstance(medium, LostMedium)
            parts += [text[start:end], MediumRef(medium.type) if lost else await self._load(medium)]
            start = end
        return Message("assistant", [part for part in (*parts, text[start:]) if part != ""])

    async def _load(self, part: Any) -> Any:
        """Decode one medium.

        Raises:
            MediaError: if it cannot be used.
            ServiceError: 413 if all media together are too large.
        """
        modality = MODALITY_OF_TYPE.get(part.type, "audio")  # OpenAI's own part for sound has a name of its own
        kind, limits = KINDS[modality], getattr(self.config.limits, modality)
        source, is_address = self._source(part, kind.mime)
        fetched_for = part.type if is_address else None
        medium = await self.decoders.decode(modality, source, limits, fetched_for=fetched_for, client=self.client)
        self.bytes += kind.num_bytes(medium)
        most = self.config.service.max_media_bytes
        if self.bytes > most:
            raise ServiceError(413, f"messages: media of more than {most} bytes in all, decoded; shrink them")
        return medium

    def _source(self, part: MediaPart | ReplyMediumPart, mime: str) -> tuple[str, bool]:
        """A data URL, or an address that may be fetched and True."""
        if isinstance(part, InputAudioPart):
            return f"data:audio/wav;base64,{part.input_audio.data}", False
        url: str = getattr(part, part.type).url
        if url[:5].lower() == "data:":
            return url, False
        hosts = self.config.service.allowed_hosts
        if is_allowed(url, hosts):
            return url, True
        raise MediaError(
            f"{part.type}: {_given(url)} given, expected a data URL (data:{mime};base64,…); "
            f"hosts that may be asked over https: {', '.join(hosts) or 'none'}"
        )


def _given(url: str) -> str:
    if not url:
        return "nothing"
    return "an address" if "://" in url[:32] else "a text that is no data URL"


def _picture(offset: int, url: str) -> ReplyImage:
    return ReplyImage(type="image_url", image_url=ImageUrl(url=url), index=None, text_offset=offset)


def _joined(content: str | Sequence[TextPart] | None) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content or ())
