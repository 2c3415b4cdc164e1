"""Trials of the any-to-any matrix: what is shown and said, and what must be in the reply."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anygpt.world.images import render_image
from anygpt.world.phrases import Split, paraphrase, request, value_phrase
from anygpt.world.scenes import ATTRIBUTES, SEEN_SCENES, UNSEEN_SCENES, Scene, random_edit


@dataclass(frozen=True)
class Trial:
    """A conversation of user messages, whose last reply is read.

    Attributes:
        messages: parts of each user message in turn.
        output: modality of the reply that is read.
        expected: attribute → value that must be read; all of them must be right.
    """

    messages: tuple[tuple[Any, ...], ...]
    output: str
    expected: Mapping[str, str]


@dataclass(frozen=True)
class Context:
    """Where a trial takes its randomness, phrasing and scenes from."""

    rng: random.Random
    split: Split
    seen: bool

    def scene(self) -> Scene:
        return self.rng.choice(SEEN_SCENES if self.seen else UNSEEN_SCENES)

    def ask(self, part: str, **slots: str) -> str:
        return request(part, self.split, self.rng, **slots)

    def picture(self, scene: Scene) -> Any:
        return render_image(scene, self.rng.getrandbits(32))

    def edit(self, scene: Scene) -> tuple[str, Scene]:
        """An edit in words and what it leads to; with `seen`, a seen pair again."""
        while True:
            attribute, value = random_edit(scene, self.rng)
            after = scene.changed(attribute, value)
            if after.seen or not self.seen:
                said = self.ask(f"edit_{attribute}", value=value_phrase(attribute, value, self.rng))
                return said, after

    def shown_with(self, scene: Scene, said: str) -> tuple[Any, ...]:
        picture = self.picture(scene)
        return (picture, said) if self.rng.random() < 0.7 else (said, picture)


def everything(scene: Scene) -> dict[str, str]:
    """All attributes of a scene."""
    return {attribute: getattr(scene, attribute) for attribute in ATTRIBUTES}


def text_to_text(context: Context) -> Trial:
    """A scene in words, none to two edits over turns, then a question or a description."""
    scene = context.scene()
    messages = [(context.ask("say", scene=paraphrase(scene, context.rng)),)]
    for _ in range(context.rng.randrange(3)):
        said, scene = context.edit(scene)
        messages.append((said,))
    if context.rng.random() < 0.5:
        attribute = context.rng.choice(tuple(ATTRIBUTES))
        messages.append((context.ask(f"ask_{attribute}"),))
        return Trial(tuple(messages), "text", {attribute: getattr(scene, attribute)})
    messages.append((context.ask("describe"),))
    return Trial(tuple(messages), "text", everything(scene))


def text_to_image(context: Context) -> Trial:
    """Draw a scene from words."""
    scene = context.scene()
    said = context.ask("draw", scene=paraphrase(scene, context.rng))
    return Trial(((said,),), "image", everything(scene))


def image_to_text(context: Context) -> Trial:
    """Describe a picture."""
    scene = context.scene()
    return Trial((context.shown_with(scene, context.ask("describe")),), "text", everything(scene))


def image_to_image(context: Context) -> Trial:
    """Change one attribute of a picture; the rest must hold."""
    scene = context.scene()
    said, after = context.edit(scene)
    return Trial((context.shown_with(scene, said),), "image", everything(after))


def image_question(context: Context) -> Trial:
    """A question about one attribute of a picture."""
    scene = context.scene()
    attribute = context.rng.choice(tuple(ATTRIBUTES))
    said = context.ask(f"ask_{attribute}")
    return Trial((context.shown_with(scene, said),), "text", {attribute: getattr(scene, attribute)})


# (input, output) → builder; these are the cells of the matrix.
CELLS: Mapping[tuple[str, str], Callable[[Context], Trial]] = {
    ("text", "text"): text_to_text,
    ("text", "image"): text_to_image,
    ("image", "text"): image_to_text,
    ("image", "image"): image_to_image,
}

# Measured beside the matrix.
EXTRAS: Mapping[str, Callable[[Context], Trial]] = {"questions about a picture": image_question}


def make_trials(
    builder: Callable[[Context], Trial], name: str, count: int, seed: int, split: Split, seen: bool
) -> list[Trial]:
    """`count` trials of one kind, the same for the same seed."""
    return [builder(Context(random.Random(f"{name}/{seed}/{seen}/{at}"), split, seen)) for at in range(count)]
