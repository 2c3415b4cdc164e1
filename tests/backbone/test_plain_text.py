"""What people's keyboards and phones add to a request reaches a small model as the words alone."""

from __future__ import annotations

import random

import pytest

from backbone.plain_text import as_plain_text
from pipelines.tiny.world.dialogues import dialogue


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Draw a\nblue star", "Draw a blue star"),
        ("\n Draw\ta  blue star \r\n", "Draw a blue star"),
        ("Draw a “blue” star…", "Draw a blue star."),
        ("It’s a star, isn’t it?", "It's a star, isn't it?"),
        ("a star—please", "a star, please"),
        ("Draw a star 🙂.", "Draw a star."),
        ("🙏🏽 Draw a star ❤️!", "Draw a star!"),
        ("naïve Grüße 星", "naïve Grüße 星"),
        ("3-5 stars", "3-5 stars"),
        ("🙂", "🙂"),
        ("", ""),
    ],
)
def test_words_stay_and_decoration_goes(text, plain):
    assert as_plain_text(text) == plain


def test_the_worlds_own_requests_are_plain_already():
    rng = random.Random(0)
    said = [part for _ in range(300) for turn in dialogue(rng) for part in turn.user if isinstance(part, str)]
    assert len(said) > 300
    assert [as_plain_text(text) for text in said] == said
