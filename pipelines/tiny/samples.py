"""Training samples from the world: fresh dialogues of seen pairs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from anygpt.messages import MediumRef, Message
from pipelines.tiny.world.dialogues import dialogue
from pipelines.tiny.world.media_turns import convert, make, make_both
from pipelines.tiny.world.phrases import caption
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.replies import NOT_ALLOWED
from pipelines.tiny.world.turns import Depiction, Part, Turn
from pipelines.tiny.world.word_turns import ask, compare, describe, describe_two, say
from pipelines.training.samples import Sample, Target

# objective → kinds of turn, and fewest and most turns of its dialogues in the world.
WORLD_CURRICULA: Mapping[str, tuple[Mapping[Any, float] | None, tuple[int, int]]] = {
    "align-input": ({describe: 2.0, ask: 1.5, compare: 0.5, describe_two: 0.2}, (1, 1)),
    "align-output": ({make: 4.0, make_both: 0.5, say: 0.5, convert: 0.5}, (1, 2)),
    "instruct": (None, (1, 4)),
}

FORBIDDING_SHARE = 0.12


class WorldSource:
    """Fresh dialogues of the world, seen pairs only.

    Args:
        objective: whose curriculum.
        inputs, outputs: modalities that the stack perceives and makes.
        target_media: whether the media of replies are rendered too; the dialogues are the same.
    """

    def __init__(
        self, objective: str, inputs: Sequence[str], outputs: Sequence[str], target_media: bool = True
    ) -> None:
        self.kinds, self.turns = WORLD_CURRICULA[objective]
        self.inputs, self.outputs = inputs, outputs
        self.target_media = target_media
        self.forbids = objective == "instruct"

    def batch(self, seed: int, step: int, size: int) -> list[Sample]:
        """See `SampleSource.batch`."""
        rng = random.Random(f"{seed}/{step}")
        return [world_sample(self._dialogue(rng), rng, self._forbidden(rng), self.target_media) for _ in range(size)]

    def fingerprint(self) -> str:
        """See `SampleSource.fingerprint`: the world is made of code."""
        return "world"

    def _forbidden(self, rng: random.Random) -> frozenset[str]:
        """Usually nothing; now and then some modalities, so that a reply learns what to say in a medium's place."""
        if not self.forbids or rng.random() >= FORBIDDING_SHARE:
            return frozenset()
        return frozenset(modality for modality in self.outputs if rng.random() < 0.6)

    def _dialogue(self, rng: random.Random) -> list[Turn]:
        return dialogue(rng, turns=self.turns, kinds=self.kinds, inputs=self.inputs, outputs=self.outputs)


def world_sample(
    turns: Sequence[Turn], rng: random.Random, forbidden: frozenset[str] = frozenset(), target_media: bool = True
) -> Sample:
    """A dialogue with its depictions rendered; what is forbidden gives way to words that say so."""
    messages, targets = [], []
    for turn in turns:
        messages.append(Message("user", [rendered(part, rng) for part in turn.user]))
        reply: list[Any] = []
        for part in turn.reply:
            if isinstance(part, Depiction):
                if part.modality in forbidden:
                    reply.append(NOT_ALLOWED[part.modality])
                    continue
                seed = rng.getrandbits(32)
                medium = render(part.scene, part.modality, seed) if target_media else None
                targets.append(Target(part.modality, caption(part.scene), medium))
                reply.append(MediumRef(part.modality))
            else:
                reply.append(part)
        messages.append(Message("assistant", reply))
    return Sample(tuple(messages), tuple(targets), forbidden)


def rendered(part: Part, rng: random.Random) -> Any:
    """Text as it is, a depiction as a medium."""
    return part if isinstance(part, str) else render(part.scene, part.modality, rng.getrandbits(32))
