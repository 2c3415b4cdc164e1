"""Show a scene in any modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.tiny.world.audio import render_audio
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.points import render_points
from pipelines.tiny.world.scenes import Scene
from pipelines.tiny.world.videos import render_video

RENDERERS: Mapping[str, Callable[[Scene, int], Any]] = {
    "image": render_image,
    "audio": render_audio,
    "video": render_video,
    "points": render_points,
}


def render(scene: Scene, modality: str, seed: int = 0) -> Any:
    """A medium of the scene, which must have what the modality carries; the same scene and seed give the same one.

    Raises:
        ValueError: if the modality is unknown, or the scene lacks an attribute.
    """
    if modality not in RENDERERS:
        raise ValueError(f"modality: {modality!r} given, expected one of {', '.join(RENDERERS)}")
    return RENDERERS[modality](scene, seed)
