"""Pretrain the tiny language model and its tokenizer on text-only conversations of the world.

Media stand in the text as descriptions in brackets, "[image: a small red circle at the top left]", and those of
replies are left out; later the input projectors learn to say the same in embeddings, and signal tokens to make media.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from anygpt.messages import Message
from backbone.prompt import PromptBuilder, TextSegment
from pipelines.tiny.recipes.precision import bf16_products
from pipelines.tiny.recipes.prompting import sayings
from pipelines.tiny.world.dialogues import dialogue
from pipelines.tiny.world.turns import Depiction, Part, Turn
from pipelines.training.loop import Loop, LoopOptions, print_log

VOCAB_SIZE = 2048
MEDIA_WRAP = "[{modality}:{media}]"
CANONICAL_SHARE = 0.6
MAX_TURNS = 4
SPECIAL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
IGNORED = -100


def spelled_out(part: Part, rng: random.Random) -> str:
    """Text as it is; a user's medium as a description in brackets."""
    if isinstance(part, str):
        return part
    (said,) = sayings([part.scene], rng, CANONICAL_SHARE)
    return MEDIA_WRAP.format(modality=part.modality, media=f" {said}")


def text_conversation(turns: Sequence[Turn], rng: random.Random) -> list[Message]:
    """A dialogue without media."""
    messages = []
    for turn in turns:
        messages.append(Message("user", " ".join(spelled_out(part, rng) for part in turn.user)))
        messages.append(Message("assistant", "".join(part for part in turn.reply if not isinstance(part, Depiction))))
    return messages


def build_tokenizer(seed: int, dialogues: int = 8000) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template, learned from the world's conversations."""
    rng = random.Random(seed)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    corpus = (message.text for _ in range(dialogues) for message in text_conversation(dialogue(rng, seen=False), rng))
    bpe.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=1024,
    )


def build_language_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama: 4 layers of 160, tied embeddings."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=160,
            intermediate_size=432,
            num_hidden_layers=4,
            num_attention_heads=5,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def text_batch(builder: PromptBuilder, rng: random.Random, total_turns: int) -> tuple[Tensor, Tensor]:
    """Token ids and labels (B, T) of fresh dialogues, padded on the right; only replies are learned.

    All dialogues of a batch have the same number of turns, which keeps padding low; together they have `total_turns`.
    """
    rows = []
    turns = rng.randint(1, MAX_TURNS)
    for _ in range(total_turns // turns):
        prompt = builder.build(
            text_conversation(dialogue(rng, seen=False, turns=(turns, turns)), rng), learn_replies=True
        )
        ids: list[int] = []
        labels: list[int] = []
        for segment in prompt.segments:
            if isinstance(segment, TextSegment):
                ids += segment.ids
                labels += segment.ids if segment.is_reply else [IGNORED] * len(segment.ids)
        rows.append((ids, labels))
    length = max(len(ids) for ids, _ in rows)
    pad_id = builder.tokenizer.pad_token_id
    ids_BT = torch.tensor([ids + [pad_id] * (length - len(ids)) for ids, _ in rows])
    labels_BT = torch.tensor([labels + [IGNORED] * (length - len(labels)) for _, labels in rows])
    return ids_BT, labels_BT


def pretrain_language_model(out_dir: Path, steps: int, turns_per_batch: int, seed: int) -> LlamaForCausalLM:
    """Train and save to `out_dir` (a `save_pretrained` folder with its tokenizer)."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(seed)
    model = build_language_model(tokenizer)
    builder = PromptBuilder(tokenizer, (), MEDIA_WRAP)

    def losses_at(step: int) -> dict[str, Tensor]:
        ids_BT, labels_BT = text_batch(builder, random.Random(f"{seed}/{step}"), turns_per_batch)
        with bf16_products():
            hidden_BTH = model.model(input_ids=ids_BT).last_hidden_state
            learned = labels_BT[:, 1:] != IGNORED
            logits = model.lm_head(hidden_BTH[:, :-1][learned])
        return {"reply": torch.nn.functional.cross_entropy(logits.float(), labels_BT[:, 1:][learned])}

    options = LoopOptions(steps=steps, learning_rate=2e-3, warmup_steps=150, weight_decay=0.05, seed=seed)
    loop = Loop(dict(model.named_parameters()), options, out_dir / "state")
    loop.finish(losses_at, print_log)
    model.save_pretrained(out_dir)
    tokenizer.save_pretrained(out_dir)
    return model
