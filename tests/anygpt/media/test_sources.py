"""Reading bytes from paths, bytes and data URLs: what is read, what is refused, and that nothing refused is read."""

from __future__ import annotations

import base64
import io
import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from anygpt.errors import MediaError
from anygpt.media.sources import one_line, read_source, source_name

MAX_BYTES = 1000


def refusal(source, max_bytes: int = MAX_BYTES) -> str:
    """The message with which the source is refused, after checking that it is one printable line."""
    with pytest.raises(MediaError) as raised:
        read_source(source, medium="image", max_bytes=max_bytes)
    message = str(raised.value)
    assert message.startswith("image")
    assert message.isprintable()
    assert len(message) < 700
    return message


def data_url(content: bytes, head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(content).decode()


def test_read_source_reads_a_str_path_a_path_object_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "äöü\n.png"
    path.write_bytes(b"content")
    for source in (str(path), path, b"content", bytearray(b"content")):
        data = read_source(source, medium="image", max_bytes=7)
        assert type(data) is bytes
        assert data == b"content"


def test_read_source_follows_a_link_to_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_source(tmp_path / "link", medium="image", max_bytes=7) == b"content"


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64,",
        "DATA:Image/PNG;BASE64,",
        "data:image/webp;name=a.webp;base64,",
        "data:image/x; base64,",
        "data:application/octet-stream;base64,",
    ],
)
@pytest.mark.parametrize("content", [b"x", b"xy", b"xyz", bytes(range(256))])
def test_read_source_decodes_data_urls_up_to_the_limit(head: str, content: bytes) -> None:
    assert read_source(data_url(content, head), medium="image", max_bytes=len(content)) == content
    if len(content) > 1:
        assert "expected at most" in refusal(data_url(content, head), len(content) - 1)


@pytest.mark.parametrize(
    "head", ["data:audio/wav;base64,", "data:text/plain;charset=utf-8;base64,", "data:;base64,", "DATA:a\nb;BASE64,"]
)
def test_read_source_takes_any_media_type(head: str) -> None:
    """Programs guess it from a file's name."""
    assert read_source(data_url(b"x", head), medium="image", max_bytes=9) == b"x"


def test_read_source_takes_base64_in_lines() -> None:
    wrapped = base64.encodebytes(bytes(range(200))).decode()
    assert "\n" in wrapped.strip()
    assert read_source(f"data:image/png;base64,{wrapped}", medium="image", max_bytes=200) == bytes(range(200))


BROKEN_SOURCES = {
    "no bytes": (b"", "empty, 0 bytes"),
    "no bytes, mutable": (bytearray(), "empty, 0 bytes"),
    "too many bytes": (bytes(MAX_BYTES + 1), "1,001 bytes given, expected at most 1,000; shrink it or raise max_bytes"),
    "None": (None, "NoneType given"),
    "a number": (7, "int given"),
    "a list": (["a.png"], "list given"),
    "a file object": (io.BytesIO(b"x"), "BytesIO given, expected a path, bytes or a data URL; pass a file object's"),
    "http": ("http://example.com/a.png", "addresses are never fetched"),
    "https": ("HTTPS://example.com/a\n.png", "addresses are never fetched"),
    "file address": ("file:///etc/passwd", "addresses are never fetched"),
    "bucket": ("s3://bucket/a.png", "addresses are never fetched"),
    "an empty path": ("", "an empty path"),
    "a missing file": ("no\nsuch\x1b[31m\u2028file.png", "no such file"),
    "a missing Path": (Path("http://example.com/a.png"), "no such file"),
    "a NUL in the path": ("a\0.png", "null"),
    "half a character": ("a\ud800.png", "expected characters that a path may have"),
    "base64 alone": (base64.b64encode(bytes(5000)).decode(), "name too long"),
    "a device that never ends": ("/dev/zero", "a pipe, socket or device"),
    "a device that is empty": ("/dev/null", "a pipe, socket or device"),
    "data URL, no comma": ("data:image/png;base64" + "A" * 10_000, "no comma"),
    "data URL, nothing else": ("data:", "no comma"),
    "data URL, far comma": ("data:image/png;" + "a" * 600 + ";base64,AAAA", "no comma within the first 512"),
    "data URL, not base64": ("data:image/svg+xml,<svg/>", "not base64"),
    "data URL, base64 not last": ("data:image/png;base64;a=b,AAAA", "not base64"),
    "data URL, empty": ("data:image/png;base64,", "empty, 0 bytes"),
    "data URL, bad alphabet": ("data:image/png;base64,@@@@", "broken base64"),
    "data URL, web alphabet": ("data:image/png;base64,-_-_", "broken base64"),
    "data URL, no padding": ("data:image/png;base64,AAAAA", "broken base64"),
    "data URL, escaped padding": ("data:image/png;base64,AA%3D%3D", "broken base64"),
    "data URL, more after padding": ("data:image/png;base64,AA==AAAA", "broken base64"),
    "data URL, umlaut": ("data:image/png;base64,AAAÄ", "broken base64"),
    "data URL, only padding": ("data:image/png;base64,====", "broken base64"),
    "data URL, too long": ("data:image/png;base64," + "A" * 4000, "3,000 bytes given, expected at most 1,000"),
}


@pytest.mark.parametrize("case", BROKEN_SOURCES)
def test_read_source_refuses_in_one_line(case: str) -> None:
    source, expected = BROKEN_SOURCES[case]
    assert expected in refusal(source)


def test_read_source_refuses_an_empty_file_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a\nb.png"
    path.touch()
    message = refusal(path)
    assert "empty, 0 bytes" in message
    assert r"a\nb.png'" in message


def test_read_source_refuses_folders_loops_and_files_used_as_folders(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_bytes(b"x")
    assert "a folder given, expected a file" in refusal(tmp_path)
    assert "symbolic links" in refusal(tmp_path / "loop")
    assert "no such file" in refusal(tmp_path / "dangling")
    assert "not a directory" in refusal(tmp_path / "file" / "a.png")


def test_read_source_refuses_pipes_and_sockets_without_waiting(tmp_path: Path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe, socket or device given" in refusal(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's whole path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert "a pipe, socket or device given" in refusal("socket")


def test_read_source_does_not_wait_for_a_pipe_that_takes_the_files_place(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    regular = os.stat(tmp_path / "file")
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda path: regular)
        message = refusal(tmp_path / "pipe")
    assert "a pipe, socket or device given" in message


def test_read_source_refuses_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "grown").write_bytes(b"xyz")
    before = os.stat(tmp_path / "short")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", lambda descriptor: before)
        message = refusal(tmp_path / "grown")
    assert "changed while it was read" in message


@pytest.fixture
def without_root():
    """Drop root's right to read everything for the length of a test."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    if user == 0:
        os.seteuid(0)


def test_read_source_refuses_a_file_that_may_not_be_read(tmp_path: Path, request) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(b"x")
    path.chmod(0)
    request.getfixturevalue("without_root")
    assert "permission denied, expected a file that can be read" in refusal(path)


def test_read_source_reads_nothing_of_what_is_over_the_limit(tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(10**11)
    long_url = "data:image/png;base64," + "A" * 20_000_000
    tracemalloc.start()
    assert "100,000,000,000 bytes given" in refusal(tmp_path / "sparse")
    assert "15,000,000 bytes given" in refusal(long_url)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_source_name_keeps_the_end_of_a_long_path_and_the_start_of_a_data_url() -> None:
    assert source_name("cat.png", "image") == "image 'cat.png'"
    assert source_name("folder/" * 100 + "cat.png", "image").endswith("folder/cat.png'")
    assert len(source_name("folder/" * 100 + "cat.png", "image")) < 250
    assert source_name("data:image/png;base64," + "A" * 99, "image").startswith(
        "image data URL 'data:image/png;base64,AA"
    )
    assert source_name(b"abc", "audio") == "audio given as bytes"
    assert source_name(3, "audio") == "audio"


def test_one_line_is_short_and_printable() -> None:
    assert one_line(" a\r\n\tb\x00\x1b\u2028c ") == "a b c"
    assert one_line("x" * 10_000) == "x" * 200 + "…"
