"""Files as people have them, through the whole command: each is answered, in memory that does not grow with the file.

What a file's content becomes is tested beside the decoders, in tests/anygpt/media.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
import trimesh

from anygpt.media import encode_ply
from tests.anygpt.media.test_audio import encoded_sound, tone
from tests.anygpt.media.test_media_refusals import ROOT
from tests.anygpt.media.test_points import mesh_file, random_cloud
from tests.anygpt.media.test_video import TURNS, encoded_video, fading, turned
from tests.peak_memory import run_measured

# What a file may take beyond a question in words: ten minutes of sound at 48 kHz are 115 MB as one float a sample.
BEYOND_A_QUESTION_KIB = 200_000
TEN_MINUTES_S = 600


def phone_video(width: int = 1280, height: int = 720, seconds: int = 2) -> bytes:
    """A MOV of H.264 with sound, held upright: the pictures lie on their side and the header says so."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov") as file:
        pictures = file.add_stream("libx264", rate=15, options={"preset": "ultrafast"})
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        sound = file.add_stream("aac", rate=44_100, layout="mono")
        for frame_HW3 in fading(15 * seconds, height, width):
            file.mux(pictures.encode(av.VideoFrame.from_ndarray(frame_HW3, format="rgb24")))
        heard = av.AudioFrame.from_ndarray(tone(44_100, seconds)[None], format="fltp", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = 44_100, 0, Fraction(1, 44_100)
        file.mux([*sound.encode(heard), *pictures.encode(None), *sound.encode(None)])
    return turned(buffer.getvalue(), TURNS["quarter to the right"][0])


def coloured_ball() -> bytes:
    ball = trimesh.creation.icosphere(subdivisions=5)
    ball.visual.vertex_colors = np.random.default_rng(0).integers(0, 256, (len(ball.vertices), 4), dtype=np.uint8)
    return mesh_file(ball, "glb")


def long_flac() -> bytes:
    """Stereo at 48 kHz, made second by second."""
    second_2S = np.stack([tone(48_000, 1.0), tone(48_000, 1.0, 880.0)])
    levels_1S = np.ascontiguousarray((32_767 * second_2S).astype(np.int16).T.reshape(1, -1))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as file:
        stream = file.add_stream("flac", rate=48_000, layout="stereo", options={"compression_level": "0"})
        for second in range(TEN_MINUTES_S):
            frame = av.AudioFrame.from_ndarray(levels_1S, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, 48_000 * second, Fraction(1, 48_000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def long_video() -> bytes:
    """A picture a second; all 600 at their full size would take 415 MB."""
    frames_FHW3 = np.broadcast_to(fading(1, 360, 640), (TEN_MINUTES_S, 360, 640, 3))
    return encoded_video("mp4", "mpeg4", "yuv420p", frames_FHW3, times=range(0, 10 * TEN_MINUTES_S, 10))


def mp3_with_cover() -> bytes:
    channels = (tone(44_100, 3.0), tone(44_100, 3.0, 880.0))
    return encoded_sound("mp3", "libmp3lame", *channels, rate_hz=44_100, cover_side_px=600)


Made = tuple[str, str, Callable[[], bytes]]  # modality, file name, how it is made

SMALL: list[Made] = [
    ("audio", "cover.mp3", mp3_with_cover),
    ("audio", "one-second.m4a", lambda: encoded_sound("ipod", "aac", tone(48_000, 1.0), rate_hz=48_000)),
    ("video", "telephone.mov", phone_video),
    ("video", "silent.webm", lambda: encoded_video("webm", "libvpx", "yuv420p", fading(10))),
    ("points", "mesh.glb", coloured_ball),
]
LARGE: list[Made] = [
    ("audio", "ten-minutes.flac", long_flac),
    ("video", "ten-minutes.mp4", long_video),
    ("points", "two-million.ply", lambda: encode_ply(random_cloud(2_000_000))),
]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[dict[str, Any], int]]:
    """Send files along with one question; the reply, and the most KiB that the command had."""

    def ask(files: Sequence[Made]) -> tuple[dict[str, Any], int]:
        folder = tmp_path_factory.mktemp("files")
        command: list[Any] = [sys.executable, "-m", "anygpt", "generate", "What is this?"]
        for modality, name, make in files:
            (folder / name).write_bytes(make())
            command += [f"--{modality}", folder / name]
        done, peak = run_measured([*command, "--modalities", "text", "--json"], cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout), peak

    return ask


@pytest.fixture(scope="module")
def question_kib(ask: Callable[..., tuple[dict[str, Any], int]]) -> int:
    """What a question in words takes."""
    return ask([])[1]


@pytest.mark.parametrize("files", [SMALL, *([file] for file in LARGE)], ids=["small", *(name for _, name, _ in LARGE)])
def test_real_files_are_answered_in_bounded_memory(ask, question_kib, files):
    reply, peak_kib = ask(files)
    assert reply["text"]
    assert reply["errors"] == []
    assert {f"encoders.{modality}" for modality, _, _ in files} <= reply["timings"].keys()
    print(f"{peak_kib - question_kib:,} KiB beyond the {question_kib:,} of a question")
    assert 0 < peak_kib < question_kib + BEYOND_A_QUESTION_KIB
