"""From the pipeline's events to OpenAI's replies, whole or as chunks of a stream."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from anygpt.events import Done, Event, Failed, MediaFailed, MediaProgress, MediaReady, MediaStarted, TextDelta
from pipelines.media_json import WIRE_FORMS, medium_json
from pipelines.serving.errors import ServiceError, as_service_error, as_stage_error
from pipelines.serving.markdown_media import as_markdown, with_pictures


@dataclass
class Place:
    """Where a medium of some modality stands in the reply: among its parts, and after how many characters of text."""

    type: str
    index: int
    text_offset: int


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
    text: str = ""
    places: dict[int, Place] = field(default_factory=dict)
    media: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    causes: list[ServiceError] = field(default_factory=list)  # of the errors, as the answer to a whole request
    done: Done | None = None
    _parts: int = 0
    _in_text: bool = False

    def delta(self, event: Event) -> dict[str, Any] | None:
        """Take an event; what a stream sends of it, or None.

        Raises:
            ServiceError: if the request failed.
        """
        if isinstance(event, TextDelta):
            return self._add_text(event)
        if isinstance(event, MediaStarted):
            self.places[event.index] = Place(event.modality, self._parts, len(self.text))
            self._parts, self._in_text = self._parts + 1, False
            return {"progress": [{**self._place(event), "step": 0, "steps": None}]}
        if isinstance(event, MediaProgress):
            return {"progress": [{**self._place(event), "step": event.step, "steps": event.steps}]}
        if isinstance(event, MediaReady):
            name = WIRE_FORMS[event.modality].listed
            written = {**self._place(event), **medium_json(event.modality, event.medium)}
            self.media.setdefault(name, []).append(written)
            shown = {"content": as_markdown(_url(written))} if self.markdown and event.modality == "image" else {}
            return {**shown, name: [written]}
        if isinstance(event, MediaFailed):
            lost = {**self._place(event), "stage": event.stage, "message": event.message}
            self.errors.append(lost)
            self.causes.append(as_service_error(as_stage_error(event)))
            return {"errors": [lost]}
        if isinstance(event, Failed):
            raise as_service_error(event.error)
        self.done = event
        return None

    def _add_text(self, event: TextDelta) -> dict[str, Any] | None:
        if event.hidden:
            return None
        if not self._in_text:
            self._parts, self._in_text = self._parts + 1, True
        self.text += event.text
        return {"content": event.text}

    def _place(self, event: MediaStarted | MediaProgress | MediaReady | MediaFailed) -> dict[str, Any]:
        return vars(self.places[event.index])

    def finish_reason(self) -> str:
        """Why the reply ended."""
        assert self.done is not None, "a request always ends with Done or Failed"
        return self.done.finish_reason

    def usage(self) -> dict[str, int]:
        """Tokens, as OpenAI counts them."""
        assert self.done is not None, "a request always ends with Done or Failed"
        read, written = self.done.usage.prompt_tokens, self.done.usage.completion_tokens
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def completion(self) -> dict[str, Any]:
        """The whole reply."""
        media = {name: sorted(items, key=lambda item: item["index"]) for name, items in self.media.items()}
        content = self.text
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
        return {"id": f"audio-{self.id}", "data": data, "expires_at": self.created, "transcript": self.text}

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
