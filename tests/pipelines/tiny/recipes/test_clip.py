from __future__ import annotations

from encoders.vision_tower.encoder import ClipEncoder
from pipelines.tiny.recipes.clip import build_tokenizer, pretrain_clip
from pipelines.tiny.recipes.towers import TextTower
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import MOTIONS, Scene


def test_clip_becomes_an_image_encoder_and_a_text_tower(tmp_path):
    pretrain_clip(tmp_path, steps=2, batch_size=8, seed=0)
    encoder = ClipEncoder.from_config(ClipEncoder.Config(pretrained=str(tmp_path), hidden_layer=-2))
    features = encoder.encode(encoder.preprocess([render(Scene("star", "red"), "image")]))
    assert features.tokens.shape == (1, 64, 128)
    assert features.tokens.isfinite().all()
    assert TextTower(tmp_path).width == 64


def test_clip_tokenizer_has_tokens_for_motions_and_reads_any_text():
    tokenizer = build_tokenizer(seed=0)
    for motion in MOTIONS[1:]:
        assert len(tokenizer.tokenize(f"moving {motion}")) == 2
    assert tokenizer.decode(tokenizer("größer 星").input_ids, skip_special_tokens=True).replace(" ", "") == "größer星"
