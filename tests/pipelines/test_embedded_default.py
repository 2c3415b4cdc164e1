"""The shipped stack `tiny` with its trained weights: what a newcomer runs first."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from anygpt import AnyGPT
from pipelines.assistant import Reply
from pipelines.cli.main import main
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.oracle import read_image, read_text
from pipelines.tiny.world.scenes import Scene

STAR = Scene("star", "red", "large", "left")
CIRCLE = Scene("circle", "blue", "small", "top left")


def test_draws_describes_edits_and_answers(tiny: AnyGPT) -> None:
    drawn = tiny.chat("Draw a small blue circle at the top left.", seed=0)
    assert read_text(drawn.text).matches(CIRCLE)
    assert read_image(drawn.images[0]).matches(CIRCLE)
    edited = tiny.chat([render_image(STAR, 3), "Now make it green."], seed=0)
    assert read_image(edited.images[0]).matches(STAR.changed("colour", "green"))
    told = tiny.chat("Where is it?", history=edited.conversation)
    assert read_text(told.text).position == "left"
    assert not told.images
    described = tiny.chat([render_image(CIRCLE, 4), "What do you see?"])
    assert read_text(described.text).matches(CIRCLE)


def test_replies_alone_and_in_a_batch_of_eight_are_the_same(tiny: AnyGPT) -> None:
    """Prompts of different lengths, pictures in some, several media in one: text and pixels to the last bit."""
    messages = [
        "Draw a small blue circle at the top left.",
        [render_image(STAR, 1), "Now make it green."],
        "What can you do?",
        [render_image(CIRCLE, 2), "Make it a square."],
        "Draw a large magenta triangle at the bottom and a small red circle.",
        [render_image(STAR, 3), "What is this?"],
        "Paint a yellow square.",
        [render_image(CIRCLE, 4), render_image(STAR, 5), "Are these the same colour?"],
    ]
    seeds = list(range(8))
    for options in ({}, {"temperature": 1.0}):
        together = tiny.chat_batch(messages, seeds=seeds, **options)
        for message, seed, reply in zip(messages, seeds, together, strict=True):
            assert contents(tiny.chat(message, seed=seed, **options)) == contents(reply)


def contents(reply: Reply) -> list[object]:
    return [part if isinstance(part, str) else part.tobytes() for part in reply.parts]


@pytest.mark.parametrize(
    ("name", "colour"),
    [("photo.jpg", "red"), ("alpha.png", "blue"), ("animated.gif", "green"), ("screenshot.png", "magenta")],
)
def test_pictures_of_other_programs_go_in(name: str, colour: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the command line: photo size, transparency, the first frame of several, a screenshot."""
    picture = Path(__file__).parents[1] / "fixtures" / "images" / name
    assert picture.is_file()
    command = ["anygpt", "generate", "What do you see?", "--image", str(picture)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
    said, complaints = capsys.readouterr()
    assert (ended.value.code, complaints) == (0, "")
    assert read_text(said).colour == colour
