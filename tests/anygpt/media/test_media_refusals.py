"""Sounds, videos and points that are refused: broken, hostile and oversized ones, each with one line."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from anygpt.errors import MediaError
from anygpt.media import (
    Audio,
    AudioLimits,
    PointLimits,
    Video,
    VideoLimits,
    encode_mp4,
    encode_ply,
    encode_wav,
    load_audio,
    load_points,
    load_video,
)
from tests.anygpt.media.test_audio import RATE_HZ, encoded_sound, float_wav, tone
from tests.anygpt.media.test_points import edited_glb, mesh_file, numpy_file, random_cloud
from tests.anygpt.media.test_video import encoded_video, fading
from tests.peak_memory import peak_kib

ROOT = Path(__file__).parents[3]
LOADERS: dict[str, Callable] = {"audio": load_audio, "video": load_video, "points": load_points}


def refusal(medium: str, source, **options) -> str:
    """The message with which the source is refused, after checking that it is one printable line."""
    with pytest.raises(MediaError) as raised:
        LOADERS[medium](source, **options)
    message = str(raised.value)
    assert message.startswith(medium)
    assert message.isprintable()
    assert len(message) < 700
    return message


def refused_or_loaded(medium: str, data: bytes) -> None:
    """Errors other than the refusal pass through."""
    try:
        LOADERS[medium](data)
    except MediaError:
        refusal(medium, data)


def patched(data: bytes, after: bytes, skip: int, layout: str, *values: int) -> bytes:
    """The data with values written `skip` bytes behind the first `after`."""
    at = data.index(after) + len(after) + skip
    return data[:at] + struct.pack(layout, *values) + data[at + struct.calcsize(layout) :]


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, kind)
    return buffer.getvalue()


def gif_of(width: int, height: int) -> bytes:
    """A GIF whose screen and only frame claim to be so large."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0;"


def ply(counts: str, body: bytes = b"", layout: str = "binary_little_endian") -> bytes:
    floats = "".join(f"property float {axis}\n" for axis in "xyz")
    return f"ply\nformat {layout} 1.0\nelement vertex {counts}\n{floats}".encode() + b"end_header\n" + body


def npy_claiming(shape: str, kind: str = "<f4", body: bytes = bytes(48)) -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_uri(kind: str) -> bytes:
    return edited_glb(lambda tree: tree.setdefault(kind, []).append({"uri": "../../etc/passwd", "byteLength": 5}))


def with_nodes(nodes: list[dict]) -> bytes:
    return edited_glb(lambda tree: tree.update(nodes=nodes, scenes=[{"nodes": [0]}]))


def with_position_count(count: int) -> bytes:
    return edited_glb(lambda tree: [accessor.update(count=count) for accessor in tree["accessors"]])


WAV = encode_wav(Audio(tone(), RATE_HZ))
MP3 = encoded_sound("mp3", "libmp3lame", tone(44_100), rate_hz=44_100)
OGG = encoded_sound("ogg", "libopus", tone(48_000), rate_hz=48_000)
FLAC = encoded_sound("flac", "flac", tone())
M4A = encoded_sound("ipod", "aac", tone(44_100), rate_hz=44_100)
MP4 = encode_mp4(Video(fading(10), 10.0, Audio(tone(), RATE_HZ)))
WEBM = encoded_video("webm", "libvpx", "yuv420p", fading())
MKV = encoded_video("matroska", "libx264", "yuv420p", fading())
GIF = encoded_video("gif", "gif", "gray", fading())
BOX = trimesh.creation.box()
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"

NOT_MEDIA = {  # told by their first bytes: refused as any of the three
    "zeros": bytes(1000),
    "html": b"<!DOCTYPE html><html></html>",
    "json": b'{"error": "not found"}',
    "pdf": b"%PDF-1.7\n%%EOF",
    "png": picture("PNG"),
    "jpeg": picture("JPEG"),
    "webp": picture("WEBP"),
    "avi": b"RIFF\x24\0\0\0AVI LIST" + bytes(40),
    "playlist": PLAYLIST,
    "concatenation": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "manifest": b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>',
    "session": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 96\n",
    "subtitles": b"WEBVTT\n\n00:00.000 --> 00:10.000\n<v /etc/passwd>\n",
    "script": b"[Script Info]\nScriptType: v4.00+\n",
    "fbx": b"Kaydara FBX Binary  \0\x1a\0" + bytes(40),
}


@pytest.mark.parametrize("medium", LOADERS)
@pytest.mark.parametrize("case", NOT_MEDIA)
def test_files_of_other_kinds_are_refused_by_their_first_bytes(tmp_path: Path, capfd, case: str, medium: str) -> None:
    path = tmp_path / "ho\nstile\x1b[31m\u2028.mp4"
    path.write_bytes(NOT_MEDIA[case])
    for source in (path, NOT_MEDIA[case]):
        message = refusal(medium, source)
        assert f"it starts with {NOT_MEDIA[case][:16]!r}, expected" in message
        assert "convert it to one of them" in message
    assert r"ho\nstile\x1b[31m\u2028.mp4'" in refusal(medium, path)
    assert capfd.readouterr() == ("", "")


BROKEN = {
    "audio: empty": (b"", "empty, 0 bytes"),
    "audio: one byte": (b"\xff", "it starts with b'\\xff'"),
    "audio: GIF": (GIF, "it starts with b'GIF89a"),
    "audio: PLY": (encode_ply(random_cloud()), "it starts with b'ply"),
    "audio: playlist behind an MP3 tag": (b"ID3\3\0\0\0\0\0\0" + PLAYLIST, "damaged, cut off"),
    "audio: playlist in an MP4 box": (b"\0\0\0\x14ftypM4A \0\0\0\0M4A " + PLAYLIST, "damaged, cut off"),
    "audio: file address": ("file:///etc/passwd", "addresses are never fetched"),
    "audio: protocol without slashes": ("concat:/etc/passwd|/etc/hosts", "no such file"),
    "audio: protocol with a path": ("file:/etc/passwd", "no such file"),
    "audio: video without sound": (encoded_video("mp4", "mpeg4", "yuv420p", fading(2)), "no sound that can be decoded"),
    "audio: WAV header alone": (WAV[:12], "cut off, 12 of"),
    "audio: WAV without a format": (b"RIFF\4\0\0\0WAVE", "damaged, cut off"),
    "audio: WAV without samples": (float_wav(np.zeros(0)), "no samples in it, expected a sound of at least one"),
    "audio: WAV of NaN": (float_wav(np.array([0.0, np.nan])), "not finite numbers (NaN) given"),
    "audio: WAV of infinities": (float_wav(np.array([0.0, -np.inf])), "not finite numbers (NaN) given"),
    "audio: WAV without channels": (patched(WAV, b"fmt ", 6, "<H", 0), "damaged, cut off"),
    "audio: WAV of no rate": (patched(WAV, b"fmt ", 8, "<I", 0), "expected"),
    "audio: WAV of one sample a second": (patched(WAV, b"fmt ", 8, "<II", 1, 2), "8,000.0 seconds given, expected at"),
    "audio: WAV of an unknown codec": (patched(WAV, b"fmt ", 4, "<H", 0x7777), "no sound that can be decoded"),
    "audio: WAV cut off": (WAV[:-1000], "cut off, 15,044 of 16,044 bytes are there"),
    "audio: FLAC cut off": (FLAC[: len(FLAC) // 2], "damaged, cut off"),
    "audio: FLAC header alone": (FLAC[:4], "damaged, cut off"),
    "audio: MP3 sync word alone": (b"\xff\xfb\x90\x00" + bytes(500), "damaged, cut off"),
    "audio: OGG header alone": (OGG[:30], "damaged, cut off"),
    "audio: M4A cut off": (M4A[: len(M4A) // 2], "damaged, cut off"),
    "video: sound": (MP3, "it starts with"),
    "video: M4A": (M4A, "no moving pictures that can be decoded in it"),
    "video: MP4 without its index": (MP4[: MP4.index(b"moov")], "damaged, cut off"),
    "video: MP4 cut off": (MP4[: -len(MP4) // 3], "cut off"),
    "video: MP4 of an unknown codec": (MP4.replace(b"avc1", b"zzzz"), "no moving pictures that can be decoded"),
    "video: MP4 of damaged pictures": (
        MP4[: MP4.index(b"mdat") + 4] + bytes(byte ^ 0x5A for byte in MP4[MP4.index(b"mdat") + 4 :]),
        "damaged, cut off",
    ),
    "video: WebM header alone": (WEBM[:40], "expected"),
    "video: WebM cut off": (WEBM[: len(WEBM) // 2], "expected"),
    "video: MKV cut off": (MKV[: len(MKV) // 2], "expected"),
    "video: GIF header alone": (GIF[:13], "the mark of the end is missing"),
    "video: GIF cut off": (GIF[: len(GIF) // 2], "cut off"),
    "video: GIF of no size": (gif_of(0, 0), "expected"),
    "points: empty": (b"", "empty, 0 bytes"),
    "points: playlist of points": (b"# 0 0 0\n/etc/passwd\n", "it starts with"),
    "points: PLY without an end": (b"ply\nformat ascii 1.0\nelement vertex 3\n", "a PLY header without an end"),
    "points: PLY of faces alone": (ply("3").replace(b"vertex", b"face"), "a PLY header without an end or vertices"),
    "points: PLY of no points": (ply("0"), "no points in it, expected at least one"),
    "points: PLY cut off": (encode_ply(random_cloud())[:-10], "damaged, cut off"),
    "points: PLY as text, cut off": (mesh_file(BOX, "ply", encoding="ascii")[:-60], "its header promises 20 rows"),
    "points: PLY as text without y": (
        ply("1", b"0 0\n", "ascii").replace(b"property float y\n", b""),
        "vertices without y given, expected x y z",
    ),
    "points: PLY as text with a short row": (ply("2", b"0 0 0\n0 0\n", "ascii"), "damaged, cut off"),
    "points: PLY of NaN": (ply("1", struct.pack("<3f", 0, np.nan, 0)), "no finite numbers (NaN, or beyond"),
    "points: PLY mesh of no such vertex": (
        mesh_file(BOX, "ply")[:-4] + struct.pack("<i", -1),
        "faces that name vertices which are not there",
    ),
    "points: OBJ without vertices": (b"o nothing\n", "expected"),
    "points: OBJ of faces alone": (b"f 1 2 3\n", "expected"),
    "points: OBJ of no such vertex": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "expected"),
    "points: OBJ of words": (b"v a b c\n", "damaged, cut off"),
    "points: OFF without counts": (b"OFF\nmany\n", "an OFF header without counts"),
    "points: OFF cut off": (mesh_file(BOX, "off")[:60], "its header promises 20 rows"),
    "points: XYZ of 4 columns": (b"0 0 0 1\n", "rows of 4 numbers given, expected x y z, or x y z r g b"),
    "points: XYZ of uneven rows": (b"0 0 0\n1 2\n", "the number of columns changed"),
    "points: XYZ of words": (b"0 0 0\nzero zero zero\n", "damaged, cut off"),
    "points: XYZ of NaN": (b"0 0 nan\n", "no finite numbers"),
    "points: XYZ beyond floats": (b"0 0 1e300\n", "no finite numbers"),
    "points: XYZ of wild colours": (b"0 0 0 300 0 0\n", "colours from 0 to 300 given, expected 0 to 255 or 0 to 1"),
    "points: XYZ of negative colours": (b"0 0 0 -50 0 0\n", "colours from -50 to 0 given"),
    "points: XYZ of NaN colours": (b"0 0 0 nan 0 0\n", "colours from nan to nan given"),
    "points: NPY of pickles": (numpy_file(np.save, np.array([{}])), "pickled objects are never loaded"),
    "points: NPY of text": (numpy_file(np.save, np.array([["a"] * 3])), "an array of <U1 given"),
    "points: NPY of one axis": (numpy_file(np.save, np.zeros(3)), "shape (3,) given, expected numbers of shape (N, 3)"),
    "points: NPY of no axis": (numpy_file(np.save, np.zeros(())), "no points in it"),
    "points: NPY of no rows": (numpy_file(np.save, np.zeros((0, 3))), "no points in it"),
    "points: NPY of 4 columns": (numpy_file(np.save, np.zeros((2, 4))), "shape (2, 4) given"),
    "points: NPY of complex numbers": (numpy_file(np.save, np.zeros((2, 3), complex)), "an array of complex128 given"),
    "points: NPY with code in its header": (npy_claiming("__import__('os').getpid()"), "damaged, cut off"),
    "points: a bare pickle": (pickle.dumps(np.zeros((2, 3))), "it starts with"),
    "points: NPZ of pickles": (numpy_file(np.savez, np.array([{}])), "pickled objects are never loaded"),
    "points: NPZ of two arrays": (numpy_file(np.savez, a=np.zeros((2, 3)), b=np.zeros((2, 3))), "a ZIP of "),
    "points: NPZ of uneven colours": (
        numpy_file(np.savez, xyz=np.zeros((2, 3)), rgb=np.zeros((1, 3))),
        "rgb.npy of shape",
    ),
    "points: ZIP of text": (zip_of({"a.txt": b"0 0 0"}), "a ZIP of a.txt given, expected an NPZ"),
    "points: ZIP cut off": (zip_of({"a.npy": npy_claiming("(4, 3)")})[:-30], "damaged, cut off"),
    "points: ZIP of many files": (zip_of({f"{i}.npy": b"" for i in range(100)}), "more than 64 files in a ZIP"),
    "points: GLB header alone": (b"glTF\2\0\0\0", "damaged, cut off"),
    "points: GLB cut off": (mesh_file(BOX, "glb")[:-10], "damaged, cut off"),
    "points: GLB with a buffer elsewhere": (with_uri("buffers"), "a reference to the file '../../etc/passwd' given"),
    "points: GLB with a picture elsewhere": (with_uri("images"), "a reference to the file '../../etc/passwd' given"),
    "points: GLB without meshes": (edited_glb(lambda tree: tree.update(meshes=[], nodes=[{}])), "expected"),
    "points: GLB whose nodes go in circles": (
        with_nodes([{"children": [1]}, {"children": [2]}, {"children": [1], "mesh": 0}]),
        "too many, too deep or no tree",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_in_one_silent_line(tmp_path: Path, capfd, case: str) -> None:
    source, expected = BROKEN[case]
    medium = case.partition(":")[0]
    assert expected in refusal(medium, source)
    if isinstance(source, bytes):
        (tmp_path / "file").write_bytes(source)
        assert expected in refusal(medium, tmp_path / "file")
    assert capfd.readouterr() == ("", "")


# Each is small; read as they ask to be, they would take hundreds of megabytes to terabytes.
BOMBS = {
    "audio: WAV of 2 GB": (
        patched(patched(WAV, b"RIFF", 0, "<I", 0x7FFE0000), b"data", 0, "<I", 0x7FFD0000),
        "cut off",
    ),
    "audio: FLAC of 22 minutes": (
        encoded_sound("flac", "flac", np.zeros(1_320_000), rate_hz=1_000),
        "seconds given, expected at most 1,200.0",
    ),
    "audio: M4A of a million samples": (patched(M4A, b"stsz", 8, ">I", 1 << 28), "damaged"),
    "video: MP4 of 268 million frames": (patched(MP4, b"stsz", 8, ">I", 1 << 28), "expected"),
    "video: MP4 of days": (
        encoded_video("mp4", "libx264", "yuv420p", fading(4), times=[0, 400_000, 800_000, 1_200_000]),
        "seconds given, expected at most 1,200.0",
    ),
    "video: GIF of 4 gigapixels": (gif_of(65_535, 65_535), "65,535 x 65,535 pixels given, expected at most"),
    "video: GIF of 1.6 gigapixels": (gif_of(40_000, 40_000), "40,000 x 40,000 pixels given, expected at most"),
    "video: GIF over the limit": (gif_of(4096, 2305), "4,096 x 2,305 pixels given, expected at most 9,437,184"),
    "video: VP8 of 268 megapixels": (patched(WEBM, b"\x9d\x01\x2a", 0, "<HH", 16_383, 16_383), "expected"),
    "points: PLY of a billion": (
        ply("1000000000", bytes(100)),
        "1,000,000,000 points given, expected at most",
    ),
    "points: PLY of more than there are": (ply("4000000", bytes(100)), "its header promises 4,000,000 rows"),
    "points: PLY of wide rows": (ply("90", bytes(100)), "damaged, cut off, 8 of 90 rows of 'vertex' are there"),
    "points: PLY of a long list": (
        ply("1").replace(b"end_header", b"element face 1\nproperty list uint int vertex_indices\nend_header")
        + bytes(12)
        + struct.pack("<I", 0xFFFFFFF0),
        "expected",
    ),
    "points: OFF of a billion": (b"OFF\n1000000000 1 0\n0 0 0\n", "1,000,000,000 rows of 'vertices' given"),
    "points: NPY of a billion": (npy_claiming("(1000000000, 3)"), "1,000,000,000 points given, expected at most"),
    "points: NPY of more than there are": (npy_claiming("(4000000, 3)"), "a header of 48,000,000 bytes over 48 given"),
    "points: NPY of many axes": (npy_claiming("(2, 1000000, 1000000)"), "a header of 8,000,000,000,000 bytes over 48"),
    "points: NPZ bomb": (
        patched(zip_of({"a.npy": bytes(9999)}), b"PK\x01\x02", 20, "<I", 300_000_000),
        "unpacks to 300,000,000 bytes, expected at most",
    ),
    "points: NPZ bomb that lies": (
        patched(zip_of({"a.npy": bytes(64_000_000)}), b"PK\x01\x02", 20, "<I", 4096),
        "expected",
    ),
    "points: GLB of more than there is": (with_position_count(1 << 30), "bytes of data promised in"),
    "points: GLB of zeros": (
        edited_glb(lambda tree: tree["accessors"].append({"componentType": 5126, "type": "MAT4", "count": 1 << 28})),
        "bytes of data promised in",
    ),
    "points: GLB placed too often": (with_nodes([{"mesh": 0}] * 10_001), "10,001 nodes with 1 pieces"),
    "points: GLB of too many pieces": (
        edited_glb(lambda tree: tree["meshes"][0].update(primitives=tree["meshes"][0]["primitives"] * 10_001)),
        "1 nodes with 10,001 pieces",
    ),
    "points: GLB of deep nodes": (
        with_nodes([{"mesh": 0, "children": [at + 1]} for at in range(5000)] + [{"mesh": 0}]),
        "too many, too deep or no tree",
    ),
}


def refuse_all_bombs() -> None:
    """Run in a process of its own: prints by how many KiB its memory grew at most."""
    for medium, source in (("audio", WAV), ("video", MP4), ("points", mesh_file(BOX, "glb"))):
        LOADERS[medium](source)  # imports
    before = peak_kib()
    for case, (source, expected) in BOMBS.items():
        message = refusal(case.partition(":")[0], source)
        assert expected in message, (case, message)
    print(peak_kib() - before)


def test_bombs_are_refused_in_little_memory() -> None:
    code = f"from {__name__} import refuse_all_bombs; refuse_all_bombs()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    assert int(done.stdout) < 48_000


OVER_A_LIMIT = {
    "audio, bytes": (WAV, AudioLimits(max_bytes=100), "expected at most 100; shrink it or raise max_bytes"),
    "audio, seconds": (WAV, AudioLimits(max_duration_s=0.4), "0.5 seconds given, expected at most 0.4"),
    "audio, seconds of an MP3": (MP3, AudioLimits(max_duration_s=0.4), "cut it or raise max_duration_s"),
    "audio, samples": (WAV, AudioLimits(max_samples=7999), "more than 7,999 samples at 16,000 Hz"),
    "audio, a value": (Audio(tone(), RATE_HZ), AudioLimits(max_duration_s=0.4), "0.5 seconds given"),
    "video, bytes": (MP4, VideoLimits(max_bytes=100), "raise max_bytes"),
    "video, seconds": (MP4, VideoLimits(max_duration_s=0.9), "1.0 seconds given, expected at most 0.9"),
    "video, frames by its header": (MP4, VideoLimits(max_frames=9), "10 frames or more given"),
    "video, frames while decoding": (
        GIF,
        VideoLimits(max_frames=9),
        "10 frames or more given, expected at",
    ),
    "video, pixels": (MP4, VideoLimits(max_pixels=3071), "64 x 48 pixels given, expected at most 3,071"),
    "video, all pixels by its index": (
        MP4,
        VideoLimits(max_total_pixels=30_719),
        "30,720 pixels or more in all frames together given, expected at most 30,719",
    ),
    "video, all pixels of a WebM": (WEBM, VideoLimits(max_total_pixels=30_719), "raise max_total_pixels"),
    "video, kept bytes": (
        MP4,
        VideoLimits(max_decoded_bytes=46_080),
        "more than 5 frames of 64 x 48 pixels",
    ),
    "video, a value": (Video(fading(), 10.0), VideoLimits(max_duration_s=0.9), "1.0 seconds given"),
    "points, bytes": (b"0 0 0\n" * 20, PointLimits(max_bytes=100), "raise max_bytes"),
    "points, lines": (b"0 0 0\n" * 9, PointLimits(max_points=8), "9 lines given, expected at most 8"),
    "points, vertices": (mesh_file(BOX, "obj"), PointLimits(max_points=7), "8 vertices given"),
    "points, faces": (mesh_file(BOX, "glb"), PointLimits(max_points=11), "12 faces given"),
    "points, a value": (random_cloud(9), PointLimits(max_points=8), "9 points given, expected at most 8"),
    "points, an array": (np.zeros((9, 3)), PointLimits(max_points=8), "9 points given"),
}


@pytest.mark.parametrize("case", OVER_A_LIMIT)
def test_what_is_over_a_limit_is_refused(case: str) -> None:
    source, limits, expected = OVER_A_LIMIT[case]
    assert expected in refusal(case.partition(",")[0], source, limits=limits)


def test_a_sound_that_is_longer_than_its_header_says_is_stopped_while_decoding() -> None:
    lying = patched(FLAC, b"fLaC", 4 + 14, ">I", 10)  # ten samples
    assert "expected at most 0.3" in refusal("audio", lying, limits=AudioLimits(max_duration_s=0.3))


@pytest.mark.parametrize("medium", LOADERS)
@pytest.mark.parametrize("value", [None, 3.5, ["a.wav"], io.BytesIO(WAV), Image.new("RGB", (2, 2))])
def test_values_of_other_types_are_refused(medium: str, value) -> None:
    assert f"{type(value).__name__} given" in refusal(medium, value)


FUZZED = {
    "audio": (WAV, MP3, OGG, FLAC, M4A),
    "video": (MP4, WEBM, MKV, GIF),
    "points": (
        mesh_file(BOX, "glb"),
        mesh_file(BOX, "obj"),
        mesh_file(BOX, "off"),
        mesh_file(BOX, "ply"),
        mesh_file(BOX, "ply", encoding="ascii"),
        numpy_file(np.savez_compressed, xyz=np.ones((9, 3)), rgb=np.ones((9, 3))),
    ),
}


@pytest.mark.parametrize("medium", FUZZED)
def test_random_damage_and_cuts_raise_nothing_but_media_errors(capfd, medium: str) -> None:
    random = np.random.default_rng(0)
    for data in FUZZED[medium]:
        for _ in range(20):
            damaged = bytearray(data)
            for at in random.integers(0, min(len(data), random.choice([60, 600, len(data)])), 4):
                damaged[at] = random.integers(0, 256)
            refused_or_loaded(medium, bytes(damaged))
            refused_or_loaded(medium, data[: random.integers(1, len(data))])
    assert capfd.readouterr() == ("", "")
