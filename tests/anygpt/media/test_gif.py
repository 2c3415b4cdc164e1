"""Animated GIFs as videos: whole with or without the mark of the end, refused if they end inside a frame."""

from __future__ import annotations

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from anygpt.errors import MediaError
from anygpt.media import VideoLimits, load_video
from anygpt.media.gif import gif_layout

COLOURS = ("red", "blue", "lime")


def animation() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (32, 24), colour) for colour in COLOURS]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


def many_frames(count: int, width_px: int, height_px: int) -> bytes:
    """A GIF of so many frames, of which each changes one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", width_px, height_px, 0x80, 0, 0) + b"\0\0\0\xff\0\0"
    frame = b"\x21\xf9\x04\x04\x01\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return head + frame * count + b";"


GIF = animation()
TAILS = {
    "as it is": b";",
    "no trailer": b"",
    "line break": b";\r\n",
    "web page": b";<html>\n",
    "zeros": bytes(30),
    "zeros before the trailer": b"\0\0;",
    "comment": b"!\xfe\x05hello\0;",
    "comment that is cut off": b"!\xfe\x05hel",
    "two trailers": b";;",
}


@pytest.mark.parametrize("case", TAILS)
def test_load_video_reads_all_frames_of_a_gif_whatever_follows(case: str) -> None:
    video = load_video(GIF[:-1] + TAILS[case])
    shown_F3 = video.frames[:, 12, 16].astype(int)
    assert np.abs(shown_F3 - [(255, 0, 0), (0, 0, 255), (0, 255, 0)]).max() <= 1
    assert video.duration_s == pytest.approx(0.3, abs=0.01)


def test_load_video_refuses_a_gif_that_ends_inside_a_frame() -> None:
    last_frame_at = GIF.rindex(b"\x2c\0\0\0\0")
    for end in (last_frame_at + 1, last_frame_at + 9, last_frame_at + 12, len(GIF) - 3, len(GIF) - 2):
        with pytest.raises(MediaError, match=r"cut off inside a frame, .*, expected a complete file; save or send it"):
            load_video(GIF[:end])


def test_load_video_reads_frames_between_which_zeros_stand() -> None:
    first, rest = many_frames(1, 8, 8)[:-1], many_frames(2, 8, 8)[19:]
    assert len(load_video(first + b"\0\0" + rest).frames) == 3


def test_gif_layout_counts_frames_without_decoding() -> None:
    layout = gif_layout(many_frames(500, 4096, 2304), max_frames=1000)
    assert (layout.frames, layout.width_px, layout.height_px) == (500, 4096, 2304)
    assert (layout.content, layout.ends_inside_frame) == (many_frames(500, 4096, 2304), False)
    assert gif_layout(many_frames(500, 8, 8), max_frames=100).frames == 101


def test_load_video_refuses_a_small_gif_of_many_large_frames_before_it_decodes_any() -> None:
    data = many_frames(5000, 4096, 2304)
    assert len(data) < 120_000
    started = time.process_time()
    with pytest.raises(MediaError, match="47,185,920,000 pixels or more in all frames together given") as raised:
        load_video(data)
    assert "expected at most 10,000,000,000; cut it, shrink it or raise max_total_pixels" in str(raised.value)
    assert time.process_time() - started < 5.0  # decoding takes a minute


def test_load_video_holds_the_frames_of_a_gif_to_their_limit() -> None:
    with pytest.raises(MediaError, match="10 frames or more given, expected at most 9"):
        load_video(many_frames(10, 8, 8), VideoLimits(max_frames=9))
