"""Conversations of the world: what people ask and what the assistant should answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from pipelines.tiny.world.media_turns import convert, edit, make, make_both, make_several, undo
from pipelines.tiny.world.phrases import Split
from pipelines.tiny.world.turns import MAKEABLE, SHOWABLE, DialogueState, Turn
from pipelines.tiny.world.word_turns import (
    ask,
    compare,
    compare_with_before,
    describe,
    describe_two,
    greet,
    miss,
    outside,
    say,
    thank,
)

# Kinds of turn and how often they come up.
KINDS: dict[Callable[[DialogueState], None], float] = {
    make: 5.0, make_several: 0.8, make_both: 1.4, say: 2.5, describe: 3.0, describe_two: 0.6, ask: 4.5, edit: 5.4,
    undo: 0.3, convert: 3.5, compare: 3.0, compare_with_before: 0.8, miss: 0.8, greet: 0.4, thank: 0.15, outside: 1.6,
}  # fmt: skip

MAKING = (make, make_several, make_both, convert)  # these need something to make


def dialogue(
    rng: random.Random,
    *,
    seen: bool = True,
    split: Split = "train",
    turns: tuple[int, int] = (1, 4),
    kinds: Mapping[Callable[[DialogueState], None], float] | None = None,
    inputs: Sequence[str] = SHOWABLE,
    outputs: Sequence[str] = MAKEABLE,
) -> list[Turn]:
    """A random dialogue.

    Args:
        seen: True keeps to pairs that adapters may be trained on.
        split: which wordings.
        turns: fewest and most.
        kinds: kinds of turn and their weights.
        inputs, outputs: modalities that people show and ask for.
    """
    talk = DialogueState(rng, seen, split, inputs, outputs)
    possible = {kind: weight for kind, weight in (kinds or KINDS).items() if outputs or kind not in MAKING}
    names, weights = list(possible), list(possible.values())
    for _ in range(rng.randint(*turns)):
        rng.choices(names, weights)[0](talk)
    return talk.turns
