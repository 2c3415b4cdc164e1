"""PIL images → pixel values, by the image processor that a checkpoint brings; no weights are read.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor

from anygpt.checkpoints.trust import remote_code_allowed
from anygpt.errors import CheckpointError, MediaError
from encoders.strict_loading import checkpoint_errors

# Of different aspect, so that a processor whose output size depends on the input's is found out.
_PROBE_SIZES_PX = ((48, 32), (32, 48))
_LONGEST_ASPECT = 8  # of a picture whose ends will be cropped, before it is resized by its shorter side


class ImagePreprocessor:
    """A callable, picklable image processor with one fixed output size.

    Args:
        processor: a transformers image processor.
        who: begins error messages: "image encoder 'clip'".
    Raises:
        CheckpointError: if the size of the output depends on the picture.
    """

    def __init__(self, processor: Any, *, who: str) -> None:
        self._processor = processor
        self._who = who
        sizes = {self._pixel_values([Image.new("RGB", size)]).shape[2:] for size in _PROBE_SIZES_PX}
        if len(sizes) > 1:
            raise CheckpointError(
                f"{who}: its image processor keeps the picture's aspect, expected one fixed size; "
                "set size={height, width} or do_center_crop=true in preprocessor_config.json"
            )
        height, width = sizes.pop()
        self.size_px: tuple[int, int] = (height, width)

    @classmethod
    def from_pretrained(cls, source: str, *, who: str, revision: str = "main") -> ImagePreprocessor:
        """Read preprocessor_config.json from a folder or hub repository.

        The PIL backend is used everywhere: torchvision's resizing differs slightly, and a client without it must make
        the same pixels as a server that has it.
        """
        with checkpoint_errors(who, source, "preprocessor_config.json", revision=revision):
            processor = AutoImageProcessor.from_pretrained(
                source, revision=revision, trust_remote_code=remote_code_allowed(), backend="pil"
            )
        return cls(processor, who=who)

    def __call__(self, images: list[Any]) -> dict[str, Tensor]:
        """Resize, crop and normalise.

        Args:
            images: at least one PIL image in mode RGB, of any size.
        Returns:
            `pixel_values` (B, 3, H, W) float32 on the CPU, (H, W) = `size_px`.
        Raises:
            MediaError: if there is no image, or a value is not a PIL image in mode RGB.
        """
        if not images:
            raise MediaError(f"{self._who}: no images given, expected at least one")
        for index, image in enumerate(images):
            if not isinstance(image, Image.Image):
                raise MediaError(
                    f"{self._who}: image {index} is a {type(image).__name__}, expected a PIL image; "
                    "open it with PIL.Image.open"
                )
            if image.mode != "RGB":
                raise MediaError(
                    f"{self._who}: image {index} has mode '{image.mode}', expected 'RGB'; call image.convert('RGB')"
                )
        return {"pixel_values": self._pixel_values(images)}

    def _pixel_values(self, images: list[Image.Image]) -> Tensor:
        if getattr(self._processor, "do_center_crop", False):
            images = [_without_ends(image) for image in images]
        pixels_BCHW: Tensor = self._processor(images=images, return_tensors="pt")["pixel_values"]
        return pixels_BCHW.to(torch.float32)


def _without_ends(image: Image.Image) -> Image.Image:
    """The middle of a very long picture; resized whole, a line of 1 × 16,384 pixels would take 3 GB."""
    width, height = image.size
    longest = _LONGEST_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))
