from __future__ import annotations

import pytest
import torch

from anygpt.options import SamplingOptions
from backbone.sampling import choose
from backbone.text_stream import TextStream

TEXTS = ["Hello there, it is a circle.", "naïve café ☕ 日本語 🙂🙂 end", "a\nb\n\nc", "x" * 300, "🙂" * 40]


@pytest.mark.parametrize("text", TEXTS)
def test_stream_pieces_join_to_the_whole_text(backbone, text):
    stream = TextStream(backbone.tokenizer)
    pieces = [stream.add(token) for token in backbone.tokenizer(text).input_ids]
    assert "".join(pieces) + stream.flush() == text
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("stop", [", it", "there", "circle.", "Hello"])
def test_stream_holds_back_and_cuts_at_stop_strings(backbone, stop):
    stream = TextStream(backbone.tokenizer, [stop, "never said"])
    seen = ""
    for token in backbone.tokenizer(TEXTS[0]).input_ids:
        seen += stream.add(token)
        if stream.stopped:
            break
    assert seen + stream.flush() == TEXTS[0][: TEXTS[0].find(stop)]
    assert stream.stopped


def test_stream_releases_what_only_looked_like_a_stop_string(backbone):
    stream = TextStream(backbone.tokenizer, ["circle!"])
    seen = "".join(stream.add(token) for token in backbone.tokenizer(TEXTS[0]).input_ids)
    assert seen + stream.flush() == TEXTS[0]
    assert not stream.stopped


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_choose_is_greedy_at_temperature_zero():
    assert choose(torch.tensor([0.0, 3.0, 1.0]), SamplingOptions(), generator(0)) == 1


@pytest.mark.parametrize("temperature", [1e-300, 5e-324])
def test_choose_is_greedy_at_next_to_no_temperature(temperature):
    assert choose(torch.tensor([0.0, 3.0, 1.0]), SamplingOptions(temperature=temperature), generator(0)) == 1


def test_choose_follows_the_distribution():
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    drawn = generator(0)
    counts = torch.bincount(
        torch.tensor([choose(logits, SamplingOptions(temperature=1.0), drawn) for _ in range(4000)])
    )
    torch.testing.assert_close(counts / 4000, torch.tensor([0.5, 0.3, 0.2]), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        (SamplingOptions(temperature=1.0, top_k=1), {0}),
        (SamplingOptions(temperature=1.0, top_k=2), {0, 1}),
        (SamplingOptions(temperature=1.0, top_p=0.4), {0}),
        (SamplingOptions(temperature=1.0, top_p=0.6), {0, 1}),
        (SamplingOptions(temperature=10.0), {0, 1, 2}),
    ],
)
def test_choose_keeps_to_top_k_and_top_p(options, allowed):
    logits = torch.tensor([0.5, 0.3, 0.2, 0.0]).log()
    assert {choose(logits, options, generator(seed)) for seed in range(200)} == allowed
