from __future__ import annotations

import pytest

from anygpt.errors import RequestError
from pipelines.demo.handlers import options_of, whole_characters


def test_empty_fields_and_zeros_leave_the_default():
    assert options_of({"modalities": [], "steps": 0, "guidance": None, "temperature": 0, "seed": ""}) == {
        "modalities": []
    }
    assert options_of({"modalities": ["text"], "steps": 3, "seed": None}) == {"modalities": ["text"], "steps": 3}


@pytest.mark.parametrize(
    ("typed", "seed"), [("0", 0), (" 7 ", 7), ("007", 7), ("-1", -1), (str(2**63 - 1), 2**63 - 1), (7, 7)]
)
def test_a_seed_is_used_as_it_is_also_0(typed, seed):
    assert options_of({"seed": typed}) == {"seed": seed}


@pytest.mark.parametrize("typed", ["seven", "1.5", "1e3", "1_000", "0x7", "٣", "1" * 5000, "1 2"])
def test_what_is_no_whole_number_is_refused(typed):
    with pytest.raises(
        RequestError, match=r"^seed: '.*' given, expected a whole number from 0 to \d+; or leave it empty$"
    ):
        options_of({"seed": typed})


def test_only_halves_of_characters_are_replaced():
    assert whole_characters("a\ud83db\udc00") == "a\ufffdb\ufffd"
    for text in ("\tDraw “it”\r\n\n ‘now’ 🎨👩‍🚀 e\u0301\u200f\0", "", "\u2028"):
        assert whole_characters(text) == text
