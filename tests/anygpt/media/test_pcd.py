"""PCD files: text, binary and compressed, with the colours that the Point Cloud Library packs into a float.

Legend: N points.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest

from anygpt.errors import MediaError
from anygpt.media import PointLimits, load_points

XYZ_N3 = np.array([[0.0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]])
RGB_N3 = np.array([[255, 0, 51], [0, 255, 0], [0, 0, 255], [102, 102, 102]])
PACKED_N = (RGB_N3 << [16, 8, 0]).sum(axis=1).astype(np.uint32)


def head(fields: str, sizes: str, types: str, data: str, counts: str = "", points: int = 4) -> str:
    counts = counts or " ".join("1" for _ in fields.split())
    lines = ["# .PCD v.7 - Point Cloud Data file format", "VERSION .7", f"FIELDS {fields}", f"SIZE {sizes}"]
    lines += [f"TYPE {types}", f"COUNT {counts}", f"WIDTH {points}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0"]
    return "\n".join([*lines, f"POINTS {points}", f"DATA {data}", ""])


RECORDS = np.zeros(4, [("xyz", "<f4", (3,)), ("rgb", "<u4"), ("normal", "<f4", (3,))])
RECORDS["xyz"], RECORDS["rgb"] = XYZ_N3, PACKED_N
OF_RECORDS = ("x y z rgb normal", "4 4 4 4 4", "F F F F F")


def literal(content: bytes) -> bytes:
    """LZF without any repetition."""
    runs = [content[at : at + 32] for at in range(0, len(content), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def compressed(packed: bytes, unpacked_bytes: int, counts: str = "1 1 1 1 3") -> bytes:
    sizes = struct.pack("<II", len(packed), unpacked_bytes)
    return head(*OF_RECORDS, "binary_compressed", counts).encode() + sizes + packed


FIELD_BY_FIELD = XYZ_N3.T.astype("<f4").tobytes() + PACKED_N.tobytes() + bytes(48)
ROWS = [f"{x:g} {y:g} {z:g}" for x, y, z in XYZ_N3]
FILES = {
    "binary": head(*OF_RECORDS, "binary", "1 1 1 1 3").encode() + RECORDS.tobytes(),
    "binary with CRLF": head(*OF_RECORDS, "binary", "1 1 1 1 3").replace("\n", "\r\n").encode() + RECORDS.tobytes(),
    "binary with bytes behind the end": head(*OF_RECORDS, "binary", "1 1 1 1 3").encode() + RECORDS.tobytes() + b"junk",
    "compressed": compressed(literal(FIELD_BY_FIELD), len(FIELD_BY_FIELD)),
    # 47 zeros: seven bits of a length beyond 7 + 2, one byte back, behind a first zero.
    "compressed, with a repetition": compressed(
        literal(FIELD_BY_FIELD[:-47]) + bytes([7 << 5, 47 - 9, 0]), len(FIELD_BY_FIELD)
    ),
    "text of whole numbers": (
        head("x y z rgb", "4 4 4 4", "F F F U", "ascii")
        + "\n".join(f"{row} {packed}" for row, packed in zip(ROWS, PACKED_N, strict=True))
    ).encode(),
    "text of floats": (
        head("x y z rgb", "4 4 4 4", "F F F F", "ascii")
        + "\n".join(f"{row} {packed:.9g}" for row, packed in zip(ROWS, PACKED_N.view("f4"), strict=True))
    ).encode(),
    "text of a field of several values": (
        head("n rgb x y z", "4 4 4 4 4", "F U F F F", "ascii", "2 1 1 1 1")
        + "\n".join(f"7 7 {packed} {row}" for row, packed in zip(ROWS, PACKED_N, strict=True))
    ).encode(),
    "text of plain colours": (
        head("x y z r g b", "8 8 8 1 1 1", "F F F U U U", "ascii")
        + "\n".join(f"{row} {r} {g} {b}" for row, (r, g, b) in zip(ROWS, RGB_N3, strict=True))
    ).encode(),
}


@pytest.mark.parametrize("case", FILES)
def test_load_points_reads_a_pcd_with_its_colours(case: str) -> None:
    cloud = load_points(FILES[case])
    assert np.array_equal(cloud.xyz, XYZ_N3.astype(np.float32))
    assert np.allclose(cloud.rgb, RGB_N3 / 255, atol=1e-6)


def test_load_points_takes_opacity_for_no_colour() -> None:
    records = RECORDS.copy()
    records["rgb"] |= np.uint32(0xFF000000)  # as a float that is no number
    cloud = load_points(
        head("x y z rgba normal", "4 4 4 4 4", "F F F F F", "binary", "1 1 1 1 3").encode() + records.tobytes()
    )
    assert np.allclose(cloud.rgb, RGB_N3 / 255, atol=1e-6)


@pytest.mark.parametrize("layout", ["ascii", "binary"])
def test_load_points_leaves_out_points_of_no_measurement(layout: str) -> None:
    xyz_N3 = XYZ_N3.astype("<f4")
    xyz_N3[1] = np.nan
    body = xyz_N3.tobytes() if layout == "binary" else "\n".join("{} {} {}".format(*row) for row in xyz_N3).encode()
    cloud = load_points(head("x y z", "4 4 4", "F F F", layout).encode() + body)
    assert np.array_equal(cloud.xyz, XYZ_N3[[0, 2, 3]].astype(np.float32))
    assert cloud.rgb is None


@pytest.mark.parametrize("layout", ["ascii", "binary"])
def test_load_points_keeps_the_shape_of_points_in_map_coordinates(layout: str) -> None:
    far_N3 = XYZ_N3 / 10 + [455_000.0, 5_412_000.0, 210.0]
    body = (
        far_N3.astype("<f8").tobytes()
        if layout == "binary"
        else "\n".join("{} {} {}".format(*r) for r in far_N3).encode()
    )
    xyz = load_points(head("x y z", "8 8 8", "F F F", layout).encode() + body).xyz
    assert np.allclose(xyz - xyz[0], XYZ_N3 / 10 - XYZ_N3[0] / 10, atol=1e-6)


BROKEN = {
    "binary that is cut off": (FILES["binary"][:-1], "3 of 4 rows of 'points' are there"),
    "text that is cut off": (FILES["text of floats"][:-40], "promises 4 rows where there is room for 3"),
    "compressed and cut off": (FILES["compressed"][:-1], "rows of 'compressed bytes' are there, expected all of them"),
    "compressed to less": (compressed(literal(FIELD_BY_FIELD)[:40], len(FIELD_BY_FIELD)), "damaged, cut off"),
    "compressed from before the start": (compressed(b"\xe0\x00\x05", len(FIELD_BY_FIELD)), "damaged, cut off"),
    "compressed under a wrong size": (compressed(literal(FIELD_BY_FIELD), 8), "8 bytes of 4 points of 28 bytes given"),
    "a bomb": (compressed(b"", 1 << 30, "1 1 1 1 99999999"), "'DATA' unpacks to 1,600,000,048 bytes, expected at most"),
    "a billion points": (
        head("x y z", "4 4 4", "F F F", "binary", points=10**9).encode(),
        "1,000,000,000 points given",
    ),
    "no z": (head("x y", "4 4", "F F", "binary").encode() + bytes(32), "points without z given, expected x y z"),
    "fields that do not fit": (head("x y z", "4 4", "F F F", "ascii").encode(), "FIELDS, SIZE, TYPE and COUNT do not"),
    "an unknown layout": (
        head("x y z", "4 4 4", "F F F", "packed").encode(),
        "a PCD of 'packed' given, expected",
    ),
    "an unknown type": (head("x y z", "4 4 4", "F F Q", "ascii").encode() + b"1 2 3\n" * 4, "damaged, cut off"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_load_points_refuses_a_broken_pcd(case: str) -> None:
    data, expected = BROKEN[case]
    with pytest.raises(MediaError) as raised:
        load_points(data, PointLimits())
    assert expected in str(raised.value)
    assert str(raised.value).isprintable()
