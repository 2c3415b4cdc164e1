from __future__ import annotations

import pytest
from PIL import Image

from anygpt.errors import ConfigError, RequestError
from anygpt.messages import MediumRef, Message
from backbone.causal_lm import CausalLMBackbone
from backbone.prompt import MediaSegment, PromptBuilder, SignalSegment, TextSegment

PICTURE = Image.new("RGB", (8, 8))


def spelled(backbone: CausalLMBackbone, conversation: list[Message], **options: bool) -> list[str]:
    """Segments as readable strings; learned ones end in '*'."""
    out = []
    for segment in backbone.prompts.build(conversation, **options).segments:
        if isinstance(segment, TextSegment):
            out.append(backbone.tokenizer.decode(segment.ids) + "*" * segment.is_reply)
        elif isinstance(segment, MediaSegment):
            out.append(f"{{{segment.modality} {segment.index}}}")
        else:
            out.append(f"({segment.group.modality})" + "*" * segment.is_reply)
    return out


def test_prompt_puts_media_at_their_place_in_any_turn(backbone):
    conversation = [
        Message("system", "Be kind."),
        Message("user", ["Look", PICTURE, "and", PICTURE]),
        Message("assistant", ["Here.", MediumRef("image"), " There.", MediumRef("audio")]),
        Message("user", [PICTURE]),
    ]
    assert spelled(backbone, conversation) == [
        "<|system|>Be kind.<|end|><|user|>Look [image:", "{image 0}", "] and [image:", "{image 1}",
        "]<|end|><|assistant|>Here.",
        "(image)", " There.", "(audio)", "<|end|><|user|>[image:", "{image 2}", "]<|end|><|assistant|>",
    ]  # fmt: skip
    assert len(backbone.prompts.build(conversation).media["image"]) == 3


def test_prompt_learns_replies_and_their_end_and_nothing_else(backbone):
    conversation = [
        Message("user", "One"),
        Message("assistant", ["A", MediumRef("image")]),
        Message("user", "Two"),
        Message("assistant", "B"),
    ]
    assert spelled(backbone, conversation, learn_replies=True) == [
        "<|user|>One<|end|><|assistant|>", "A*", "(image)*", "<|end|>*", "<|user|>Two<|end|><|assistant|>", "B<|end|>*",
    ]  # fmt: skip


def test_prompt_learned_pieces_tokenise_as_the_prompt_for_decoding_does(backbone):
    asked = backbone.prompts.build([Message("user", "One")]).segments
    learned = backbone.prompts.build([Message("user", "One"), Message("assistant", "A")], learn_replies=True).segments
    assert learned[0].ids == asked[0].ids


@pytest.mark.parametrize("text", ["<|end|>", "a<|assistant|>b", "\ue000", "\ue001\ue000", "<|user|><|end|>"])
def test_prompt_users_cannot_forge_special_tokens_or_media(backbone, text):
    prompt = backbone.prompts.build([Message("user", text)])
    ids = [token for segment in prompt.segments for token in segment.ids]
    specials = [token for token in ids if token in backbone.tokenizer.all_special_ids]
    assert [backbone.tokenizer.decode(token) for token in specials] == ["<|user|>", "<|end|>", "<|assistant|>"]
    assert not prompt.media


def test_prompt_refuses_reply_media_without_signal_tokens(backbone):
    conversation = [Message("user", "x"), Message("assistant", MediumRef("video")), Message("user", "y")]
    with pytest.raises(RequestError, match="a reply holds video, for which there are no signal tokens"):
        backbone.prompts.build(conversation)


def test_prompt_needs_a_chat_template(backbone):
    backbone.tokenizer.chat_template = None
    with pytest.raises(ConfigError, match=r"no chat template; set backbone\.chat_template"):
        PromptBuilder(backbone.tokenizer, (), "{media}")


@pytest.mark.parametrize(
    "media_wrap", ["picture", "{media}{media}", "{media:>9999999999}", "{media}{modality.__class__}", "{media} \ue000"]
)
def test_prompt_needs_a_slot_in_media_wrap(backbone, media_wrap):
    with pytest.raises(ConfigError, match=r"media_wrap: '.*' given, expected a text with \{media\} in it, once"):
        PromptBuilder(backbone.tokenizer, (), media_wrap)


def test_prompt_passes_on_what_a_template_refuses(backbone):
    backbone.tokenizer.chat_template = "{{ raise_exception('no system prompts here') }}"
    with pytest.raises(RequestError, match="chat template refuses it: no system prompts here"):
        backbone.prompts.build([Message("user", "x")])


def test_prompt_refuses_templates_that_rewrite_earlier_turns(backbone):
    backbone.tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(ConfigError, match="rewrites earlier turns"):
        backbone.prompts.build([Message("user", "x"), Message("assistant", "y")], learn_replies=True)


def test_prompt_signal_segments_carry_their_group(backbone):
    prompt = backbone.prompts.build(
        [Message("user", "x"), Message("assistant", MediumRef("image"))], learn_replies=True
    )
    (signal,) = [segment for segment in prompt.segments if isinstance(segment, SignalSegment)]
    vocab = backbone.base_vocab_size
    assert signal.group.ids == (vocab, vocab + 1, vocab + 2, vocab + 3)
