"""What every encoder must do. A test module subclasses `EncoderContract` once per kind of checkpoint."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file

from anygpt.errors import CheckpointError, MediaError
from encoders.contract import Encoder
from tests.encoders.tiny_sounds import noise, silence, tone

TOLERANCE = 1e-5


class EncoderContract:
    """Subclasses set the attributes and methods below; every `test_` method then holds for them.

    Attributes:
        encoder_class: the class under test.
        required_key: a key in the checkpoint's safetensors file without which loading must fail.
    """

    encoder_class: ClassVar[type[Encoder]]
    required_key: ClassVar[str]

    @classmethod
    def save_checkpoint(cls, folder: Path) -> None:
        """Write a tiny random checkpoint."""
        raise NotImplementedError

    @classmethod
    def make_config(cls, folder: Path) -> Any:
        """The options that load it."""
        raise NotImplementedError

    @classmethod
    def make_media(cls) -> list[Any]:
        """Three media values that differ, also in size."""
        raise NotImplementedError

    @classmethod
    def bad_media(cls) -> tuple[Any, str]:
        """A value of another kind, and a pattern of the message that refuses it."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder: Path = tmp_path_factory.mktemp("checkpoint")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            cls.save_checkpoint(folder)
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, folder: Path) -> Encoder:
        return cls.encoder_class.from_config(cls.make_config(folder))

    def test_features_have_the_declared_shape_dtype_and_device(self, encoder: Encoder) -> None:
        features = encoder.encode(encoder.preprocess(self.make_media()))
        batch, tokens, width = features.tokens.shape
        assert (batch, width) == (3, encoder.feature_dim)
        assert 0 < tokens <= encoder.num_tokens
        assert features.tokens.dtype == encoder.dtype == torch.float32
        assert features.tokens.device == features.valid_mask.device == encoder.device
        assert features.valid_mask.dtype == torch.bool
        assert features.valid_mask.any(dim=1).all()
        assert features.tokens.isfinite().all()

    def test_items_give_different_features(self, encoder: Encoder) -> None:
        tokens = encoder.encode(encoder.preprocess(self.make_media())).tokens
        assert not torch.allclose(tokens[0], tokens[1], atol=1e-3)

    def test_features_follow_the_encoder_dtype(self, folder: Path) -> None:
        encoder = self.encoder_class.from_config(self.make_config(folder), dtype=torch.bfloat16)
        features = encoder.encode(encoder.preprocess(self.make_media()))
        assert features.tokens.dtype == encoder.dtype == torch.bfloat16

    def test_preprocess_makes_cpu_tensors_with_a_batch_dimension(self, encoder: Encoder) -> None:
        batch = encoder.preprocess(self.make_media())
        assert batch
        assert all(tensor.device.type == "cpu" and len(tensor) == 3 for tensor in batch.values())

    def test_preprocessor_needs_no_weights_and_pickles(self, folder: Path, encoder: Encoder, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        for weights in tmp_path.glob("*.safetensors"):
            weights.unlink()
        preprocess = self.encoder_class.load_preprocessor(self.make_config(tmp_path))
        made_elsewhere = pickle.loads(pickle.dumps(preprocess))(self.make_media())
        made_here = encoder.preprocess(self.make_media())
        assert made_elsewhere.keys() == made_here.keys()
        assert all(torch.equal(made_elsewhere[key], made_here[key]) for key in made_here)

    def test_encode_is_deterministic(self, encoder: Encoder) -> None:
        batch = encoder.preprocess(self.make_media())
        assert torch.equal(encoder.encode(batch).tokens, encoder.encode(batch).tokens)

    def test_batch_equals_single(self, encoder: Encoder) -> None:
        together = encoder.encode(encoder.preprocess(self.make_media()))
        for index, medium in enumerate(self.make_media()):
            alone = encoder.encode(encoder.preprocess([medium]))
            valid = together.valid_mask[index]
            torch.testing.assert_close(
                together.tokens[index][valid], alone.tokens[0][alone.valid_mask[0]], atol=TOLERANCE, rtol=0
            )

    def test_weights_are_frozen_and_stay_in_eval_mode(self, encoder: Encoder) -> None:
        encoder.train()
        assert not any(module.training for module in encoder.modules())
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert not encoder.encode(encoder.preprocess(self.make_media())).tokens.requires_grad

    def test_features_can_train_what_reads_them(self, encoder: Encoder) -> None:
        tokens = encoder.encode(encoder.preprocess(self.make_media())).tokens
        weight = torch.ones(encoder.feature_dim, requires_grad=True)
        (tokens * weight).sum().backward()  # keeps the tokens, which autograd refuses for inference tensors
        assert weight.grad is not None

    def test_features_do_not_depend_on_the_callers_autocast(self, encoder: Encoder) -> None:
        batch = encoder.preprocess(self.make_media())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast = encoder.encode(batch).tokens
        assert torch.equal(under_autocast, encoder.encode(batch).tokens)

    def test_loading_twice_gives_the_same_features(self, folder: Path, encoder: Encoder) -> None:
        again = self.encoder_class.from_config(self.make_config(folder))
        batch = encoder.preprocess(self.make_media())
        assert torch.equal(again.encode(batch).tokens, encoder.encode(batch).tokens)

    def test_a_missing_weight_is_named(self, folder: Path, tmp_path: Path) -> None:
        weights = _copy_with_weights(folder, tmp_path)
        del weights[self.required_key]
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match=rf"1 missing \({_tail(self.required_key)}\)"):
            self.encoder_class.from_config(self.make_config(tmp_path))

    def test_a_weight_of_another_shape_is_named(self, folder: Path, tmp_path: Path) -> None:
        weights = _copy_with_weights(folder, tmp_path)
        weights[self.required_key] = torch.zeros(3, 1)
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(
            CheckpointError, match=rf"1 of another shape \({_tail(self.required_key)} \(3, 1\) instead of"
        ):
            self.encoder_class.from_config(self.make_config(tmp_path))

    def test_a_weight_that_nobody_knows_is_named(self, folder: Path, tmp_path: Path) -> None:
        weights = _copy_with_weights(folder, tmp_path)
        weights["surprise.weight"] = torch.zeros(2)
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match=r"1 not known to it \(surprise\.weight\)"):
            self.encoder_class.from_config(self.make_config(tmp_path))

    def test_damaged_weights_are_refused(self, folder: Path, tmp_path: Path) -> None:
        _copy_with_weights(folder, tmp_path)
        (tmp_path / "model.safetensors").write_bytes(b"not a tensor in sight")
        with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
            self.encoder_class.from_config(self.make_config(tmp_path))
        assert "\n" not in str(caught.value)

    def test_a_missing_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"'.*nowhere'.* cannot be loaded") as caught:
            self.encoder_class.from_config(self.make_config(tmp_path / "nowhere"))
        assert "\n" not in str(caught.value)

    def test_an_empty_folder_is_refused_as_such(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="cannot be loaded: the folder is empty; copy or download"):
            self.encoder_class.from_config(self.make_config(tmp_path))

    def test_media_of_another_kind_is_refused(self, encoder: Encoder) -> None:
        medium, pattern = self.bad_media()
        with pytest.raises(MediaError, match=pattern):
            encoder.preprocess([*self.make_media(), medium])
        with pytest.raises(MediaError, match="expected at least one"):
            encoder.preprocess([])


class AudioEncoderContract(EncoderContract):
    """What every audio encoder must do besides: take clips of any length."""

    def test_clips_of_any_length_have_finite_tokens(self, encoder: Encoder) -> None:
        one_sample, empty, empty_at_another_rate = tone(1 / 16_000), silence(0.0), silence(0.0, rate_hz=44_100)
        sounds = [one_sample, empty, empty_at_another_rate, noise(0.02), silence(0.5), noise(9.0, rate_hz=44_100)]
        together = encoder.encode(encoder.preprocess(sounds))
        assert together.tokens.isfinite().all()
        tokens = together.valid_mask.sum(dim=1)
        assert (tokens[:3] >= 1).all()
        assert (tokens[:3] <= tokens[3]).all()
        assert tokens[3] <= tokens[4] <= tokens[5] == encoder.num_tokens
        alone = encoder.encode(encoder.preprocess([empty]))
        assert torch.equal(alone.valid_mask[0], together.valid_mask[1])
        torch.testing.assert_close(alone.tokens[0], together.tokens[1], atol=TOLERANCE, rtol=0)


def _copy_with_weights(source: Path, target: Path) -> dict[str, torch.Tensor]:
    shutil.copytree(source, target, dirs_exist_ok=True)
    weights: dict[str, torch.Tensor] = load_file(target / "model.safetensors")
    return weights


def _tail(key: str) -> str:
    """A pattern for the key's last two parts, whatever the loaded class calls what is before them."""
    return r"[\w.]*" + r"\.".join(key.split(".")[-2:])
