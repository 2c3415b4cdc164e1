"""`BeatsEncoder` over tiny random weights, and against what the original gave."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from anygpt.errors import CheckpointError, ConfigError, MediaError
from anygpt.media.values import Audio
from encoders import ENCODERS
from encoders.beats.encoder import BeatsEncoder
from encoders.beats.kaldi_fbank import frame_count, kaldi_fbank, mel_bank
from encoders.beats.model import BeatsModel, BeatsSettings, relative_buckets
from encoders.state_dicts import parse_settings
from tests.encoders.encoder_contract import AudioEncoderContract

FIXTURES = Path(__file__).parent.parent / "fixtures"
OFFICIAL = FIXTURES / "beats" / "checkpoint.pt"
MANIFEST = json.loads((FIXTURES / "manifests" / "beats_iter3plus_base.json").read_text())
TINY = {
    "embed_dim": 16,
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 2,
    "conv_pos": 8,
    "conv_pos_groups": 2,
    "num_buckets": 32,
    "max_distance": 64,
}


def golden(name: str) -> torch.Tensor:
    return torch.from_numpy(np.load(FIXTURES / "beats" / f"{name}.npy"))


def tiny_settings(**changes: Any) -> BeatsSettings:
    return parse_settings(BeatsSettings, {**MANIFEST["cfg"], **TINY, **changes}, "test", who="test")


def chirp(duration_s: float, rate: int = 16_000, hz: float = 400.0) -> Audio:
    t_S = np.arange(round(duration_s * rate)) / rate
    return Audio((0.5 * np.sin(2 * np.pi * hz * t_S * (1 + t_S))).astype(np.float32), rate)


def load_official(**options: Any) -> BeatsEncoder:
    return BeatsEncoder.from_config(BeatsEncoder.Config(pretrained=str(OFFICIAL), **options))


class TestBeats(AudioEncoderContract):
    encoder_class = BeatsEncoder
    required_key = "encoder.layers.1.fc1.weight"

    @classmethod
    def save_checkpoint(cls, folder: Path) -> None:
        BeatsModel(tiny_settings()).save_pretrained(folder)

    @classmethod
    def make_config(cls, folder: Path) -> BeatsEncoder.Config:
        return BeatsEncoder.Config(pretrained=str(folder), window_s=0.5, max_duration_s=1.5)

    @classmethod
    def make_media(cls) -> list[Any]:
        return [chirp(0.3), chirp(0.9, rate=22_050, hz=900.0), chirp(1.4, hz=1500.0)]

    @classmethod
    def bad_media(cls) -> tuple[Any, str]:
        return "dog.wav", "audio 3 is a str, expected an Audio; make one with Audio"

    def test_a_token_stands_for_every_band_of_every_160_ms(self, encoder: BeatsEncoder) -> None:
        features = encoder.encode(encoder.preprocess(self.make_media()))
        rows = [frame_count(round(duration_s * 16_000)) // 16 for duration_s in (0.3, 0.9, 1.4)]
        assert features.valid_mask.sum(1).tolist() == [8 * row for row in rows]
        assert features.tokens.shape[1] == encoder.num_tokens == 8 * (frame_count(24_000) // 16)

    def test_a_long_sound_is_encoded_in_windows_of_equal_length(self, folder: Path, encoder: BeatsEncoder) -> None:
        batch = encoder.preprocess([chirp(1.3)])
        assert batch["fbank"].shape[1] == 8 * 16  # in windows of at most 3 patches: 3, 3 and 2
        parts = [{key: value[:, first : first + 48] for key, value in batch.items()} for first in (0, 48, 96)]
        alone = [encoder.encode(part) for part in parts]
        tokens = torch.cat([features.tokens[0][features.valid_mask[0]] for features in alone])
        torch.testing.assert_close(encoder.encode(batch).tokens[0, :64], tokens, atol=1e-5, rtol=0)
        whole = BeatsEncoder.from_config(replace(self.make_config(folder), window_s=1.5))
        assert not torch.allclose(whole.encode(batch).tokens[0, :64], tokens, atol=1e-3)

    def test_sound_after_the_longest_duration_is_cut_off(self, encoder: BeatsEncoder) -> None:
        long = chirp(4.0, rate=8_000)
        cut = Audio(long.waveform[:12_000], 8_000)
        batch, expected = encoder.preprocess([long]), encoder.preprocess([cut])
        assert torch.equal(batch["fbank"], expected["fbank"])
        assert bool(encoder.encode(batch).valid_mask.all())

    @pytest.mark.parametrize("samples", [0, 1, 399, 480])
    def test_a_sound_shorter_than_a_patch_gets_silence_after_it(self, encoder: BeatsEncoder, samples: int) -> None:
        short = Audio(chirp(0.03).waveform[:samples], 16_000)
        padded = Audio(np.pad(short.waveform, (0, 2800 - samples)), 16_000)
        batch = encoder.preprocess([short])
        assert torch.equal(batch["fbank"], encoder.preprocess([padded])["fbank"])
        assert int(encoder.encode(batch).valid_mask.sum()) == 8

    def test_silence_gives_finite_features(self, encoder: BeatsEncoder) -> None:
        features = encoder.encode(encoder.preprocess([Audio(np.zeros(8_000, np.float32), 16_000)]))
        assert bool(features.tokens.isfinite().all())

    def test_resampling_keeps_the_features(self, encoder: BeatsEncoder) -> None:
        first, second = encoder.preprocess([chirp(1.0), chirp(1.0, rate=48_000)])["fbank"]
        assert (first - second).abs().mean() < 0.05  # the resampler's filter shows at the edges and where all is silent

    def test_spectrograms_of_another_shape_are_refused(self, encoder: BeatsEncoder) -> None:
        for frames, bands in ((15, 128), (16, 64), (1600, 128)):
            batch = {"fbank": torch.zeros(1, frames, bands), "valid_mask": torch.ones(1, frames, dtype=torch.bool)}
            with pytest.raises(MediaError, match=r"expected \(B, F, 128\) and \(B, F\), F a multiple of 16 up to 144"):
                encoder.encode(batch)

    def test_durations_that_hold_no_patch_are_refused(self, folder: Path) -> None:
        config = self.make_config(folder)
        with pytest.raises(ConfigError, match=r"max_duration_s=0\.1, but one patch lasts 0\.175 s; set"):
            BeatsEncoder.from_config(replace(config, max_duration_s=0.1))
        with pytest.raises(ConfigError, match=r"window_s=0\.1 does not hold one patch of 16 frames; set it to 10"):
            BeatsEncoder.from_config(replace(config, window_s=0.1))
        with pytest.raises(ConfigError, match="window_s: 0 given"):
            replace(config, window_s=0)

    @pytest.mark.parametrize(
        ("changes", "pattern"),
        [
            ({"encoder_layers": "2"}, "encoder_layers='2', expected a value of type int"),
            ({"layer_norm_first": True}, "layer_norm_first=True, expected False as in the released models"),
            ({"encoder_attention_heads": 3}, "encoder_attention_heads=3, expected a divisor of encoder_embed_dim 32"),
            ({"conv_pos": 0}, "conv_pos=0, expected at least 1"),
            ({"model_type": "clip"}, "is of type 'clip', expected 'beats'; set `pretrained`"),
        ],
    )
    def test_a_config_that_cannot_be_is_refused(
        self, folder: Path, tmp_path: Path, changes: dict[str, Any], pattern: str
    ) -> None:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        values = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**values, **changes}))
        for load in (BeatsEncoder.from_config, BeatsEncoder.load_preprocessor):
            with pytest.raises(CheckpointError, match=pattern):
                load(self.make_config(tmp_path))

    def test_layers_that_disagree_about_their_shared_table_are_refused(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        weights = load_file(tmp_path / "model.safetensors")
        weights["encoder.layers.1.self_attn.relative_attention_bias.weight"] += 1.0
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match=r"two values for one shared tensor, encoder\.layers\.0.* and "):
            BeatsEncoder.from_config(self.make_config(tmp_path))


def test_features_equal_the_originals() -> None:
    encoder = load_official()
    batch = encoder.preprocess([Audio(waveform, 16_000) for waveform in golden("wav").numpy()])
    features = encoder.encode(batch)
    assert features.valid_mask.sum(1).tolist() == [48, 48]
    torch.testing.assert_close(features.tokens[:, :48], golden("out_features"), atol=2e-4, rtol=0)
    short = encoder.encode(encoder.preprocess([Audio(golden("wav_short").numpy()[0], 16_000)]))
    torch.testing.assert_close(short.tokens[:, :8], golden("out_features_short"), atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("sound", "features", "padding"),
    [
        ("wav_padded", "out_features_padded", "out_token_padding_mask"),
        ("wav_short", "out_features_short_padded", "out_short_token_padding_mask"),
    ],
)
def test_features_beside_padded_tokens_equal_the_originals(sound: str, features: str, padding: str) -> None:
    encoder = load_official()
    batch = encoder.preprocess([Audio(waveform, 16_000) for waveform in golden(sound).numpy()])
    valid_BT = ~golden(padding)
    with torch.no_grad():
        tokens_BTD = encoder.model(batch["fbank"], valid_BT)
    torch.testing.assert_close(tokens_BTD[valid_BT], golden(features)[valid_BT], atol=2e-4, rtol=0)


def test_filter_bank_equals_the_originals() -> None:
    # The original's last bit depends on the CPU that takes the logarithm, and so does ours.
    torch.testing.assert_close(mel_bank()[:, :256], golden("mel_banks_128x256"), atol=2e-5, rtol=0)
    assert not mel_bank()[:, 256].any()
    torch.testing.assert_close(kaldi_fbank(golden("fbank_wav")[0]), golden("fbank_beats_raw"), atol=5e-4, rtol=0)


def test_relative_buckets_equal_the_originals() -> None:
    distances, buckets = golden("rel_bucket_320_800").long()
    assert torch.equal(relative_buckets(distances, 320, 800), buckets)


def test_the_released_size_has_the_official_keys_and_shapes() -> None:
    with torch.device("meta"):
        model = BeatsModel(parse_settings(BeatsSettings, MANIFEST["cfg"], "manifest", who="test"))
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == MANIFEST["keys"]
    assert sum(parameter.numel() for parameter in model.parameters()) == MANIFEST["params"]


def test_ten_seconds_at_the_released_rate_give_496_tokens() -> None:
    assert load_official(max_duration_s=10.0).num_tokens == 496


def test_an_official_file_becomes_a_folder(tmp_path: Path) -> None:
    encoder = load_official()
    encoder.model.save_pretrained(tmp_path)
    again = BeatsEncoder.from_config(BeatsEncoder.Config(pretrained=str(tmp_path)))
    batch = encoder.preprocess([chirp(0.4)])
    assert torch.equal(again.encode(batch).tokens, encoder.encode(batch).tokens)
    made_elsewhere = BeatsEncoder.load_preprocessor(encoder.config)([chirp(0.4)])
    assert torch.equal(made_elsewhere["fbank"], batch["fbank"])


def test_a_fine_tuned_release_loads_without_its_classifier(tmp_path: Path) -> None:
    content = torch.load(OFFICIAL, weights_only=True)
    content["model"].update({"predictor.weight": torch.zeros(527, 64), "predictor.bias": torch.zeros(527)})
    torch.save({**content, "label_dict": {0: "/m/09x0r"}}, tmp_path / "fine_tuned.pt")
    BeatsEncoder.from_config(BeatsEncoder.Config(pretrained=str(tmp_path / "fine_tuned.pt")))


def test_official_files_load_strictly(tmp_path: Path) -> None:
    file = tmp_path / "BEATs.pt"
    config = BeatsEncoder.Config(pretrained=str(file))
    content = torch.load(OFFICIAL, weights_only=True)
    weight = content["model"].pop("layer_norm.weight")
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=r"1 missing \(layer_norm\.weight\)"):
        BeatsEncoder.from_config(config)
    content["model"].update({"layer_norm.weight": weight, "extra": weight})
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=r"1 not known to it \(extra\)"):
        BeatsEncoder.from_config(config)
    del content["cfg"]["conv_pos"]
    torch.save(content, file)
    with pytest.raises(CheckpointError, match="conv_pos=None, expected a value of type int"):
        BeatsEncoder.from_config(config)
    torch.save({"model": content["model"]}, file)
    with pytest.raises(CheckpointError, match="has no 'cfg' or no weights under 'model', expected an official"):
        BeatsEncoder.from_config(config)
    torch.save({**content, "surprise": Path("/")}, file)
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        BeatsEncoder.from_config(config)
    assert "\n" not in str(caught.value)
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        BeatsEncoder.from_config(config)


def test_a_name_that_is_no_file_or_folder_is_refused() -> None:
    config = BeatsEncoder.Config(pretrained="microsoft/beats")
    for load in (BeatsEncoder.from_config, BeatsEncoder.load_preprocessor):
        with pytest.raises(CheckpointError, match="there is no such file or folder; download the official checkpoint"):
            load(config)


def test_the_registry_knows_the_encoder() -> None:
    assert ENCODERS.resolve("beats") is BeatsEncoder


def test_config_comes_through_omegaconf() -> None:
    values = OmegaConf.merge(OmegaConf.structured(BeatsEncoder.Config), {"pretrained": "BEATs.pt", "window_s": 5})
    assert OmegaConf.to_object(values) == BeatsEncoder.Config(pretrained="BEATs.pt", window_s=5.0)
