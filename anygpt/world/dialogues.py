"""Conversations of the world: what people ask and what the assistant should answer.

A dialogue is a list of turns; a turn's parts are text or a `Depiction`, a scene in some modality that its reader
renders (training, evaluation) or spells out (text-only pretraining).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from anygpt.world.phrases import Split, caption, paraphrase, place, request, value_phrase
from anygpt.world.scenes import ATTRIBUTES, SEEN_SCENES, Scene, random_edit

GREETING = (
    "I draw and describe simple things: a circle, square, triangle or star in red, yellow, green, cyan, blue or "
    "magenta. Ask me to draw one, or show me a picture."
)
OUTSIDE = (
    "That is outside my small world. I can draw, describe and change a circle, square, triangle or star "
    "in red, yellow, green, cyan, blue or magenta."
)
DEFAULT_SCENE = Scene("circle", "red", "large", "center")


@dataclass(frozen=True)
class Depiction:
    """A scene as a medium: `modality` is "image" (sound, film and points join later)."""

    scene: Scene
    modality: str = "image"


Part = str | Depiction


@dataclass(frozen=True)
class Turn:
    """One request and the right reply."""

    user: tuple[Part, ...]
    reply: tuple[Part, ...]


@dataclass
class Talk:
    """A dialogue being made: its turns, and the scene it is about."""

    rng: random.Random
    scenes: Sequence[Scene] = SEEN_SCENES
    split: Split = "train"
    turns: list[Turn] = field(default_factory=list)
    scene: Scene | None = None
    pictured: bool = False

    def ask(self, part: str, **slots: str) -> str:
        return request(part, self.split, self.rng, **slots)

    def add(self, user: Sequence[Part], reply: Sequence[Part], scene: Scene | None, pictured: bool) -> None:
        self.turns.append(Turn(tuple(user), tuple(reply)))
        self.scene, self.pictured = scene, pictured

    def random_scene(self) -> Scene:
        return self.rng.choice(self.scenes)

    def show(self, scene: Scene, said: str) -> list[Part]:
        """A user message with a picture and words, in either order; the words may be missing."""
        depiction = Depiction(scene)
        if not said:
            return [depiction]
        return [depiction, said] if self.rng.random() < 0.7 else [said, depiction]


def drawn(scene: Scene) -> list[Part]:
    """The reply that draws a scene."""
    return [f"Here is {caption(scene)}.", Depiction(scene)]


def draw(talk: Talk) -> None:
    """Draw from words; what is not said takes the value of `DEFAULT_SCENE`."""
    scene, omit = talk.random_scene(), set()
    for attribute, chance in (("size", 0.25), ("position", 0.3), ("colour", 0.08)):
        default = scene.changed(attribute, getattr(DEFAULT_SCENE, attribute))
        if talk.rng.random() < chance and default in talk.scenes:
            scene = default
            omit.add(attribute)
    said = talk.ask("draw", scene=paraphrase(scene, talk.rng, frozenset(omit)))
    talk.add([said], drawn(scene), scene, True)


def draw_two(talk: Talk) -> None:
    """Two pictures in one reply."""
    first, second = talk.random_scene(), talk.random_scene()
    both = f"{paraphrase(first, talk.rng)} and {paraphrase(second, talk.rng)}"
    if talk.rng.random() < 0.3:
        both = f"{paraphrase(first, talk.rng)}, and then {paraphrase(second, talk.rng)}"
    talk.add(
        [talk.ask("draw", scene=both)], [*drawn(first), " " + str(drawn(second)[0]), Depiction(second)], second, True
    )


def say(talk: Talk) -> None:
    """The user puts a scene into words."""
    scene = talk.random_scene()
    said = talk.ask("say", scene=paraphrase(scene, talk.rng))
    talk.add([said], [f"Now there is {caption(scene)}."], scene, False)


def describe(talk: Talk) -> None:
    """What is this? About a new picture, or the scene so far."""
    if talk.scene is None or talk.rng.random() < 0.6:
        scene = talk.random_scene()
        said = "" if talk.split == "train" and talk.rng.random() < 0.1 else talk.ask("describe")
        talk.add(talk.show(scene, said), [f"This is {caption(scene)}."], scene, True)
    else:
        talk.add([talk.ask("describe")], [f"This is {caption(talk.scene)}."], talk.scene, talk.pictured)


def answer(attribute: str, scene: Scene) -> str:
    """The reply to a question about one attribute."""
    if attribute == "shape":
        return f"It is a {scene.shape}."
    if attribute == "position":
        return f"It is {place(scene.value('position'))}."
    return f"It is {getattr(scene, attribute)}."


def ask(talk: Talk) -> None:
    """A question about one attribute, of a new picture or of the scene so far."""
    attribute = talk.rng.choice(tuple(ATTRIBUTES))
    said = talk.ask(f"ask_{attribute}")
    if talk.scene is None or talk.rng.random() < 0.4:
        scene = talk.random_scene()
        talk.add(talk.show(scene, said), [answer(attribute, scene)], scene, True)
    else:
        talk.add([said], [answer(attribute, talk.scene)], talk.scene, talk.pictured)


def seen_edit(talk: Talk, scene: Scene) -> tuple[str, str]:
    """An edit that leads to a scene of the talk."""
    while True:
        attribute, value = random_edit(scene, talk.rng)
        if scene.changed(attribute, value) in talk.scenes:
            return attribute, value


def edit(talk: Talk) -> None:
    """Change one attribute of a new picture, the last picture or the scene in words; pictures stay pictures."""
    fresh = talk.scene is None or talk.rng.random() < 0.4
    scene = talk.random_scene() if fresh or talk.scene is None else talk.scene
    attribute, value = seen_edit(talk, scene)
    said = talk.ask(f"edit_{attribute}", value=value_phrase(attribute, value, talk.rng))
    after = scene.changed(attribute, value)
    if fresh:
        talk.add(talk.show(scene, said), drawn(after), after, True)
    else:
        talk.add([said], drawn(after) if talk.pictured else [f"Now there is {caption(after)}."], after, talk.pictured)


def draw_it(talk: Talk) -> None:
    """Draw the scene so far, or copy a new picture."""
    if talk.scene is None or talk.rng.random() < 0.3:
        scene = talk.random_scene()
        talk.add(talk.show(scene, talk.ask("draw_it")), drawn(scene), scene, True)
    else:
        talk.add([talk.ask("draw_it")], drawn(talk.scene), talk.scene, True)


def compare(talk: Talk) -> None:
    """Are two pictures alike in shape or in colour?"""
    attribute = talk.rng.choice(("shape", "colour"))
    first, second = talk.random_scene(), talk.random_scene()
    alike = first.changed(attribute, getattr(second, attribute))
    if talk.rng.random() < 0.4 and alike in talk.scenes:
        first = alike
    user: list[Part] = [Depiction(first), Depiction(second)]
    user.insert(talk.rng.choice((0, 2)), talk.ask(f"compare_{attribute}"))
    one, other = getattr(first, attribute), getattr(second, attribute)
    noun = "a " if attribute == "shape" else ""
    verdict = f"Yes, both are {one}." if noun == "" else f"Yes, each is a {one}."
    if one != other:
        verdict = f"No, the first is {noun}{one} and the second is {noun}{other}."
    talk.add(user, [verdict], None, False)


def greet(talk: Talk) -> None:
    """Say what one is."""
    talk.add([talk.ask("greet")], [GREETING], talk.scene, talk.pictured)


def outside(talk: Talk) -> None:
    """Say plainly what one cannot do."""
    talk.add([talk.ask("outside")], [OUTSIDE], talk.scene, talk.pictured)


# Kinds of turn and how often they come up.
KINDS: dict[Callable[[Talk], None], float] = {
    draw: 5.0, draw_two: 1.0, say: 2.5, describe: 3.0, ask: 3.5, edit: 5.0, draw_it: 1.2, compare: 0.8,
    greet: 0.5, outside: 1.0,
}  # fmt: skip


def dialogue(
    rng: random.Random,
    scenes: Sequence[Scene] = SEEN_SCENES,
    split: Split = "train",
    turns: tuple[int, int] = (1, 4),
    kinds: Mapping[Callable[[Talk], None], float] | None = None,
) -> list[Turn]:
    """A random dialogue of `turns` (fewest, most) turns over `scenes` alone; `kinds` weighs kinds of turn."""
    talk = Talk(rng, scenes, split)
    names, weights = list(kinds or KINDS), list((kinds or KINDS).values())
    for _ in range(rng.randint(*turns)):
        rng.choices(names, weights)[0](talk)
    return talk.turns
