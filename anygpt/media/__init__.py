"""Media values: decode them from files, bytes and data URLs under limits, encode them again. Loads no torch."""

from anygpt.media.image import (
    ImageLimits,
    ImageSource,
    encode_png,
    load_image,
    save_image,
    to_data_url,
)

__all__ = ["ImageLimits", "ImageSource", "encode_png", "load_image", "save_image", "to_data_url"]
