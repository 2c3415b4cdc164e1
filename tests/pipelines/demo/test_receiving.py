from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from anygpt.config.schema import Limits, ServiceLimits
from anygpt.media import encode_png
from pipelines.demo import receiving
from pipelines.demo.receiving import receive_files
from pipelines.demo.refusals import RefusedError
from pipelines.demo.uploads import Uploads

FORM = "multipart/form-data; boundary=B"


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path, ("image",), Limits(), ServiceLimits())


def form(*files: tuple[str, bytes], end: bytes = b"--B--\r\n") -> bytes:
    head = 'Content-Disposition: form-data; name="files"; filename="{}"\r\nContent-Type: text/html\r\n\r\n'
    return b"".join(b"--B\r\n" + head.format(name).encode() + data + b"\r\n" for name, data in files) + end


def received(uploads: Uploads, body: bytes, kind: str = FORM, piece_bytes: int = 65_536) -> list[Path]:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), piece_bytes):
            yield body[at : at + piece_bytes]

    return asyncio.run(receive_files(kind, pieces(), uploads, "somebody"))


@pytest.mark.parametrize("piece_bytes", [1, 7, 65_536])
def test_files_arrive_whole_however_they_are_cut(uploads, picture, piece_bytes):
    star, other = encode_png(picture), encode_png(picture.rotate(90))
    paths = received(uploads, form(("star.png", star), ("übung.png", other)), piece_bytes=piece_bytes)
    assert [path.name for path in paths] == ["star.png", "übung.png"]
    assert [path.read_bytes() for path in paths] == [star, other]
    assert uploads.held_bytes("somebody") == len(star) + len(other)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (form(("a.exe", b"MZ")), "'a.exe': not stored, expected a picture"),
        (form(("a.png", b"<html>")), "'a.png': not stored, not a picture but a web page"),
        (form(("a.png", b"")), "'a.png': not stored, not a picture"),
        (b"nothing of the kind", "upload: not a form that can be read"),
        (b"", "upload: cut off, the form has no end"),
    ],
)
def test_a_refused_upload_leaves_nothing_of_all_its_files(uploads, picture, tmp_path, body, said):
    before = b"" if body.startswith(b"n") or not body else form(("star.png", encode_png(picture)), end=b"")
    with pytest.raises(RefusedError, match=f"^{said}"):
        received(uploads, before + body)
    assert list(tmp_path.iterdir()) == []
    assert uploads.held_bytes() == 0


def test_an_upload_that_is_cut_off_leaves_nothing(uploads, picture, tmp_path):
    body = form(("star.png", encode_png(picture)), ("more.png", encode_png(picture)))
    with pytest.raises(RefusedError, match="upload: cut off, the form has no end; send it again"):
        received(uploads, body[:-10])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data", f"multipart/mixed{FORM[19:]}"])
def test_what_is_no_form_is_refused(uploads, kind):
    with pytest.raises(RefusedError, match="upload: not multipart/form-data with a boundary") as caught:
        received(uploads, b"{}", kind)
    assert caught.value.status == 415


def test_a_boundary_without_end_is_refused(uploads):
    with pytest.raises(RefusedError, match="upload: Boundary length 300 exceeds maximum"):
        received(uploads, b"{}", f"multipart/form-data; boundary={'x' * 300}")


def test_fields_without_end_are_refused(uploads, monkeypatch):
    monkeypatch.setattr(receiving, "MAX_OTHER_BYTES", 1000)
    body = b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + bytes(2000)
    with pytest.raises(RefusedError, match="upload: more than 1,000 bytes besides files given; send files alone"):
        received(uploads, body, piece_bytes=100)
