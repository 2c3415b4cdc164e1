"""Whole files are read whatever their headers say of the whole; files that end inside a piece are refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from anygpt.errors import MediaError
from anygpt.media import Audio, Video, encode_mp4, load_audio, load_video
from tests.anygpt.media.test_audio import RATE_HZ, encoded_sound, tone
from tests.anygpt.media.test_video import encoded_video, fading

ABSURD = 0xFFFFFFF0
MP4 = encode_mp4(Video(fading(10), 10.0, Audio(tone(duration_s=1.0), RATE_HZ)))
SILENT_MP4 = encode_mp4(Video(fading(10), 10.0))
FRAGMENTED = encoded_video(
    "mp4", "libx264", "yuv420p", fading(10), options={"movflags": "frag_every_frame+empty_moov+default_base_moof"}
)
WEBM = encoded_video("webm", "libvpx", "yuv420p", fading(10))
LIVE_WEBM = encoded_video("webm", "libvpx", "yuv420p", fading(10), options={"live": "1"})
OPUS = encoded_sound("ogg", "libopus", tone(48_000), rate_hz=48_000)
FLAC = encoded_sound("flac", "flac", tone())
AIFF = encoded_sound("aiff", "pcm_s16be", tone())
CAF = encoded_sound("caf", "pcm_s16be", tone())


def everywhere(data: bytes, after: bytes, skip: int, layout: str, *values: float) -> bytes:
    """The data with values written `skip` bytes behind each `after`; at least one."""
    written, at = bytearray(data), data.index(after)
    while at >= 0:
        struct.pack_into(layout, written, at + len(after) + skip, *values)
        at = data.find(after, at + 1)
    return bytes(written)


def with_clusters_of_unknown_size(data: bytes) -> bytes:
    """The WebM as browsers record it: they write a cluster's head before they know how long it gets."""
    at = data.index(b"\x1f\x43\xb6\x75") + 4
    assert data.count(b"\x1f\x43\xb6\x75") == 1
    assert data[at] >> 6 == 1  # a size of two bytes
    return data[:at] + b"\x7f\xff" + data[at + 2 :]


RECORDED_WEBM = with_clusters_of_unknown_size(LIVE_WEBM)


def with_durations(data: bytes, units: int) -> bytes:
    """The MP4 with this duration in the headers of the film, its tracks and their media."""
    for kind, skip in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 20)):
        data = everywhere(data, kind, skip, ">I", units)
    return data


def with_webm_duration(milliseconds: float) -> bytes:
    return everywhere(WEBM, b"\x44\x89\x88", 0, ">d", milliseconds)


WHOLE_VIDEOS = {
    "MP4": MP4,
    "MP4 of no duration": with_durations(MP4, 0),
    "MP4 of half its duration": everywhere(MP4, b"mdhd", 16, ">I", 5_000),
    "MP4 of days": with_durations(MP4, ABSURD),
    "MP4 whose box of media is too long": everywhere(MP4, b"mdat", -8, ">I", 10 * len(MP4)),
    "MP4 whose box of media has no size": everywhere(MP4, b"mdat", -8, ">I", 0),
    "MP4 with bytes behind the end": MP4 + b"\r\n</html>\n",
    "MP4 with zeros behind the end": MP4 + bytes(3000),
    "fragmented MP4": FRAGMENTED,
    "fragmented MP4 of days": with_durations(FRAGMENTED, ABSURD),
    "fragmented MP4 with bytes behind the end": FRAGMENTED + b"junk" * 50,
    "WebM": WEBM,
    "WebM of no duration": with_webm_duration(0),
    "WebM of a negative duration": with_webm_duration(-5),
    "WebM that ends at a clock time": with_webm_duration(1.7e12),
    "WebM with bytes behind the end": WEBM + b"junk" * 50,
    "live WebM": LIVE_WEBM,
    "live WebM with bytes behind the end": LIVE_WEBM + bytes(300),
    "recorded WebM": RECORDED_WEBM,
    "recorded WebM with bytes behind the end": RECORDED_WEBM + b"junk" * 50,
}


@pytest.mark.parametrize("case", WHOLE_VIDEOS)
def test_load_video_reads_a_whole_file_whatever_its_header_says(case: str) -> None:
    video = load_video(WHOLE_VIDEOS[case])
    assert video.frames.shape == (10, 48, 64, 3)
    assert np.abs(video.frames.astype(int) - fading(10)).max() <= 6
    assert video.duration_s == pytest.approx(1.0, abs=0.02)


CUT_VIDEOS = {
    "MP4": (MP4[: len(MP4) * 2 // 3], "bytes are there and its video needs"),
    "MP4 without its last byte": (SILENT_MP4[:-1], "bytes are there and its video needs"),
    "MP4 without its media": (MP4[: MP4.index(b"mdat") - 4], "bytes are there and its video needs"),
    "MP4 of no duration": (with_durations(MP4, 0)[: len(MP4) * 2 // 3], "bytes are there and its video needs"),
    "MP4 without its index": (MP4[: MP4.index(b"moov") - 4] + MP4[MP4.index(b"mdat") - 4 :], "damaged, cut off"),
    "fragmented MP4, inside its media": (FRAGMENTED[: FRAGMENTED.rindex(b"mdat") + 9], "inside its box 'mdat'"),
    "fragmented MP4, inside its index": (FRAGMENTED[: FRAGMENTED.rindex(b"moof") + 9], "inside its box 'moof'"),
    "WebM": (WEBM[: len(WEBM) * 2 // 3], "inside a cluster"),
    "live WebM": (LIVE_WEBM[: len(LIVE_WEBM) * 2 // 3], "inside a cluster"),
    "recorded WebM": (RECORDED_WEBM[: len(RECORDED_WEBM) * 2 // 3], "inside a block"),
    "recorded WebM without its last byte": (RECORDED_WEBM[:-1], "inside a block"),
}


@pytest.mark.parametrize("case", CUT_VIDEOS)
def test_load_video_refuses_a_file_that_ends_inside_a_piece(case: str) -> None:
    data, expected = CUT_VIDEOS[case]
    with pytest.raises(MediaError, match="expected a complete file; save or send it again") as raised:
        load_video(data)
    assert expected in str(raised.value)
    assert str(raised.value).isprintable()


WHOLE_SOUNDS = {
    "OGG with bytes behind the end": OPUS + b"junk OggS" * 100,
    "OGG with zeros behind the end": OPUS + bytes(5000),
    "FLAC behind an ID3 tag": b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + FLAC,
    "FLAC with a tag behind the end": FLAC + b"TAG" + bytes(125),
    "FLAC of days": FLAC[:21] + bytes([FLAC[21] | 15]) + b"\xff" * 4 + FLAC[26:],
    "FLAC of an unknown length": FLAC[:21] + bytes([FLAC[21] & 0xF0]) + bytes(4) + FLAC[26:],
    "AIFF with bytes behind the end": AIFF + b"junk" * 10,
    "AIFF of a size that is wrong": AIFF[:4] + struct.pack(">I", 5) + AIFF[8:],
    "CAF": CAF,
    "CAF of an unknown length": everywhere(CAF, b"data", 0, ">q", -1),
}


@pytest.mark.parametrize("case", WHOLE_SOUNDS)
def test_load_audio_reads_a_whole_file_whatever_its_header_says(case: str) -> None:
    audio = load_audio(WHOLE_SOUNDS[case])
    assert audio.duration_s == pytest.approx(0.5, abs=0.02)
    middle = slice(audio.sampling_rate_hz // 10, audio.sampling_rate_hz * 4 // 10)
    assert np.abs(audio.waveform[middle] - tone(audio.sampling_rate_hz)[middle]).max() < 0.1


CUT_SOUNDS = {
    "OGG": (OPUS[: len(OPUS) // 2], "cut off inside a page"),
    "OGG without its last bytes": (OPUS[:-30], "cut off inside a page"),
    "FLAC": (FLAC[:-50], "damaged, cut off"),
    "AIFF": (AIFF[:-100], "cut off inside its samples"),
    "CAF": (CAF[:-100], "cut off inside its samples"),
}


@pytest.mark.parametrize("case", CUT_SOUNDS)
def test_load_audio_refuses_a_file_that_ends_inside_a_piece(case: str) -> None:
    data, expected = CUT_SOUNDS[case]
    with pytest.raises(MediaError, match=f"{expected}.*, expected a complete file; save or send it again"):
        load_audio(data)
