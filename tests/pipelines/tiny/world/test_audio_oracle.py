"""The oracle of sounds: always right on clean ones, nearly always on worn ones, and silent where there is no tone."""

import io

import av
import numpy as np
import pytest
from scipy import signal

from anygpt.media.values import Audio
from pipelines.tiny.world.audio import PEAK, SAMPLING_RATE_HZ, carrier_S, render_audio
from pipelines.tiny.world.audio_oracle import read_audio
from pipelines.tiny.world.readings import Reading
from pipelines.tiny.world.scenes import SHAPES, Scene, scenes_for

SCENES = scenes_for("audio")
TIME_S = np.arange(SAMPLING_RATE_HZ) / SAMPLING_RATE_HZ


def sound(wave_S, sampling_rate_hz=SAMPLING_RATE_HZ):
    return Audio(np.clip(wave_S, -1.0, 1.0).astype(np.float32), sampling_rate_hz)


def sine(hz):
    return np.sin(2 * np.pi * hz * TIME_S)


def mp3(audio):
    """There and back at 64 kbit/s."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=audio.sampling_rate_hz, layout="mono")
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(audio.waveform[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = audio.sampling_rate_hz, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as container:
        return sound(np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)]))


def louder(audio, gain_db):
    return sound(audio.waveform * 10 ** (gain_db / 20))


def noisy(audio, snr_db):
    rms = np.sqrt((audio.waveform**2).mean())
    noise_S = np.random.default_rng(0).normal(size=audio.waveform.shape)
    return sound(audio.waveform + noise_S * rms / 10 ** (snr_db / 20))


def resampled(audio, sampling_rate_hz):
    wave_S = signal.resample_poly(audio.waveform, sampling_rate_hz // 100, audio.sampling_rate_hz // 100)
    return sound(wave_S, sampling_rate_hz)


def scrambled(audio):
    """Magnitudes blurred along frequency and phases at random, mended by a few rounds: a vocoder's sound."""
    lengths = {"nperseg": 1024, "noverlap": 768}
    magnitude = np.abs(signal.stft(audio.waveform, **lengths)[2])
    blurred = signal.convolve(magnitude, np.ones((3, 1)) / 3, mode="same")
    spectrum = blurred * np.exp(2j * np.pi * np.random.default_rng(0).random(blurred.shape))
    for _ in range(6):
        wave_S = signal.istft(spectrum, **lengths)[1]
        again = signal.stft(wave_S, **lengths)[2][:, : blurred.shape[1]]
        spectrum = blurred * np.exp(1j * np.angle(again))
    return sound(wave_S[: len(audio.waveform)] * np.sqrt((magnitude**2).sum() / (blurred**2).sum()))


DEGRADATIONS = {
    "mp3": mp3,
    "gain up": lambda audio: louder(audio, 3),
    "gain down": lambda audio: louder(audio, -3),
    "mp3 after gain": lambda audio: mp3(louder(audio, -3)),
    "noise": lambda audio: noisy(audio, 40),
    "much noise": lambda audio: noisy(audio, 15),
    "44.1 kHz": lambda audio: resampled(audio, 44_100),
    "silence around": lambda audio: sound(np.pad(audio.waveform, (3000, 5000))),
    "vocoder": scrambled,
}


@pytest.mark.parametrize("seed", range(2))
def test_read_audio_is_always_right_on_clean_sounds(seed):
    assert [scene for scene in SCENES if not read_audio(render_audio(scene, seed)).matches(scene)] == []


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_read_audio_is_right_99_percent_of_the_time_on_worn_sounds(name):
    scenes = SCENES if name == "mp3" else SCENES[::7]  # 35 scenes with every value of every attribute
    worn = [(scene, DEGRADATIONS[name](render_audio(scene, seed=7))) for scene in scenes]
    assert np.mean([read_audio(audio).matches(scene) for scene, audio in worn]) >= 0.99


def test_read_audio_finds_no_position():
    assert read_audio(render_audio(SCENES[0])) == Reading("circle", "red", "small", None, "still")


@pytest.mark.parametrize("shape", SHAPES)
def test_read_audio_hears_loudness_whatever_the_phases_are(shape):
    """Turned phases change the peak of a sound, but not how loud it is."""
    for size in PEAK:
        turned_S = np.imag(signal.hilbert(render_audio(Scene(shape, "red", size, None, "still")).waveform))
        assert read_audio(sound(turned_S)).size == size


@pytest.mark.parametrize(
    "wave_S",
    [
        np.zeros(0),
        np.zeros(16_000),
        np.full(16_000, 0.3),
        np.eye(1, 16_000, 8000)[0],
        0.2 * np.random.default_rng(0).normal(size=16_000),
        0.5 * sine(560)[:6000],
        np.tile(0.5 * sine(560), 5),
        0.2 * (sine(220) + sine(350) + sine(1400)),
        np.where(TIME_S < 0.5, sine(220), sine(880)),
        0.5 * sine(60),
        0.5 * sine(5000),
    ],
    ids=[
        "empty",
        "silent",
        "constant",
        "click",
        "noise",
        "too short",
        "too long",
        "chord",
        "two tones",
        "too low",
        "too high",
    ],
)
def test_read_audio_finds_nothing_where_there_is_no_one_tone(wave_S):
    assert read_audio(sound(wave_S)) == Reading()


def test_read_audio_names_nothing_that_is_not_in_the_world():
    on = (TIME_S * 8) % 1.0 < 0.5
    assert read_audio(sound(0.5 * sine(275))) == Reading("circle", None, "large", None, "still")
    assert read_audio(sound(0.01 * sine(560))) == Reading("circle", "green", None, None, "still")
    saw_S = carrier_S("triangle", 2 * np.pi * 350 * TIME_S, 350.0)
    assert read_audio(sound(0.5 * saw_S * on)).shape is None
    assert read_audio(sound(0.5 * sine(560) * ((TIME_S * 4) % 1.0 < 0.5))).shape is None
    gliding = render_audio(Scene("circle", "green", "large", None, "up")).waveform
    assert read_audio(sound(gliding * np.linspace(1.0, 0.1, 16_000))).motion is None


def test_read_audio_names_no_timbre_where_the_harmonics_are_cut_off():
    read = read_audio(resampled(render_audio(Scene("square", "magenta", "large", None, "still")), 8000))
    assert (read.shape, read.colour, read.motion) == (None, "magenta", "still")
