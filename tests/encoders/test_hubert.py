"""`HubertEncoder` over tiny random checkpoints of both kinds of normalisation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import HubertConfig, HubertForCTC, HubertModel, PreTrainedModel, Wav2Vec2FeatureExtractor

from anygpt.errors import CheckpointError, ConfigError, MediaError
from anygpt.media.values import Audio
from encoders import ENCODERS
from encoders.hubert import HubertEncoder
from tests.encoders.encoder_contract import AudioEncoderContract
from tests.encoders.tiny_sounds import noise, silence, three_sounds, tone

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16, 16],  # a frame every 20 ms, of 25 ms
    "conv_kernel": [40, 19],
    "conv_stride": [20, 16],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 12,
    "initializer_range": 0.2,
}
FRAME = 400


class HubertContract(AudioEncoderContract):
    """The contract over one of transformers' classes."""

    encoder_class = HubertEncoder
    required_key: ClassVar[str] = "encoder.layers.0.attention.q_proj.weight"
    model_class: ClassVar[type[PreTrainedModel]] = HubertModel
    options: ClassVar[dict[str, Any]] = {}
    do_normalize: ClassVar[bool] = True

    @classmethod
    def save_checkpoint(cls, folder: Path) -> None:
        cls.model_class(HubertConfig(**SHAPE, **cls.options)).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=cls.do_normalize).save_pretrained(folder)

    @classmethod
    def make_config(cls, folder: Path) -> HubertEncoder.Config:
        return HubertEncoder.Config(pretrained=str(folder), max_duration_s=2.0)

    @classmethod
    def make_media(cls) -> list[Any]:
        return three_sounds()

    @classmethod
    def bad_media(cls) -> tuple[Any, str]:
        return "dog.wav", "audio 3 is a str, expected an Audio"

    def test_tokens_are_the_towers_own(self, encoder: HubertEncoder) -> None:
        sounds = [noise(0.5), tone(0.5)]
        batch = encoder.preprocess(sounds)
        with torch.no_grad():
            states = encoder.tower(batch["input_values"]).last_hidden_state
        features = encoder.encode(batch)
        assert features.valid_mask.sum(dim=1).tolist() == [states.shape[1]] * 2
        torch.testing.assert_close(features.tokens[:, : states.shape[1]], states, atol=1e-6, rtol=0)


class TestHubertModel(HubertContract):
    def test_every_clip_has_the_declared_tokens_and_its_own_are_valid(self, encoder: HubertEncoder) -> None:
        features = encoder.encode(encoder.preprocess(self.make_media()))
        assert features.tokens.shape == (3, encoder.num_tokens, 32)
        assert encoder.num_tokens == 99
        assert features.valid_mask.sum(dim=1).tolist() == [24, 15, 64]
        assert not features.tokens[~features.valid_mask].any()

    def test_waveforms_are_normalised(self, encoder: HubertEncoder) -> None:
        values = encoder.preprocess([noise(0.5)])["input_values"]
        assert values.mean().abs() < 1e-5
        assert (values.std() - 1).abs() < 1e-3

    def test_a_clip_over_the_limit_is_cut(self, encoder: HubertEncoder) -> None:
        batch = encoder.preprocess([noise(4.0)])
        assert batch["input_values"].shape == (1, 2 * 16_000)
        assert encoder.encode(batch).valid_mask.all()

    @pytest.mark.parametrize("sound", [silence(0.0), tone(1 / 16_000), silence(0.5)])
    def test_empty_and_silent_clips_have_finite_tokens(self, encoder: HubertEncoder, sound: Audio) -> None:
        features = encoder.encode(encoder.preprocess([sound]))
        assert features.valid_mask.sum() == (24 if len(sound.waveform) > FRAME else 1)
        assert features.tokens.isfinite().all()

    def test_pool_averages_frames(self, folder: Path, encoder: HubertEncoder) -> None:
        pooled = HubertEncoder.from_config(replace(self.make_config(folder), pool=10))
        batch = pooled.preprocess([tone(0.5)])
        tokens, every = pooled.encode(batch), encoder.encode(batch).tokens
        assert pooled.num_tokens == tokens.tokens.shape[1] == 10
        assert tokens.valid_mask.sum() == 3
        torch.testing.assert_close(tokens.tokens[0, 2], every[0, 20:24].mean(dim=0))

    @pytest.mark.parametrize("max_duration_s", [0.001, 1 / 3, 0.58, 0.71])
    @pytest.mark.parametrize("rate_hz", [16_000, 44_100])
    def test_any_limit_can_be_reached(self, folder: Path, max_duration_s: float, rate_hz: int) -> None:
        encoder = HubertEncoder.from_config(replace(self.make_config(folder), max_duration_s=max_duration_s))
        features = encoder.encode(encoder.preprocess([noise(1.0, rate_hz=rate_hz)]))
        assert features.valid_mask.sum() == encoder.num_tokens > 0

    def test_tensors_of_other_shapes_are_refused(self, encoder: HubertEncoder) -> None:
        with pytest.raises(MediaError, match=r"shape \(1, 399\) for num_samples \[399\], expected .* 400 to 32000"):
            encoder.encode({"input_values": torch.zeros(1, 399), "num_samples": torch.tensor([399])})

    def test_a_checkpoint_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
        with pytest.raises(CheckpointError, match="is of type 'whisper', expected hubert; set `pretrained`"):
            HubertEncoder.from_config(self.make_config(tmp_path))


class TestHubertForCtc(HubertContract):
    required_key = "hubert.encoder.layers.0.attention.q_proj.weight"
    model_class = HubertForCTC


class TestStableLayerNorm(HubertContract):
    options: ClassVar[dict[str, Any]] = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
    do_normalize = False

    def test_waveforms_are_left_as_they_are(self, encoder: HubertEncoder) -> None:
        sound = noise(0.5)
        assert np.array_equal(encoder.preprocess([sound])["input_values"][0].numpy(), sound.waveform)


def test_the_registry_knows_the_encoder() -> None:
    assert ENCODERS.resolve("hubert") is HubertEncoder


def test_config_comes_through_omegaconf() -> None:
    values = OmegaConf.merge(OmegaConf.structured(HubertEncoder.Config), {"pretrained": "somebody/hubert", "pool": 2})
    assert OmegaConf.to_object(values) == HubertEncoder.Config(pretrained="somebody/hubert", pool=2)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="pool: 0 given"):
        HubertEncoder.Config(pretrained="somebody/hubert", pool=0)
    with pytest.raises(ConfigError, match="max_duration_s: -1 given"):
        HubertEncoder.Config(pretrained="somebody/hubert", max_duration_s=-1)
