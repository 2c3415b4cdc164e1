"""Trials of the any-to-any matrix: what is shown and said, and what must be in the reply."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.tiny.world.media_turns import MAKE, MAKE_IT
from pipelines.tiny.world.phrases import Split, paraphrase, request, value_phrase
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene, attributes_of, random_edit, seen_scenes
from pipelines.tiny.world.turns import MAKEABLE, SHOWABLE


@dataclass(frozen=True)
class Trial:
    """A conversation of user messages, whose last reply is read.

    Attributes:
        messages: parts of each user message in turn.
        output: modality of the reply that is read, or one of the kinds of reply in `skills.py`.
        expected: attribute → value that must be read; all of them must be right.
        about: what a text is about: where words leave a motion out, a video and a sound are still.
    """

    messages: tuple[tuple[Any, ...], ...]
    output: str
    expected: Mapping[str, str]
    about: str = "text"


Builder = Callable[["Context"], Trial]


@dataclass(frozen=True)
class Context:
    """Where a trial takes its randomness, phrasing and scenes from.

    Attributes:
        inputs: modalities that the stack perceives; what is only talked about could be one of theirs.
    """

    rng: random.Random
    split: Split
    seen: bool
    inputs: Sequence[str] = SHOWABLE

    def scene(self, modality: str) -> Scene:
        return self.rng.choice(seen_scenes(modality, self.seen))

    def ask(self, part: str, **slots: str) -> str:
        return request(part, self.split, self.rng, **slots)

    def inputs_with(self, attribute: str) -> list[str]:
        """The modalities that carry an attribute."""
        return [modality for modality in self.inputs if attribute in attributes_of(modality)]

    def edit(self, scene: Scene) -> tuple[str, Scene]:
        """An edit in words and what it leads to; with `seen`, a seen pair again."""
        while True:
            attribute, value = random_edit(scene, self.rng)
            after = scene.changed(attribute, value)
            if after.seen or not self.seen:
                said = self.ask(f"edit_{attribute}", value=value_phrase(attribute, value, self.rng))
                return said, after

    def shown_with(self, scene: Scene, modality: str, said: str) -> tuple[Any, ...]:
        """A medium of the scene and words, in either order."""
        medium = render(scene, modality, self.rng.getrandbits(32))
        return (medium, said) if self.rng.random() < 0.7 else (said, medium)


def everything(scene: Scene) -> dict[str, str]:
    """All attributes that a scene has."""
    return {attribute: scene.value(attribute) for attribute in scene.attributes}


def text_to_text(context: Context) -> Trial:
    """A scene in words, none to two edits over turns, then a question or a description."""
    about = context.rng.choice(context.inputs)
    scene = context.scene(about)
    messages = [(context.ask("say", scene=paraphrase(scene, context.rng)),)]
    for _ in range(context.rng.randrange(3)):
        said, scene = context.edit(scene)
        messages.append((said,))
    if context.rng.random() < 0.5:
        attribute = context.rng.choice(scene.attributes)
        messages.append((context.ask(f"ask_{attribute}"),))
        return Trial(tuple(messages), "text", {attribute: scene.value(attribute)}, about)
    messages.append((context.ask("describe"),))
    return Trial(tuple(messages), "text", everything(scene), about)


def from_text(target: str, context: Context) -> Trial:
    """Draw, play or film a scene from words."""
    scene = context.scene(target)
    said = context.ask(MAKE[target], scene=paraphrase(scene, context.rng))
    return Trial(((said,),), target, everything(scene))


def to_text(source: str, context: Context) -> Trial:
    """Describe a medium."""
    scene = context.scene(source)
    said = context.ask("describe" if source == "image" else f"describe_{source}")
    return Trial((context.shown_with(scene, source, said),), "text", everything(scene), source)


def edited(modality: str, context: Context) -> Trial:
    """Change one attribute of a medium; the rest must hold."""
    scene = context.scene(modality)
    said, after = context.edit(scene)
    return Trial((context.shown_with(scene, modality, said),), modality, everything(after))


def converted(source: str, target: str, context: Context) -> Trial:
    """A medium in another modality; what both carry must hold."""
    scene = context.scene(source)
    shared = [attribute for attribute in attributes_of(source) if attribute in attributes_of(target)]
    said = context.ask(MAKE_IT[target])
    return Trial(
        (context.shown_with(scene, source, said),), target, {attribute: scene.value(attribute) for attribute in shared}
    )


def question(source: str, context: Context) -> Trial:
    """A question about one attribute of a medium."""
    scene = context.scene(source)
    attribute = context.rng.choice(scene.attributes)
    said = context.ask(f"ask_{attribute}")
    return Trial((context.shown_with(scene, source, said),), "text", {attribute: scene.value(attribute)}, source)


def cell_builder(source: str, target: str) -> Builder:
    """What makes the trials of one cell of the matrix."""
    if source == "text":
        return text_to_text if target == "text" else functools.partial(from_text, target)
    if target == "text":
        return functools.partial(to_text, source)
    return functools.partial(edited, source) if source == target else functools.partial(converted, source, target)


# (input, output) → builder; these are the cells of the matrix.
CELLS: Mapping[tuple[str, str], Builder] = {
    (source, target): cell_builder(source, target) for source in ("text", *SHOWABLE) for target in ("text", *MAKEABLE)
}

# Measured beside the matrix: input modality → its questions.
QUESTIONS: Mapping[str, Builder] = {source: functools.partial(question, source) for source in SHOWABLE}


def make_trials(
    builder: Builder,
    name: str,
    count: int,
    seed: int,
    split: Split,
    seen: bool,
    inputs: Sequence[str] = SHOWABLE,
) -> list[Trial]:
    """`count` trials of one kind, the same for the same seed."""
    return [builder(Context(random.Random(f"{name}/{seed}/{seen}/{at}"), split, seen, inputs)) for at in range(count)]
