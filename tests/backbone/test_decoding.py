from __future__ import annotations

import pytest
import torch

from anygpt.errors import RequestError
from anygpt.messages import MediumRef, Message
from anygpt.options import SamplingOptions
from backbone.layout import lay_out
from backbone.steps import RowDone, SignalBlock, TextPiece

TEXTS = ["Hello", "Draw a large red circle at the top left, please.", "What?", "a b c d"]


def decode(backbone, texts, options=None, seeds=None, **more):
    """Events by row."""
    options = options or SamplingOptions()
    listed = options if isinstance(options, list) else [options] * len(texts)
    prompts = [backbone.prompts.build([Message("user", text)]) for text in texts]
    rows = [[] for _ in texts]
    for event in backbone.decode(prompts, [{}] * len(texts), listed, seeds or [0] * len(texts), **more):
        rows[event.row].append(event)
    return rows


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, TextPiece))


def blocks_of(events):
    return [event for event in events if isinstance(event, SignalBlock)]


def test_decode_text_equals_transformers_generate(backbone):
    for text in TEXTS:
        (events,) = decode(backbone, [text], SamplingOptions(modalities=("text",)))
        prompt = backbone.prompts.build([Message("user", text)])
        ids = torch.tensor([prompt.segments[0].ids])
        generated = backbone._base.generate(
            ids, max_new_tokens=12, do_sample=False, attention_mask=torch.ones_like(ids)
        )
        expected = backbone.tokenizer.decode(generated[0, ids.shape[1] :], skip_special_tokens=True)
        assert text_of(events) == expected


def test_decode_batch_equals_single(backbone):
    options = SamplingOptions(modalities=("image",))
    together = decode(backbone, TEXTS, options)
    for text, events in zip(TEXTS, together, strict=True):
        (alone,) = decode(backbone, [text], options)
        assert text_of(events) == text_of(alone)
        assert [type(event) for event in events] == [type(event) for event in alone]
        for one, other in zip(blocks_of(events), blocks_of(alone), strict=True):
            torch.testing.assert_close(one.states_nH, other.states_nH, atol=1e-4, rtol=1e-4)


def test_decode_signal_states_equal_a_teacher_forced_pass(backbone):
    (events,) = decode(backbone, [TEXTS[1]], SamplingOptions(modalities=("image",)))
    (block,) = blocks_of(events)
    conversation = [Message("user", TEXTS[1]), Message("assistant", [text_of(events), MediumRef("image")])]
    prompt = backbone.prompts.build(conversation, learn_replies=True)
    with torch.no_grad():
        _, states = backbone.training_states([prompt], [{}])
    torch.testing.assert_close(block.states_nH, states["image"][0], atol=1e-4, rtol=1e-4)


def test_decode_goes_on_after_a_signal_block_as_if_its_tokens_had_been_read_one_by_one(image_lover):
    # The lover writes nothing but pictures, so the second block is written behind the first.
    (events,) = decode(image_lover, ["x"], SamplingOptions())
    blocks = blocks_of(events)
    assert len(blocks) == 2
    prompt = image_lover.prompts.build(
        [Message("user", "x"), Message("assistant", [MediumRef("image")] * 2)], learn_replies=True
    )
    layout = lay_out([prompt], [{}])
    embeds = image_lover.embed(layout.ids_BT)
    hidden = image_lover.step(embeds, layout.valid_BT, layout.positions_BT, None).hidden + embeds
    signal = layout.ids_BT[0] >= image_lover.base_vocab_size
    torch.testing.assert_close(torch.cat([b.states_nH for b in blocks]), hidden[0, signal], atol=1e-4, rtol=1e-4)


def test_decode_forced_modality_comes_exactly_once_whatever_the_model_prefers(backbone):
    for events in decode(backbone, TEXTS, SamplingOptions(modalities=("audio",), max_tokens=3)):
        assert [(block.modality, len(block.states_nH)) for block in blocks_of(events)] == [("audio", 3)]
        assert isinstance(events[-1], RowDone)


def test_decode_forbidden_modality_never_comes_whatever_the_model_prefers(image_lover):
    for modalities in (("text",), ("text", "audio")):
        (events,) = decode(image_lover, ["x"], SamplingOptions(modalities=modalities))
        assert not [block for block in blocks_of(events) if block.modality == "image"]


def test_decode_media_are_limited(image_lover):
    (events,) = decode(image_lover, ["x"], SamplingOptions(max_tokens=5))
    assert len(blocks_of(events)) == image_lover.config.max_media
    assert events[-1].reason == "length"


def test_decode_rows_with_and_without_signal_blocks_share_a_batch(backbone):
    options = [SamplingOptions(modalities=(m,), max_tokens=n) for m, n in (("image", 2), ("text", 9), ("audio", 5))]
    together = decode(backbone, TEXTS[:3], options)
    for at, events in enumerate(together):
        (alone,) = decode(backbone, [TEXTS[at]], options[at])
        assert text_of(events) == text_of(alone)
        assert len(blocks_of(events)) == len(blocks_of(alone)) == (0 if at == 1 else 1)


def test_decode_sampling_depends_on_the_rows_own_seed_alone(backbone):
    options = SamplingOptions(temperature=1.0, modalities=("text",))
    together = decode(backbone, TEXTS, options, seeds=[1, 2, 3, 1])
    for at, seed in enumerate([1, 2, 3, 1]):
        (alone,) = decode(backbone, [TEXTS[at]], options, seeds=[seed])
        assert text_of(together[at]) == text_of(alone)
    (other,) = decode(backbone, [TEXTS[0]], options, seeds=[9])
    assert text_of(other) != text_of(together[0])


def test_decode_stops_before_a_stop_string(backbone):
    (events,) = decode(backbone, ["Hello"], SamplingOptions(modalities=("text",)))
    stop = text_of(events)[3:6]
    (stopped,) = decode(backbone, ["Hello"], SamplingOptions(modalities=("text",), stop=(stop,)))
    assert text_of(stopped) == text_of(events)[: text_of(events).find(stop)]
    assert stopped[-1].reason == "stop"


def test_decode_counts_tokens(backbone):
    (events,) = decode(backbone, ["Hello"], SamplingOptions(modalities=("image",), max_tokens=5))
    prompt = backbone.prompts.build([Message("user", "Hello")])
    assert events[-1] == RowDone(0, "length", len(prompt.segments[0].ids), 5 + 4)


def test_decode_cancelled_row_ends_and_its_neighbour_does_not(backbone):
    first, second = decode(backbone, TEXTS[:2], SamplingOptions(modalities=("text",)), should_stop=lambda row: row == 0)
    assert first == [RowDone(0, "cancelled", first[0].prompt_tokens, 0)]
    assert second[-1].reason == "length"


def test_decode_refuses_a_prompt_over_the_context(backbone):
    backbone.config.max_context_tokens = 5
    with pytest.raises(RequestError, match="tokens given, the context holds 5; shorten it"):
        decode(backbone, [TEXTS[1]])
