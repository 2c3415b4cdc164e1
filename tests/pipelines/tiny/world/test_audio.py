"""Sounds of scenes: pitch, timbre, loudness, glides and fades are those of the world's definition."""

import numpy as np
import pytest

from pipelines.tiny.world.audio import (
    DURATION_S,
    PEAK,
    PITCH_HZ,
    SAMPLING_RATE_HZ,
    carrier_S,
    harmonics_K,
    render_array,
    render_audio,
    render_batch,
)
from pipelines.tiny.world.scenes import COLOURS, SHAPES, SIZES, Scene, scenes_for


def sound(shape="circle", colour="red", size="large", motion="still"):
    return render_audio(Scene(shape, colour, size, None, motion)).waveform


def spectrum(wave_S):
    """Amplitudes at whole Hz, in relation to the strongest."""
    amplitude_K = np.abs(np.fft.rfft(wave_S * np.hanning(len(wave_S))))
    return amplitude_K / amplitude_K.max()


def test_render_audio_is_one_second_at_16_khz():
    audio = render_audio(scenes_for("audio")[0])
    assert (audio.waveform.shape, audio.waveform.dtype) == ((16_000,), np.float32)
    assert (audio.sampling_rate_hz, audio.duration_s) == (SAMPLING_RATE_HZ, DURATION_S)


@pytest.mark.parametrize("colour", COLOURS)
def test_colour_is_the_pitch(colour):
    assert spectrum(sound("circle", colour)).argmax() == PITCH_HZ[colour]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_size_is_the_peak(shape, size):
    assert np.abs(sound(shape, "green", size)).max() == pytest.approx(PEAK[size], rel=0.01)


def test_shape_is_the_timbre():
    at_harmonics = {shape: spectrum(sound(shape, "green"))[[560, 1120, 1680, 2240, 2800]] for shape in SHAPES}
    np.testing.assert_allclose(at_harmonics["circle"], [1, 0, 0, 0, 0], atol=0.01)
    np.testing.assert_allclose(at_harmonics["square"], [1, 0, 1 / 3, 0, 1 / 5], atol=0.01)
    np.testing.assert_allclose(at_harmonics["triangle"], [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], atol=0.01)
    np.testing.assert_allclose(at_harmonics["star"], [1, 0, 0, 0, 0], atol=0.02)


def test_star_is_on_half_the_time_8_times_a_second():
    on = np.abs(sound("star")).reshape(16, 1000).max(axis=1) > 0.0
    assert on.tolist() == [True, False] * 8


@pytest.mark.parametrize("shape", ["square", "triangle"])
def test_harmonics_stay_below_half_the_sampling_rate(shape):
    for hz in (220.0, 1000.0, 2618.0):
        assert 8000 / hz - 2 <= harmonics_K(shape, hz)[-1] < 8000 / hz
    amplitude_K = spectrum(sound(shape, "magenta"))
    off_hz = np.abs((np.arange(len(amplitude_K)) + 1100) % 2200 - 1100)
    assert amplitude_K[off_hz > 50].max() < 0.01  # nothing folds back


def test_carrier_has_a_peak_of_one():
    for shape in SHAPES:
        assert np.abs(carrier_S(shape, np.linspace(0, 20, 5000), 220.0)).max() == 1.0


@pytest.mark.parametrize(("motion", "first", "last"), [("up", 1 / 1.19, 1.19), ("down", 1.19, 1 / 1.19)])
def test_up_and_down_are_glides(motion, first, last):
    wave_S = sound("circle", "blue", "large", motion)
    crossings = np.flatnonzero(np.diff(np.signbit(wave_S)))
    pitches_hz = SAMPLING_RATE_HZ / 2 / np.diff(crossings[::20]) * 20
    assert pitches_hz[0] == pytest.approx(1400 * first, rel=0.01)
    assert pitches_hz[len(pitches_hz) // 2] == pytest.approx(1400, rel=0.03)
    assert pitches_hz[-1] == pytest.approx(1400 * last, rel=0.01)


@pytest.mark.parametrize(("motion", "first", "last"), [("left", 0.5, 0.05), ("right", 0.05, 0.5)])
def test_left_and_right_are_fades(motion, first, last):
    peaks = np.abs(sound("circle", "blue", "large", motion)).reshape(100, 160).max(axis=1)
    np.testing.assert_allclose(peaks[1:-1], np.linspace(first, last, 100)[1:-1], atol=0.01)


def test_both_ends_are_ramps():
    wave_S = np.abs(sound())
    assert wave_S[0] == 0.0
    assert wave_S[:16].max() < 0.11
    assert wave_S[-16:].max() < 0.11
    assert wave_S[80:240].max() > 0.49


def test_render_audio_is_repeatable_and_varies_with_the_seed():
    scene = Scene("star", "cyan", "small", None, "up")
    waves = [render_audio(scene, seed).waveform for seed in (3, 3, 4)]
    np.testing.assert_array_equal(waves[0], waves[1])
    assert (waves[0] != waves[2]).any()


def test_render_batch_equals_single_sounds():
    scenes = scenes_for("audio")[::60]
    batch_BS, rng = render_batch(scenes, np.random.default_rng(1)), np.random.default_rng(1)
    np.testing.assert_array_equal(batch_BS, np.stack([render_array(scene, rng) for scene in scenes]))


def test_a_scene_without_motion_is_refused():
    with pytest.raises(ValueError, match=r"scene motion: .* has none"):
        render_audio(Scene("star", "cyan"))
