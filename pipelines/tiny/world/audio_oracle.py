"""Read attributes back from sounds by plain signal processing, without learned weights.

The strongest partial of each frame gives the pitch and, as a line over time, the glide. The power at two and three
times the pitch gives the timbre; the envelope gives the fade and the gate; the whole power, put in relation to what
that timbre, fade and gate let through, gives the loudness.

Legend: S samples, F frames of the spectrum, K bins of the spectrum, E steps of the envelope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from anygpt.media.values import Audio
from pipelines.tiny.world.audio import DURATION_S, FADE, GATE_HZ, GLIDE, PEAK, PITCH_HZ, SAMPLING_RATE_HZ, carrier_S
from pipelines.tiny.world.readings import Reading

DURATION_RANGE_S = (0.5, 4.0)  # of the tone
MAX_WHOLE_DURATION_S = 30.0  # with the silence around it
AUDIBLE = 0.03  # of the envelope's peak; what is quieter at the ends is silence
MAX_OFF_PITCH = 0.15  # between a pitch and the nearest nominal one, as the logarithm of their ratio
MIN_ON_LINE = 0.6  # share of the spectral peaks' power that lies along one line of pitch
MIN_TONALITY = 0.5  # share of the power that is in harmonics of the pitch
MIN_GLIDE = math.log(GLIDE)  # as the logarithm of the ratio of the end's pitch to the beginning's: half of a real one
MIN_FADE = 0.55  # as the logarithm of the ratio of beginning and end: half of a real one
MIN_GATE = 0.55  # modulation at 8 Hz, where a full gate has 4/π
MAX_UNEVENNESS = 0.5  # standard deviation of an envelope that has no gate, in relation to its trend
MIN_SECOND = 0.25  # amplitude of the second harmonic in relation to the first: sawtooth 1/2, others 0
MIN_THIRD = 0.16  # of the third harmonic: sawtooth and square wave 1/3, others 0
PEAK_RANGE = (0.03, 1.6)

_FRAME, _HOP, _BINS = 1024, 160, 4096  # in samples: the spectrum's window, step and padded window
_ENVELOPE_FRAME, _ENVELOPE_HOP = 320, 80
_BAND_HZ = (170.0, 2900.0)  # where pitches are
_HIGHEST_HZ = 7200.0  # codecs cut what is higher, and lower sampling rates what is above 0.45 of them
_END_S = 3.0 / GATE_HZ  # the stretches that are compared for a fade: whole periods of the gate


@dataclass(frozen=True)
class Tone:
    """A line of pitch: the logarithm of the pitch in Hz at the middle, and how much it changes until the end."""

    middle: float
    change: float
    second: float  # amplitudes of harmonics in relation to the first one's, NaN for what is too high to be heard
    third: float


@dataclass(frozen=True)
class Envelope:
    """How the amplitude goes."""

    fade: float  # logarithm of the ratio of beginning and end
    gate: float  # depth of the modulation at the gate's frequency
    unevenness: float  # standard deviation in relation to the trend


def read_audio(audio: Audio) -> Reading:
    """Read shape, colour, size and motion from a sound of any sampling rate; silence around it does no harm.

    Returns:
        The reading; None for what is not clear, and for everything where there is no tone.
    """
    if audio.duration_s > MAX_WHOLE_DURATION_S:
        return Reading()
    wave_S = _audible(_resampled(audio))
    if not DURATION_RANGE_S[0] <= len(wave_S) / SAMPLING_RATE_HZ <= DURATION_RANGE_S[1]:
        return Reading()
    tone = _tone(wave_S, highest_hz=min(_HIGHEST_HZ, 0.45 * audio.sampling_rate_hz))
    if tone is None:
        return Reading()
    envelope = _envelope(wave_S)
    shape = _name_shape(tone, envelope)
    motion = _name_motion(tone, envelope)
    return Reading(shape, _name_colour(tone), _name_size(wave_S, tone, envelope, shape, motion), None, motion)


def _resampled(audio: Audio) -> np.ndarray:
    wave_S = audio.waveform.astype(np.float64)
    if audio.sampling_rate_hz == SAMPLING_RATE_HZ or not len(wave_S):
        return wave_S
    from scipy import signal  # slow to import, and rarely needed

    shared = math.gcd(SAMPLING_RATE_HZ, audio.sampling_rate_hz)
    return signal.resample_poly(wave_S, SAMPLING_RATE_HZ // shared, audio.sampling_rate_hz // shared)


def _amplitude_E(wave_S: np.ndarray) -> np.ndarray:
    """Root of the mean square in windows of 20 ms, (E,), every 5 ms."""
    windows = np.lib.stride_tricks.sliding_window_view(wave_S, _ENVELOPE_FRAME)[::_ENVELOPE_HOP]
    return np.sqrt((windows**2).mean(axis=1))


def _audible(wave_S: np.ndarray) -> np.ndarray:
    """The sound without the silence before and after it; empty where there is nothing else."""
    if len(wave_S) < _ENVELOPE_FRAME:
        return wave_S[:0]
    amplitude_E = _amplitude_E(wave_S)
    heard = np.flatnonzero(amplitude_E > max(AUDIBLE * amplitude_E.max(), 1e-4))
    if not len(heard):
        return wave_S[:0]
    return wave_S[heard[0] * _ENVELOPE_HOP : heard[-1] * _ENVELOPE_HOP + _ENVELOPE_FRAME]


def _power_FK(wave_S: np.ndarray) -> np.ndarray:
    frames_FS = np.lib.stride_tricks.sliding_window_view(wave_S, _FRAME)[::_HOP]
    return np.abs(np.fft.rfft(frames_FS * np.hanning(_FRAME), _BINS)) ** 2


def _tone(wave_S: np.ndarray, highest_hz: float) -> Tone | None:
    """The line of pitch along which most of the power lies; None where there is no such line."""
    power_FK = _power_FK(wave_S)
    bin_hz = SAMPLING_RATE_HZ / _BINS
    times_F = np.linspace(-0.5, 0.5, len(power_FK)) * (len(wave_S) - _FRAME) / len(wave_S)
    low, high = (round(hz / bin_hz) for hz in _BAND_HZ)
    strongest_F = low + power_FK[:, low:high].argmax(axis=1)
    pitch_F = np.log(bin_hz * strongest_F)
    weight_F = power_FK[np.arange(len(power_FK)), strongest_F]
    order = np.argsort(pitch_F)
    middle = pitch_F[order][np.searchsorted(np.cumsum(weight_F[order]), weight_F.sum() / 2)]
    line = np.array([0.0, middle])
    for tolerance in (0.25, 0.12, 0.06):
        near_F = np.abs(pitch_F - np.polyval(line, times_F)) < tolerance
        if near_F.sum() < 5 or weight_F[near_F].sum() <= MIN_ON_LINE * weight_F.sum():
            return None
        line = np.polyfit(times_F[near_F], pitch_F[near_F], 1, w=np.sqrt(weight_F[near_F]))
    partials = _harmonics_F3(power_FK, np.exp(np.polyval(line, times_F)), bin_hz, highest_hz)
    heard = partials[np.isfinite(partials)].sum()
    if heard < MIN_TONALITY * power_FK[:, round(100 / bin_hz) :].sum():
        return None
    second, third = (_relative(partials[:, 0], partials[:, k]) for k in (1, 2))
    return Tone(float(line[1]), float(line[0]), second, third)


def _harmonics_F3(power_FK: np.ndarray, pitch_hz_F: np.ndarray, bin_hz: float, highest_hz: float) -> np.ndarray:
    """Power (F, 3) around the first three harmonics, NaN where they are above the highest that is heard."""
    sums_FK = np.pad(np.cumsum(power_FK, axis=1), ((0, 0), (1, 0)))
    rows_F = np.arange(len(power_FK))
    columns = []
    for k in (1, 2, 3):
        reach_hz_F = np.minimum(0.35 * pitch_hz_F, 100.0 + 0.03 * k * pitch_hz_F)  # vocoders smear high partials
        first_F = np.rint((k * pitch_hz_F - reach_hz_F) / bin_hz).astype(int)
        last_F = np.rint((k * pitch_hz_F + reach_hz_F) / bin_hz).astype(int) + 1
        inside_F = k * pitch_hz_F < highest_hz
        last_F = np.minimum(last_F, power_FK.shape[1])
        first_F = np.minimum(first_F, last_F)
        columns.append(np.where(inside_F, sums_FK[rows_F, last_F] - sums_FK[rows_F, first_F], np.nan))
    return np.stack(columns, axis=1)


def _relative(first_F: np.ndarray, other_F: np.ndarray) -> float:
    """Amplitude of a harmonic in relation to the first one's, over the frames that have both; NaN without any."""
    both_F = np.isfinite(first_F) & np.isfinite(other_F)
    return math.sqrt(other_F[both_F].sum() / first_F[both_F].sum()) if both_F.any() else math.nan


def _envelope(wave_S: np.ndarray) -> Envelope:
    amplitude_E = _amplitude_E(wave_S)
    step_s = _ENVELOPE_HOP / SAMPLING_RATE_HZ
    end = min(round(_END_S / step_s), len(amplitude_E) // 2)
    first, last = amplitude_E[:end].mean(), amplitude_E[-end:].mean()
    steps_E = np.arange(len(amplitude_E))
    middles = (end / 2, len(amplitude_E) - end / 2)
    trend_E = first + (last - first) * (steps_E - middles[0]) / (middles[1] - middles[0])
    periods = math.floor(len(amplitude_E) * step_s * GATE_HZ + 0.2)
    whole = min(round(periods / GATE_HZ / step_s), len(amplitude_E))
    level_E = amplitude_E[:whole] / np.maximum(trend_E[:whole], 0.05 * amplitude_E.max())
    turning_E = np.exp(-2j * np.pi * GATE_HZ * step_s * steps_E[:whole])
    mean = level_E.mean()
    gate = 2 * abs((level_E * turning_E).mean()) / mean
    return Envelope(float(np.log(first / last)), float(gate), float(level_E.std() / mean))


def _name_colour(tone: Tone) -> str | None:
    """The colour of the nearest pitch; None if that is far."""
    offsets = {colour: abs(tone.middle - math.log(hz)) for colour, hz in PITCH_HZ.items()}
    nearest = min(offsets, key=offsets.__getitem__)
    return nearest if offsets[nearest] <= MAX_OFF_PITCH else None


def _name_shape(tone: Tone, envelope: Envelope) -> str | None:
    """The shape of the timbre; None for any gate but the star's on a sine, and where harmonics are out of reach."""
    if tone.second >= MIN_SECOND:
        timbre = "triangle"
    elif math.isnan(tone.second) or math.isnan(tone.third):
        return None
    else:
        timbre = "square" if tone.third >= MIN_THIRD else "circle"
    if envelope.gate < MIN_GATE:
        return timbre if envelope.unevenness <= MAX_UNEVENNESS else None
    return "star" if timbre == "circle" else None


def _name_motion(tone: Tone, envelope: Envelope) -> str | None:
    """The motion of a glide or a fade; None for both at once."""
    glides, fades = abs(tone.change) > MIN_GLIDE, abs(envelope.fade) > MIN_FADE
    if glides and fades:
        return None
    if glides:
        return "up" if tone.change > 0 else "down"
    if fades:
        return "left" if envelope.fade > 0 else "right"
    return "still"


def _name_size(wave_S: np.ndarray, tone: Tone, envelope: Envelope, shape: str | None, motion: str | None) -> str | None:
    """The size nearest to the peak that a clean sound of this power would have; None if that is far from both.

    The sound's own peak would not do: it depends on the phases of the harmonics, which codecs and vocoders change.
    """
    pitch_hz = math.exp(tone.middle)
    phase_S = 2 * np.pi * pitch_hz * np.arange(4096) / SAMPLING_RATE_HZ
    power = float((carrier_S(shape or "circle", phase_S, pitch_hz) ** 2).mean()) * DURATION_S
    if envelope.gate >= MIN_GATE:
        power /= 2
    if motion in ("left", "right"):
        power *= (1.0 + FADE + FADE**2) / 3
    peak = math.sqrt(float((wave_S**2).sum()) / SAMPLING_RATE_HZ / power)
    if not PEAK_RANGE[0] <= peak <= PEAK_RANGE[1]:
        return None
    return "small" if peak < math.sqrt(PEAK["small"] * PEAK["large"]) else "large"
