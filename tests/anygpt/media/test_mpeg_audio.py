"""MP3 and AAC files whose first or last bytes are tags of the wrong size, or junk."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from anygpt.errors import MediaError
from anygpt.media import load_audio
from tests.anygpt.media.test_audio import encoded_sound, tone

RATE_HZ = 44_100
MP3 = encoded_sound(
    "mp3", "libmp3lame", tone(RATE_HZ), rate_hz=RATE_HZ, options={"id3v2_version": "0", "write_xing": "0"}
)
MP3 = MP3[MP3.index(b"\xff\xfb") :]
AAC = encoded_sound("adts", "aac", tone(RATE_HZ), rate_hz=RATE_HZ)
APE = b"APETAGEX" + struct.pack("<IIIIQ", 2000, 32 + 60, 1, 0xA0000000, 0) + b"x" * 60


def id3(content: bytes, size: int) -> bytes:
    """An ID3v2 tag that claims a size, seven bits a byte."""
    digits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + digits + content


UNTIDY = {
    "zeros before": bytes(1000) + MP3,
    "line break before": b"\r\n" + MP3,
    "junk with sync words before": b"junk\xff\xfe\xff\xfb\x00" * 20 + MP3,
    "tag": id3(bytes(300), 300) + MP3,
    "two tags": id3(bytes(300), 300) + id3(bytes(20), 20) + MP3,
    "tag that is longer than it says": id3(b"TIT2" + bytes(300), 5) + MP3,
    "tag that is shorter than it says": id3(b"TIT2" + bytes(300), 2000) + MP3,
    "tag that is longer than the file, it says": id3(b"TIT2" + bytes(300), (1 << 28) - 1) + MP3,
    "tag with a size of eight bits a byte": b"ID3\3\0\0" + struct.pack(">I", 300) + bytes(300) + MP3,
    "APE tag before": APE + MP3,
    "APE and ID3v1 tags behind": MP3 + APE + b"TAG" + bytes(125),
    "lyrics behind": MP3 + b"LYRICSBEGININD00002" + b"a" * 400 + b"LYRICS200",
    "zeros behind": MP3 + bytes(5000),
    "web page behind": MP3 + b"<html>\r\n" * 300,
}


@pytest.mark.parametrize("case", UNTIDY)
def test_load_audio_reads_an_mp3_among_tags_and_junk(case: str) -> None:
    expected, audio = load_audio(MP3), load_audio(UNTIDY[case])
    assert abs(len(audio.waveform) - len(expected.waveform)) <= 1152
    middle = slice(RATE_HZ // 10, RATE_HZ * 4 // 10)
    assert np.abs(audio.waveform[middle] - expected.waveform[middle]).max() < 1e-3


@pytest.mark.parametrize("before", [b"", b"\0" * 300, id3(bytes(300), 300)])
@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125)])
def test_load_audio_reads_aac_without_a_container(before: bytes, behind: bytes) -> None:
    audio = load_audio(before + AAC + behind)
    assert audio.sampling_rate_hz == RATE_HZ
    assert audio.duration_s == pytest.approx(0.5, abs=0.1)
    middle = slice(RATE_HZ // 10, RATE_HZ * 4 // 10)
    assert np.abs(audio.waveform[middle]).max() == pytest.approx(0.5, abs=0.05)


def test_load_audio_leaves_out_damaged_frames_of_an_mp3() -> None:
    audio = load_audio(MP3[:1000] + bytes(300) + MP3[1300:])
    assert audio.duration_s == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(
    "data", [b"\xff\xfb\x90\x00" + bytes(500), id3(bytes(300), 300) + b"no sound" * 500, id3(b"", 5)]
)
def test_load_audio_refuses_an_mp3_without_sound(data: bytes) -> None:
    with pytest.raises(MediaError, match="damaged, cut off or of an unknown kind"):
        load_audio(data)


@pytest.mark.parametrize("data", [bytes(70_000), b"\xff" * 5000, b"\xff\xfb\x90\x64 words" * 300])
def test_load_audio_takes_no_few_sync_words_for_an_mp3(data: bytes) -> None:
    with pytest.raises(MediaError, match=r"not audio that can be decoded|damaged, cut off"):
        load_audio(data)
