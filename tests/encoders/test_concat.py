"""`ConcatEncoder` over a tiny Whisper and a tiny HuBERT or CLAP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from anygpt.config.resolve import resolve_component
from anygpt.errors import ConfigError
from encoders import ENCODERS
from encoders.concat import ConcatEncoder
from encoders.hubert import HubertEncoder
from encoders.whisper.encoder import WhisperEncoder
from tests.encoders.encoder_contract import AudioEncoderContract
from tests.encoders.test_beats import TestBeats as TinyBeats
from tests.encoders.test_clap import TestClapAudioModel as TinyClap
from tests.encoders.test_hubert import TestHubertModel as TinyHubert
from tests.encoders.test_whisper import TestWhisperModel as TinyWhisper
from tests.encoders.tiny_sounds import noise, silence, three_sounds, tone


def whisper_section(folder: Path, **options: Any) -> dict[str, Any]:
    return {"name": "whisper", "pretrained": str(folder), "max_duration_s": 2.0, **options}


def hubert_section(folder: Path, **options: Any) -> dict[str, Any]:
    return {"name": "hubert", "pretrained": str(folder / "hubert"), "max_duration_s": 2.0, **options}


def clap_section(folder: Path) -> dict[str, Any]:
    return {"name": "clap", "pretrained": str(folder / "clap"), "max_duration_s": 2.0}


class TestWhisperAndHubert(AudioEncoderContract):
    encoder_class = ConcatEncoder
    required_key = "encoder.conv1.weight"

    @classmethod
    def save_checkpoint(cls, folder: Path) -> None:
        TinyWhisper.save_checkpoint(folder)
        TinyHubert.save_checkpoint(folder / "hubert")
        TinyClap.save_checkpoint(folder / "clap")

    @classmethod
    def make_config(cls, folder: Path) -> Any:
        return ConcatEncoder.Config(parts=[whisper_section(folder), hubert_section(folder, pool=4)])

    @classmethod
    def make_media(cls) -> list[Any]:
        return three_sounds()

    @classmethod
    def bad_media(cls) -> tuple[Any, str]:
        return "dog.wav", "audio 3 is a str, expected an Audio"

    def test_features_stand_side_by_side_on_the_sparser_grid(self, folder: Path, encoder: ConcatEncoder) -> None:
        sounds = three_sounds()
        features = encoder.encode(encoder.preprocess(sounds))
        assert encoder.feature_dim == 64
        assert encoder.num_tokens == features.tokens.shape[1] == 25
        alone = HubertEncoder.from_config(HubertEncoder.Config(str(folder / "hubert"), max_duration_s=2.0, pool=4))
        hubert = alone.encode(alone.preprocess(sounds))
        assert torch.equal(features.valid_mask, hubert.valid_mask)
        assert torch.equal(features.tokens[..., 32:], hubert.tokens)

    def test_the_denser_part_is_averaged_in_time(self, folder: Path, encoder: ConcatEncoder) -> None:
        sound = tone(0.57)  # 29 tokens of Whisper, 7 of HuBERT, which leaves out its last 5 ms
        features = encoder.encode(encoder.preprocess([sound]))
        alone = WhisperEncoder.from_config(WhisperEncoder.Config(str(folder), max_duration_s=2.0))
        whisper = alone.encode(alone.preprocess([sound])).tokens[0]
        assert features.valid_mask.sum() == 7
        torch.testing.assert_close(features.tokens[0, 0, :32], whisper[:5].mean(dim=0))
        torch.testing.assert_close(features.tokens[0, 6, :32], whisper[24:29].mean(dim=0))

    def test_three_parts_work(self, folder: Path) -> None:
        sections = [clap_section(folder), whisper_section(folder), hubert_section(folder)]
        encoder = ConcatEncoder.from_config(ConcatEncoder.Config(parts=sections))
        features = encoder.encode(encoder.preprocess(three_sounds()))
        assert features.tokens.shape == (3, encoder.num_tokens, encoder.feature_dim) == (3, 99, 96)
        assert features.tokens.isfinite().all()

    def test_whisper_and_beats_hear_together(self, folder: Path, tmp_path: Path) -> None:
        TinyBeats.save_checkpoint(tmp_path)
        beats = {"name": "beats", "pretrained": str(tmp_path), "max_duration_s": 2.0}
        encoder = ConcatEncoder.from_config(ConcatEncoder.Config(parts=[whisper_section(folder), beats]))
        features = encoder.encode(encoder.preprocess([*three_sounds(), silence(0.0)]))
        assert features.tokens.shape == (4, encoder.num_tokens, encoder.feature_dim)
        assert features.valid_mask.any(dim=1).all()

    def test_empty_and_silent_clips_have_finite_tokens(self, encoder: ConcatEncoder) -> None:
        features = encoder.encode(encoder.preprocess([silence(0.0), silence(0.5), noise(2.5)]))
        assert features.valid_mask.sum(dim=1).tolist() == [1, 6, 25]
        assert features.tokens.isfinite().all()

    def test_a_stack_config_builds_it(self, folder: Path, encoder: ConcatEncoder) -> None:
        section = {"name": "concat", "parts": self.make_config(folder).parts}
        encoder_class, config = resolve_component(ENCODERS, section, "encoders.audio")
        built = encoder_class.from_config(config)
        batch = encoder.preprocess(three_sounds())
        assert torch.equal(built.encode(batch).tokens, encoder.encode(batch).tokens)


WHISPER = {"name": "whisper", "pretrained": "somebody/whisper"}
HUBERT = {"name": "hubert", "pretrained": "somebody/hubert"}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([WHISPER], r"^encoders\.audio\.parts: 1 given, expected two or more audio encoders"),
        ([WHISPER, {**HUBERT, "pol": 2}], r"^encoders\.audio\.parts\.1\.pol: no such key; expected one of .*pool"),
        ([WHISPER, {**HUBERT, "pool": 0}], r"^encoders\.audio\.parts\.1\.pool: 0 given, expected at least 1"),
        ([{**WHISPER, "pool": "a"}, HUBERT], r"^encoders\.audio\.parts\.0\.pool: Value 'a' of type 'str'"),
        ([{"name": "whisper"}, HUBERT], r"^encoders\.audio\.parts\.0\.pretrained: a value is missing; set it"),
        ([WHISPER, {}], r"^encoders\.audio\.parts\.1: no name given; set parts\.1\.name to one of"),
        ([WHISPER, {"name": "ear"}], r"^encoders\.audio\.parts\.1\.name: no encoder is called 'ear'; there are: "),
        (
            [WHISPER, {"name": "clip", "pretrained": "somebody/clip"}],
            r"^encoders\.audio\.parts\.1\.name: 'clip' takes in image, expected audio",
        ),
        (
            [WHISPER, {**HUBERT, "max_duration_s": 10.0}],
            r"^encoders\.audio\.parts\.1\.max_duration_s: 10\.0 given, but parts\.0 has 30\.0; give all parts the same",
        ),
    ],
)
def test_config_errors_name_the_nested_key(parts: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_component(ENCODERS, {"name": "concat", "parts": parts}, "encoders.audio")


def test_the_registry_knows_the_encoder() -> None:
    assert ENCODERS.resolve("concat") is ConcatEncoder


def test_config_comes_through_omegaconf() -> None:
    values = OmegaConf.merge(OmegaConf.structured(ConcatEncoder.Config), {"parts": [WHISPER, HUBERT]})
    assert OmegaConf.to_object(values) == ConcatEncoder.Config(parts=[WHISPER, HUBERT])
