"""A reply with two media: both generators work at the same time, and the first begins before the text is finished."""

from __future__ import annotations

import time

import pytest
import torch

from anygpt import AnyGPT
from anygpt.events import Done, MediaProgress, MediaReady, MediaStarted, TextDelta
from pipelines.assistant import make_request

STEPS = 20  # of each generator, so that its work takes long against the next token of the text
TOKENS = 100


@pytest.fixture
def a_picture_then_a_sound(everything: AnyGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply begins with a picture and a sound, and text follows; for one request at a time."""
    rows = everything.executor.stack.backbone.backbone.signal_tokens
    wanted = iter(("image", "audio"))

    def logits(hidden_BTH: torch.Tensor) -> torch.Tensor:
        modality = next(wanted, None)
        levels = [1e9 if group.modality == modality else -1e9 for group in rows.groups]
        return torch.tensor(levels).expand(*hidden_BTH.shape[:2], -1).clone()

    monkeypatch.setattr(rows, "logits", logits)


def test_two_generators_work_side_by_side_while_the_text_goes_on(everything, a_picture_then_a_sound):
    request = make_request("Hello", steps=STEPS, max_tokens=TOKENS)
    events = [(event, time.perf_counter()) for event in everything.run([request])]
    assert isinstance(events[-1][0], Done)
    started = {event.modality: event.index for event, _ in events if isinstance(event, MediaStarted)}
    assert started == {"image": 0, "audio": 1}
    began = {event.index: at for event, at in reversed(events) if isinstance(event, MediaProgress)}
    ended = {event.index: at for event, at in events if isinstance(event, MediaReady)}
    text_ended = max(at for event, at in events if isinstance(event, TextDelta))
    assert began.keys() == ended.keys() == {0, 1}
    assert max(began.values()) < min(ended.values()), "one was finished before the other had begun"
    assert began[0] < text_ended, "the text was finished before the first had begun"
