"""`ClipEncoder` over tiny random towers of every family that it knows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    PreTrainedModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
)

from anygpt.errors import CheckpointError, ConfigError, MediaError
from encoders import ENCODERS
from encoders.vision_tower.encoder import ClipEncoder
from tests.encoders.encoder_contract import EncoderContract

SIZE = {"height": 32, "width": 32}
TOWER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    # Default init is so small that a tiny random tower would hardly tell pictures apart.
    "initializer_range": 0.2,
}
VISION = {**TOWER, "intermediate_size": 64}
SIGLIP_VISION = {key: value for key, value in VISION.items() if key != "initializer_range"}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "bos_token_id": 48,
    "eos_token_id": 49,
}


class ClipEncoderContract(EncoderContract):
    """The contract over one family of towers.

    Attributes:
        num_tokens: without the class token.
    """

    encoder_class = ClipEncoder
    required_key: ClassVar[str] = "embeddings.patch_embedding.weight"
    processor: ClassVar[Any] = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SIZE)
    num_tokens: ClassVar[int] = 16

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        raise NotImplementedError

    @classmethod
    def save_checkpoint(cls, folder: Path) -> None:
        cls.make_model().save_pretrained(folder)
        cls.processor.save_pretrained(folder)

    @classmethod
    def make_config(cls, folder: Path) -> ClipEncoder.Config:
        return ClipEncoder.Config(pretrained=str(folder))

    @classmethod
    def make_media(cls) -> list[Any]:
        generator = np.random.default_rng(0)
        sizes = ((32, 32), (40, 56), (64, 33))
        return [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]

    @classmethod
    def bad_media(cls) -> tuple[Any, str]:
        return "cat.png", "image 3 is a str, expected a PIL image; open it with PIL.Image.open"

    def test_the_layout_is_known_without_weights(self, folder: Path, encoder: ClipEncoder, tmp_path: Path) -> None:
        for name in ("config.json", "preprocessor_config.json"):
            shutil.copy(folder / name, tmp_path / name)
        layout = ClipEncoder.layout(self.make_config(tmp_path))
        assert (layout.feature_dim, layout.num_tokens) == (32, self.num_tokens)
        assert encoder.encode(encoder.preprocess(self.make_media())).tokens.shape == (3, self.num_tokens, 32)

    def test_features_are_the_towers_own_hidden_states(self, encoder: ClipEncoder) -> None:
        batch = encoder.preprocess(self.make_media())
        with torch.no_grad():
            states = encoder.tower(**batch, output_hidden_states=True).hidden_states
        prefix = states[1].shape[1] - self.num_tokens
        assert torch.equal(encoder.encode(batch).tokens, states[1][:, prefix:])


class TestClipVisionModel(ClipEncoderContract):
    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return CLIPVisionModel(CLIPVisionConfig(**VISION))

    def test_keep_cls_puts_the_class_token_first(self, folder: Path, encoder: ClipEncoder) -> None:
        with_cls = ClipEncoder.from_config(replace(self.make_config(folder), keep_cls=True))
        batch = encoder.preprocess(self.make_media())
        tokens = with_cls.encode(batch).tokens
        assert tokens.shape[1] == with_cls.num_tokens == 17
        assert torch.equal(tokens[:, 1:], encoder.encode(batch).tokens)

    def test_hidden_layer_selects_the_layer(self, folder: Path, encoder: ClipEncoder) -> None:
        batch = encoder.preprocess(self.make_media())
        same = ClipEncoder.from_config(replace(self.make_config(folder), hidden_layer=1))
        other = ClipEncoder.from_config(replace(self.make_config(folder), hidden_layer=-1))
        assert torch.equal(same.encode(batch).tokens, encoder.encode(batch).tokens)
        assert not torch.allclose(other.encode(batch).tokens, encoder.encode(batch).tokens)

    @pytest.mark.parametrize("hidden_layer", [-4, 3])
    def test_hidden_layer_beyond_the_depth_is_refused(self, folder: Path, hidden_layer: int) -> None:
        config = replace(self.make_config(folder), hidden_layer=hidden_layer)
        with pytest.raises(
            ConfigError, match=f"hidden_layer={hidden_layer}, but the tower has 2 layers; set .* -3 and 2"
        ):
            ClipEncoder.from_config(config)

    def test_a_picture_that_is_not_rgb_is_refused(self, encoder: ClipEncoder) -> None:
        with pytest.raises(MediaError, match=r"image 0 has mode 'RGBA', expected 'RGB'; call image.convert"):
            encoder.preprocess([Image.new("RGBA", (32, 32))])

    def test_pixels_of_another_size_are_refused(self, encoder: ClipEncoder) -> None:
        with pytest.raises(MediaError, match=r"pixel_values of shape \(2, 3, 16, 16\), expected \(B, 3, 32, 32\)"):
            encoder.encode({"pixel_values": torch.zeros(2, 3, 16, 16)})

    def test_an_unreachable_hub_name_is_refused_in_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(
            CheckpointError,
            match=r"'nobody/nothing' cannot be loaded: there is no .* correct the name",
        ) as caught:
            ClipEncoder.from_config(ClipEncoder.Config(pretrained="nobody/nothing"))
        assert "\n" not in str(caught.value)

    def test_a_checkpoint_of_another_kind_is_refused(self, folder: Path, tmp_path: Path) -> None:
        _edit_json(folder, tmp_path, "config.json", model_type="resnet")
        with pytest.raises(
            CheckpointError, match=r"is of type 'resnet', expected one of clip, .*, vit; set `pretrained`"
        ):
            ClipEncoder.from_config(self.make_config(tmp_path))

    def test_an_image_processor_of_varying_size_is_refused(self, folder: Path, tmp_path: Path) -> None:
        _edit_json(folder, tmp_path, "preprocessor_config.json", do_center_crop=False)
        with pytest.raises(CheckpointError, match="keeps the picture's aspect, expected one fixed size; set"):
            ClipEncoder.from_config(self.make_config(tmp_path))

    def test_an_image_processor_for_another_tower_is_refused(self, folder: Path, tmp_path: Path) -> None:
        _edit_json(folder, tmp_path, "preprocessor_config.json", crop_size={"height": 24, "width": 24})
        with pytest.raises(CheckpointError, match="processor makes 24x24 px, but the tower takes 32x32; correct"):
            ClipEncoder.from_config(self.make_config(tmp_path))

    def test_old_files_with_position_ids_load(self, folder: Path, tmp_path: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        weights["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        ClipEncoder.from_config(self.make_config(tmp_path))


class TestClipVisionModelWithProjection(ClipEncoderContract):
    required_key = "vision_model.embeddings.patch_embedding.weight"

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))


class TestWholeClip(ClipEncoderContract):
    required_key = "vision_model.embeddings.patch_embedding.weight"

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION))


class TestSiglipVisionModel(ClipEncoderContract):
    processor = SiglipImageProcessorPil(size=SIZE)

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return SiglipVisionModel(SiglipVisionConfig(**SIGLIP_VISION))

    def test_keep_cls_is_refused(self, folder: Path) -> None:
        with pytest.raises(ConfigError, match="a siglip_vision_model has no class token; set keep_cls=false"):
            ClipEncoder.from_config(replace(self.make_config(folder), keep_cls=True))


class TestWholeSiglip(ClipEncoderContract):
    required_key = "vision_model.embeddings.patch_embedding.weight"
    processor = SiglipImageProcessorPil(size=SIZE)

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return SiglipModel(SiglipConfig(text_config=TEXT, vision_config=SIGLIP_VISION))


class TestDinov2(ClipEncoderContract):
    required_key = "embeddings.patch_embeddings.projection.weight"
    processor = BitImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 24, "width": 24})
    num_tokens = 9  # smaller pictures than it was trained on, as the released ones: 224 px, trained on 518

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return Dinov2Model(Dinov2Config(**TOWER, mlp_ratio=2))


class TestDinov2WithRegisters(TestDinov2):
    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**TOWER, mlp_ratio=2, num_register_tokens=3))

    def test_registers_are_left_out_beside_the_class_token(self, folder: Path) -> None:
        encoder = ClipEncoder.from_config(replace(self.make_config(folder), keep_cls=True))
        batch = encoder.preprocess(self.make_media())
        with torch.no_grad():
            states = encoder.tower(**batch, output_hidden_states=True).hidden_states[1]
        assert states.shape[1] == 1 + 3 + 9
        assert torch.equal(encoder.encode(batch).tokens, torch.cat([states[:, :1], states[:, 4:]], dim=1))


class TestVit(ClipEncoderContract):
    required_key = "embeddings.patch_embeddings.projection.weight"
    processor = ViTImageProcessorPil(size=SIZE)

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return ViTModel(ViTConfig(**VISION))


class TestVitClassifier(TestVit):
    required_key = "vit.embeddings.patch_embeddings.projection.weight"

    @classmethod
    def make_model(cls) -> PreTrainedModel:
        return ViTForImageClassification(ViTConfig(**VISION))


def test_the_registry_knows_the_encoder() -> None:
    assert ENCODERS.resolve("clip") is ClipEncoder


def test_config_comes_through_omegaconf() -> None:
    values = OmegaConf.merge(OmegaConf.structured(ClipEncoder.Config), {"pretrained": "embedded:tiny/clip"})
    assert OmegaConf.to_object(values) == ClipEncoder.Config(pretrained="embedded:tiny/clip")


def _edit_json(source: Path, target: Path, name: str, **changes: Any) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)
    values = json.loads((target / name).read_text())
    (target / name).write_text(json.dumps({**values, **changes}))
