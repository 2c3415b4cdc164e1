from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing

import pytest

from anygpt.errors import RequestError
from anygpt.events import Done, Event, MediaReady, TextDelta
from anygpt.messages import Message
from pipelines.demo.backends import Backend, LocalBackend, SeedUsed

WAIT_S = 60
HELLO = [Message("user", "Hello")]


async def collected(backend: Backend, conversation: list[Message], options: dict) -> list[Event]:
    return [event async for event in backend.stream(conversation, options)]


def test_the_reply_is_that_of_chat(model, picture):
    options = {"modalities": ["text", "image"], "seed": 3, "temperature": 1.0}
    conversation = [Message("user", [picture, "What?"])]
    expected = model.chat([picture, "What?"], **options)
    events = asyncio.run(collected(LocalBackend(model), conversation, options))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == expected.text
    assert [event.medium for event in events if isinstance(event, MediaReady)] == expected.images
    assert isinstance(events[-1], Done)


def test_the_seed_comes_first_and_is_drawn_where_none_is_given(model):
    drawn = [asyncio.run(collected(LocalBackend(model), HELLO, {"max_tokens": 1}))[0] for _ in range(2)]
    assert all(isinstance(event, SeedUsed) for event in drawn)
    assert drawn[0] != drawn[1]
    assert asyncio.run(collected(LocalBackend(model), HELLO, {"max_tokens": 1, "seed": 0}))[0] == SeedUsed(0)


def test_it_knows_the_stacks_media_and_limits(model):
    backend = LocalBackend(model)
    assert backend.output_modalities == ("image",)
    assert backend.limits is model.config.limits


def test_an_impossible_option_raises(model):
    with pytest.raises(RequestError, match="modalities: nothing given"):
        asyncio.run(collected(LocalBackend(model), HELLO, {"modalities": []}))


@pytest.mark.parametrize("cancel", ["close", "task"])
def test_leaving_early_cancels_the_reply(model, cancel):
    async def leave() -> None:
        options = {"modalities": ["text"], "max_tokens": 900}
        async with aclosing(LocalBackend(model).stream(HELLO, options)) as events:
            await anext(events)
            if cancel == "task":
                waiting = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting

    asyncio.run(leave())
    give_up_at = time.monotonic() + WAIT_S
    while model.executor.in_flight or any(t.name.startswith("anygpt-demo") for t in threading.enumerate()):
        assert time.monotonic() < give_up_at, "the reply goes on"
        time.sleep(0.01)
