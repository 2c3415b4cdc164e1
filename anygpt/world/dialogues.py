"""Conversations of the world: what people ask and what the assistant should answer.

A dialogue is a list of turns; a turn's parts are text or a `Depiction`, a scene in some modality that its reader
renders (training, evaluation) or spells out (text-only pretraining).

What is talked about is the last thing that was said, shown or made: a scene and the medium it was in. A conversion
keeps what both media carry, and what the new one needs beyond that takes the world's defaults.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from anygpt.world.phrases import (
    NOUNS,
    VERBS,
    Split,
    caption,
    movement,
    paraphrase,
    place,
    request,
    stated_value,
    value_phrase,
)
from anygpt.world.scenes import CARRIED, DEFAULTS, VALUES, Scene, scenes_for, seen_scenes

GREETING = (
    "I draw, play, film and describe simple things: a circle, square, triangle or star in red, yellow, green, cyan, "
    "blue or magenta. Ask me for a picture, a sound or a video of one, or show me something."
)
OUTSIDE = (
    "That is outside my small world. I can draw, play, film, describe and change a circle, square, triangle or star "
    "in red, yellow, green, cyan, blue or magenta."
)
SHOWABLE = ("image", "audio", "video", "points")
MAKEABLE = ("image", "audio", "video")
# Output modality → the word that announces its medium, and the requests for it: from words, and of what there is.
ANNOUNCED = {"image": "Here is", "audio": "Listen to", "video": "Watch"}
MAKE = {"image": "draw", "audio": "play", "video": "film"}
MAKE_IT = {"image": "draw_it", "audio": "play_it", "video": "film_it"}
UNSAID = {"size": 0.25, "position": 0.3, "colour": 0.08}  # how often a request leaves an attribute to its default
DEFAULT_COLOUR = "red"
GENERAL_SHARE = 0.2  # of the questions what something is that are asked as of a picture


@dataclass(frozen=True)
class Depiction:
    """A scene as a medium: `modality` is "image", "audio", "video" or "points"."""

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
    """A dialogue being made.

    Attributes:
        seen: True keeps to pairs that adapters may be trained on.
        inputs, outputs: modalities that people may show and ask for.
        scene, medium: what is talked about, and the modality it was last in; None of both at first.
    """

    rng: random.Random
    seen: bool = True
    split: Split = "train"
    inputs: Sequence[str] = SHOWABLE
    outputs: Sequence[str] = MAKEABLE
    turns: list[Turn] = field(default_factory=list)
    scene: Scene | None = None
    medium: str | None = None

    def ask(self, part: str, **slots: str) -> str:
        return request(part, self.split, self.rng, **slots)

    def add(self, user: Sequence[Part], reply: Sequence[Part], scene: Scene | None, medium: str | None) -> None:
        self.turns.append(Turn(tuple(user), tuple(reply)))
        self.scene, self.medium = scene, medium

    def allows(self, scene: Scene) -> bool:
        return scene.seen or not self.seen

    def random_scene(self, modality: str) -> Scene:
        return self.rng.choice(seen_scenes(modality) if self.seen else scenes_for(modality))

    def sayable_scene(self) -> Scene:
        """A scene that only words hold: as any medium has it, now and then with a place and a motion."""
        return self.random_scene(self.rng.choice(("image", "image", "video", "video", "points", "text")))

    def show(self, said: str, modality: str, scene: Scene) -> list[Part]:
        """A user message with a medium and words, in either order; the words may be missing."""
        depiction = Depiction(scene, modality)
        if not said:
            return [depiction]
        return [depiction, said] if self.rng.random() < 0.7 else [said, depiction]

    def subject(self, fresh_share: float) -> tuple[Scene, str | None, bool]:
        """What a turn is about: scene, modality, and whether the user shows it now."""
        if self.scene is not None and not (self.inputs and self.rng.random() < fresh_share):
            return self.scene, self.medium, False
        if not self.inputs:
            return self.sayable_scene(), None, False
        modality = self.rng.choice(self.inputs)
        return self.random_scene(modality), modality, True

    def about(self, said: str, scene: Scene, modality: str | None, fresh: bool) -> list[Part]:
        """The user's message about the subject."""
        return self.show(said, modality, scene) if fresh and modality else [said]


def made(scene: Scene, modality: str) -> list[Part]:
    """The reply that makes a medium of a scene."""
    shown = scene.in_modality(modality)
    return [f"{ANNOUNCED[modality]} {caption(shown)}.", Depiction(shown, modality)]


def made_in_turn(items: Sequence[tuple[Scene, str]]) -> list[Part]:
    """The reply that makes several media, in order."""
    reply: list[Part] = []
    for scene, modality in items:
        words, depiction = made(scene, modality)
        reply += [f" {words}" if reply else words, depiction]
    return reply


def make(talk: Talk) -> None:
    """A picture, sound or video from words; what is not said takes the world's defaults."""
    modality = talk.rng.choice(talk.outputs)
    scene, omit = talk.random_scene(modality), set()
    for attribute, chance in UNSAID.items():
        if attribute in scene.attributes and talk.rng.random() < chance:
            default = scene.changed(attribute, DEFAULTS.get(attribute, DEFAULT_COLOUR))
            if talk.allows(default):
                scene = default
                omit.add(attribute)
    part = MAKE[modality]
    moves = modality == "video" and scene.motion != "still"
    if moves and "image" in talk.outputs and talk.rng.random() < 0.2:
        part = "film_moving"
    said = talk.ask(part, scene=paraphrase(scene, talk.rng, frozenset(omit)))
    talk.add([said], made(scene, modality), scene, modality)


def make_two(talk: Talk) -> None:
    """Two pictures, sounds or videos in one reply."""
    modality = talk.rng.choice(talk.outputs)
    first, second = talk.random_scene(modality), talk.random_scene(modality)
    joint = " and " if talk.rng.random() < 0.7 else ", and then "
    both = joint.join((paraphrase(first, talk.rng), paraphrase(second, talk.rng)))
    reply = made_in_turn([(first, modality), (second, modality)])
    talk.add([talk.ask(MAKE[modality], scene=both)], reply, second, modality)


def make_both(talk: Talk) -> None:
    """One thing in two modalities, from words or of what there is."""
    if len(talk.outputs) < 2:
        return make_two(talk)
    one, other = talk.rng.sample(list(talk.outputs), 2)
    acts = talk.rng.random() < 0.4
    slots = {"one": talk.rng.choice(NOUNS[one]), "other": talk.rng.choice(NOUNS[other])}
    if acts:
        slots = {"act": talk.rng.choice(VERBS[one]), "act_too": talk.rng.choice(VERBS[other])}
    part = "act_both" if acts else "make_both"
    if talk.rng.random() < 0.5:
        scene = talk.random_scene(talk.rng.choice((one, other)))
        user: Sequence[Part] = [talk.ask(part, scene=paraphrase(scene, talk.rng), **slots)]
    else:
        scene, medium, fresh = talk.subject(0.4)
        user = talk.about(talk.ask(f"{part}_it", **slots), scene, medium, fresh)
        if talk.scene is None and not fresh:
            return say(talk)
    talk.add(user, made_in_turn([(scene, one), (scene, other)]), scene.in_modality(other), other)
    return None


def say(talk: Talk) -> None:
    """The user puts a scene into words."""
    scene = talk.sayable_scene()
    said = talk.ask("say", scene=paraphrase(scene, talk.rng))
    talk.add([said], [f"Now there is {caption(scene)}."], scene, None)


def describe(talk: Talk) -> None:
    """What is this? About a new medium, or what there is."""
    scene, medium, fresh = talk.subject(0.6)
    if talk.scene is None and not fresh:
        return say(talk)
    part = f"describe_{medium}" if medium in ("audio", "video", "points") else "describe"
    if talk.split == "train" and talk.rng.random() < GENERAL_SHARE:
        part = "describe"
    wordless = fresh and talk.split == "train" and talk.rng.random() < 0.1
    user = talk.about("" if wordless else talk.ask(part), scene, medium, fresh)
    talk.add(user, [f"This is {caption(scene)}."], scene, medium)
    return None


def answer(attribute: str, scene: Scene) -> str:
    """The reply to a question about one attribute."""
    return f"It is {stated(attribute, scene.value(attribute))}."


def verdict(attribute: str, asked: str, scene: Scene) -> str:
    """The reply to a yes or no question: both values come first, since a small model compares what it has written."""
    said, same = stated(attribute, asked), asked == scene.value(attribute)
    return f"{said[0].upper()}{said[1:]}? {answer(attribute, scene)[:-1]}, so {'yes' if same else 'no'}."


def stated(attribute: str, value: str) -> str:
    """A value as it stands in a reply: "a star", "blue", "small", "at the top", "moving up", "still"."""
    if attribute == "shape":
        return f"a {value}"
    if attribute == "position":
        return place(value)
    return (movement(value) or value) if attribute == "motion" else value


def ask(talk: Talk) -> None:
    """A question about one attribute, of a new medium or of what there is; some ask for yes or no."""
    scene, medium, fresh = talk.subject(0.4)
    if talk.scene is None and not fresh:
        return say(talk)
    attribute = talk.rng.choice(scene.attributes)
    value = scene.value(attribute)
    said, reply = talk.ask(f"ask_{attribute}"), answer(attribute, scene)
    if talk.rng.random() < 0.3:
        asked = value if talk.rng.random() < 0.5 else talk.rng.choice(VALUES[attribute])
        said = talk.ask(f"check_{attribute}", value=stated_value(attribute, asked, talk.rng))
        reply = verdict(attribute, asked, scene)
    talk.add(talk.about(said, scene, medium, fresh), [reply], scene, medium)
    return None


def edited(talk: Talk, scene: Scene, medium: str | None) -> tuple[str, str]:
    """An attribute that the edited medium shows, and its new value; a picture or a scan may also be set in motion."""
    shown_in = {name: medium_of_edit(talk, name, medium) or "text" for name in scene.attributes}
    attributes = [name for name, modality in shown_in.items() if name in CARRIED[modality]]
    if medium in ("image", "points") and "video" in talk.outputs and talk.rng.random() < 0.3:
        attributes = ["motion"]
    while True:
        attribute = talk.rng.choice(attributes)
        value = talk.rng.choice([value for value in VALUES[attribute] if value != getattr(scene, attribute)])
        if talk.allows(scene.changed(attribute, value)) and not (value == "still" and scene.motion is None):
            return attribute, value


def medium_of_edit(talk: Talk, attribute: str, medium: str | None) -> str | None:
    """What an edit of a medium gives: words stay words, media stay what they are, what is set in motion is a video."""
    if medium is None:
        return None
    if attribute not in CARRIED[medium] and attribute == "motion":
        return "video"
    return medium if medium in talk.outputs else next(iter(talk.outputs), None)


def edit_request(talk: Talk, attribute: str, value: str) -> str:
    """An edit in words."""
    if attribute == "size" and talk.rng.random() < 0.3:
        return talk.ask("edit_smaller" if value == "small" else "edit_larger")
    return talk.ask(f"edit_{attribute}", value=value_phrase(attribute, value, talk.rng))


def edit(talk: Talk) -> None:
    """Change one attribute of a new medium or of what there is."""
    scene, medium, fresh = talk.subject(0.4)
    if talk.scene is None and not fresh:
        return say(talk)
    attribute, value = edited(talk, scene, medium)
    after, target = scene.changed(attribute, value), medium_of_edit(talk, attribute, medium)
    user = talk.about(edit_request(talk, attribute, value), scene, medium, fresh)
    if target is None:
        talk.add(user, [f"Now there is {caption(after)}."], after, None)
    else:
        talk.add(user, made(after, target), after.in_modality(target), target)
    return None


def convert(talk: Talk) -> None:
    """A new medium, or what there is, in another modality; or the same thing again."""
    scene, medium, fresh = talk.subject(0.6)
    if talk.scene is None and not fresh:
        return say(talk)
    target = talk.rng.choice(talk.outputs)
    talk.add(
        talk.about(talk.ask(MAKE_IT[target]), scene, medium, fresh),
        made(scene, target),
        scene.in_modality(target),
        target,
    )
    return None


def compare(talk: Talk) -> None:
    """Are two media alike in shape or in colour? Both are named before the verdict: a small model compares words it has
    written, not two pictures.
    """
    if not talk.inputs:
        return say(talk)
    attribute = talk.rng.choice(("shape", "colour"))
    modalities = [talk.rng.choice(talk.inputs)] * 2
    if talk.rng.random() < 0.5:
        modalities[1] = talk.rng.choice(talk.inputs)
    first, second = (talk.random_scene(modality) for modality in modalities)
    alike = first.changed(attribute, getattr(second, attribute))
    if talk.rng.random() < 0.4 and talk.allows(alike):
        first = alike
    user: list[Part] = [Depiction(first, modalities[0]), Depiction(second, modalities[1])]
    user.insert(talk.rng.choice((0, 2)), talk.ask(f"compare_{attribute}"))
    one, other = getattr(first, attribute), getattr(second, attribute)
    noun = "a " if attribute == "shape" else ""
    verdict = "the same" if one == other else "not the same"
    talk.add(user, [f"The first is {noun}{one}, the second is {noun}{other}: {verdict} {attribute}."], None, None)
    return None


def greet(talk: Talk) -> None:
    """Say what one is."""
    talk.add([talk.ask("greet")], [GREETING], talk.scene, talk.medium)


def outside(talk: Talk) -> None:
    """Say plainly what one cannot do."""
    talk.add([talk.ask("outside")], [OUTSIDE], talk.scene, talk.medium)


# Kinds of turn and how often they come up.
KINDS: dict[Callable[[Talk], None], float] = {
    make: 5.0, make_two: 0.8, make_both: 1.2, say: 2.5, describe: 3.0, ask: 4.0, edit: 5.0, convert: 3.5, compare: 1.6,
    greet: 0.4, outside: 1.0,
}  # fmt: skip

MAKING = (make, make_two, make_both, convert)  # these need something to make


def dialogue(
    rng: random.Random,
    *,
    seen: bool = True,
    split: Split = "train",
    turns: tuple[int, int] = (1, 4),
    kinds: Mapping[Callable[[Talk], None], float] | None = None,
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
    talk = Talk(rng, seen, split, inputs, outputs)
    possible = {kind: weight for kind, weight in (kinds or KINDS).items() if outputs or kind not in MAKING}
    names, weights = list(possible), list(possible.values())
    for _ in range(rng.randint(*turns)):
        rng.choices(names, weights)[0](talk)
    return talk.turns
