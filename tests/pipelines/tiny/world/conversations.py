"""What the tests of the world's conversations share: dialogues of one kind, and which replies there are."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipelines.tiny.world.dialogues import dialogue
from pipelines.tiny.world.oracle import read_text
from pipelines.tiny.world.phrases import caption
from pipelines.tiny.world.replies import ANNOUNCED, GREETING, LOUDNESS, NOTHING_YET, OUTSIDE, SOLIDS, WELCOME, stated
from pipelines.tiny.world.scenes import CARRIED, VALUES, scenes_for
from pipelines.tiny.world.turns import Depiction, DialogueState, Part, Turn

CAPTIONS = {modality: {caption(scene): scene for scene in scenes_for(modality)} for modality in CARRIED}
EVERY_CAPTION = {said for captions in CAPTIONS.values() for said in captions}
STATED = {stated(attribute, value): attribute for attribute, values in VALUES.items() for value in values}
DESCRIBED = re.compile(r" ?(Here is|Listen to|Watch|Now there is|This is) (.*)\.")
ANSWERED = re.compile(r"It is (.*?)\.")
ANSWERED_TWICE = re.compile(r"It is (.*) and it is (.*)\.")
CHECKED = re.compile(r"You ask if it is (.*), and it is (.*): (?:the same, so yes|not the same, so no)\.")
COMPARED = re.compile(r"(?:The first is|It was) (.*), (?:the second is|now it is) (.*): (?:not )?the same (\w+)\.")
BOTH = re.compile(r"The first is (.*), the second is (.*)\.")
FIXED = {
    *(GREETING, NOTHING_YET, OUTSIDE, WELCOME),
    *(f"It is {size}, so it is {loudness}." for size, loudness in LOUDNESS.items()),
    *(f"It is a {shape}, so it is a {solid}." for shape, solid in SOLIDS.items()),
}


def turns_of(kind: Callable[[DialogueState], None], count: int = 200, **options: Any) -> list[list[Turn]]:
    """Dialogues of up to three turns of one kind."""
    rng = random.Random(kind.__name__)
    return [dialogue(rng, turns=(1, 3), kinds={kind: 1.0}, **options) for _ in range(count)]


def all_parts(turns: Iterable[Turn]) -> list[Part]:
    return [part for turn in turns for part in (*turn.user, *turn.reply)]


def texts(parts: Sequence[Part]) -> list[str]:
    return [part for part in parts if isinstance(part, str)]


def depicted(parts: Sequence[Part]) -> list[Depiction]:
    return [part for part in parts if isinstance(part, Depiction)]


def said_pairs(text: str) -> set[tuple[str | None, str | None]]:
    """(colour, shape) of every thing in a text; two things in a sentence have a comma or "and" between them."""
    readings = [read_text(part) for part in re.split(r"\band\b|\.|, (?:a|the second is|now it is) ", text.lower())]
    return {(reading.colour, reading.shape) for reading in readings}


def is_canonical(text: str) -> bool:
    """True for the replies that the assistant has: a caption, an answer, a verdict, or what it says of itself."""
    if text in FIXED:
        return True
    if described := DESCRIBED.fullmatch(text):
        modality = next((modality for modality, words in ANNOUNCED.items() if words == described[1]), None)
        return any(described[2] in CAPTIONS[possible] for possible in ([modality] if modality else CARRIED))
    if checked := CHECKED.fullmatch(text):
        return STATED.get(checked[1]) == STATED.get(checked[2], "")
    if compared := COMPARED.fullmatch(text):
        return STATED.get(compared[1]) == STATED.get(compared[2]) == compared[3]
    if both := BOTH.fullmatch(text):
        return {*both.groups()} <= EVERY_CAPTION
    answered = ANSWERED_TWICE.fullmatch(text) or ANSWERED.fullmatch(text)
    return answered is not None and {*answered.groups()} <= STATED.keys()
