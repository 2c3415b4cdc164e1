"""Long pictures become the same pixels as without the shortcut, in little memory; the rest is CLIP's tests'."""

from __future__ import annotations

import tracemalloc

import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from encoders.vision_tower.preprocessor import ImagePreprocessor

PROCESSOR = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})


@pytest.mark.parametrize("size", [(400, 20), (20, 400), (40, 360), (160, 20)])
def test_long_pictures_become_what_the_processor_makes_of_them(size):
    picture = Image.radial_gradient("L").resize(size).convert("RGB")
    made = ImagePreprocessor(PROCESSOR, who="x")([picture])["pixel_values"]
    torch.testing.assert_close(made, PROCESSOR(images=[picture], return_tensors="pt")["pixel_values"])


@pytest.mark.parametrize("size", [(16_384, 1), (1, 16_384)])
def test_a_line_takes_little_memory(size):
    preprocessor = ImagePreprocessor(PROCESSOR, who="x")
    tracemalloc.start()
    try:
        assert preprocessor([Image.new("RGB", size, "red")])["pixel_values"].shape == (1, 3, 64, 64)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
