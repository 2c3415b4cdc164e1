"""Short sounds for the tests of audio encoders."""

from __future__ import annotations

import numpy as np

from anygpt.media.values import Audio


def tone(duration_s: float, *, pitch_hz: float = 440.0, rate_hz: int = 16_000) -> Audio:
    """A tone that swells, so that its frames differ."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    swell = 0.2 + 0.6 * time_s / max(duration_s, 1e-9)
    return Audio((swell * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32), rate_hz)


def noise(duration_s: float, *, rate_hz: int = 16_000) -> Audio:
    """White noise, the same every time."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(duration_s * rate_hz))
    return Audio(samples.astype(np.float32), rate_hz)


def silence(duration_s: float, *, rate_hz: int = 16_000) -> Audio:
    """Zeros."""
    return Audio(np.zeros(round(duration_s * rate_hz), np.float32), rate_hz)


def three_sounds() -> list[Audio]:
    """Sounds of different content, length and sampling rate; one is longer than a second."""
    return [tone(0.5), noise(0.31, rate_hz=22_050), tone(1.3, pitch_hz=1_200.0, rate_hz=8_000)]
