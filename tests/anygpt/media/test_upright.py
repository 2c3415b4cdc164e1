"""Frames as players show them: every display matrix and pixel shape. What a player shows is worked out from the matrix
point by point, as ISO/IEC 14496-12 has it, and not with the code that is tested.

Legend: F frames, H height, W width.
"""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest

from anygpt.media import Video, VideoLimits, encode_mp4, load_video
from tests.anygpt.media.test_video import encoded_video, quarters, turned

ONE, UNIT = 65536, 1 << 30
# (a, b, c, d): the eight ways in which a camera may have been held or may mirror.
MATRICES = {
    "as stored": (1, 0, 0, 1),
    "mirrored left-right": (-1, 0, 0, 1),
    "mirrored top-bottom": (1, 0, 0, -1),
    "upside down": (-1, 0, 0, -1),
    "quarter to the right": (0, 1, -1, 0),
    "quarter to the left": (0, -1, 1, 0),
    "rows and columns exchanged": (0, 1, 1, 0),
    "rows and columns exchanged, upside down": (0, -1, -1, 0),
}


def shown(stored_HW3: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Each stored pixel at the place (a x + c y, b x + d y), moved so that the picture begins at the origin."""
    a, b, c, d = matrix
    y_HW, x_HW = np.mgrid[: stored_HW3.shape[0], : stored_HW3.shape[1]]
    new_x_HW, new_y_HW = a * x_HW + c * y_HW, b * x_HW + d * y_HW
    new_x_HW, new_y_HW = new_x_HW - new_x_HW.min(), new_y_HW - new_y_HW.min()
    picture_HW3 = np.zeros((new_y_HW.max() + 1, new_x_HW.max() + 1, 3), np.uint8)
    picture_HW3[new_y_HW, new_x_HW] = stored_HW3
    return picture_HW3


def with_matrix(data: bytes, matrix: tuple[int, int, int, int], scale: int = 1) -> bytes:
    a, b, c, d = (ONE * value for value in matrix)
    return turned(data, (scale * a, scale * b, 0, c, d, 0, 0, 0, UNIT))


@pytest.mark.parametrize("case", MATRICES)
def test_load_video_shows_what_the_display_matrix_says(case: str) -> None:
    (frame_HW3,) = load_video(with_matrix(encode_mp4(Video(quarters(), 10.0)), MATRICES[case])).frames
    expected_HW3 = shown(quarters()[0], MATRICES[case])
    assert frame_HW3.shape == expected_HW3.shape
    inner = np.s_[4:-4:8, 4:-4:8]
    assert np.abs(frame_HW3[inner].astype(int) - expected_HW3[inner]).max() < 16


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (2, 0, 0, 2), (1, 1, -1, 1)])
def test_load_video_takes_the_nearest_of_eight_for_any_other_matrix(matrix: tuple[int, int, int, int]) -> None:
    (frame_HW3,) = load_video(with_matrix(encode_mp4(Video(quarters(), 10.0)), matrix)).frames
    assert np.abs(frame_HW3[4:-4:8, 4:-4:8].astype(int) - quarters()[0][4:-4:8, 4:-4:8]).max() < 16


WIDE_AND_HIGH = {  # stored 64 x 48
    Fraction(2): (48, 128),
    Fraction(1, 2): (96, 64),
    Fraction(16, 15): (48, 68),
    Fraction(12, 11): (48, 70),
    Fraction(1): (48, 64),
    Fraction(1000): (48, 64),  # no camera's pixel
}
FILES = {
    "MP4 of H.264": ("mp4", "libx264", "yuv420p"),
    "MP4 of MPEG-4": ("mp4", "mpeg4", "yuv420p"),
}


def half_red() -> np.ndarray:
    """One frame (1, 48, 64, 3) that is red between columns 16 and 48 and rows 12 and 36."""
    frame_HW3 = np.full((48, 64, 3), 200, np.uint8)
    frame_HW3[12:36, 16:48] = (255, 0, 0)
    return frame_HW3[None]


@pytest.mark.parametrize("aspect", WIDE_AND_HIGH)
@pytest.mark.parametrize("case", FILES)
def test_load_video_makes_wide_and_high_pixels_square(case: str, aspect: Fraction) -> None:
    (frame_HW3,) = load_video(encoded_video(*FILES[case], half_red(), pixel_aspect=aspect)).frames
    height_px, width_px = WIDE_AND_HIGH[aspect]
    assert frame_HW3.shape == (height_px, width_px, 3)
    is_red_HW = (frame_HW3[..., 0] > 150) & (frame_HW3[..., 1] < 100)
    assert is_red_HW.any(axis=0).sum() == pytest.approx(width_px / 2, abs=4)
    assert is_red_HW.any(axis=1).sum() == pytest.approx(height_px / 2, abs=4)


@pytest.mark.parametrize(("width_px", "height_px"), [(128, 48), (64, 96), (68, 48)])
def test_load_video_takes_the_size_that_a_webm_is_to_be_shown_at(width_px: int, height_px: int) -> None:
    data = encoded_video("webm", "libvpx", "yuv420p", half_red())
    stored = b"\xe0\x86\xb0\x81\x40\xba\x81\x30"  # 64 x 48, at the end of the only track
    shown_at = b"\xe0\x8e" + stored[2:] + bytes([0x54, 0xB0, 0x81, width_px, 0x54, 0xBA, 0x81, height_px])
    tracks_at = data.rindex(b"\x16\x54\xae\x6b", 0, data.index(stored))
    tracks = bytearray(data[tracks_at : data.index(stored)])
    tracks[4] += 8  # sizes of the tracks and of the one track
    tracks[13] += 8
    (frame_HW3,) = load_video(data[:tracks_at] + tracks + shown_at + data[data.index(stored) + 8 :]).frames
    assert frame_HW3.shape == (height_px, width_px, 3)


def test_load_video_takes_the_pixels_shape_from_the_container_or_from_the_pictures() -> None:
    data = encoded_video("mp4", "libx264", "yuv420p", half_red(), pixel_aspect=Fraction(2))
    at = data.index(b"pasp")
    in_pictures_alone = data[:at] + b"free" + data[at + 4 :]
    narrow_in_container = data[: at + 4] + struct.pack(">II", 1, 2) + data[at + 12 :]
    assert load_video(in_pictures_alone).frames.shape == (1, 48, 128, 3)
    assert load_video(narrow_in_container).frames.shape == (1, 96, 64, 3)


def test_load_video_turns_after_it_has_made_pixels_square() -> None:
    data = encoded_video("mp4", "libx264", "yuv420p", half_red(), pixel_aspect=Fraction(2))
    assert load_video(with_matrix(data, MATRICES["quarter to the left"])).frames.shape == (1, 128, 48, 3)


def test_load_video_takes_a_matrix_that_widens_for_wide_pixels() -> None:
    data = with_matrix(encode_mp4(Video(half_red(), 10.0)), MATRICES["as stored"], scale=2)
    assert load_video(data).frames.shape == (1, 48, 128, 3)


def test_load_video_shrinks_widened_frames_to_the_limits() -> None:
    data = encoded_video("mp4", "libx264", "yuv420p", half_red(), pixel_aspect=Fraction(2))
    assert load_video(data, max_kept_side_px=64).frames.shape == (1, 24, 64, 3)
    height_px, width_px = load_video(data, VideoLimits(max_pixels=64 * 48)).frames.shape[1:3]
    assert (height_px, width_px) == (34, 91)
