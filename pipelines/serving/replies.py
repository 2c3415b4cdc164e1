"""From the pipeline's events to OpenAI's replies, whole or as chunks of a stream."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from anygpt.errors import AnyGPTError
from anygpt.events import Event
from pipelines.media_json import JSON_FORMS, medium_json
from pipelines.replies import ReplyBuilder, ReplyMedium, ReplyText
from pipelines.serving.errors import ServiceError, as_service_error, as_stage_error
from pipelines.serving.markdown_media import as_markdown, with_pictures


@dataclass
class ChatReply:
    """One reply on its way to a client.

    `delta` turns each event into what a stream sends of it; `message` is the whole reply at the end.
    """

    model: str
    seed: int
    markdown: bool = False  # put pictures into the text as well
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    builder: ReplyBuilder = field(default_factory=ReplyBuilder)
    media: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    causes: list[ServiceError] = field(default_factory=list)  # of the errors, as the answer to a whole request

    def delta(self, event: Event) -> dict[str, Any] | None:
        """Take an event; what a stream sends of it, or None.

        Raises:
            ServiceError: if the request failed.
        """
        try:
            part = self.builder.take(event)
        except AnyGPTError as error:
            raise as_service_error(error) from error
        if isinstance(part, ReplyMedium):
            return self._medium(part)
        return {"content": part.added} if isinstance(part, ReplyText) and not part.hidden else None

    def _medium(self, part: ReplyMedium) -> dict[str, Any]:
        """What a stream sends of a medium that has come further."""
        place = {"type": part.modality, "index": part.part_index, "text_offset": part.text_offset}
        if part.failure is not None:
            lost = {**place, "stage": part.failure.stage, "message": part.failure.message}
            self.errors.append(lost)
            self.causes.append(as_service_error(as_stage_error(part.failure)))
            return {"errors": [lost]}
        if part.medium is None:
            return {"progress": [{**place, "step": part.step, "steps": part.steps}]}
        name = JSON_FORMS[part.modality].listed
        written = {**place, **medium_json(part.modality, part.medium)}
        self.media.setdefault(name, []).append(written)
        shown = {"content": as_markdown(_url(written))} if self.markdown and part.modality == "image" else {}
        return {**shown, name: [written]}

    def finish_reason(self) -> str:
        """Why the reply ended."""
        return self.builder.finished().finish_reason

    def usage(self) -> dict[str, int]:
        """Tokens, as OpenAI counts them."""
        usage = self.builder.finished().usage
        read, written = usage.prompt_tokens, usage.completion_tokens
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def completion(self) -> dict[str, Any]:
        """The whole reply."""
        media = {name: sorted(items, key=lambda item: item["index"]) for name, items in self.media.items()}
        content = self.builder.text
        if self.markdown:
            content = with_pictures(content, [(item["text_offset"], _url(item)) for item in media.get("images", ())])
        message: dict[str, Any] = {"role": "assistant", "content": content or None, "refusal": None, **media}
        if "audios" in media:
            message["audio"] = self._openai_audio(media["audios"][0])
        if self.errors:
            message["errors"] = self.errors
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason()}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage()}

    def _openai_audio(self, item: dict[str, Any]) -> dict[str, Any]:
        """The first sound as OpenAI's client has it; it stays nowhere, so it is over as soon as it is made."""
        data = item["audio_url"]["url"].partition(",")[2]
        return {"id": f"audio-{self.id}", "data": data, "expires_at": self.created, "transcript": self.builder.text}

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        """A piece of the stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def usage_chunk(self) -> dict[str, Any]:
        """The last piece, where the client asked for usage."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage()}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "seed": self.seed}


def _url(item: dict[str, Any]) -> str:
    """The data URL of a medium as JSON."""
    url: str = item[item["type"]]["url"]
    return url
