"""`SampledFramesEncoder` over a tiny random CLIP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

from anygpt.config.resolve import resolve_component
from anygpt.errors import ConfigError, MediaError
from anygpt.media.values import Video
from encoders import ENCODERS
from encoders.sampled_frames import SampledFramesEncoder, middle_frames, sinusoids
from encoders.vision_tower.encoder import ClipEncoder
from tests.encoders.encoder_contract import EncoderContract

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
    "initializer_range": 0.2,
}


def make_video(frames: int, *, seed: int = 0) -> Video:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 32, 40, 3), dtype=np.uint8)
    return Video(pixels, fps=8.0)


class TestSampledFrames(EncoderContract):
    encoder_class = SampledFramesEncoder
    required_key = "embeddings.patch_embedding.weight"

    @classmethod
    def save_checkpoint(cls, folder: Path) -> None:
        CLIPVisionModel(CLIPVisionConfig(**VISION)).save_pretrained(folder)
        size = {"height": 32, "width": 32}
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)

    @classmethod
    def make_config(cls, folder: Path) -> SampledFramesEncoder.Config:
        return SampledFramesEncoder.Config(frame_encoder={"name": "clip", "pretrained": str(folder)})

    @classmethod
    def make_media(cls) -> list[Any]:
        return [make_video(9), make_video(2, seed=1), make_video(30, seed=2)]

    @classmethod
    def bad_media(cls) -> tuple[Any, str]:
        return Image.new("RGB", (32, 32)), r"video 3 is a Image, expected a Video; make one with Video\(frames, fps\)"

    @pytest.fixture(scope="class")
    @classmethod
    def timeless(cls, folder: Path) -> SampledFramesEncoder:
        return SampledFramesEncoder.from_config(replace(cls.make_config(folder), time_embedding=False))

    def test_tokens_are_those_of_the_middle_frames_in_order(self, folder: Path, timeless: SampledFramesEncoder) -> None:
        video = make_video(30)
        clip = ClipEncoder.from_config(ClipEncoder.Config(pretrained=str(folder)))
        images = [Image.fromarray(video.frames[index]) for index in (3, 9, 15, 21, 27)]
        expected = clip.encode(clip.preprocess(images)).tokens
        features = timeless.encode(timeless.preprocess([video]))
        assert features.tokens.shape == (1, timeless.num_tokens, timeless.feature_dim) == (1, 20, 32)
        assert features.valid_mask.all()
        assert torch.equal(features.tokens[0].view(5, 4, 32), expected)

    @pytest.mark.parametrize("frames", [1, 2, 4, 5])
    def test_short_clips_have_the_same_number_of_tokens(self, encoder: SampledFramesEncoder, frames: int) -> None:
        features = encoder.encode(encoder.preprocess([make_video(frames)]))
        assert features.tokens.shape == (1, 20, 32)
        assert features.valid_mask[0].tolist() == [True] * 4 * frames + [False] * 4 * (5 - frames)
        assert not features.tokens[~features.valid_mask].any()

    def test_the_time_embedding_tells_equal_frames_apart(
        self, encoder: SampledFramesEncoder, timeless: SampledFramesEncoder
    ) -> None:
        still = Video(np.repeat(make_video(1).frames, 9, axis=0), fps=8.0)
        batch = encoder.preprocess([still])
        plain, timed = timeless.encode(batch).tokens[0], encoder.encode(batch).tokens[0]
        frames = timed.view(5, 4, 32)
        assert torch.equal(plain.view(5, 4, 32)[0], plain.view(5, 4, 32)[4])
        assert all((frames[one] - frames[two]).abs().max() > 0.01 for one in range(5) for two in range(one))
        added = timed - plain
        assert torch.isclose(added.square().mean().sqrt() / plain.std(), torch.tensor(0.25), rtol=0.01)
        assert torch.allclose(added.view(5, 4, 32), added.view(5, 4, 32)[:, :1])  # the same for a frame's tokens

    def test_the_order_of_frames_matters(self, encoder: SampledFramesEncoder) -> None:
        video = make_video(5)
        back = Video(video.frames[::-1].copy(), fps=8.0)
        there = encoder.encode(encoder.preprocess([video])).tokens[0].view(5, 4, 32)
        again = encoder.encode(encoder.preprocess([back])).tokens[0].view(5, 4, 32)
        assert not torch.allclose(there, again.flip(0), atol=1e-3)

    def test_only_the_chosen_frames_are_preprocessed(self, encoder: SampledFramesEncoder) -> None:
        assert encoder.preprocess([make_video(500)])["pixel_values"].shape == (1, 5, 3, 32, 32)

    def test_a_frame_mask_of_another_shape_is_refused(self, encoder: SampledFramesEncoder) -> None:
        batch = encoder.preprocess([make_video(5)])
        with pytest.raises(MediaError, match=r"frame_mask of shape \(1, 3\), expected \(B, 5\) with a frame"):
            encoder.encode({**batch, "frame_mask": batch["frame_mask"][:, :3]})

    def test_a_stack_config_builds_it(self, folder: Path, encoder: SampledFramesEncoder) -> None:
        section = {"name": "sampled_frames", "frame_encoder": self.make_config(folder).frame_encoder}
        encoder_class, config = resolve_component(ENCODERS, section, "encoders.video")
        built = encoder_class.from_config(config)
        batch = encoder.preprocess(self.make_media())
        assert torch.equal(built.encode(batch).tokens, encoder.encode(batch).tokens)


@pytest.mark.parametrize(
    ("available", "wanted", "chosen"),
    [(1, 5, [0]), (2, 5, [0, 1]), (5, 5, [0, 1, 2, 3, 4]), (9, 3, [1, 4, 7]), (100, 1, [50]), (7, 3, [1, 3, 5])],
)
def test_middle_frames_are_those_of_equal_segments(available: int, wanted: int, chosen: list[int]) -> None:
    assert middle_frames(available, wanted) == chosen


@pytest.mark.parametrize("dim", [1, 2, 7, 768])
def test_sinusoids_differ_by_position(dim: int) -> None:
    waves = sinusoids(8, dim)
    assert waves.shape == (8, dim)
    assert len({tuple(row) for row in waves.tolist()}) == 8


CLIP = {"name": "clip", "pretrained": "somebody/clip"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"^encoders\.video\.frame_encoder: a value is missing; set it"),
        ({"frame_encoder": CLIP, "frames": 0}, r"^encoders\.video\.frames: 0 given, expected 1 to 1024"),
        (
            {"frame_encoder": {**CLIP, "layer": 1}},
            r"^encoders\.video\.frame_encoder\.layer: no such key; expected one of .*hidden_layer",
        ),
        (
            {"frame_encoder": {"name": "hubert", "pretrained": "somebody/hubert"}},
            r"^encoders\.video\.frame_encoder\.name: 'hubert' takes in audio, expected image",
        ),
        (
            {"frame_encoder": {"name": "eye"}},
            r"^encoders\.video\.frame_encoder\.name: no encoder is called 'eye'; there are: ",
        ),
        ({"frame_encoder": CLIP, "frames": 100_000}, r"^encoders\.video\.frames: 100000 given, expected 1 to 1024"),
        (
            {"frame_encoder": CLIP, "time_embedding_scale": 0},
            r"^encoders\.video\.time_embedding_scale: 0\.0 given, .* set time_embedding=false to go without",
        ),
    ],
)
def test_config_errors_name_the_nested_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_component(ENCODERS, {"name": "sampled_frames", **options}, "encoders.video")


def test_the_registry_knows_the_encoder() -> None:
    assert ENCODERS.resolve("sampled_frames") is SampledFramesEncoder


def test_config_comes_through_omegaconf() -> None:
    values = OmegaConf.merge(OmegaConf.structured(SampledFramesEncoder.Config), {"frame_encoder": CLIP, "frames": 3})
    assert OmegaConf.to_object(values) == SampledFramesEncoder.Config(frame_encoder=CLIP, frames=3)
