"""Texts: motions are read beside positions, and silence about a motion means what the medium makes of it."""

import pytest

from pipelines.tiny.world.readings import Reading
from pipelines.tiny.world.text_oracle import read_text


@pytest.mark.parametrize(
    ("text", "position", "motion"),
    [
        ("a red star moving left", None, "left"),
        ("a red star at the left moving up", "left", "up"),
        ("It is Moving  RIGHT.", None, "right"),
        ("a star at the top left", "top left", None),
        ("It is still.", None, "still"),
        ("moving up, then moving down", None, None),
        ("moving up and still", None, None),
        ("move it to the left, up and down", "left", None),
        ("removing left", "left", None),
    ],
)
def test_read_text_tells_motions_from_positions(text, position, motion):
    reading = read_text(text)
    assert (reading.position, reading.motion) == (position, motion)


@pytest.mark.parametrize(
    ("modality", "motion"), [("text", None), ("image", None), ("points", None), ("video", "still"), ("audio", "still")]
)
def test_read_text_takes_silence_for_still_where_things_could_move(modality, motion):
    assert read_text("a large blue star", modality) == Reading("star", "blue", "large", None, motion)
    assert read_text("a star moving up", modality).motion == "up"
    assert read_text("a star moving up, no, moving down", modality).motion is None


def test_read_text_refuses_unknown_modalities():
    with pytest.raises(ValueError, match="modality: 'smell' is not one of text, image, audio, video, points"):
        read_text("a star", "smell")
