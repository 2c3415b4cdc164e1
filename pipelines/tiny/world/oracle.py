"""The oracle: read attributes back from any medium by plain signal processing, without learned weights.

Each reader answers None for what it cannot read; none of them knows how the medium was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.tiny.world.audio_oracle import read_audio
from pipelines.tiny.world.image_oracle import Measurement, measure_shape, name_position, name_size, read_image
from pipelines.tiny.world.point_oracle import read_points
from pipelines.tiny.world.readings import Reading
from pipelines.tiny.world.text_oracle import read_comparison, read_text, read_verdict
from pipelines.tiny.world.video_oracle import read_video

# Modality → reader of its media.
READERS: Mapping[str, Callable[[Any], Reading]] = {
    "image": read_image,
    "audio": read_audio,
    "video": read_video,
    "points": read_points,
}

__all__ = [
    "READERS",
    "Measurement",
    "Reading",
    "measure_shape",
    "name_position",
    "name_size",
    "read_audio",
    "read_comparison",
    "read_image",
    "read_points",
    "read_text",
    "read_verdict",
    "read_video",
]
