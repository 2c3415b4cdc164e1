from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from anygpt.config.schema import Limits
from anygpt.errors import MediaError, MissingExtraError
from anygpt.media import AudioLimits, ImageLimits, VideoLimits, encode_png, load_points
from anygpt.media.kinds import KINDS
from pipelines.demo import media
from pipelines.demo.media import Attachment, in_words, upload_limit_bytes, write_file
from pipelines.media_decoding.pool import DecoderPool
from pipelines.tiny.world.rendering import RENDERERS, render
from pipelines.tiny.world.scenes import Scene
from tests.pipelines.media_decoding.test_pool import slow_gif

STAR = Scene("star", "red")


def read_attachment(file: str, limits: Limits, folder: Path) -> Attachment:
    """The page's own, with a pool of decoding processes for this file alone."""

    async def read() -> Attachment:
        decoders = DecoderPool(limits.decode_timeout_s)
        try:
            return await media.read_attachment(file, limits, folder, decoders)
        finally:
            decoders.close()

    return asyncio.run(read())


@pytest.mark.parametrize("modality", RENDERERS)
def test_what_is_written_is_read_back(tmp_path, modality):
    data = KINDS[modality].encode(render(STAR.in_modality(modality), modality))
    path = write_file(tmp_path, modality, data)
    attached = read_attachment(str(path), Limits(), tmp_path)
    assert (attached.name, attached.modality) == (path.name, modality)
    assert isinstance(attached.medium, KINDS[modality].value)
    assert attached.file.read_bytes() == data
    assert (attached.file == path) == (modality != "points")


@pytest.mark.parametrize(
    ("modality", "ending", "shown"), [("image", ".tif", ".png"), ("video", ".mov", ".mp4"), ("points", ".npy", ".ply")]
)
def test_what_browsers_cannot_show_is_written_anew(tmp_path, picture, modality, ending, shown):
    file = tmp_path / f"star{ending}"
    if modality == "image":
        picture.save(file)
    elif modality == "points":
        np.save(file, np.eye(3, dtype=np.float32))
    else:
        file.write_bytes(KINDS[modality].encode(render(STAR.in_modality(modality), modality)))
    attached = read_attachment(str(file), Limits(), tmp_path)
    assert attached.file.suffix == shown
    assert isinstance(KINDS[modality].load(attached.file), KINDS[modality].value)


def test_of_a_large_cloud_the_chat_gets_a_few_points(tmp_path):
    file = tmp_path / "large.npy"
    np.save(file, np.random.default_rng(0).random((50_000, 3), dtype=np.float32))
    attached = read_attachment(str(file), Limits(), tmp_path)
    assert len(load_points(attached.file).xyz) == 10_000


@pytest.mark.parametrize("modality", RENDERERS)
def test_a_refused_file_is_called_by_its_name_alone(tmp_path, modality):
    for ending in KINDS[modality].reads:
        file = tmp_path / f"notes{ending}"
        file.write_text("no medium")
        with pytest.raises(MediaError) as caught:
            read_attachment(str(file), Limits(), tmp_path)
        assert str(caught.value).startswith(f"{modality} 'notes{ending}': ")
        assert str(tmp_path) not in str(caught.value)
        assert list(tmp_path.iterdir()) == [file]
        file.unlink()


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_without_the_extra_it_is_named(tmp_path, monkeypatch, modality):
    path = write_file(tmp_path, modality, KINDS[modality].encode(render(STAR.in_modality(modality), modality)))
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "av.py").write_text("raise ImportError('it is not installed')")
    monkeypatch.syspath_prepend(tmp_path / "without")  # decoding processes look where this one does
    with pytest.raises(MissingExtraError, match=r"pip install 'anygpt\[media\]'"):
        read_attachment(str(path), Limits(), tmp_path)


def test_attachments_are_read_under_the_stacks_limits(tmp_path, picture):
    path = write_file(tmp_path, "image", encode_png(picture))
    with pytest.raises(MediaError, match="64 x 64 pixels given, expected sides of at most 32"):
        read_attachment(str(path), Limits(image=ImageLimits(max_side_px=32)), tmp_path)


def test_a_file_that_takes_long_is_given_up(tmp_path):
    path = tmp_path / "slow.webm"
    path.write_bytes(slow_gif())
    limits = Limits(decode_timeout_s=1.0, video=VideoLimits(max_total_pixels=10**15))
    with pytest.raises(MediaError, match=r"longer than limits\.decode_timeout_s=1 seconds"):
        read_attachment(str(path), limits, tmp_path)


def test_a_removed_folder_does_not_come_back(tmp_path):
    with pytest.raises(MediaError, match=r"image: no file can be written for the page \(No such file or directory\)"):
        write_file(tmp_path / "gone", "image", b"")
    assert not (tmp_path / "gone").exists()


def test_upload_limit_is_that_of_the_largest_medium():
    limits = Limits(image=ImageLimits(max_bytes=77), audio=AudioLimits(max_bytes=88), video=VideoLimits(max_bytes=99))
    assert upload_limit_bytes(limits, ("image",)) == 77
    assert upload_limit_bytes(limits, ("image", "audio")) == 88


def test_media_in_words():
    assert in_words(["image"]) == "a picture"
    assert in_words(["image", "audio", "points"]) == "a picture, a sound or a point cloud"
