"""What a client may send: OpenAI's request bodies, with what this service adds, checked field by field."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anygpt.media.sources import one_line
from pipelines.serving.errors import ServiceError

Body = TypeVar("Body", bound=BaseModel)


class Strict(BaseModel):
    """No conversion of types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid")


class TextPart(Strict):
    """Text of a message."""

    type: Literal["text"]
    text: str


class MediaUrl(Strict):
    """A data URL, or an address on a host that the service may ask."""

    url: str


class ImageUrl(MediaUrl):
    """With OpenAI's wish for detail, which changes nothing here."""

    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Strict):
    """A picture of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class AudioPart(Strict):
    """A sound of a message."""

    type: Literal["audio_url"]
    audio_url: MediaUrl


class VideoPart(Strict):
    """A video of a message."""

    type: Literal["video_url"]
    video_url: MediaUrl


class PointsPart(Strict):
    """A point cloud of a message."""

    type: Literal["points_url"]
    points_url: MediaUrl


class InputAudio(Strict):
    """A sound as OpenAI has it: base64 of a file."""

    data: str
    format: Literal["wav", "mp3", "flac", "ogg", "opus", "m4a"]


class InputAudioPart(Strict):
    """A sound of a message, in OpenAI's shape."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class Placed(Strict):
    """Where a medium of an earlier reply stood: among the reply's parts, and after how many characters."""

    index: int | None = Field(None, ge=0)
    text_offset: int | None = Field(None, ge=0)


class ReplyImage(ImagePart, Placed):
    """A picture of an earlier reply."""


class ReplyAudio(AudioPart, Placed):
    """A sound of an earlier reply."""


class ReplyVideo(VideoPart, Placed):
    """A video of an earlier reply."""


class LostMedium(Placed):
    """A medium that an earlier reply should have had: its place is part of the conversation."""

    type: str
    stage: str | None = None
    message: str | None = None


MediaPart = ImagePart | AudioPart | InputAudioPart | VideoPart | PointsPart
ReplyMedium = ReplyImage | ReplyAudio | ReplyVideo


class SystemMessage(Strict):
    """Instructions."""

    role: Literal["system", "developer"]
    content: str | list[TextPart]
    name: str | None = None


class UserMessage(Strict):
    """What the user says and shows."""

    role: Literal["user"]
    content: str | list[Annotated[TextPart | MediaPart, Field(discriminator="type")]]
    name: str | None = None


class AssistantMessage(Strict):
    """An earlier reply, as this service gave it."""

    role: Literal["assistant"]
    content: str | list[TextPart] | None = None
    images: list[ReplyImage] | None = None
    audios: list[ReplyAudio] | None = None
    videos: list[ReplyVideo] | None = None
    errors: list[LostMedium] | None = None
    name: str | None = None
    # What OpenAI's client writes back with an earlier reply.
    refusal: None = None
    audio: dict[str, Any] | None = None  # the first of `audios` once more
    annotations: list[Any] | None = None
    function_call: None = None
    tool_calls: None = None

    @property
    def media(self) -> list[ReplyMedium]:
        """The reply's media, of all modalities."""
        return [*(self.images or ()), *(self.audios or ()), *(self.videos or ())]


class StreamOptions(Strict):
    """How to stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class AudioFormat(Strict):
    """How OpenAI's client asks for sounds: there is one format, and a voice says nothing to a sound generator."""

    format: Literal["wav"]
    voice: str | None = None


class ChatBody(Strict):
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
    # Accepted where they ask for what is done anyway.
    audio: AudioFormat | None = None
    n: Literal[1] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: Literal["auto", "default"] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logprobs: Literal[False] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None


class ImagesBody(Strict):
    """`POST /v1/images/generations`."""

    prompt: str
    model: str | None = None
    n: int | None = Field(None, ge=1)
    size: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png"] | None = None
    user: str | None = None


def parse_body(schema: type[Body], data: bytes, max_values: int) -> Body:
    """Check a JSON body.

    Args:
        schema: `ChatBody` or `ImagesBody`.
        data: the bytes as they came.
        max_values: most values in it; each costs far more memory than its bytes.
    Raises:
        ServiceError: 400 if it is no JSON object, 422 if a field is missing or of a wrong type.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > max_values:
        raise ServiceError(400, f"body: more than {max_values} values given; shorten the conversation")
    try:
        values = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # ValueError covers JSON and UTF-8 errors
        reason = "nested too deeply" if isinstance(error, RecursionError) else one_line(str(error))
        raise ServiceError(400, f"body: no valid JSON ({reason})") from error
    if not isinstance(values, dict):
        raise ServiceError(400, f"body: a JSON {type(values).__name__} given, expected an object")
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from error
    except RecursionError as error:
        raise ServiceError(400, "body: nested too deeply") from error


def _path(steps: tuple[int | str, ...]) -> str:
    """Where in the body, without the names that pydantic gives to the branches of unions."""
    path: list[str] = []
    for before, step in zip((None, *steps), steps, strict=False):
        branch = isinstance(step, str) and ("[" in step or step == "str" or isinstance(before, int))
        path += [] if branch else [str(step)]
    return ".".join(path) or "body"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _refusal(error: ValidationError) -> ServiceError:
    """The first problem of a body, in one line."""
    problems = error.errors(include_url=False, include_context=False)
    problem = max(problems, key=lambda problem: len(problem["loc"]))  # of a union's branches, the one that fitted best
    where = _path(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return ServiceError(400, f"{where}: given, which this service does not know; leave it out", param=where)
    if problem["type"] == "missing":
        return ServiceError(422, f"{where}: not given; add it", param=where)
    given = one_line(repr(problem["input"]))
    expected = problem["msg"][0].lower() + problem["msg"][1:]
    return ServiceError(422, f"{where}: {given} given, but {one_line(expected)}", param=where)
