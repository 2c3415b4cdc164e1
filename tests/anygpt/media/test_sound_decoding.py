"""How channels become one, and what is kept of a damaged sound.

Legend: C channels, S samples.
"""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from anygpt.errors import MediaError
from anygpt.media import Audio, AudioLimits, Video, VideoLimits, encode_mp4, load_audio, load_video
from tests.anygpt.media.test_audio import RATE_HZ, encoded_sound, tone
from tests.anygpt.media.test_video import fading

MP4 = encode_mp4(Video(fading(10), 10.0, Audio(tone(duration_s=1.0), RATE_HZ)))


def stereo(left_S: np.ndarray, right_S: np.ndarray) -> bytes:
    return encoded_sound("wav", "pcm_f32le", left_S, right_S)


def test_load_audio_takes_one_channel_where_their_mean_would_be_silence() -> None:
    audio = load_audio(stereo(tone(), -tone()))
    assert np.array_equal(audio.waveform, tone())


def test_load_audio_takes_the_loudest_channel_where_their_mean_would_be_next_to_silence() -> None:
    audio = load_audio(stereo(-0.9 * tone(), tone()))
    assert np.array_equal(audio.waveform, tone())


def test_load_audio_resamples_the_channel_that_it_takes() -> None:
    audio = load_audio(stereo(tone(), -tone()), sampling_rate_hz=8000)
    assert np.sqrt(np.mean(audio.waveform**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("right", [0.0, -0.5, 0.5, 1.0])
def test_load_audio_takes_the_mean_of_channels_that_do_not_cancel(right: float) -> None:
    audio = load_audio(stereo(tone(), np.float32(right) * tone()))
    assert np.allclose(audio.waveform, (1 + right) / 2 * tone(), atol=1e-7)


def test_load_audio_takes_the_mean_of_channels_without_anything_in_common() -> None:
    left_S, right_S = np.random.default_rng(0).uniform(-0.5, 0.5, (2, RATE_HZ)).astype(np.float32)
    assert np.allclose(load_audio(stereo(left_S, right_S)).waveform, (left_S + right_S) / 2, atol=1e-7)


def test_load_audio_leaves_silence_silent() -> None:
    assert not load_audio(stereo(0 * tone(), 0 * tone())).waveform.any()


@pytest.mark.parametrize(("layout", "channels"), [("5.1", 6), ("7.1", 8), ("hexadecagonal", 16)])
@pytest.mark.parametrize(("container", "codec"), [("ipod", "aac"), ("wav", "pcm_s16le"), ("matroska", "pcm_f32le")])
def test_load_audio_mixes_many_channels(container: str, codec: str, layout: str, channels: int) -> None:
    if (codec, channels) == ("aac", 16):
        codec, container = "libopus", "ogg"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        options = {"mapping_family": "255"} if codec == "libopus" else {}
        stream = file.add_stream(codec, rate=48_000, layout=layout, options=options)
        samples_1S = np.repeat(tone(48_000), channels)[None]
        frame = av.AudioFrame.from_ndarray(samples_1S, format="flt", layout=layout)
        frame.sample_rate, frame.pts = 48_000, 0
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=48_000, frame_size=960)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    audio = load_audio(buffer.getvalue())
    assert audio.duration_s == pytest.approx(0.5, abs=0.05)
    loudness = np.sqrt(np.mean(audio.waveform[4800:19_200] ** 2))
    assert loudness == pytest.approx(0.5 / np.sqrt(2), rel=0.2)  # the bass of lossy codecs has no such tone


def with_sound(change) -> bytes:
    """The MP4 as an MKV whose n-th packet of sound is `change(n, packet's bytes)`."""
    buffer, count = io.BytesIO(), 0
    with av.open(io.BytesIO(MP4)) as source, av.open(buffer, "w", format="matroska") as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.size:
                is_sound = packet.stream.type == "audio"
                copy = av.Packet(change(count, bytes(packet)) if is_sound else bytes(packet))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, streams[packet.stream.index]
                target.mux(copy)
                count += is_sound
    return buffer.getvalue()


def with_table_of_sevens(kind: bytes, skip: int) -> bytes:
    """The MP4 with 0x77777777 all over such a table of its sound, the last one in the file."""
    at = MP4.rindex(kind) + skip
    end = at + 4 * int.from_bytes(MP4[at - 4 : at], "big")
    return MP4[:at] + b"\x77" * (end - at) + MP4[end:]


NOISE = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes()
DAMAGED_SOUNDS = {  # and how long what is kept of them may be
    "no packet": (with_sound(lambda index, data: data), 0.95, 1.1),
    "every packet": (with_sound(lambda index, data: NOISE[: len(data)]), 0.0, 0.1),
    "every third packet": (with_sound(lambda index, data: NOISE[: len(data)] if index % 3 == 0 else data), 0.3, 0.8),
    "the second half": (with_sound(lambda index, data: NOISE[: len(data)] if index > 8 else data), 0.3, 0.7),
    "a codec of no known kind": (MP4.replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"), 0.0, 1.1),
    "places beyond the end": (with_table_of_sevens(b"stco", 12), 0.0, 0.1),
    "sizes beyond all bounds": (with_table_of_sevens(b"stsz", 16), 0.0, 0.1),
}


@pytest.mark.parametrize("case", DAMAGED_SOUNDS)
def test_load_video_keeps_the_pictures_of_a_video_whose_sound_is_damaged(case: str) -> None:
    data, least_s, most_s = DAMAGED_SOUNDS[case]
    video = load_video(data)
    assert np.abs(video.frames.astype(int) - fading(10)).max() <= 6
    assert video.duration_s == pytest.approx(1.0, abs=0.02)
    assert least_s <= (0.0 if video.audio is None else video.audio.duration_s) <= most_s


def test_load_video_holds_its_limits_for_a_damaged_sound() -> None:
    long = encode_mp4(Video(fading(2), 10.0, Audio(tone(duration_s=1.0), RATE_HZ)))
    with pytest.raises(MediaError, match=r"seconds given, expected at most 0\.5; cut it or raise max_duration_s"):
        load_video(long, VideoLimits(max_duration_s=0.5))


def test_load_audio_refuses_the_same_damaged_sound_by_itself() -> None:
    data, *_ = DAMAGED_SOUNDS["the second half"]
    with pytest.raises(MediaError, match="damaged, cut off or of an unknown kind"):
        load_audio(data, AudioLimits())
