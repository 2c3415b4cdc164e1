"""Legend: B batch, T text tokens, D text width."""

from __future__ import annotations

import random

import torch
from transformers import CLIPModel, CLIPTokenizer

from pipelines.tiny.recipes.prompting import (
    CONDITIONING_NOISE,
    DROPPED_SHARE,
    perturbed,
    prompt_ids,
    sayings,
    text_tower,
)
from pipelines.tiny.world.phrases import caption
from pipelines.tiny.world.scenes import scenes_for


def test_sayings_are_captions_as_often_as_asked():
    scenes = scenes_for("video")
    captions = [caption(scene) for scene in scenes]
    assert sayings(scenes, random.Random(0), 1.0) == captions
    others = sayings(scenes, random.Random(0), 0.0)
    assert sum(said == told for said, told in zip(others, captions, strict=True)) < 0.4 * len(scenes)


def test_text_tower_is_the_clips_own_half(clip_dir):
    clip, tokenizer = CLIPModel.from_pretrained(clip_dir), CLIPTokenizer.from_pretrained(clip_dir)
    ids_BT = prompt_ids(tokenizer, ["a red star", ""])
    assert ids_BT.shape == (2, tokenizer.model_max_length)
    tower = text_tower(clip)
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    expected_BTD = clip.eval().text_model(ids_BT).last_hidden_state
    assert torch.equal(tower(ids_BT).last_hidden_state, expected_BTD.detach())


def test_roughened_embeddings_are_noisy_or_the_empty_prompts():
    torch.manual_seed(0)
    text_BTD, empty_1TD = torch.zeros(2000, 4, 8), torch.full((1, 4, 8), 9.0)
    rough_BTD = perturbed(text_BTD, empty_1TD)
    dropped_B = (rough_BTD == 9.0).all(-1).all(-1)
    assert abs(dropped_B.float().mean().item() - DROPPED_SHARE) < 0.03
    spread_B = rough_BTD[~dropped_B].flatten(1).std(-1)
    assert 0.0 < spread_B.min() < 0.2 * CONDITIONING_NOISE
    assert spread_B.max() < 2.0 * CONDITIONING_NOISE
