from __future__ import annotations

import math
import random

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTokenizer

from encoders.beats.encoder import BeatsEncoder
from encoders.contract import Encoder
from encoders.ulip2.encoder import Ulip2Encoder
from encoders.whisper.encoder import WhisperEncoder
from pipelines.tiny.recipes.towers import (
    TextTower,
    calibrate,
    contrastive_loss,
    pretrain_beats,
    pretrain_point_tower,
    pretrain_sound_tower,
)
from pipelines.tiny.world.phrases import MOTION_WAYS, caption
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene, scenes_for

ROWS = "text_model.embeddings.token_embedding.weight"
STAR = Scene("star", "red")


def check_encodes(encoder: Encoder) -> None:
    modality = encoder.modality
    features = encoder.encode(encoder.preprocess([render(STAR.in_modality(modality), modality)]))
    assert features.tokens.shape == (1, encoder.num_tokens, encoder.feature_dim)
    assert features.valid_mask.any()
    assert features.tokens.isfinite().all()


def test_sound_tower_becomes_an_audio_encoder_and_new_words_alone_train(tmp_path, clip_dir):
    pretrain_sound_tower(tmp_path, clip_dir, steps=2, batch_size=16, seed=0)
    check_encodes(WhisperEncoder.from_config(WhisperEncoder.Config(str(tmp_path / "encoder"), max_duration_s=2.0)))
    before = load_file(clip_dir / "model.safetensors")
    after = load_file(tmp_path / "clip" / "model.safetensors")
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == [ROWS]
    changed = (before[ROWS] != after[ROWS]).any(-1).nonzero().flatten().tolist()
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "clip")
    of_pictures = {token for scene in scenes_for("image") for token in tokenizer(caption(scene)).input_ids}
    of_motions = {token for ways in MOTION_WAYS.values() for way in ways for token in tokenizer(way).input_ids}
    assert tokenizer.convert_tokens_to_ids("moving</w>") in changed
    assert set(changed) <= of_motions - of_pictures


@pytest.mark.parametrize(
    ("pretrain", "encoder", "options"),
    [
        (pretrain_point_tower, Ulip2Encoder, {"num_points": 1024}),
        (pretrain_beats, BeatsEncoder, {"max_duration_s": 2.0}),
    ],
)
def test_towers_become_encoders(tmp_path, clip_dir, pretrain, encoder, options):
    pretrain(tmp_path, clip_dir, steps=2, batch_size=4, seed=0)
    check_encodes(encoder.from_config(encoder.Config(str(tmp_path / "encoder"), **options)))


def test_text_tower_tells_motions_apart(clip_dir):
    text = TextTower(clip_dir)
    scenes = [STAR.in_modality("video").changed("motion", motion) for motion in ("left", "right", "up", "down")]
    vectors_BE = text.embed(scenes, random.Random(0))
    torch.testing.assert_close(vectors_BE.norm(dim=-1), torch.ones(4))
    assert len(torch.unique(vectors_BE, dim=0)) == 4


def test_contrastive_loss_takes_every_caption_of_a_scene_for_right():
    """Of four media, two show the same thing: what is right is shared among them."""
    scenes = [scenes_for("audio")[place] for place in (0, 0, 100, 200)]
    vectors_BE = torch.eye(4)[[0, 0, 1, 2]]
    scale = torch.tensor(math.log(100.0))
    loss = contrastive_loss(vectors_BE, vectors_BE, scenes, scale)
    assert loss.item() == pytest.approx(math.log(2.0) / 2, abs=1e-4)  # half of the rows have two right ones
    assert contrastive_loss(vectors_BE, vectors_BE.flip(0), scenes, scale) > 10.0


def test_calibration_measures_the_statistics_of_the_batches_alone():
    norm = nn.BatchNorm1d(3)
    norm.running_mean.fill_(99.0)
    torch.manual_seed(0)
    batches = [2.0 + 3.0 * torch.randn(64, 3) for _ in range(4)]
    calibrate(norm, batches)
    torch.testing.assert_close(norm.running_mean, torch.stack([batch.mean(0) for batch in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([batch.var(0) for batch in batches]).mean(0))
