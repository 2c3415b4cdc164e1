"""Sounds that decode: every format, rate and layout to the waveform that it must have. Files are made with PyAV."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from anygpt.errors import ConfigError, MediaError, MissingExtraError
from anygpt.media import Audio, AudioLimits, encode_wav, load_audio, resample, save_audio
from anygpt.media.kinds import save_medium

RATE_HZ = 16_000


def tone(rate_hz: int = RATE_HZ, duration_s: float = 0.5, frequency_hz: float = 440.0) -> np.ndarray:
    """Float32 (S,) of amplitude a half."""
    times_S = np.arange(round(rate_hz * duration_s)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * times_S)).astype(np.float32)


def encoded_sound(
    container: str,
    codec: str,
    *channels_S: np.ndarray,
    rate_hz: int = RATE_HZ,
    options: dict[str, str] | None = None,
    cover_side_px: int = 0,
) -> bytes:
    """A file of the channels (one or two), with a PNG as its cover if a side is given."""
    layout = "stereo" if len(channels_S) == 2 else "mono"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate_hz, layout=layout, options=options or {})
        cover = file.add_stream("png", rate=1) if cover_side_px else None
        if cover is not None:
            cover.width = cover.height = cover_side_px
            cover.pix_fmt = "rgb24"
            cover.disposition = av.stream.Disposition.attached_pic.value
        frame = av.AudioFrame.from_ndarray(np.stack(channels_S).astype(np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if cover is not None:
            file.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((cover_side_px,) * 2 + (3,), np.uint8))))
            file.mux(cover.encode(None))
    return buffer.getvalue()


def float_wav(samples_S: np.ndarray, rate_hz: int = RATE_HZ) -> bytes:
    """A WAV file of 32-bit floats, whatever they are."""
    content = samples_S.astype("<f4").tobytes()
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, rate_hz, 4 * rate_hz, 4, 32)
    body = b"WAVE" + header + struct.pack("<4sI", b"data", len(content)) + content
    return struct.pack("<4sI", b"RIFF", len(body)) + body


LOSSLESS = {
    "WAV of 16 bits": ("wav", "pcm_s16le", 2**-15),
    "WAV of 8 bits": ("wav", "pcm_u8", 2**-7),
    "WAV of 24 bits": ("wav", "pcm_s24le", 2**-23),
    "WAV of 32 bits": ("wav", "pcm_s32le", 2**-23),
    "WAV of floats": ("wav", "pcm_f32le", 0.0),
    "WAV of long floats": ("wav", "pcm_f64le", 0.0),
    "WAV of A-law": ("wav", "pcm_alaw", 2**-5),
    "FLAC": ("flac", "flac", 2**-15),
    "M4A of ALAC": ("ipod", "alac", 2**-15),
    "MKV of FLAC": ("matroska", "flac", 2**-15),
}
LOSSY = {
    "MP3": ("mp3", "libmp3lame", 44_100),
    "OGG of Opus": ("ogg", "libopus", 48_000),
    "OGG of Vorbis": ("ogg", "vorbis", 44_100),
    "M4A of AAC": ("ipod", "aac", 44_100),
    "WebM of Opus": ("webm", "libopus", 48_000),
    "MOV of AAC": ("mov", "aac", 44_100),
}


@pytest.mark.parametrize("case", LOSSLESS)
def test_load_audio_decodes_lossless_formats_exactly(case: str) -> None:
    container, codec, tolerance = LOSSLESS[case]
    audio = load_audio(encoded_sound(container, codec, tone()))
    assert audio.sampling_rate_hz == RATE_HZ
    assert audio.waveform.shape == tone().shape
    assert np.abs(audio.waveform - tone()).max() <= tolerance


@pytest.mark.parametrize("case", LOSSY)
def test_load_audio_decodes_lossy_formats_closely_and_in_time(case: str) -> None:
    container, codec, rate_hz = LOSSY[case]
    options = {"strict": "experimental"} if codec == "vorbis" else {}
    sound_S = tone(rate_hz)
    channels = 2 if codec == "vorbis" else 1
    audio = load_audio(encoded_sound(container, codec, *[sound_S] * channels, rate_hz=rate_hz, options=options))
    assert audio.sampling_rate_hz == rate_hz
    assert audio.duration_s == pytest.approx(0.5, abs=0.03)
    middle = slice(rate_hz // 10, rate_hz * 4 // 10)
    assert np.abs(audio.waveform[middle] - sound_S[middle]).max() < 0.1


def test_load_audio_gives_the_same_sound_from_every_kind_of_source(tmp_path: Path) -> None:
    data = encoded_sound("flac", "flac", tone())
    path = tmp_path / "the name says nothing.txt"
    path.write_bytes(data)
    url = "data:audio/flac;base64," + base64.b64encode(data).decode()
    expected = load_audio(data)
    for source in (path, str(path), bytearray(data), url, expected):
        assert np.array_equal(load_audio(source).waveform, expected.waveform)


def test_load_audio_mixes_channels_to_their_mean() -> None:
    left_S, right_S = tone(), tone(frequency_hz=1000.0)
    audio = load_audio(encoded_sound("wav", "pcm_f32le", left_S, right_S))
    assert np.allclose(audio.waveform, (left_S + right_S) / 2, atol=1e-7)


def test_load_audio_clips_what_is_louder_than_full_scale() -> None:
    assert load_audio(float_wav(np.array([-3.0, 0.25, 3e38]))).waveform.tolist() == [-1.0, 0.25, 1.0]


@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("flac", "flac")])
def test_load_audio_ignores_the_cover_of_an_album(container: str, codec: str) -> None:
    data = encoded_sound(container, codec, tone(44_100), rate_hz=44_100, cover_side_px=32)
    assert b"\x89PNG" in data
    assert load_audio(data).duration_s == pytest.approx(0.5, abs=0.06)


def test_load_audio_takes_an_mp3_without_tags_and_with_old_ones() -> None:
    data = encoded_sound("mp3", "libmp3lame", tone(44_100), rate_hz=44_100, options={})
    bare = data[data.index(b"\xff\xfb") :]
    for file in (bare, data + b"TAG" + bytes(125)):
        assert load_audio(file).duration_s == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_load_audio_takes_a_wav_that_was_written_into_a_pipe(size: int) -> None:
    data = encode_wav(Audio(tone(), RATE_HZ))
    streamed = data[:4] + struct.pack("<I", size) + data[8:40] + struct.pack("<I", size) + data[44:]
    assert load_audio(streamed).waveform.size == tone().size


@pytest.mark.parametrize("rate_hz", [8000, 22_050, 48_000])
def test_load_audio_resamples_as_resample_does(rate_hz: int) -> None:
    whole = load_audio(encoded_sound("wav", "pcm_f32le", tone()))
    asked = load_audio(encoded_sound("wav", "pcm_f32le", tone()), sampling_rate_hz=rate_hz)
    assert asked.sampling_rate_hz == rate_hz
    assert np.allclose(asked.waveform, resample(whole, rate_hz).waveform, atol=1e-6)
    assert np.allclose(load_audio(whole, sampling_rate_hz=rate_hz).waveform, asked.waveform, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 44_100, 96_000])
def test_resample_keeps_pitch_time_and_length(rate_hz: int) -> None:
    resampled = resample(Audio(tone(), RATE_HZ), rate_hz)
    expected_S = tone(rate_hz)
    assert resampled.waveform.size == round(0.5 * rate_hz)
    middle = slice(rate_hz // 50, -(rate_hz // 50))
    assert np.abs(resampled.waveform[: expected_S.size][middle] - expected_S[middle]).max() < 1e-3


@pytest.mark.parametrize("samples", [1, 7, 33])
def test_resample_keeps_very_short_sounds(samples: int) -> None:
    resampled = resample(Audio(np.full(samples, 0.5, np.float32), 44_100), 96_000)
    assert resampled.waveform.size == round(samples * 96_000 / 44_100)
    assert resampled.waveform.max() > 0.1


def test_resample_never_leaves_the_range() -> None:
    square_S = np.sign(tone(frequency_hz=3000.0)).astype(np.float32)
    assert np.abs(resample(Audio(square_S, RATE_HZ), 44_100).waveform).max() <= 1.0


@pytest.mark.parametrize("rate_hz", [0, 999, 384_001, 16_000.0, True])
def test_resample_refuses_impossible_rates(rate_hz) -> None:
    with pytest.raises(MediaError, match="expected a whole number from 1,000 to 384,000"):
        resample(Audio(tone(), RATE_HZ), rate_hz)


def test_wav_round_trips_every_16_bit_level(tmp_path: Path) -> None:
    levels_S = np.arange(-32_768, 32_768) / 32_768
    audio = Audio(levels_S.astype(np.float32), 22_050)
    save_medium(audio, tmp_path / "a.WAV")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.WAV"]
    for source in (encode_wav(audio), tmp_path / "a.WAV"):
        loaded = load_audio(source)
        assert loaded.sampling_rate_hz == 22_050
        assert np.array_equal(loaded.waveform, audio.waveform)


def test_encode_wav_rounds_full_scale_down() -> None:
    audio = load_audio(encode_wav(Audio(np.array([-1.0, 1.0], np.float32), 8000)))
    assert audio.waveform.tolist() == [-1.0, 32_767 / 32_768]


def test_encode_wav_refuses_what_is_no_sound() -> None:
    with pytest.raises(MediaError, match="ndarray given, expected an Audio"):
        encode_wav(tone())
    with pytest.raises(MediaError, match="0 samples given, expected at least one"):
        encode_wav(Audio(np.zeros(0, np.float32), 8000))


@pytest.mark.parametrize("name", ["a.mp3", "wav", "", None])
def test_save_audio_refuses_names_that_are_not_wav(tmp_path: Path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match=r"expected a path that ends in '\.wav'"):
        save_audio(Audio(tone(), RATE_HZ), name)
    assert list(tmp_path.iterdir()) == []


def test_audio_limits_allow_a_song_of_ten_minutes() -> None:
    limits = AudioLimits()
    assert limits.max_bytes >= 600 * 48_000 * 2 * 3  # uncompressed, stereo, 24 bits
    assert limits.max_duration_s >= 600
    assert limits.max_samples >= 600 * 96_000


@pytest.mark.parametrize(
    ("name", "value"), [("max_bytes", 0), ("max_bytes", 1.5), ("max_duration_s", 0), ("max_samples", True)]
)
def test_audio_limits_refuse_impossible_values(name: str, value) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: .* given, expected a .*number .*; raise it"):
        AudioLimits(**{name: value})


def test_load_audio_names_the_extra_that_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'anygpt\[media\]'"):
        load_audio(encode_wav(Audio(tone(), RATE_HZ)))


def test_importing_media_loads_neither_torch_nor_a_decoder() -> None:
    code = "import sys, anygpt.media; sys.exit(any(name in sys.modules for name in ('torch', 'av', 'trimesh')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
