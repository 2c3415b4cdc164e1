"""Play scenes: one second of one tone, 16 kHz.

The colour is the pitch, the shape the timbre, the size the loudness, and the motion a glide (up, down) or a fade
(left, right).

Legend: B batch, S samples, K harmonics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anygpt.media.values import Audio
from pipelines.tiny.world.scenes import Scene

SAMPLING_RATE_HZ = 16_000
DURATION_S = 1.0
PITCH_HZ = {"red": 220.0, "yellow": 350.0, "green": 560.0, "cyan": 880.0, "blue": 1400.0, "magenta": 2200.0}
PEAK = {"small": 0.1, "large": 0.5}
GLIDE = 1.19  # a glide ends this much above or below the nominal pitch, and begins as far on the other side
FADE = 0.1  # what a fade leaves of the amplitude
GATE_HZ = 8.0  # how often a star goes on and off
RAMP_S = 0.005


def harmonics_K(shape: str, highest_hz: float) -> np.ndarray:
    """The numbers (K,) of a timbre's harmonics, amplitude 1/k, that stay below half the sampling rate.

    Args:
        shape: whose timbre.
        highest_hz: the highest pitch of the tone.
    """
    if shape in ("circle", "star"):
        return np.array([1])
    return np.arange(1, SAMPLING_RATE_HZ / 2 / highest_hz, 2 if shape == "square" else 1, dtype=int)


def carrier_S(shape: str, phase_S: np.ndarray, highest_hz: float) -> np.ndarray:
    """A timbre's wave (S,) along a phase in radians, its peak 1, without a star's gate."""
    wave_S = np.zeros_like(phase_S)
    for k in harmonics_K(shape, highest_hz):
        wave_S += np.sin(k * phase_S) / k
    return wave_S / np.abs(wave_S).max()


def render_array(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A sound of the scene as (16000,) float32; `rng` picks the phase, which nobody hears."""
    motion = scene.value("motion")
    time_S = np.arange(round(DURATION_S * SAMPLING_RATE_HZ)) / SAMPLING_RATE_HZ
    glide = {"up": GLIDE, "down": 1.0 / GLIDE}.get(motion, 1.0)
    pitch_S = PITCH_HZ[scene.colour] * glide ** (2.0 * time_S / DURATION_S - 1.0)
    phase_S = 2 * np.pi * np.cumsum(pitch_S) / SAMPLING_RATE_HZ + rng.uniform(0.0, 2 * np.pi)
    wave_S = PEAK[scene.value("size")] * carrier_S(scene.shape, phase_S, pitch_S.max())
    if scene.shape == "star":
        wave_S *= (time_S * GATE_HZ) % 1.0 < 0.5
    ends = {"left": (1.0, FADE), "right": (FADE, 1.0)}.get(motion, (1.0, 1.0))
    wave_S *= np.interp(time_S, (0.0, DURATION_S), ends)
    wave_S *= np.interp(time_S, (0.0, RAMP_S, DURATION_S - RAMP_S, DURATION_S), (0.0, 1.0, 1.0, 0.0))
    return wave_S.astype(np.float32)


def render_batch(scenes: Sequence[Scene], rng: np.random.Generator) -> np.ndarray:
    """Sounds of scenes as (B, 16000) float32."""
    return np.stack([render_array(scene, rng) for scene in scenes])


def render_audio(scene: Scene, seed: int = 0) -> Audio:
    """A sound of the scene; the same scene and seed give the same samples."""
    return Audio(render_array(scene, np.random.default_rng(seed)), SAMPLING_RATE_HZ)
