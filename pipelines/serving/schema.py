"""What a client may send: OpenAI's request bodies, with what this service adds.

Types are checked field by field. What a body holds besides is kept apart, so that it can be named (`bodies.py`); what
OpenAI's interface has and this service has not is in `unavailable.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipelines.serving.unavailable import CHAT, IMAGES, REPLY, Unavailable


class Sent(BaseModel):
    """No conversion of types; unknown fields are kept in `model_extra`.

    Attributes:
        unavailable: fields of OpenAI's that may be there as long as they ask for nothing.
    """

    model_config = ConfigDict(strict=True, extra="allow")
    unavailable: ClassVar[dict[str, Unavailable]] = {}


class TextPart(Sent):
    """Text of a message."""

    type: Literal["text"]
    text: str


class MediaUrl(Sent):
    """A data URL, or an address on a host that the service may ask."""

    url: str


class ImageUrl(MediaUrl):
    """With OpenAI's wish for detail, which changes nothing here."""

    detail: str | None = None


def _with_url(value: Any) -> Any:
    """Some clients give the address itself in the place of {"url": address}."""
    return {"url": value} if isinstance(value, str) else value


class ImagePart(Sent):
    """A picture of a message."""

    type: Literal["image_url"]
    image_url: Annotated[ImageUrl, BeforeValidator(_with_url)]


class AudioPart(Sent):
    """A sound of a message."""

    type: Literal["audio_url"]
    audio_url: Annotated[MediaUrl, BeforeValidator(_with_url)]


class VideoPart(Sent):
    """A video of a message."""

    type: Literal["video_url"]
    video_url: Annotated[MediaUrl, BeforeValidator(_with_url)]


class PointsPart(Sent):
    """A point cloud of a message."""

    type: Literal["points_url"]
    points_url: Annotated[MediaUrl, BeforeValidator(_with_url)]


class InputAudio(Sent):
    """A sound as OpenAI has it: base64 of a file; its content says of which format it is."""

    data: str
    format: str


class InputAudioPart(Sent):
    """A sound of a message, in OpenAI's shape."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class InReply(Sent):
    """Where a medium of an earlier reply stood: among the reply's parts, and after how many characters."""

    index: int | None = Field(None, ge=0)
    text_offset: int | None = Field(None, ge=0)


class ReplyImage(ImagePart, InReply):
    """A picture of an earlier reply."""


class ReplyAudio(AudioPart, InReply):
    """A sound of an earlier reply."""


class ReplyVideo(VideoPart, InReply):
    """A video of an earlier reply."""


class LostMedium(InReply):
    """A medium that an earlier reply should have had: its place is part of the conversation."""

    type: str
    stage: str | None = None
    message: str | None = None


MediaPart = ImagePart | AudioPart | InputAudioPart | VideoPart | PointsPart
ReplyMediumPart = ReplyImage | ReplyAudio | ReplyVideo


class SystemMessage(Sent):
    """Instructions."""

    role: Literal["system", "developer"]
    content: str | list[TextPart]
    name: str | None = None


class UserMessage(Sent):
    """What the user says and shows."""

    role: Literal["user"]
    content: str | list[Annotated[TextPart | MediaPart, Field(discriminator="type")]]
    name: str | None = None


class AssistantMessage(Sent):
    """An earlier reply, as this service gave it."""

    role: Literal["assistant"]
    content: str | list[TextPart] | None = None
    images: list[ReplyImage] | None = None
    audios: list[ReplyAudio] | None = None
    videos: list[ReplyVideo] | None = None
    errors: list[LostMedium] | None = None
    name: str | None = None
    # What OpenAI's client writes back with an earlier reply.
    unavailable: ClassVar[dict[str, Unavailable]] = REPLY
    refusal: str | None = None  # in the place of `content`
    audio: dict[str, Any] | None = None  # the first of `audios` once more
    annotations: list[Any] | None = None

    @property
    def media(self) -> list[ReplyMediumPart]:
        """The reply's media, of all modalities."""
        return [*(self.images or ()), *(self.audios or ()), *(self.videos or ())]


class StreamOptions(Sent):
    """How to stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class AudioFormat(Sent):
    """How OpenAI's client asks for sounds: there is one format, and a voice says nothing to a sound generator."""

    format: Literal["wav"]
    voice: str | None = None


class ChatBody(Sent):
    """`POST /v1/chat/completions`."""

    model: str
    messages: list[Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    modalities: list[str] | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    # Beyond OpenAI's.
    top_k: int | None = None
    steps: int | None = None
    guidance: float | None = None
    size: str | None = None
    frames: int | None = None
    duration_s: float | None = None
    markdown_media: bool | None = None
    # Taken, since they ask for nothing that a reply would show.
    audio: AudioFormat | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    unavailable: ClassVar[dict[str, Unavailable]] = CHAT


class ImagesBody(Sent):
    """`POST /v1/images/generations`."""

    prompt: str
    model: str | None = None
    n: int | None = Field(None, ge=1)
    size: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    user: str | None = None
    moderation: str | None = None
    unavailable: ClassVar[dict[str, Unavailable]] = IMAGES
