"""How large a point cloud or mesh may be, and the checks that every format shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anygpt.errors import MediaError
from anygpt.media.limits import check_limits

_HEAD_BYTES = 65_536


@dataclass(frozen=True)
class PointLimits:
    """How large a cloud or mesh may be; each limit is checked before the memory it protects is used.

    Attributes:
        max_bytes: most bytes of the file, at least 1.
        max_points: most points, vertices or faces in the file, at least 1; polygons count as the triangles they become.
    """

    max_bytes: int = 128 * 1024 * 1024
    max_points: int = 5_000_000

    def __post_init__(self) -> None:
        check_limits(self, whole=("max_bytes", "max_points"))


def check_count(count: int, name: str, limits: PointLimits) -> None:
    """Refuse no points, and too many."""
    check_at_most(count, name, limits, "points")
    if count < 1:
        raise MediaError(f"{name}: no points in it, expected at least one; export it again")


def check_at_most(count: int, name: str, limits: PointLimits, what: str) -> None:
    """Refuse too many of something."""
    if count > limits.max_points:
        raise MediaError(
            f"{name}: {count:,} {what} given, expected at most {limits.max_points:,}; thin it out or raise max_points"
        )


def check_rows(rows: Mapping[str, int], there: int, name: str, limits: PointLimits) -> None:
    """Refuse a header that promises too many rows of some kind, or more in all than there is room for."""
    for kind, count in rows.items():
        check_at_most(count, name, limits, f"rows of {kind!r}")
    if sum(rows.values()) > there:
        raise MediaError(
            f"{name}: cut off, its header promises {sum(rows.values()):,} rows where there is room for {there:,}, "
            "expected all of them; save or send it again"
        )


def check_there(there: int, promised: int, what: str, name: str) -> None:
    """Refuse a file that holds fewer rows than its header promises."""
    if there < promised:
        raise MediaError(
            f"{name}: damaged, cut off, {there:,} of {promised:,} rows of {what!r} are there, expected all of them; "
            "save or send it again"
        )


def check_unpacked(unpacked_bytes: int, what: str, name: str, limits: PointLimits) -> None:
    """Refuse compressed points that take more memory than the most points may."""
    max_bytes = 48 * limits.max_points + _HEAD_BYTES
    if unpacked_bytes > max_bytes:
        raise MediaError(
            f"{name}: {what!r} unpacks to {unpacked_bytes:,} bytes, expected at most {max_bytes:,}; "
            "thin it out or raise max_points"
        )
