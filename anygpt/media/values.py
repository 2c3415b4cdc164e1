"""Plain media values beside `PIL.Image`: what encoders take in and generators give.

Legend: S samples, F frames, H height, W width, N points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anygpt.errors import MediaError


@dataclass(frozen=True, eq=False)
class Audio:
    """A mono sound.

    Attributes:
        waveform: float32 (S,), finite, in [-1, 1].
        sampling_rate_hz: samples a second, at least 1.
    Raises:
        MediaError: if they are something else.
    """

    waveform: np.ndarray
    sampling_rate_hz: int

    def __post_init__(self) -> None:
        _check("audio", "waveform", self.waveform, np.float32, (None,))
        if self.sampling_rate_hz < 1:
            raise MediaError(f"audio: sampling_rate_hz {self.sampling_rate_hz} given, expected at least 1")
        if self.waveform.size and float(np.abs(self.waveform).max()) > 1.0:
            raise MediaError(
                f"audio: waveform with a peak of {np.abs(self.waveform).max():g} given, expected at most 1"
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.waveform) / self.sampling_rate_hz


@dataclass(frozen=True, eq=False)
class Video:
    """Moving pictures, with their sound if they have any.

    Attributes:
        frames: uint8 (F, H, W, 3), at least one.
        fps: frames a second, above 0.
        audio: the video's own sound.
    Raises:
        MediaError: if they are something else.
    """

    frames: np.ndarray
    fps: float
    audio: Audio | None = None

    def __post_init__(self) -> None:
        _check("video", "frames", self.frames, np.uint8, (None, None, None, 3))
        if 0 in self.frames.shape:
            raise MediaError(f"video: frames {self.frames.shape} given, expected at least one frame of one pixel")
        if not 0 < self.fps < float("inf"):
            raise MediaError(f"video: fps {self.fps} given, expected a number above 0")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points in space, coloured or not.

    Attributes:
        xyz: float32 (N, 3), finite, at least one point.
        rgb: float32 (N, 3) in [0, 1], or None.
    Raises:
        MediaError: if they are something else.
    """

    xyz: np.ndarray
    rgb: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check("points", "xyz", self.xyz, np.float32, (None, 3))
        if not len(self.xyz):
            raise MediaError("points: no point given, expected at least one")
        if self.rgb is None:
            return
        _check("points", "rgb", self.rgb, np.float32, (len(self.xyz), 3))
        if float(self.rgb.min()) < 0.0 or float(self.rgb.max()) > 1.0:
            raise MediaError(
                f"points: rgb from {self.rgb.min():g} to {self.rgb.max():g} given, expected values from 0 to 1"
            )


def _check(kind: str, name: str, value: np.ndarray, dtype: type, shape: tuple[int | None, ...]) -> None:
    expected = f"{np.dtype(dtype).name} {tuple('any' if size is None else size for size in shape)}"
    if not isinstance(value, np.ndarray):
        raise MediaError(f"{kind}: {name} is a {type(value).__name__}, expected a numpy array, {expected}")
    fits = len(value.shape) == len(shape) and all(
        want in (None, got) for got, want in zip(value.shape, shape, strict=True)
    )
    if value.dtype != dtype or not fits:
        raise MediaError(f"{kind}: {name} {value.dtype.name} {value.shape} given, expected {expected}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise MediaError(f"{kind}: {name} has values that are not finite numbers")
