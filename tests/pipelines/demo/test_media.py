from __future__ import annotations

import pytest

from anygpt.config import Limits
from anygpt.errors import MediaError
from anygpt.media import AudioLimits, ImageLimits, VideoLimits
from pipelines.demo.media import read_attachment, upload_limit_bytes, write_medium


def test_what_is_written_is_read_back(tmp_path, picture):
    path = write_medium(tmp_path, "image", picture)
    assert read_attachment(str(path), Limits()) == picture


def test_a_refused_file_is_called_by_its_name_alone(tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(MediaError) as caught:
        read_attachment(str(tmp_path / "notes.png"), Limits())
    assert str(caught.value).startswith("image 'notes.png': not an image that can be decoded")
    assert str(tmp_path) not in str(caught.value)


def test_attachments_are_read_under_the_stacks_limits(tmp_path, picture):
    path = write_medium(tmp_path, "image", picture)
    with pytest.raises(MediaError, match="64 x 64 pixels given, expected sides of at most 32"):
        read_attachment(str(path), Limits(image=ImageLimits(max_side_px=32)))


def test_upload_limit_is_that_of_the_largest_medium():
    limits = Limits(image=ImageLimits(max_bytes=77), audio=AudioLimits(max_bytes=88), video=VideoLimits(max_bytes=99))
    assert upload_limit_bytes(limits, ("image",)) == 77
    assert upload_limit_bytes(limits, ("image", "audio")) == 88
