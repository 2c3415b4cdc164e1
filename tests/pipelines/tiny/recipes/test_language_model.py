from __future__ import annotations

import random

import torch

from backbone.causal_lm import CausalLMBackbone, CausalLMConfig
from backbone.prompt import PromptBuilder
from pipelines.tiny.recipes.language_model import (
    IGNORED,
    MEDIA_WRAP,
    build_tokenizer,
    pretrain_language_model,
    text_batch,
    text_conversation,
)
from pipelines.tiny.world.scenes import scenes_for
from pipelines.tiny.world.turns import SHOWABLE, Depiction, Turn


def test_language_model_becomes_a_backbone(tmp_path):
    pretrain_language_model(tmp_path, steps=2, turns_per_batch=8, seed=0)
    backbone = CausalLMBackbone.from_config(CausalLMConfig(pretrained=str(tmp_path), lora=None))
    ids_BT = backbone.tokenizer("Draw a red star.", return_tensors="pt").input_ids
    logits = backbone.language_model(inputs_embeds=backbone.embed(ids_BT)).logits
    assert logits.shape == (*ids_BT.shape, len(backbone.tokenizer))
    assert logits.isfinite().all()


def test_media_of_every_modality_are_spelled_out_and_those_of_replies_left_out():
    for modality in SHOWABLE:
        scene = scenes_for(modality)[0]
        turn = Turn((Depiction(scene, modality), "Draw it."), ("Here is a thing.", Depiction(scene, "image")))
        asked, reply = text_conversation([turn], random.Random(0))
        assert asked.text.startswith(f"[{modality}: ")
        assert asked.text.endswith("] Draw it.")
        assert scene.shape in asked.text
        assert reply.text == "Here is a thing."


def test_batches_learn_replies_alone():
    tokenizer = build_tokenizer(seed=0)
    ids_BT, labels_BT = text_batch(PromptBuilder(tokenizer, (), MEDIA_WRAP), random.Random(1), 8)
    assert ids_BT.shape == labels_BT.shape
    learned_BT = labels_BT != IGNORED
    assert torch.equal(labels_BT[learned_BT], ids_BT[learned_BT])
    for ids_T, learned_T in zip(ids_BT, learned_BT, strict=True):
        text = tokenizer.decode(ids_T[learned_T])
        assert text.endswith("<|end|>")
        assert "<|user|>" not in text
