"""A stage that hangs in this process costs what waits for it and nothing else; the stage comes back."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from anygpt import AnyGPT
from anygpt.config.schema import StackConfig
from anygpt.errors import TimedOutError

LIMIT_S = 0.7


@pytest.fixture
def hasty(random_config: StackConfig) -> Iterator[AnyGPT]:
    """One whose stages have little time for a batch."""
    placement = {
        stage: dataclasses.replace(random_config.placed(stage), timeout_s=LIMIT_S)
        for stage in ("backbone", "generators.image")
    }
    config = dataclasses.replace(random_config, placement={**random_config.placement, **placement})
    with AnyGPT.from_config(config) as model:
        model.chat("Hello", modalities=["image"])  # so that nothing is slow for being the first
        yield model


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """Set at the end of the test, so that what hangs can end."""
    event = threading.Event()
    yield event
    event.set()


def hang(stuck: threading.Event) -> Any:
    def instead(*args: Any, **kwargs: Any) -> Any:
        stuck.wait(60)
        raise RuntimeError("woken up")

    return instead


def test_hanging_generator_costs_its_medium_alone(hasty, stuck, monkeypatch):
    generator = hasty.executor.stack.generators["image"]
    with monkeypatch.context() as patched:
        patched.setattr(generator, "generate", hang(stuck))
        started = time.monotonic()
        replies = hasty.chat_batch(["Hello", "Hi"], seeds=[1, 2], modalities=["image"])
        assert time.monotonic() - started < 10 * LIMIT_S
        assert hasty.chat("Hello").text  # while it hangs
    for reply in replies:
        (lost,) = reply.errors
        assert (lost.stage, lost.modality) == ("generators.image", "image")
        assert "no result within its timeout_s=0.7 seconds" in lost.message
        assert reply.conversation[-1].text
    assert hasty.chat("Hello", modalities=["image"]).images  # the stage is back, though the old thread still hangs


def test_hanging_language_model_fails_its_requests_alone(hasty, stuck, monkeypatch):
    backbone = hasty.executor.stack.backbone.backbone
    with monkeypatch.context() as patched:
        patched.setattr(backbone, "step", hang(stuck))
        with pytest.raises(TimedOutError, match=r"stage 'backbone': no result within its timeout_s=0\.7 seconds"):
            hasty.chat("Hello")
    assert hasty.chat("Hello").text


def test_request_that_is_cancelled_while_it_waits_costs_the_language_model_nothing(hasty, monkeypatch):
    backbone = hasty.executor.stack.backbone
    asked: list[int] = []
    reply = backbone.reply

    def counted(conversations: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(len(conversations))
        return reply(conversations, *args, **kwargs)

    monkeypatch.setattr(backbone, "reply", counted)
    from pipelines.assistant import make_request

    cancelled, wanted = make_request("Hello"), make_request("Hello")
    cancelled.cancel.set()
    reasons = {
        event.request: event.finish_reason for event in hasty.run([cancelled, wanted]) if hasattr(event, "usage")
    }
    assert reasons == {0: "cancelled", 1: "length"}
    assert asked == [1]
