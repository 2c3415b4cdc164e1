from __future__ import annotations

import io

import numpy as np
import pytest

from anygpt.media.kinds import KINDS
from pipelines.demo.signatures import HEAD_BYTES, is_of_kind, what_it_is
from pipelines.tiny.world.rendering import RENDERERS, render
from pipelines.tiny.world.scenes import Scene

STAR = Scene("star", "red")
FOREIGN = {
    "a web page": b"  <!DOCTYPE html><script>",
    "an SVG drawing": b"<svg onload=alert(1)>",
    "a PDF document": b"%PDF-1.7",
    "a program": b"MZ\x90\0",
    "a program, of Linux": b"\x7fELF\x02\x01",
    "a script": b"#!/bin/sh\n",
    "a gzip archive": b"\x1f\x8b\x08\0",
    "a pickle": b"\x80\x04\x95\0",
    "JSON": b'{"a": 1}',
    "nothing": b"",
}


@pytest.mark.parametrize("modality", RENDERERS)
def test_what_we_write_is_of_its_kind_and_of_no_other(modality):
    head = KINDS[modality].encode(render(STAR.in_modality(modality), modality))[:HEAD_BYTES]
    assert is_of_kind(head, modality)
    # A sound may come in an MP4.
    others = [other for other in KINDS if other != modality and (other, modality) != ("audio", "video")]
    assert [other for other in others if is_of_kind(head, other)] == []


@pytest.mark.parametrize("ending", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pictures_of_every_format_are_pictures(picture, ending):
    file = io.BytesIO()
    picture.convert("RGB").save(file, ending)
    assert is_of_kind(file.getvalue()[:HEAD_BYTES], "image")


@pytest.mark.parametrize(
    ("modality", "head"),
    [
        ("audio", b"ID3\x04"),
        ("audio", b"\xff\xfb\x90\x64"),
        ("audio", bytes(300) + b"\xff\xfb\x90\x64"),  # junk before the first frame
        ("audio", b"\xff\xf1\x50\x80"),  # AAC
        ("audio", b"OggS"),
        ("audio", b"fLaC"),
        ("audio", b"#!AMR\n"),
        ("audio", b"\0\0\0\x20ftypM4A "),
        ("video", b"\x1aE\xdf\xa3"),
        ("video", b"\0\0\0\x14ftypqt  "),
        ("video", b"\0\0\0\x08wide"),
        ("points", b"ply\r\nformat ascii 1.0"),
        ("points", b"OFF8 6 12\n"),
        ("points", b"# Blender\no Cube\nv 1 2 3\n"),
        ("points", b"\xef\xbb\xbf1,2,3\n"),
        ("points", b"glTF\x02\0\0\0"),
        ("points", b"\x93NUMPY\x01\0"),
        ("points", b"PK\x03\x04"),
    ],
)
def test_files_as_they_come_are_taken(modality, head):
    assert is_of_kind(head, modality)


@pytest.mark.parametrize("head", FOREIGN.values(), ids=FOREIGN.keys())
@pytest.mark.parametrize("modality", RENDERERS)
def test_foreign_files_are_of_no_kind(modality, head):
    assert not is_of_kind(head, modality)


def test_a_foreign_file_is_called_what_it_is():
    assert what_it_is(b"<html>") == " but a web page"
    assert what_it_is(b"\x7fELF") == " but a program"
    assert what_it_is(b"hello") == ""


def test_random_bytes_and_texts_are_no_pictures_and_videos():
    noise = np.random.default_rng(0).bytes(HEAD_BYTES)
    for modality in ("image", "video", "points"):
        assert not is_of_kind(noise, modality)
    for modality in ("image", "video", "audio"):
        assert not is_of_kind(b"just some words", modality)
