"""Turns that are answered in words: what is said, asked, described and compared, and small talk."""

from __future__ import annotations

from pipelines.tiny.world.outside_words import unknown_thing, unknown_value
from pipelines.tiny.world.phrases import paraphrase, stated_value, value_phrase
from pipelines.tiny.world.replies import (
    GREETING,
    NOTHING_YET,
    OUTSIDE,
    SOLIDS,
    WELCOME,
    answer,
    answer_both,
    comparison,
    comparison_with_before,
    description,
    descriptions,
    given,
    loudness,
    solid,
    verdict,
)
from pipelines.tiny.world.scenes import CARRIED, VALUES, Scene
from pipelines.tiny.world.turns import Depiction, DialogueState, Part

GENERAL_SHARE = 0.2  # of the questions what something is that are asked as of a picture
COMPARED = {"shape": 3, "colour": 3, "size": 2, "motion": 1.5, "position": 1}  # and how often


def say(talk: DialogueState) -> None:
    """The user puts a scene into words."""
    scene = talk.sayable_scene()
    talk.add([talk.ask("say", scene=paraphrase(scene, talk.rng))], given(scene, None), scene, None)


def describe(talk: DialogueState) -> None:
    """What is this? About a new medium, or what there is."""
    subject = talk.subject(0.6)
    if subject is None:
        return say(talk)
    scene, medium, fresh = subject
    part = f"describe_{medium}" if medium in ("audio", "video", "points") else "describe"
    if talk.split == "train" and talk.chance(GENERAL_SHARE):
        part = "describe"
    wordless = fresh and talk.split == "train" and talk.chance(0.1)
    user = talk.about("" if wordless else talk.ask(part), scene, medium, fresh)
    talk.add(user, [description(scene)], scene, medium)
    return None


def ask(talk: DialogueState) -> None:
    """A question about one attribute or two, of a new medium or of what there is; some ask for yes or no."""
    subject = talk.subject(0.4)
    if subject is None:
        return say(talk)
    scene, medium, fresh = subject
    attribute = talk.rng.choice(scene.attributes)
    form = talk.rng.choices(("plain", "check", "two"), (0.5, 0.4, 0.1))[0]
    if form == "check":
        said, reply = checked(talk, attribute, scene, medium)
    elif form == "two":
        one, other = talk.rng.sample(scene.attributes, 2)
        said, reply = talk.ask("ask_two", one=one, other=other), answer_both(one, other, scene)
    elif (attribute, medium) == ("size", "audio") and talk.chance(0.4):
        said, reply = talk.ask("ask_loudness"), loudness(scene)
    elif (attribute, medium) == ("shape", "points") and talk.chance(0.3):
        said, reply = talk.ask("ask_solid"), solid(scene)
    else:
        said, reply = talk.ask(f"ask_{attribute}"), answer(attribute, scene)
    talk.add(talk.about(said, scene, medium, fresh), [reply], scene, medium)
    return None


def checked(talk: DialogueState, attribute: str, scene: Scene, medium: str | None) -> tuple[str, str]:
    """A yes or no question and its answer."""
    value = scene.value(attribute)
    asked = value if talk.chance(0.5) else talk.rng.choice(VALUES[attribute])
    words = stated_value(attribute, asked, talk.rng)
    if attribute == "shape" and medium == "points" and talk.chance(0.3):
        words = SOLIDS[asked]
    return talk.ask(f"check_{attribute}", value=words), verdict(attribute, asked, scene)


def two_media(talk: DialogueState, attribute: str | None = None) -> tuple[list[Depiction], list[Part]]:
    """Two media that the user shows, of modalities that carry the attribute, and the message without its words."""
    carrying = [modality for modality in talk.inputs if attribute is None or attribute in CARRIED[modality]]
    modalities = [talk.rng.choice(carrying)] * 2
    if talk.chance(0.5):
        modalities[1] = talk.rng.choice(carrying)
    first, second = (Depiction(talk.random_scene(modality), modality) for modality in modalities)
    if attribute is not None and talk.chance(0.4):
        alike = first.scene.changed(attribute, second.scene.value(attribute))
        if talk.allows(alike):
            first = Depiction(alike, first.modality)
    return [first, second], [first, second]


def describe_two(talk: DialogueState) -> None:
    """What are these two?"""
    if not talk.inputs:
        return say(talk)
    (first, second), user = two_media(talk)
    user.insert(talk.rng.choice((0, 2)), talk.ask("describe_two"))
    talk.add(user, [descriptions(first.scene, second.scene)], None, None)
    return None


def compare(talk: DialogueState) -> None:
    """Are two media alike in one attribute?"""
    possible = [name for name in COMPARED if any(name in CARRIED[modality] for modality in talk.inputs)]
    if not possible:
        return say(talk)
    attribute = talk.rng.choices(possible, [COMPARED[name] for name in possible])[0]
    (first, second), user = two_media(talk, attribute)
    user.insert(talk.rng.choice((0, 2)), talk.ask(f"compare_{attribute}"))
    talk.add(user, [comparison(attribute, first.scene, second.scene)], None, None)
    return None


def compare_with_before(talk: DialogueState) -> None:
    """Is it still as it was before? About a new medium, or what there is."""
    before, scene, medium, fresh = talk.before[0], talk.scene, talk.medium, False
    if talk.scene is not None and talk.inputs and talk.chance(0.4):
        before, medium, fresh = talk.scene, talk.rng.choice(talk.inputs), True
        scene = talk.random_scene(medium)
    if before is None or scene is None:
        return describe(talk)
    both = [name for name in VALUES if name in before.attributes and name in scene.attributes]
    attribute = talk.rng.choice(both)
    user = talk.about(talk.ask("compare_before", name=attribute), scene, medium, fresh)
    talk.add(user, [comparison_with_before(attribute, before, scene)], scene, medium)
    return None


def miss(talk: DialogueState) -> None:
    """Ask about something, for it or for a change of it, before there is anything."""
    if talk.began:
        return describe(talk)
    attribute = talk.rng.choice(list(VALUES))
    value = talk.rng.choice(VALUES[attribute])
    wishes = ["draw_it", "play_it", "film_it", "describe", "describe_audio", "describe_video", "describe_points"]
    acts = ("ask", "check", "compare") if attribute == "shape" else ("ask", "check", "compare", "edit")
    part = talk.rng.choice((*wishes, *(f"{act}_{attribute}" for act in acts)))  # "Give me a star." is no edit then
    words = (value_phrase if part.startswith("edit") else stated_value)(attribute, value, talk.rng)
    talk.add([talk.ask(part, value=words)], [NOTHING_YET], None, None)
    return None


def greet(talk: DialogueState) -> None:
    """Say what one is."""
    talk.add([talk.ask("greet")], [GREETING], talk.scene, talk.medium)


def thank(talk: DialogueState) -> None:
    """Take thanks and praise."""
    talk.add([talk.ask("thank")], [WELCOME], talk.scene, talk.medium)


def outside(talk: DialogueState) -> None:
    """Say plainly what one cannot do: other topics, and things and colours that the world does not have."""
    said = talk.ask("outside")
    if talk.chance(0.6):
        part = talk.rng.choice(("draw", "play", "film"))
        said = talk.ask(part, scene=unknown_thing(talk.split, talk.rng))
    elif talk.scene is not None and talk.chance(0.5):
        attribute = talk.rng.choice(("colour", "shape"))
        said = talk.ask(f"edit_{attribute}", value=unknown_value(attribute, talk.split, talk.rng))
    talk.add([said], [OUTSIDE], talk.scene, talk.medium)
