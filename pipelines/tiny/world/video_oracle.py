"""Read attributes back from videos: each frame is read as a picture, and the frames vote.

Legend: F frames, H height, W width. Lengths are in pixels of a picture 64 wide, y grows downwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from anygpt.media.values import Video
from pipelines.tiny.world.image_oracle import Measurement, measure_shape, name_size
from pipelines.tiny.world.images import CENTRES_PX
from pipelines.tiny.world.readings import Reading
from pipelines.tiny.world.videos import DIRECTIONS

MIN_SHARE = 0.5  # of the frames that must show one thing, and of those that must agree
MIN_PATH_PX = (CENTRES_PX[-1] - CENTRES_PX[0]) / 2  # shorter ones are still
MAX_STRAY_PX = 9.0  # along the axis on which it should not move
MAX_ROUGHNESS_PX = 4.0  # rms distance of the centres from an even path


def read_video(video: Video) -> Reading:
    """Read shape, colour, size and motion from a square video of any size, length and rate.

    Returns:
        The reading; None for what is not clear, and for everything where half of the frames do not show one thing.
    """
    measured = [measure_shape(frame_HW3) for frame_HW3 in video.frames]
    seen = [(index, found) for index, found in enumerate(measured) if found is not None]
    if len(seen) < max(2, MIN_SHARE * len(measured)):
        return Reading()
    frames = [found for _, found in seen]
    shape = _majority((found.shape for found in frames), len(measured))
    radii_px = [found.radius_px for found in frames if found.shape == shape and found.radius_px is not None]
    return Reading(
        shape=shape,
        colour=_majority((found.colour for found in frames), len(measured)),
        size=name_size(float(np.median(radii_px))) if radii_px else None,
        motion=_name_motion(seen, len(measured)),
    )


def _majority(votes: Iterable[str | None], voters: int) -> str | None:
    """What at least half of all voters say, and more of them than anything else."""
    ranking = Counter(vote for vote in votes if vote is not None).most_common(2)
    if not ranking or ranking[0][1] < MIN_SHARE * voters:
        return None
    return None if len(ranking) == 2 and ranking[0][1] == ranking[1][1] else ranking[0][0]


def _name_motion(seen: list[tuple[int, Measurement]], frames: int) -> str | None:
    """The direction of the even path that fits the centres; None if they jump, drift askew, or are few."""
    times_F = np.array([index for index, _ in seen]) / (frames - 1)  # 0 at the beginning, 1 at the end
    if np.ptp(times_F) < MIN_SHARE:
        return None
    centres_F2 = np.array([found.centre_px for _, found in seen])
    line_22 = np.polyfit(times_F, centres_F2, 1)
    deviation_F2 = centres_F2 - np.outer(times_F, line_22[0]) - line_22[1]
    if np.sqrt((deviation_F2**2).sum(axis=1).mean()) > MAX_ROUGHNESS_PX:
        return None
    path_2 = line_22[0]
    main = int(np.argmax(np.abs(path_2)))
    if abs(path_2[1 - main]) > MAX_STRAY_PX:
        return None
    direction = [0, 0]
    direction[main] = int(np.sign(path_2[main])) if abs(path_2[main]) >= MIN_PATH_PX else 0
    return next(motion for motion, step in DIRECTIONS.items() if step == tuple(direction))
