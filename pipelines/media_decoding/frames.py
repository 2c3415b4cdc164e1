"""What a decoding process and its parent tell each other: a JSON header and raw bytes, nothing that is unpickled.

A process that a hostile file took over could thus send no code back.

    frame: header length (8 bytes, big-endian) | header (JSON) | payloads, one after the other
    header: whatever the sender says, and "payloads": [bytes of each]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from anygpt.media import Audio, PointCloud, Video

MAX_HEADER_BYTES = 1024 * 1024
_LENGTH_BYTES = 8

Buffer = bytes | bytearray | memoryview


def write_frame(file: BinaryIO, header: Mapping[str, Any], payloads: Sequence[Buffer] = ()) -> None:
    """Send a header and payloads.

    Raises:
        OSError: if the other side is gone.
    """
    head = json.dumps({**header, "payloads": [len(payload) for payload in payloads]}).encode()
    file.write(len(head).to_bytes(_LENGTH_BYTES, "big") + head)
    for payload in payloads:
        file.write(payload)
    file.flush()


def read_frame(file: BinaryIO) -> tuple[dict[str, Any], list[bytearray]]:
    """Receive a header and payloads.

    Raises:
        EOFError: if the other side is gone.
        ValueError: if it sends something else.
    """
    length = int.from_bytes(_exactly(file, _LENGTH_BYTES), "big")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes")
    header = json.loads(_exactly(file, length))
    return header, [_exactly(file, count) for count in header["payloads"]]


def _exactly(file: BinaryIO, count: int) -> bytearray:
    data = bytearray(count)
    view, filled = memoryview(data), 0
    while filled < count:
        received = file.readinto(view[filled:])  # type: ignore[attr-defined]
        if not received:
            raise EOFError("the other side is gone")
        filled += received
    return data


def medium_frame(medium: Any) -> tuple[dict[str, Any], list[Buffer]]:
    """A decoded medium as a header and payloads."""
    if isinstance(medium, Image.Image):
        return {"mode": medium.mode, "size": medium.size}, [medium.tobytes()]
    if isinstance(medium, Audio):
        return {"sampling_rate_hz": medium.sampling_rate_hz}, [_bytes_of(medium.waveform)]
    if isinstance(medium, Video):
        sound = medium.audio
        header = {
            "shape": medium.frames.shape,
            "fps": medium.fps,
            "sampling_rate_hz": None if sound is None else sound.sampling_rate_hz,
        }
        return header, [_bytes_of(medium.frames), *([] if sound is None else [_bytes_of(sound.waveform)])]
    assert isinstance(medium, PointCloud)
    colours = [] if medium.rgb is None else [_bytes_of(medium.rgb)]
    return {}, [_bytes_of(medium.xyz), *colours]


def framed_medium(modality: str, header: Mapping[str, Any], payloads: Sequence[bytearray]) -> Any:
    """The medium of `medium_frame`; its arrays share the payloads' memory.

    Raises:
        LookupError, TypeError, ValueError: if header and payloads do not fit together.
    """
    if modality == "image":
        return Image.frombytes(header["mode"], tuple(header["size"]), bytes(payloads[0]))
    if modality == "audio":
        return Audio(_floats(payloads[0]), header["sampling_rate_hz"])
    if modality == "video":
        frames_FHW3 = np.frombuffer(payloads[0], np.uint8).reshape(header["shape"])
        rate_hz = header["sampling_rate_hz"]
        return Video(frames_FHW3, header["fps"], None if rate_hz is None else Audio(_floats(payloads[1]), rate_hz))
    xyz_N3, *rgb_N3 = [_floats(payload).reshape(-1, 3) for payload in payloads]
    return PointCloud(xyz_N3, *rgb_N3)


def _bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).data.cast("B")


def _floats(payload: bytearray) -> np.ndarray:
    return np.frombuffer(payload, np.float32)
