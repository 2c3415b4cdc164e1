"""A running service as the page's backend: OpenAI's chat completions, with the media of replies beside the text.

The service's own fields, all lists in a streamed `delta`: "images", "audios" and "videos" (finished, as data URLs),
"progress" and "errors".
Each item names the reply's part by its "index".
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anygpt.config.schema import Limits, ServiceLimits
from anygpt.errors import AnyGPTError, MissingExtraError, RequestError, StageError
from anygpt.events import Done, Event, MediaFailed, MediaProgress, MediaStarted, TextDelta, Usage
from anygpt.messages import MediumRef, Message, modality_of
from pipelines.demo.backends import MediaReceived, SeedUsed
from pipelines.demo.connections import connection_options, proxies_in_use
from pipelines.media_json import JSON_FORMS, medium_from_json, medium_json

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 900.0  # longer than a service takes to give up on a reply by itself
STAGE = "service"


class HttpBackend:
    """The assistant behind a URL.

    Args:
        url: where the service is, as in "http://127.0.0.1:8000"; a trailing "/v1" is taken as well.
        api_key: sent as a bearer token.
        service: limits of the page; the service at the URL has its own.
    Raises:
        MissingExtraError: without httpx.
        AnyGPTError: if no such service answers there, or the environment's proxies or certificates cannot be used.
    """

    def __init__(self, url: str, api_key: str | None = None, service: ServiceLimits | None = None) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("the page needs httpx to reach a service: pip install 'anygpt[demo]'") from error
        self.base_url = url.rstrip("/").removesuffix("/v1") + "/v1"
        self.limits = Limits()
        self.service = service or ServiceLimits()
        self._httpx = httpx
        self._connection: dict[str, Any] = {
            "headers": {"Authorization": f"Bearer {api_key}"} if api_key else {},
            "timeout": httpx.Timeout(CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            **connection_options(self.base_url),
        }
        model = self._first_model()
        self.model_name = str(model["id"])
        self.input_modalities = _known(model, "input_modalities")
        self.output_modalities = _known(model, "output_modalities")

    def _first_model(self) -> dict[str, Any]:
        try:
            response = self._httpx.get(f"{self.base_url}/models", **self._connection)
        except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if response.status_code != 200:
            raise _refusal(response.status_code, response.content)
        try:
            return dict(response.json()["data"][0])
        except (ValueError, LookupError, TypeError) as error:
            raise RequestError(
                f"--server: {self.base_url}/models lists no model, expected an anygpt service"
            ) from error

    def _unreachable(self, error: Exception) -> AnyGPTError:
        proxies = proxies_in_use(self.base_url)
        fix = f"; or correct {proxies}" if proxies else ""
        reason = f"{self.base_url} cannot be reached ({_reason(error)})"
        return StageError(STAGE, f"{reason}; start it with 'anygpt serve'{fix}")

    async def stream(
        self, conversation: Sequence[Message], options: Mapping[str, Any]
    ) -> AsyncGenerator[Event | SeedUsed, None]:
        """As in `Backend`; leaving early closes the connection, and the service cancels the reply."""
        # Media are encoded and decoded beside the event loop, which serves everybody's page.
        messages = await asyncio.to_thread(lambda: [_message_json(message) for message in conversation])
        body = {"model": self.model_name, "messages": messages, "stream": True, "markdown_media": False, **options}
        reader = _ChunkReader()
        try:
            async with (
                self._httpx.AsyncClient(**self._connection) as client,
                client.stream("POST", f"{self.base_url}/chat/completions", json=body) as response,
            ):
                if response.status_code != 200:
                    raise _refusal(response.status_code, await response.aread())
                async for data in _sse_data(response.aiter_bytes()):
                    for event in await asyncio.to_thread(list, reader.read(data)):
                        yield event
                    if reader.done:
                        return
        except (self._httpx.ConnectError, self._httpx.ConnectTimeout) as error:
            raise self._unreachable(error) from error
        except self._httpx.HTTPError as error:
            raise StageError(STAGE, f"the connection broke ({_reason(error)}); ask again") from error
        raise StageError(STAGE, "the connection ended in the middle of the reply; ask again")


def _known(model: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Those of a model's modalities that can travel."""
    return tuple(name for name in model.get(key, ()) if name in JSON_FORMS)


@dataclass
class _ChunkReader:
    """Turns the data of a stream into events."""

    done: bool = False
    finish_reason: str = "stop"
    told_seed: bool = False
    numbers: dict[int, int] = field(default_factory=dict)  # a part's index in the reply → the medium's number

    def read(self, data: str) -> Iterator[Event | SeedUsed]:
        if data == "[DONE]":
            self.done = True
            yield Done(0, self.finish_reason, Usage(0, 0), {})
            return
        try:
            chunk = json.loads(data)
            if "error" in chunk:
                raise StageError(STAGE, chunk["error"]["message"])
            if not self.told_seed and isinstance(chunk.get("seed"), int):
                self.told_seed = True
                yield SeedUsed(chunk["seed"])
            for choice in chunk["choices"]:
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
                yield from self._read_delta(choice["delta"])
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise StageError(STAGE, f"sent what is no chat completion chunk: {data[:80]!r}") from error

    def _read_delta(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        if delta.get("content"):
            yield TextDelta(0, delta["content"])
        for item in delta.get("progress") or ():
            yield from self._place(item["index"], item["type"])
            if item["step"]:
                yield MediaProgress(0, self.numbers[item["index"]], item["step"], item["steps"])
        for modality, form in JSON_FORMS.items():
            for item in delta.get(form.listed) or ():
                yield from self._place(item["index"], modality)
                yield self._received(item, modality)
        for item in delta.get("errors") or ():
            yield from self._place(item["index"], item["type"])
            yield MediaFailed(0, self.numbers[item["index"]], item["type"], item["stage"], item["message"])

    def _received(self, item: dict[str, Any], modality: str) -> MediaReceived | MediaFailed:
        number = self.numbers[item["index"]]
        try:
            medium = medium_from_json(item)
        except AnyGPTError as error:
            return MediaFailed(0, number, modality, STAGE, str(error), error)
        file = base64.b64decode(item[item["type"]]["url"].partition(",")[2])
        return MediaReceived(0, number, modality, medium, file)

    def _place(self, index: int, modality: str) -> Iterator[MediaStarted]:
        """A medium's place is where it is first mentioned."""
        if index not in self.numbers:
            self.numbers[index] = len(self.numbers)
            yield MediaStarted(0, self.numbers[index], modality)


async def _sse_data(received: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The data lines of server-sent events. Only "\\n" ends a line: text may hold what Unicode calls line ends."""
    rest = b""
    async for piece in received:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip().decode("utf-8")


def _refusal(status: int, body: bytes) -> AnyGPTError:
    """What the service said instead of a reply."""
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        message = f"--server: an answer of HTTP status {status} that is no anygpt service's; correct the address"
    return RequestError(message) if 400 <= status < 500 else StageError(STAGE, message)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _message_json(message: Message) -> dict[str, Any]:
    """A message as the service reads it; a medium of which only its place is known is one that was lost."""
    if message.role != "assistant":
        parts = [
            {"type": "text", "text": p} if isinstance(p, str) else medium_json(modality_of(p), p) for p in message.parts
        ]
        only_text = all(isinstance(part, str) for part in message.parts)
        return {"role": message.role, "content": message.text if only_text else parts}
    media: dict[str, list[dict[str, Any]]] = {}
    chars = 0
    for index, part in enumerate(message.parts):
        if isinstance(part, str):
            chars += len(part)
        else:
            modality, place = modality_of(part), {"index": index, "text_offset": chars}
            if isinstance(part, MediumRef):
                media.setdefault("errors", []).append({"type": modality, **place})
            else:
                media.setdefault(JSON_FORMS[modality].listed, []).append({**medium_json(modality, part), **place})
    return {"role": "assistant", "content": message.text or None, **media}
