"""The page's way to a running service gives the events that its way to a stack in the same process gives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from anygpt.errors import RequestError
from anygpt.events import MediaProgress, MediaReady, MediaStarted, TextDelta
from anygpt.messages import Message
from pipelines.demo.backends import Backend, LocalBackend
from pipelines.demo.http_backend import HttpBackend
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.scenes import Scene
from tests.pipelines.serving.conftest import KEY

OPTIONS = {"seed": 4, "modalities": ["text", "image"], "temperature": 0.0, "steps": 3}


def seen(backend: Backend, conversation: Sequence[Message]) -> list[Any]:
    """Text, and what became of each medium, as the page would show it."""

    async def collect() -> list[Any]:
        shown: list[Any] = [""]
        async for event in backend.stream(conversation, OPTIONS):
            if isinstance(event, TextDelta):
                shown[0] += event.text
            elif isinstance(event, MediaStarted):
                shown.append(("started", event.index, len(shown[0])))
            elif isinstance(event, MediaProgress):
                shown.append(("step", event.step, event.steps))
            elif isinstance(event, MediaReady):
                shown.append(event.medium.tobytes())
        return shown

    return asyncio.run(collect())


def test_http_backend_shows_what_the_local_one_shows(tiny, local_service):
    http, local = HttpBackend(local_service.url, KEY), LocalBackend(tiny)
    assert http.output_modalities == local.output_modalities == ("image", "audio", "video")
    first = [Message("user", [render_image(Scene("star", "red"), 2), "Now make it green."])]
    assert seen(http, first) == seen(local, first)
    reply = tiny.chat(first[0].parts, **OPTIONS)
    second = [*reply.conversation, Message("user", "What colour is it?")]
    assert seen(http, second) == seen(local, second) == ["It is green."]


def test_http_backend_passes_the_services_refusal_on(local_service):
    with pytest.raises(RequestError, match="no valid key given"):
        HttpBackend(local_service.url, "wrong")
