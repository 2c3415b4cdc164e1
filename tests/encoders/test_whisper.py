"""`WhisperEncoder` over tiny random checkpoints of both libraries, and against openai's own encoder."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import whisper
from omegaconf import OmegaConf
from safetensors.torch import save_file
from transformers import PreTrainedModel, WhisperConfig, WhisperForConditionalGeneration, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder as WhisperTower

from anygpt.errors import CheckpointError, ConfigError, MediaError, MissingExtraError
from anygpt.media.values import Audio
from encoders import ENCODERS
from encoders.whisper.encoder import WhisperEncoder
from encoders.whisper.preprocessor import log_mel_spectrogram
from tests.encoders.encoder_contract import AudioEncoderContract
from tests.encoders.tiny_sounds import noise, silence, three_sounds, tone

POSITIONS = 40  # 0.8 s
SHAPE = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 128,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 64,
    "num_mel_bins": 80,
    "max_source_positions": POSITIONS,
    "max_target_positions": 8,
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "init_std": 0.2,
}
DIMS = whisper.ModelDimensions(
    n_mels=80,
    n_audio_ctx=POSITIONS,
    n_audio_state=32,
    n_audio_head=2,
    n_audio_layer=2,
    n_vocab=60,
    n_text_ctx=8,
    n_text_state=32,
    n_text_head=2,
    n_text_layer=1,
)


class WhisperContract(AudioEncoderContract):
    """The contract over one of transformers' classes."""

    encoder_class = WhisperEncoder
    required_key: ClassVar[str] = "encoder.layers.0.self_attn.q_proj.weight"
    model_class: ClassVar[type[PreTrainedModel]] = WhisperModel

    @classmethod
    def save_checkpoint(cls, folder: Path) -> None:
        cls.model_class(WhisperConfig(**SHAPE)).save_pretrained(folder)

    @classmethod
    def make_config(cls, folder: Path) -> WhisperEncoder.Config:
        return WhisperEncoder.Config(pretrained=str(folder), max_duration_s=2.0)

    @classmethod
    def make_media(cls) -> list[Any]:
        return three_sounds()

    @classmethod
    def bad_media(cls) -> tuple[Any, str]:
        return "dog.wav", r"audio 3 is a str, expected an Audio; make one with Audio\(waveform, sampling_rate_hz\)"


class TestWhisperModel(WhisperContract):
    def test_every_clip_has_the_declared_tokens_and_its_own_are_valid(self, encoder: WhisperEncoder) -> None:
        features = encoder.encode(encoder.preprocess(self.make_media()))
        assert features.tokens.shape == (3, encoder.num_tokens, 32)
        assert encoder.num_tokens == 100
        assert features.valid_mask.sum(dim=1).tolist() == [25, 16, 65]
        assert not features.tokens[~features.valid_mask].any()

    def test_a_whole_window_is_the_towers_own_forward_pass(self, encoder: WhisperEncoder) -> None:
        batch = encoder.preprocess([noise(0.8)])
        with torch.no_grad():
            states = encoder.tower(batch["input_features"]).last_hidden_state
        torch.testing.assert_close(encoder.encode(batch).tokens[:, :POSITIONS], states, atol=1e-6, rtol=0)

    def test_windows_of_a_long_clip_follow_each_other(self, encoder: WhisperEncoder) -> None:
        batch = encoder.preprocess([noise(1.0)])
        tokens = encoder.encode(batch).tokens[0]
        frames = batch["input_features"]
        for first, last in ((0, 40), (40, 50)):
            window = {
                "input_features": frames[:, :, 2 * first : 2 * last],
                "num_tokens": torch.tensor([last - first]),
            }
            alone = encoder.encode(window).tokens[0, : last - first]
            torch.testing.assert_close(tokens[first:last], alone, atol=1e-6, rtol=0)

    def test_a_short_clip_costs_no_more_than_its_frames(self, encoder: WhisperEncoder) -> None:
        lengths = []
        hook = encoder.tower.layers[0].register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
        encoder.encode(encoder.preprocess([tone(0.1)]))
        hook.remove()
        assert lengths == [5]

    def test_a_clip_over_the_limit_is_cut(self, encoder: WhisperEncoder) -> None:
        long = noise(4.0)
        cut = Audio(long.waveform[: 2 * 16_000], 16_000)
        features = encoder.encode(encoder.preprocess([long]))
        assert features.valid_mask.all()
        assert torch.equal(features.tokens, encoder.encode(encoder.preprocess([cut])).tokens)

    @pytest.mark.parametrize("sound", [silence(0.0), silence(0.0, rate_hz=44_100), tone(1 / 16_000), silence(0.5)])
    def test_empty_and_silent_clips_have_finite_tokens(self, encoder: WhisperEncoder, sound: Audio) -> None:
        features = encoder.encode(encoder.preprocess([sound]))
        assert features.valid_mask.sum() == max(1, len(sound.waveform) // 320)
        assert features.tokens.isfinite().all()

    def test_windows_shorter_than_the_checkpoints(self, folder: Path) -> None:
        short = WhisperEncoder.from_config(replace(self.make_config(folder), window_s=0.4))
        lengths = []
        short.tower.layers[0].register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[:2]))
        features = short.encode(short.preprocess([noise(1.0)]))
        assert features.valid_mask.sum() == 50
        assert lengths == [(1, 10), (2, 20)]

    def test_many_windows_run_a_few_at_a_time(self, folder: Path) -> None:
        short = WhisperEncoder.from_config(replace(self.make_config(folder), window_s=0.1))
        sizes = []
        short.tower.layers[0].register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
        batch = short.preprocess([noise(2.0)])
        features = short.encode(batch)
        assert sizes == [8, 8, 4]
        last_window = {"input_features": batch["input_features"][:, :, -10:], "num_tokens": torch.tensor([5])}
        alone = short.encode(last_window).tokens[0, :5]
        torch.testing.assert_close(features.tokens[0, 95:], alone, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("window_s", [0.001, 0.9])
    def test_a_window_beyond_the_positions_is_refused(self, folder: Path, window_s: float) -> None:
        config = replace(self.make_config(folder), window_s=window_s)
        for build in (WhisperEncoder.from_config, WhisperEncoder.load_preprocessor):
            with pytest.raises(
                ConfigError, match=rf"window_s={window_s}, but .* 0\.02 to 0\.8 s; set window_s between"
            ):
                build(replace(config, pad_windows=True))

    def test_padded_windows_hear_the_silence_and_leave_its_tokens_out(self, folder: Path) -> None:
        padded = WhisperEncoder.from_config(replace(self.make_config(folder), pad_windows=True))
        batch = padded.preprocess([noise(0.3)])
        features = padded.encode(batch)
        assert features.valid_mask.sum() == 15
        with torch.no_grad():
            states = padded.tower(batch["input_features"]).last_hidden_state
        torch.testing.assert_close(features.tokens[0, :15], states[0, :15], atol=1e-6, rtol=0)
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(noise(0.3).waveform, POSITIONS * 320))
        torch.testing.assert_close(batch["input_features"][0], mel, atol=1e-4, rtol=0)

    def test_pool_averages_frames(self, folder: Path, encoder: WhisperEncoder) -> None:
        pooled = WhisperEncoder.from_config(replace(self.make_config(folder), pool=8))
        batch = pooled.preprocess([tone(0.5)])
        tokens, every = pooled.encode(batch), encoder.encode(batch).tokens
        assert pooled.num_tokens == tokens.tokens.shape[1] == 13
        assert tokens.valid_mask.sum() == 4
        torch.testing.assert_close(tokens.tokens[0, 0], every[0, :8].mean(dim=0))
        torch.testing.assert_close(tokens.tokens[0, 3], every[0, 24])

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
    def test_other_dtypes_work(self, folder: Path, dtype: torch.dtype) -> None:
        encoder = WhisperEncoder.from_config(self.make_config(folder), dtype=dtype)
        assert encoder.encode(encoder.preprocess(self.make_media())).tokens.dtype == dtype

    @pytest.mark.parametrize("max_duration_s", [0.001, 1 / 3, 0.58, 0.71])
    @pytest.mark.parametrize("rate_hz", [16_000, 44_100])
    def test_any_limit_can_be_reached(self, folder: Path, max_duration_s: float, rate_hz: int) -> None:
        encoder = WhisperEncoder.from_config(replace(self.make_config(folder), max_duration_s=max_duration_s))
        features = encoder.encode(encoder.preprocess([noise(1.0, rate_hz=rate_hz)]))
        assert features.valid_mask.sum() == encoder.num_tokens > 0

    def test_tensors_of_other_shapes_are_refused(self, encoder: WhisperEncoder) -> None:
        one = torch.tensor([1])
        with pytest.raises(MediaError, match=r"shape \(1, 16, 2\) for num_tokens \[1\], expected \(B, 80, 2 or more"):
            encoder.encode({"input_features": torch.zeros(1, 16, 2), "num_tokens": one})
        with pytest.raises(MediaError, match=r"num_tokens \[101\] given, expected 1 to 100"):
            encoder.encode({"input_features": torch.zeros(1, 80, 300), "num_tokens": one * 101})

    def test_a_sampling_rate_out_of_this_world_is_refused(self, encoder: WhisperEncoder) -> None:
        with pytest.raises(MediaError, match="sampling_rate_hz 7 given, expected 1000 to 768000; resample"):
            encoder.preprocess([Audio(np.zeros(3, np.float32), 7)])

    def test_the_whisper_package_is_not_needed(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "whisper", None)
        WhisperEncoder.from_config(self.make_config(folder))

    def test_a_checkpoint_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "hubert"}')
        with pytest.raises(CheckpointError, match="is of type 'hubert', expected whisper; set `pretrained`"):
            WhisperEncoder.from_config(self.make_config(tmp_path))


class TestWhisperForConditionalGeneration(WhisperContract):
    required_key = "model.encoder.conv1.weight"
    model_class = WhisperForConditionalGeneration


class TestWhisperEncoderAlone(WhisperContract):
    required_key = "conv1.weight"
    model_class = WhisperTower


@pytest.fixture(scope="module")
def openai_model() -> whisper.model.Whisper:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = whisper.model.Whisper(DIMS)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="module")
def openai_file(openai_model: whisper.model.Whisper, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("openai") / "tiny-random.pt"
    torch.save({"dims": asdict(DIMS), "model_state_dict": openai_model.state_dict()}, file)
    return file


def test_openais_checkpoint_gives_the_features_of_openais_encoder(
    openai_model: whisper.model.Whisper, openai_file: Path
) -> None:
    encoder = WhisperEncoder.from_config(WhisperEncoder.Config(pretrained=str(openai_file)))
    sound = noise(0.8)
    features = encoder.encode(encoder.preprocess([sound]))
    with torch.no_grad():
        expected = openai_model.embed_audio(whisper.log_mel_spectrogram(sound.waveform)[None])
    assert expected.std() > 0.1
    torch.testing.assert_close(features.tokens[:, :POSITIONS], expected, atol=1e-4, rtol=0)


def test_openais_and_transformers_checkpoints_give_the_same_features(openai_file: Path, tmp_path: Path) -> None:
    from_openai = WhisperEncoder.from_config(WhisperEncoder.Config(pretrained=str(openai_file)))
    from_openai.tower.save_pretrained(tmp_path)
    from_transformers = WhisperEncoder.from_config(WhisperEncoder.Config(pretrained=str(tmp_path)))
    one, other = (
        encoder.encode(encoder.preprocess(three_sounds())).tokens for encoder in (from_openai, from_transformers)
    )
    assert torch.equal(one, other)


def test_openais_file_needs_no_weights_for_its_preprocessor(openai_file: Path, tmp_path: Path) -> None:
    torch.save({"dims": asdict(DIMS), "model_state_dict": {}}, tmp_path / "shape.pt")
    made = WhisperEncoder.load_preprocessor(WhisperEncoder.Config(pretrained=str(tmp_path / "shape.pt")))
    assert made == WhisperEncoder.load_preprocessor(WhisperEncoder.Config(pretrained=str(openai_file)))


def test_an_official_name_is_loaded_by_the_whisper_package(
    openai_model: whisper.model.Whisper, openai_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load_model(name: str, device: str) -> whisper.model.Whisper:
        asked.append((name, device))
        return openai_model

    monkeypatch.setattr(whisper, "load_model", load_model)
    by_name = WhisperEncoder.from_config(WhisperEncoder.Config(pretrained="base.en"))
    by_file = WhisperEncoder.from_config(WhisperEncoder.Config(pretrained=str(openai_file)))
    assert asked == [("base.en", "cpu")]
    assert all(torch.equal(own, by_file.state_dict()[key]) for key, own in by_name.state_dict().items())


@pytest.mark.parametrize(("name", "mels"), [("large-v2", 80), ("large-v3", 128)])
def test_an_official_names_preprocessor_is_known_offline(name: str, mels: int) -> None:
    made = WhisperEncoder.load_preprocessor(WhisperEncoder.Config(pretrained=name, pad_windows=True))
    assert made([tone(0.1)])["input_features"].shape == (1, mels, 3000)


def test_official_names_are_those_of_the_package() -> None:
    from encoders.whisper.checkpoint import OFFICIAL_MELS

    assert OFFICIAL_MELS.keys() == set(whisper.available_models())


def test_an_official_name_without_the_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "whisper", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'anygpt\[audio\]', or set pretrained=openai/whisper-"):
        WhisperEncoder.from_config(WhisperEncoder.Config(pretrained="large-v3"))


def test_an_official_name_that_cannot_be_reached_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_model(name: str, device: str) -> None:
        raise RuntimeError("Model has been downloaded but the SHA256 checksum does not not match.")

    monkeypatch.setattr(whisper, "load_model", load_model)
    with pytest.raises(CheckpointError, match=r"'tiny' cannot be loaded: Model has been downloaded but"):
        WhisperEncoder.from_config(WhisperEncoder.Config(pretrained="tiny"))


class _Arbitrary:
    """What a harmless checkpoint does not hold."""


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"dims": asdict(DIMS)}, r"holds no 'model_state_dict', expected a checkpoint of the whisper package"),
        ([1], "holds no 'dims'"),
        ({"dims": {}, "model_state_dict": {}}, r"dims\.n_mels is None, expected a number above 0"),
        ({"dims": asdict(DIMS), "model_state_dict": {}}, r"37 missing \(conv1\.bias, conv1\.weight, conv2\.bias, …\)"),
        (
            {"dims": asdict(DIMS), "model_state_dict": {}, "extra": _Arbitrary()},
            "cannot be loaded: it is damaged or holds pickled objects",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused(checkpoint: Any, message: str, tmp_path: Path) -> None:
    torch.save(checkpoint, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        WhisperEncoder.from_config(WhisperEncoder.Config(pretrained=str(tmp_path / "model.pt")))
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_refused(openai_file: Path, tmp_path: Path) -> None:
    shutil.copy(openai_file, tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes(openai_file.read_bytes()[:1000])
    (tmp_path / "text.pt").write_bytes(b"not a tensor in sight")
    (tmp_path / "empty.pt").write_bytes(b"")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.pt")
    for name in ("cut", "text", "empty", "other"):
        with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
            WhisperEncoder.from_config(WhisperEncoder.Config(pretrained=str(tmp_path / f"{name}.pt")))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("sound", [noise(1.0), tone(0.3), silence(0.5)])
def test_the_front_end_agrees_with_openais(sound: Audio, mels: int) -> None:
    expected = whisper.log_mel_spectrogram(sound.waveform, n_mels=mels)
    made = log_mel_spectrogram(torch.from_numpy(sound.waveform), mels)
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)


def test_the_registry_knows_the_encoder() -> None:
    assert ENCODERS.resolve("whisper") is WhisperEncoder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": 0}, "pool: 0 given, expected at least 1 frame a token"),
        ({"max_duration_s": 0.0}, "max_duration_s: 0.0 given, expected seconds above 0"),
        ({"max_duration_s": 1e300}, r"max_duration_s: 1e\+300 given, expected seconds above 0 and at most 86400"),
        ({"window_s": -1.0}, "window_s: -1.0 given, expected seconds above 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WhisperEncoder.Config(pretrained="large-v3", **options)


def test_config_comes_through_omegaconf() -> None:
    values = OmegaConf.merge(OmegaConf.structured(WhisperEncoder.Config), {"pretrained": "embedded:tiny/whisper"})
    assert OmegaConf.to_object(values) == WhisperEncoder.Config(pretrained="embedded:tiny/whisper")
