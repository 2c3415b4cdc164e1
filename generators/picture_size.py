"""The sizes in pixels that a latent diffusion checkpoint can make."""

from __future__ import annotations

import math
from typing import Any

from anygpt.errors import RequestError

PIPELINE_MULTIPLE_PX = 8  # diffusers' `check_inputs` refuses other sizes whatever the VAE


def native_size_px(pipeline: Any) -> tuple[int, int]:
    """Height and width that the UNet was trained at."""
    size = pipeline.unet.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return height * pipeline.vae_scale_factor, width * pipeline.vae_scale_factor


def check_size(pipeline: Any, height_px: int, width_px: int, max_pixels: int) -> None:
    """Raise RequestError if the halvings in VAE and UNet do not come out even, or there are too many pixels."""
    halvings = len(pipeline.unet.config.block_out_channels) - 1
    multiple = math.lcm(pipeline.vae_scale_factor * 2**halvings, PIPELINE_MULTIPLE_PX)
    for name, size_px in (("height_px", height_px), ("width_px", width_px)):
        if size_px % multiple:
            below = size_px - size_px % multiple
            nearest = " or ".join(str(size) for size in (below, below + multiple) if size)
            raise RequestError(f"{name}: {size_px} given, expected a multiple of {multiple}; try {nearest}")
    if height_px * width_px > max_pixels:
        raise RequestError(
            f"width_px={width_px}, height_px={height_px}: {width_px * height_px} pixels given, "
            f"expected at most max_pixels={max_pixels}"
        )
