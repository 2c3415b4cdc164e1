"""Refusals that say what was given instead."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from anygpt.errors import MediaError
from anygpt.media import load_audio, load_image, load_points, load_video


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
AVI = b"RIFF\x24\0\0\0AVI LIST" + bytes(40)
GIVEN = {
    "a HEIC picture": (load_image, HEIC, "not an image that can be decoded but a HEIC picture, as iPhones take them,"),
    "an AVIF picture": (load_image, picture("AVIF"), "but an AVIF picture,"),
    "a video as a picture": (load_image, b"\0\0\0\x18ftypisom" + bytes(40), "but an MP4, MOV or M4A file,"),
    "a drawing": (load_image, b"<svg/>", "but an SVG drawing,"),
    "a pointer": (load_image, b"version https://git-lfs.github.com/spec/v1\n", "but a pointer of Git LFS and not the"),
    "a picture as a sound": (load_audio, picture("JPEG"), "not audio that can be decoded but a JPEG picture,"),
    "notes": (load_audio, b"MThd" + bytes(40), "but a MIDI file, which holds notes and no sound,"),
    "a web page": (load_audio, b"\n <!DOCTYPE html>", "but a web page,"),
    "an AVI video": (load_video, AVI, "not video that can be decoded but an AVI video,"),
    "a WMV video": (load_video, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(40), "but a WMV or WMA file,"),
    "a LAS scan": (load_points, b"LASF" + bytes(400), "no points that can be read but a LAS or LAZ scan,"),
    "a glTF in JSON": (load_points, b'{"asset": {"version": "2.0"}}', "but a JSON file,"),
    "a text in UTF-16": (load_points, "0 0 0\n".encode("utf-16"), "but a text in UTF-16,"),
    "nothing known": (load_points, b"\1\2\3\4", "no points that can be read, it starts with"),
}


@pytest.mark.parametrize("case", GIVEN)
def test_a_refusal_says_what_was_given(case: str) -> None:
    load, data, expected = GIVEN[case]
    with pytest.raises(MediaError) as raised:
        load(data)
    message = str(raised.value)
    assert expected in message
    assert f"it starts with {data[:16]!r}, expected" in message
    assert message.endswith("convert it to one of them")
    assert message.isprintable()


def test_a_refusal_of_a_damaged_picture_does_not_call_it_another() -> None:
    with pytest.raises(MediaError, match="not an image that can be decoded, it starts with"):
        load_image(picture("PNG")[:8])
