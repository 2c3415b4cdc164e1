"""Film scenes: 8 pictures of 64×64, 8 a second, of one shape that rests or crosses the ground.

Legend: B batch, F frames, H height, W width. Lengths are in pixels, y grows downwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anygpt.media.values import Video
from pipelines.tiny.world.images import BACKGROUND_RANGE, CENTRES_PX, RADIUS_PX, draw
from pipelines.tiny.world.scenes import Scene

FRAMES = 8
FPS = 8.0
# Motion → (x, y) of its direction.
DIRECTIONS = {"still": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def path_F2(motion: str) -> np.ndarray:
    """Centres (F, 2), x and y, of a shape that crosses the picture at constant speed, or rests in its middle."""
    first, middle, last = CENTRES_PX
    along_F1 = np.linspace(first - middle, last - middle, FRAMES)[:, None]
    return middle + along_F1 * np.array(DIRECTIONS[motion])


def render_array(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Frames of the scene as (8, 64, 64, 3) uint8; `rng` picks the background, the same for all."""
    background = int(rng.integers(BACKGROUND_RANGE[0], BACKGROUND_RANGE[1] + 1))
    radius_px = RADIUS_PX[scene.value("size")]
    centres = path_F2(scene.value("motion"))
    return np.stack([draw(scene.shape, scene.colour, radius_px, (x, y), background) for x, y in centres])


def render_batch(scenes: Sequence[Scene], rng: np.random.Generator) -> np.ndarray:
    """Frames of scenes as (B, 8, 64, 64, 3) uint8."""
    return np.stack([render_array(scene, rng) for scene in scenes])


def render_video(scene: Scene, seed: int = 0) -> Video:
    """A video of the scene; the same scene and seed give the same pixels."""
    return Video(render_array(scene, np.random.default_rng(seed)), FPS)
