"""WAV files as recorders and editors leave them behind: read whole, unless samples are missing."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from anygpt.errors import MediaError
from anygpt.media import Audio, encode_wav, load_audio
from tests.anygpt.media.test_audio import RATE_HZ, encoded_sound, tone

WAV = encode_wav(Audio(tone(), RATE_HZ))
LEVELS_S = np.frombuffer(WAV[44:], "<i2")
FORMAT, SAMPLES = WAV[12:36], WAV[44:]
DATA = WAV[36:]


def chunk(kind: bytes, content: bytes, *, padded: bool = True) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + (b"\0" if padded and len(content) % 2 else b"")


def riff(*chunks: bytes, size: int | None = None, lead: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return lead + struct.pack("<I", len(body) if size is None else size) + body


def data_chunk(promised: int) -> bytes:
    return b"data" + struct.pack("<I", promised) + SAMPLES


def wave64() -> bytes:
    """The same sound as a Wave64 file, whose kinds are GUIDs and whose sizes count their own heads."""
    tail = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
    content = b"wave" + tail
    for kind, body in ((b"fmt ", FORMAT[8:]), (b"data", SAMPLES)):
        content += kind + tail + struct.pack("<Q", 24 + len(body)) + body + bytes(-len(body) % 8)
    head = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
    return head + struct.pack("<Q", 24 + len(content)) + content


def long_file(lead: bytes) -> bytes:
    """The same sound as RF64 or BW64, whose size stands in a chunk of its own."""
    sizes = struct.pack("<QQQI", 36 + 36 + len(SAMPLES), len(SAMPLES), len(LEVELS_S), 0)
    return riff(chunk(b"ds64", sizes), FORMAT, data_chunk(0xFFFFFFFF), size=0xFFFFFFFF, lead=lead)


def big_endian() -> bytes:
    head = b"RIFX" + struct.pack(">I", 36 + len(SAMPLES)) + b"WAVEfmt "
    head += struct.pack(">IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    return head + b"data" + struct.pack(">I", len(SAMPLES)) + LEVELS_S.astype(">i2").tobytes()


UNTIDY = {
    "RIFF size of the whole file": riff(FORMAT, DATA, size=len(WAV)),
    "RIFF size of nothing": riff(FORMAT, DATA, size=0),
    "RIFF size of the header alone": riff(FORMAT, DATA, size=36),
    "RIFF size out of all bounds": riff(FORMAT, DATA, size=0x61000000),
    "data size unknown, RIFF size right": riff(FORMAT, data_chunk(0)),
    "data size of all ones": riff(FORMAT, data_chunk(0xFFFFFFFF)),
    "data size that SoX writes into a pipe": riff(FORMAT, data_chunk(0x7FFFF000), size=0x7FFFF024),
    "data size of the whole file": riff(FORMAT, data_chunk(len(WAV)), size=len(WAV)),
    "data size of all but the RIFF header": riff(FORMAT, data_chunk(len(WAV) - 8)),
    "data size too large, RIFF size right": riff(FORMAT, data_chunk(40_000)),
    "list behind the samples": riff(FORMAT, DATA, chunk(b"LIST", b"INFOISFT\x04\0\0\0abc\0")),
    "odd list before the samples": riff(FORMAT, chunk(b"LIST", b"INFOabc"), DATA),
    "odd list without padding": riff(FORMAT, chunk(b"LIST", b"INFOabc", padded=False), DATA),
    "odd chunk without padding first": riff(chunk(b"bext", b"x" * 603, padded=False), FORMAT, DATA),
    "list that is shorter than it says": riff(FORMAT, b"LIST" + struct.pack("<I", 999_999) + b"INFO", DATA),
    "format behind the samples": riff(DATA, FORMAT),
    "bytes behind the end": WAV + b"\r\n</body>" * 30,
    "zeros behind the end": WAV + bytes(1000),
    "ID3 tag before the start": b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + WAV,
    "Wave64": wave64(),
    "RF64": long_file(b"RF64"),
    "BW64": long_file(b"BW64"),
    "big-endian": big_endian(),
}


@pytest.mark.parametrize("case", UNTIDY)
def test_load_audio_reads_an_untidy_wav_to_the_sample(case: str) -> None:
    audio = load_audio(UNTIDY[case])
    assert audio.sampling_rate_hz == RATE_HZ
    assert np.array_equal(audio.waveform[: len(LEVELS_S)], LEVELS_S / np.float32(32768))
    assert len(audio.waveform) == len(LEVELS_S)


def test_load_audio_reads_a_wav_of_the_extensible_format() -> None:
    content = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE_HZ, 2 * RATE_HZ, 2, 16, 22, 16, 4)
    content += b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    audio = load_audio(riff(chunk(b"fmt ", content), DATA))
    assert np.array_equal(audio.waveform, LEVELS_S / np.float32(32768))


@pytest.mark.parametrize(("bits", "width"), [(3, 2), (12, 2), (20, 3), (24, 4), (16, 4)])
def test_load_audio_reads_samples_of_fewer_bits_than_they_take(bits: int, width: int) -> None:
    """24 bits in 4 bytes, say: what the samples take in the file decides, or they would be read as noise."""
    content = struct.pack("<HHIIHH", 1, 1, RATE_HZ, width * RATE_HZ, width, bits)
    levels = (LEVELS_S.astype("<i8") << 8 * (width - 2)).view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    audio = load_audio(riff(chunk(b"fmt ", content), chunk(b"data", levels)))
    assert np.array_equal(audio.waveform, LEVELS_S / np.float32(32768))


@pytest.mark.parametrize("rate_hz", [999, 400_000])
def test_load_audio_refuses_rates_of_no_sound(rate_hz: int) -> None:
    content = struct.pack("<HHIIHH", 1, 1, rate_hz, 0, 2, 16)
    with pytest.raises(MediaError, match="sampling rate") as caught:
        load_audio(riff(chunk(b"fmt ", content), DATA))
    assert "\n" not in str(caught.value)


def test_load_audio_reads_compressed_samples_with_their_count() -> None:
    data = encoded_sound("wav", "adpcm_ima_wav", tone())
    audio = load_audio(data[:4] + struct.pack("<I", 5) + data[8:])
    assert audio.duration_s == pytest.approx(0.5, abs=0.05)
    assert np.abs(audio.waveform[100:7000] - tone()[100:7000]).max() < 0.05


CUT_OFF = {
    "samples": (WAV[:-1000], "15,044 of 16,044 bytes are there"),
    "samples under a RIFF size of nothing": (riff(FORMAT, DATA, size=0)[:-1000], "15,044 of 16,044 bytes are there"),
    "samples of an RF64": (long_file(b"RF64")[:-1000], "cut off, "),
    "samples of a Wave64": (wave64()[:-1000], "cut off, "),
    "all but the format": (WAV[:36], "36 of 16,044 bytes are there"),
}


@pytest.mark.parametrize("case", CUT_OFF)
def test_load_audio_refuses_a_wav_whose_samples_are_cut_off(case: str) -> None:
    data, expected = CUT_OFF[case]
    with pytest.raises(MediaError, match=r"cut off, [\d,]+ of [\d,]+ bytes are there, expected a complete") as raised:
        load_audio(data)
    assert expected in str(raised.value)
    assert str(raised.value).isprintable()


def test_load_audio_finds_no_samples_where_a_list_follows_the_empty_ones() -> None:
    with pytest.raises(MediaError, match="no samples in it"):
        load_audio(riff(FORMAT, chunk(b"data", b""), chunk(b"LIST", b"INFO" + bytes(400))))
