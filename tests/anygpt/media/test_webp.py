"""WebP files whose size of the whole is wrong."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from anygpt.errors import MediaError
from anygpt.media import load_image

PIXELS_HW3 = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)


def webp(**options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS_HW3).save(buffer, "WEBP", **{"lossless": True, "exact": True, **options})
    return buffer.getvalue()


FILES = {
    "lossless": webp(),
    "lossy": webp(lossless=False, quality=90),
    "animated": webp(save_all=True, append_images=[Image.new("RGB", (12, 10))]),
    "with metadata": webp(xmp=b"<x/>" * 9),
}


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("change", [8, -4, "nothing", "behind"])
def test_load_image_reads_a_webp_whatever_size_it_says(case: str, change) -> None:
    data = FILES[case]
    size = 0 if change == "nothing" else len(data) - 8 + (change if isinstance(change, int) else 0)
    changed = data[:4] + struct.pack("<I", size) + data[8:] + (b"junk!" if change == "behind" else b"")
    assert np.array_equal(np.asarray(load_image(changed)), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("case", ["lossless", "lossy", "animated"])
def test_load_image_refuses_a_webp_that_is_cut_off(case: str) -> None:
    data = FILES[case]
    for size in (len(data) - 8, len(data) - 58):
        with pytest.raises(MediaError, match="damaged, cut off"):
            load_image(data[:4] + struct.pack("<I", size) + data[8:-50])
