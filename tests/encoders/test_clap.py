"""`ClapEncoder` over tiny random checkpoints, with and without feature fusion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import (
    ClapAudioConfig,
    ClapAudioModel,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
)

from anygpt.errors import CheckpointError, ConfigError, MediaError
from anygpt.media.values import Audio
from encoders import ENCODERS
from encoders.clap import ClapEncoder
from tests.encoders.encoder_contract import AudioEncoderContract
from tests.encoders.tiny_sounds import noise, silence, three_sounds, tone

RATE_HZ = 16_000
AUDIO = {
    "spec_size": 64,  # 16 bands, 256 frames
    "num_mel_bins": 16,
    "patch_size": 4,
    "patch_stride": [4, 4],
    "patch_embeds_hidden_size": 16,
    "depths": [1, 1],
    "num_attention_heads": [1, 2],
    "window_size": 4,
    "hidden_size": 32,
    "projection_dim": 16,
    "initializer_range": 0.2,
    "initializer_factor": 5.0,
}
TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 16,
    "vocab_size": 20,
    "max_position_embeddings": 20,
}


class ClapContract(AudioEncoderContract):
    """The contract over one of transformers' classes."""

    encoder_class = ClapEncoder
    required_key: ClassVar[str] = "audio_encoder.patch_embed.proj.weight"
    truncation: ClassVar[str] = "rand_trunc"
    padding: ClassVar[str] = "repeatpad"

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return ClapAudioModel(ClapAudioConfig(**AUDIO))

    @classmethod
    def save_checkpoint(cls, folder: Path) -> None:
        cls.make_model().save_pretrained(folder)
        extractor = ClapFeatureExtractor(
            feature_size=16,
            sampling_rate=RATE_HZ,
            hop_length=80,
            max_length_s=1,
            fft_window_size=256,
            frequency_max=8_000,
            truncation=cls.truncation,
            padding=cls.padding,
        )
        extractor.save_pretrained(folder)

    @classmethod
    def make_config(cls, folder: Path) -> ClapEncoder.Config:
        return ClapEncoder.Config(pretrained=str(folder), max_duration_s=1.5)

    @classmethod
    def make_media(cls) -> list[Any]:
        return three_sounds()

    @classmethod
    def bad_media(cls) -> tuple[Any, str]:
        return "dog.wav", "audio 3 is a str, expected an Audio"


class TestClapAudioModel(ClapContract):
    def test_every_clip_has_the_declared_tokens_and_its_own_are_valid(self, encoder: ClapEncoder) -> None:
        features = encoder.encode(encoder.preprocess(self.make_media()))
        assert features.tokens.shape == (3, encoder.num_tokens, 32)
        assert encoder.num_tokens == 96
        assert features.valid_mask.sum(dim=1).tolist() == [32, 20, 84]
        assert not features.tokens[~features.valid_mask].any()

    def test_tokens_are_the_towers_feature_map_by_time(self, encoder: ClapEncoder) -> None:
        batch = encoder.preprocess([noise(1.0)])
        with torch.no_grad():
            feature_map = encoder.tower(batch["input_features"][0]).last_hidden_state
        tokens = encoder.encode(batch).tokens[0]
        assert feature_map.shape == (1, 32, 2, 32)
        assert torch.equal(tokens[0], feature_map[0, :, 0, 0])
        assert torch.equal(tokens[1], feature_map[0, :, 1, 0])
        assert torch.equal(tokens[2], feature_map[0, :, 0, 1])

    def test_windows_of_a_long_clip_follow_each_other(self, encoder: ClapEncoder) -> None:
        long = noise(1.5)
        parts = [Audio(long.waveform[:RATE_HZ], RATE_HZ), Audio(long.waveform[RATE_HZ:], RATE_HZ)]
        whole = encoder.encode(encoder.preprocess([long])).tokens[0]
        first, second = encoder.encode(encoder.preprocess(parts)).tokens
        torch.testing.assert_close(whole, torch.cat([first[:64], second[:32]]), atol=1e-5, rtol=0)

    def test_a_clip_over_the_limit_is_cut_and_never_at_random(self, encoder: ClapEncoder) -> None:
        long = noise(4.0)
        cut = Audio(long.waveform[: RATE_HZ * 3 // 2], RATE_HZ)
        made, again, of_cut = (encoder.preprocess([sound])["input_features"] for sound in (long, long, cut))
        assert torch.equal(made, again)
        assert torch.equal(made, of_cut)

    def test_the_checkpoints_own_front_end_is_used(self, folder: Path, encoder: ClapEncoder) -> None:
        expected = ClapFeatureExtractor.from_pretrained(folder)(tone(0.3).waveform, sampling_rate=RATE_HZ)
        made = encoder.preprocess([tone(0.3)])["input_features"]
        np.testing.assert_allclose(made[0, 0], expected["input_features"][0], atol=1e-4)

    @pytest.mark.parametrize("sound", [silence(0.0), tone(1 / RATE_HZ), silence(0.5)])
    def test_empty_and_silent_clips_have_finite_tokens(self, encoder: ClapEncoder, sound: Audio) -> None:
        features = encoder.encode(encoder.preprocess([sound]))
        assert features.valid_mask.any()
        assert features.tokens.isfinite().all()

    @pytest.mark.parametrize("max_duration_s", [0.001, 1 / 3, 0.58, 0.71])
    @pytest.mark.parametrize("rate_hz", [16_000, 44_100])
    def test_any_limit_can_be_reached(self, folder: Path, max_duration_s: float, rate_hz: int) -> None:
        encoder = ClapEncoder.from_config(replace(self.make_config(folder), max_duration_s=max_duration_s))
        features = encoder.encode(encoder.preprocess([noise(1.0, rate_hz=rate_hz)]))
        assert features.valid_mask.sum() == encoder.num_tokens > 0

    def test_tensors_of_other_shapes_are_refused(self, encoder: ClapEncoder) -> None:
        batch = encoder.preprocess([noise(1.5)])
        with pytest.raises(MediaError, match=r"shape \(1, 2, 1, 201, 8\), expected \(B, N, 1, F, 16\); make them"):
            encoder.encode({**batch, "input_features": batch["input_features"][..., :8]})
        for samples in ([[16_000, 9_000]], [[0, 0]], [[16_000]]):
            with pytest.raises(MediaError, match=r"num_samples .* given, expected \(B, N\) with 1 to 24000 samples"):
                encoder.encode({**batch, "num_samples": torch.tensor(samples)})

    def test_a_checkpoint_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
        with pytest.raises(CheckpointError, match="is of type 'whisper', expected clap or clap_audio_model"):
            ClapEncoder.from_config(self.make_config(tmp_path))

    def test_a_front_end_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
        with pytest.raises(CheckpointError, match="brings a Wav2Vec2FeatureExtractor, expected a ClapFeatureExtractor"):
            ClapEncoder.load_preprocessor(self.make_config(tmp_path))


class TestSilencePadding(ClapContract):
    padding = "pad"


class TestFusion(ClapContract):
    truncation = "fusion"

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        fusion = {"enable_fusion": True, "aff_block_r": 4}
        return ClapAudioModel(ClapAudioConfig(**AUDIO, **fusion))


class TestWholeClap(ClapContract):
    required_key = "audio_model.audio_encoder.patch_embed.proj.weight"

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return ClapModel(ClapConfig(text_config=TEXT, audio_config=AUDIO, projection_dim=16))


def test_the_registry_knows_the_encoder() -> None:
    assert ENCODERS.resolve("clap") is ClapEncoder


def test_config_comes_through_omegaconf() -> None:
    values = OmegaConf.merge(OmegaConf.structured(ClapEncoder.Config), {"pretrained": "somebody/clap"})
    assert OmegaConf.to_object(values) == ClapEncoder.Config(pretrained="somebody/clap")


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_duration_s: 0 given, expected seconds above 0"):
        ClapEncoder.Config(pretrained="somebody/clap", max_duration_s=0)
