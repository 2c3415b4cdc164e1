"""`Ulip2Encoder` over tiny random weights, and against what the original gave."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from anygpt.errors import CheckpointError, ConfigError, MediaError
from anygpt.media.values import PointCloud
from encoders import ENCODERS
from encoders.ulip2.encoder import Ulip2Encoder, read_official
from encoders.ulip2.point_groups import farthest_points, gather_points, group_points, nearest_points
from encoders.ulip2.pointbert import PointBertSettings, Ulip2Model
from encoders.ulip2.preprocessor import PointPreprocessor, normalise
from tests.encoders.encoder_contract import EncoderContract

FIXTURES = Path(__file__).parent.parent / "fixtures"
OFFICIAL = FIXTURES / "pointbert" / "checkpoint.pt"
SIZES = {"channels": 6, "trans_dim": 24, "depth": 2, "encoder_dims": 16, "joint_dim": 20}
TINY = PointBertSettings(**SIZES, num_heads=2, num_group=8, group_size=4)


def golden(name: str) -> torch.Tensor:
    return torch.from_numpy(np.load(FIXTURES / "pointbert" / f"{name}.npy"))


def random_cloud(points: int, *, seed: int = 0, coloured: bool = True) -> PointCloud:
    generator = np.random.default_rng(seed)
    xyz = generator.normal(size=(points, 3)) * generator.uniform(0.2, 2.0, size=3) + 5.0
    rgb = generator.random((points, 3)).astype(np.float32) if coloured else None
    return PointCloud(xyz.astype(np.float32), rgb)


def save_official(file: Path, model: Ulip2Model, **changes: Any) -> None:
    """Write a checkpoint as ULIP's training script does."""
    weights = {f"module.{key}": tensor for key, tensor in model.state_dict().items()}
    others = {"module.logit_scale": torch.ones(()), "module.visual.weight": torch.zeros(2, 2)}
    options = argparse.Namespace(model="ULIP_PointBERT", npoints=8192)
    torch.save({"epoch": 250, "state_dict": {**weights, **others, **changes}, "args": options}, file)


class TestColours(EncoderContract):
    encoder_class = Ulip2Encoder
    required_key = "point_encoder.reduce_dim.weight"
    settings = TINY

    @classmethod
    def save_checkpoint(cls, folder: Path) -> None:
        Ulip2Model(cls.settings).save_pretrained(folder)

    @classmethod
    def make_config(cls, folder: Path) -> Ulip2Encoder.Config:
        return Ulip2Encoder.Config(pretrained=str(folder), num_points=64)

    @classmethod
    def make_media(cls) -> list[Any]:
        return [random_cloud(64), random_cloud(40, seed=1, coloured=False), random_cloud(200, seed=2)]

    @classmethod
    def bad_media(cls) -> tuple[Any, str]:
        return "chair.ply", "point cloud 3 is a str, expected a PointCloud; make one with PointCloud"

    def test_features_are_a_class_token_and_one_token_a_group(self, encoder: Ulip2Encoder) -> None:
        features = encoder.encode(encoder.preprocess(self.make_media()))
        assert features.tokens.shape == (3, 9, 24)
        assert bool(features.valid_mask.all())

    def test_preprocess_gives_the_networks_channels(self, encoder: Ulip2Encoder) -> None:
        assert encoder.preprocess(self.make_media())["points"].shape == (3, 64, self.settings.channels)

    def test_embeddings_are_unit_vectors_of_the_joint_space(self, encoder: Ulip2Encoder) -> None:
        batch = encoder.preprocess(self.make_media())
        embeds = encoder.embed(batch)
        assert embeds.shape == (3, encoder.joint_dim)
        torch.testing.assert_close(embeds.norm(dim=1), torch.ones(3))
        projected = encoder.model.project(encoder.encode(batch).tokens)
        torch.testing.assert_close(embeds, torch.nn.functional.normalize(projected, dim=1))

    def test_a_cloud_of_one_point_gives_finite_features(self, encoder: Ulip2Encoder) -> None:
        batch = encoder.preprocess([random_cloud(1)])
        assert bool(encoder.encode(batch).tokens.isfinite().all() and encoder.embed(batch).isfinite().all())

    def test_points_of_another_shape_are_refused(self, encoder: Ulip2Encoder) -> None:
        for shape in ((1, 64, 4), (1, 63, self.settings.channels), (64, self.settings.channels), (0, 64, 6)):
            with pytest.raises(MediaError, match=rf"points of shape .* \(B, 64, {self.settings.channels}\); make"):
                encoder.encode({"points": torch.zeros(shape)})

    def test_too_few_points_for_a_group_are_refused(self, folder: Path) -> None:
        config = replace(self.make_config(folder), num_points=3)
        with pytest.raises(
            ConfigError, match=r"num_points=3, but .* 4 points into a group; set num_points to at least"
        ):
            Ulip2Encoder.from_config(config)
        with pytest.raises(ConfigError, match="seed=-1, expected 0 to 4294967295"):
            replace(config, seed=-1)
        with pytest.raises(ConfigError, match="num_points=1000000000000, expected 1 to 10000000"):
            replace(config, num_points=10**12)

    @pytest.mark.parametrize(
        ("changes", "pattern"),
        [
            ({"channels": 4}, r"channels=4, expected 3 \(xyz\) or 6"),
            ({"num_heads": 5}, "trans_dim=24, expected a multiple of num_heads 5"),
            ({"depth": None}, "depth=None, expected a value of type int"),
            ({"group_size": 0}, "group_size=0, expected at least 1"),
            ({"model_type": "beats"}, "is of type 'beats', expected 'ulip2'; set `pretrained`"),
        ],
    )
    def test_a_config_that_cannot_be_is_refused(
        self, folder: Path, tmp_path: Path, changes: dict[str, Any], pattern: str
    ) -> None:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        values = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**values, **changes}))
        for load in (Ulip2Encoder.from_config, Ulip2Encoder.load_preprocessor):
            with pytest.raises(CheckpointError, match=pattern):
                load(self.make_config(tmp_path))


class TestWithoutColours(TestColours):
    settings = replace(TINY, channels=3)


class TestSampling:
    preprocess = PointPreprocessor(num_points=50, channels=6, seed=0, who="test")

    def test_a_larger_cloud_is_sampled_without_repeating_a_point(self) -> None:
        cloud = random_cloud(400)
        points = self.preprocess([cloud, cloud])["points"]
        assert torch.equal(points[0], points[1])
        assert len(points[0].unique(dim=0)) == 50
        other = PointPreprocessor(num_points=50, channels=6, seed=1, who="test")([cloud])["points"]
        assert not torch.equal(points[0], other[0])

    def test_the_points_of_a_smaller_cloud_are_repeated(self) -> None:
        points = self.preprocess([random_cloud(20)])["points"][0]
        assert torch.equal(points[:20], points[20:40])
        assert torch.equal(points[:10], points[40:])

    def test_points_are_centred_and_scaled_and_colours_are_not(self) -> None:
        cloud = random_cloud(50)
        points = self.preprocess([cloud])["points"][0]
        assert points[:, :3].mean(dim=0).abs().max() < 1e-6
        assert float(points[:, :3].norm(dim=1).max()) == pytest.approx(1.0)
        assert cloud.rgb is not None
        assert torch.equal(points[:, 3:], torch.from_numpy(cloud.rgb))

    def test_points_without_a_colour_are_grey(self) -> None:
        points = self.preprocess([random_cloud(50, coloured=False)])["points"][0]
        assert bool((points[:, 3:] == 0.4).all())

    @pytest.mark.parametrize("scale", [0.0, 1e-38, 1e38])
    def test_coordinates_at_the_limits_stay_finite(self, scale: float) -> None:
        xyz = np.array([[scale, 0, 0], [-scale, 0, 0], [0, scale, -scale]], np.float32)
        assert np.isfinite(normalise(xyz)).all()


class TestGroups:
    def test_no_point_near_the_origin_is_a_centre_but_the_first(self) -> None:
        xyz = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0.03, 0, 0], [0, 0.02, 0], [0, 0.5, 0]]])
        assert farthest_points(xyz, 4).tolist() == [[0, 1, 4, 1]]

    def test_each_cloud_of_a_batch_has_its_own_centres(self) -> None:
        xyz = torch.stack([torch.from_numpy(random_cloud(100, seed=seed).xyz) for seed in range(3)])
        alone = torch.cat([farthest_points(cloud[None], 10) for cloud in xyz])
        assert torch.equal(farthest_points(xyz, 10), alone)
        assert all(len(row.unique()) == 10 for row in alone)

    def test_neighbourhoods_are_relative_in_space_but_not_in_colour(self) -> None:
        points = torch.rand(2, 30, 6)
        groups, centres = group_points(points, groups=5, group_size=3)
        assert groups.shape == (2, 5, 3, 6)
        assert torch.equal(centres[:, 0], points[:, 0, :3])
        assert bool((groups[..., :3] == 0.0).all(dim=-1).any(dim=-1).all())  # a centre is its own neighbour
        restored = torch.cat([groups[..., :3] + centres[:, :, None], groups[..., 3:]], dim=-1).flatten(1, 2)
        off_BGN = (restored[:, :, None] - points[:, None]).abs().amax(dim=3)
        assert float(off_BGN.amin(dim=2).max()) < 1e-6

    def test_groups_do_not_depend_on_the_callers_autocast(self) -> None:
        points = torch.from_numpy(random_cloud(300).xyz)[None]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast = group_points(points, groups=20, group_size=5)
        assert all(
            torch.equal(a, b)
            for a, b in zip(under_autocast, group_points(points, groups=20, group_size=5), strict=True)
        )


def test_groups_equal_the_originals() -> None:
    xyz = golden("pointcloud")
    centres = farthest_points(xyz, 16)
    assert torch.equal(centres, golden("fps_idx").long())
    nearest = nearest_points(xyz, gather_points(xyz, centres), 8)
    assert torch.equal(nearest.sort(dim=2).values, golden("knn_idx_sorted").long().sort(dim=2).values)


def test_features_and_embeddings_equal_the_originals(tmp_path: Path) -> None:
    settings, weights = read_official(str(OFFICIAL), num_heads=4, num_group=16, group_size=8)
    model = Ulip2Model(settings)
    model.load_state_dict(weights)
    model.save_pretrained(tmp_path)
    encoder = Ulip2Encoder.from_config(Ulip2Encoder.Config(pretrained=str(tmp_path), num_points=200))
    batch = encoder.preprocess([PointCloud(xyz) for xyz in golden("pointcloud_raw").numpy()])
    torch.testing.assert_close(batch["points"], golden("pointcloud"), atol=1e-6, rtol=0)
    batch = {"points": golden("pointcloud")}
    tokens = encoder.encode(batch).tokens
    torch.testing.assert_close(tokens, golden("normed_tokens"), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.model.project(tokens), golden("out_pc_embed"), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.embed(batch), golden("out_pc_embed_l2"), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("manifest", "settings"),
    [
        ("ulip2_pointbert_xyzrgb_10k", PointBertSettings(6, 384, 18, 256, 1280)),
        ("ulip_pointbert_xyz_8k", PointBertSettings(3, 384, 12, 256, 512)),
    ],
)
def test_the_released_sizes_have_the_official_keys_and_shapes(manifest: str, settings: PointBertSettings) -> None:
    official = json.loads((FIXTURES / "manifests" / f"{manifest}_point_encoder.json").read_text())
    with torch.device("meta"):
        model = Ulip2Model(settings)
    assert {key: list(value.shape) for key, value in model.point_encoder.state_dict().items()} == official["keys"]
    assert sum(parameter.numel() for parameter in model.point_encoder.parameters()) == official["params"]
    assert model.pc_projection.shape == (768, settings.joint_dim)
    assert settings.tokens == 513


@pytest.mark.parametrize("channels", [3, 6])
def test_an_official_file_tells_its_variant_by_its_shapes(tmp_path: Path, channels: int) -> None:
    file = tmp_path / "checkpoint.pt"
    model = Ulip2Model(PointBertSettings(**{**SIZES, "channels": channels}))
    save_official(file, model)
    encoder = Ulip2Encoder.from_config(Ulip2Encoder.Config(pretrained=str(file), num_points=600))
    assert encoder.model.settings == model.settings
    batch = encoder.preprocess([random_cloud(700)])
    assert batch["points"].shape == (1, 600, channels)
    assert torch.equal(Ulip2Encoder.load_preprocessor(encoder.config)([random_cloud(700)])["points"], batch["points"])
    with torch.no_grad():
        expected = model.eval()(batch["points"])
    torch.testing.assert_close(encoder.encode(batch).tokens, expected)


def test_official_files_load_strictly(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    config = Ulip2Encoder.Config(pretrained=str(file))
    model = Ulip2Model(PointBertSettings(**SIZES))
    save_official(file, model, **{"module.point_encoder.extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"1 not known to it \(point_encoder\.extra\)"):
        Ulip2Encoder.from_config(config)
    del model.point_encoder.norm.bias
    save_official(file, model)
    with pytest.raises(CheckpointError, match=r"1 missing \(point_encoder\.norm\.bias\)"):
        Ulip2Encoder.from_config(config)
    save_official(file, model, **{"module.pc_projection": torch.zeros(7)})
    with pytest.raises(CheckpointError, match=r"the shapes in .* are not a PointBERT's"):
        Ulip2Encoder.from_config(config)
    del model.pc_projection
    save_official(file, model)
    with pytest.raises(CheckpointError, match="has no weight pc_projection, expected an official ULIP PointBERT file"):
        Ulip2Encoder.from_config(config)
    torch.save({"state_dict": {}, "surprise": Path("/")}, file)
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        Ulip2Encoder.from_config(config)
    assert "\n" not in str(caught.value)
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Ulip2Encoder.from_config(config)


def test_the_model_can_be_trained_on_its_joint_embedding() -> None:
    torch.manual_seed(0)
    model = Ulip2Model(TINY)
    model.embed(torch.rand(4, 64, 6))[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_registry_knows_the_encoder() -> None:
    assert ENCODERS.resolve("ulip2") is Ulip2Encoder


def test_config_comes_through_omegaconf() -> None:
    values = OmegaConf.merge(OmegaConf.structured(Ulip2Encoder.Config), {"pretrained": "ulip2.pt", "num_points": 8192})
    assert OmegaConf.to_object(values) == Ulip2Encoder.Config(pretrained="ulip2.pt", num_points=8192)
