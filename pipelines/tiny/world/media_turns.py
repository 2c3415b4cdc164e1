"""Turns in which something is made or changed.

A conversion keeps what both media carry, and what the new one needs beyond that takes the world's defaults.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.tiny.world.phrases import NOUNS, VERBS, WAYS, paraphrase, value_phrase, vary_manner
from pipelines.tiny.world.replies import given, made, made_in_turn
from pipelines.tiny.world.scenes import CARRIED, DEFAULTS, VALUES, Scene
from pipelines.tiny.world.turns import DialogueState, Part
from pipelines.tiny.world.word_turns import say

# Output modality → the requests for it: from words, and of what there is.
MAKE = {"image": "draw", "audio": "play", "video": "film"}
MAKE_IT = {"image": "draw_it", "audio": "play_it", "video": "film_it"}
UNSAID = {"size": 0.25, "position": 0.3, "colour": 0.08}  # how often a request leaves an attribute to its default
DEFAULT_COLOUR = "red"
BARE_SHARE = 0.06  # of the requests for pictures that are the words for a scene alone
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}


def make(talk: DialogueState) -> None:
    """A picture, sound or video from words; what is not said takes the world's defaults."""
    modality = talk.rng.choice(talk.outputs)
    scene, omit = talk.random_scene(modality), set()
    for attribute, share in UNSAID.items():
        if attribute in scene.attributes and talk.chance(share):
            default = scene.changed(attribute, DEFAULTS.get(attribute, DEFAULT_COLOUR))
            if talk.allows(default):
                scene = default
                omit.add(attribute)
    part = MAKE[modality]
    moves = modality == "video" and scene.motion != "still"
    if moves and "image" in talk.outputs and talk.chance(0.2):
        part = "film_moving"
    words = paraphrase(scene, talk.rng, frozenset(omit))
    said = talk.ask(part, scene=words)
    if part == "draw" and talk.split == "train" and talk.chance(BARE_SHARE):
        said = vary_manner(words if talk.chance(0.5) else words.removeprefix("a "), talk.rng)
    talk.add([said], made(scene, modality), scene, modality)


def make_several(talk: DialogueState) -> None:
    """Two or three pictures, sounds or videos in one reply."""
    modality = talk.rng.choice(talk.outputs)
    scenes = [talk.random_scene(modality) for _ in range(3 if talk.chance(0.3) else 2)]
    joint = " and " if talk.chance(0.7) else ", and then "
    *firsts, last = (paraphrase(scene, talk.rng) for scene in scenes)
    said = talk.ask(MAKE[modality], scene=f"{', '.join(firsts)}{joint}{last}")
    talk.add([said], made_in_turn([(scene, modality) for scene in scenes]), scenes[-1], modality)


def make_both(talk: DialogueState) -> None:
    """One thing in two or three modalities, from words or of what there is."""
    if len(talk.outputs) < 2:
        return make_several(talk)
    count = 3 if len(talk.outputs) > 2 and talk.chance(0.35) else 2
    targets = talk.rng.sample(list(talk.outputs), count)
    acts = talk.chance(0.4)
    part = f"{'act' if acts else 'make'}_{'both' if count == 2 else 'three'}"
    names, words = (("act", "act_too", "act_third"), VERBS) if acts else (("one", "other", "third"), NOUNS)
    slots = {name: talk.rng.choice(words[target]) for name, target in zip(names, targets, strict=False)}
    subject = None if talk.chance(0.5) else talk.subject(0.4)
    if subject is None:
        scene = talk.random_scene(talk.rng.choice(targets))
        user: list[Part] = [talk.ask(part, scene=paraphrase(scene, talk.rng), **slots)]
    else:
        scene, medium, fresh = subject
        user = talk.about(talk.ask(f"{part}_it", **slots), scene, medium, fresh)
    reply = made_in_turn([(scene, target) for target in targets])
    talk.add(user, reply, scene.in_modality(targets[-1]), targets[-1])
    return None


def convert(talk: DialogueState) -> None:
    """A new medium, or what there is, in another modality; or the same thing again."""
    subject = talk.subject(0.6)
    if subject is None:
        return say(talk)
    scene, medium, fresh = subject
    target = talk.rng.choice(talk.outputs)
    user = talk.about(talk.ask(MAKE_IT[target]), scene, medium, fresh)
    talk.add(user, made(scene, target), scene.in_modality(target), target)
    return None


def edit(talk: DialogueState) -> None:
    """Change a new medium or what there is: mostly one attribute, now and then two, or one and the modality."""
    subject = talk.subject(0.4)
    if subject is None:
        return say(talk)
    scene, medium, fresh = subject
    form = talk.rng.choices((edit_one, edit_two, edit_and_make), (0.84, 0.1, 0.06))[0]
    said, after, target = form(talk, scene, medium)
    shown = after if target is None else after.in_modality(target)
    talk.add(talk.about(said, scene, medium, fresh), given(after, target), shown, target)
    return None


def edit_one(talk: DialogueState, scene: Scene, medium: str | None) -> tuple[str, Scene, str | None]:
    """The request, what there is then, and the modality it is in."""
    attribute, value = edited(talk, scene, medium)
    said = edit_request(talk, attribute, value, scene, medium)
    return said, scene.changed(attribute, value), medium_of_edit(talk, attribute, medium)


def edit_two(talk: DialogueState, scene: Scene, medium: str | None) -> tuple[str, Scene, str | None]:
    """Two attributes at once: "Make it big and red.", "Turn it into a red star." """
    target = medium_of_edit(talk, "shape", medium)
    carried = [name for name in ("shape", "colour", "size", "position") if name in scene.attributes]
    names = talk.rng.sample([name for name in carried if name in CARRIED[target or "text"]], 2)
    after = changed_values(talk, scene, names)
    if "shape" in names and "position" not in names:
        thing = " ".join(edit_words(talk, name, after) for name in ("size", "colour", "shape") if name in names)
        return talk.ask("edit_thing", value=thing), after, target
    one, other = (f"{'a ' if name == 'shape' else ''}{edit_words(talk, name, after)}" for name in names)
    return talk.ask("edit_two", one=one, other=other), after, target


def edit_and_make(talk: DialogueState, scene: Scene, medium: str | None) -> tuple[str, Scene, str | None]:
    """A change and a conversion at once: "Make it red and play it." """
    if not talk.outputs:
        return edit_two(talk, scene, medium)
    target = talk.rng.choice(talk.outputs)
    name = talk.rng.choice([name for name in ("shape", "colour", "size") if name in scene.attributes])
    after = changed_values(talk, scene, [name])
    words = f"{'a ' if name == 'shape' else ''}{edit_words(talk, name, after)}"
    return talk.ask("edit_and_make", value=words, act=talk.rng.choice(VERBS[target])), after, target


def undo(talk: DialogueState) -> None:
    """Back to what there was before the last change of the same medium."""
    before, medium = talk.before
    if before is None or talk.scene is None or medium != talk.medium or medium not in (None, *talk.outputs):
        return edit(talk)
    talk.add([talk.ask("undo")], given(before, medium), before, medium)
    return None


def edited(talk: DialogueState, scene: Scene, medium: str | None) -> tuple[str, str]:
    """An attribute that the edited medium shows, and its new value; a picture or a scan may also be set in motion."""
    shown_in = {name: medium_of_edit(talk, name, medium) or "text" for name in scene.attributes}
    attributes = [name for name, modality in shown_in.items() if name in CARRIED[modality]]
    if medium in ("image", "points") and "video" in talk.outputs and talk.chance(0.3):
        attributes = ["motion"]
    while True:
        attribute = talk.rng.choice(attributes)
        value = talk.rng.choice([value for value in VALUES[attribute] if value != getattr(scene, attribute)])
        if talk.allows(scene.changed(attribute, value)) and not (value == "still" and scene.motion is None):
            return attribute, value


def changed_values(talk: DialogueState, scene: Scene, names: Sequence[str]) -> Scene:
    """The scene with other values of these attributes."""
    while True:
        after = scene
        for name in names:
            others = [value for value in VALUES[name] if value != scene.value(name)]
            after = after.changed(name, talk.rng.choice(others))
        if talk.allows(after):
            return after


def medium_of_edit(talk: DialogueState, attribute: str, medium: str | None) -> str | None:
    """What an edit of a medium gives: words stay words, media stay what they are, what is set in motion is a video."""
    if medium is None:
        return None
    if attribute not in CARRIED[medium] and attribute == "motion":
        return "video"
    return medium if medium in talk.outputs else next(iter(talk.outputs), None)


def edit_words(talk: DialogueState, attribute: str, after: Scene) -> str:
    """An attribute's new value in words."""
    return value_phrase(attribute, after.value(attribute), talk.rng)


def edit_request(talk: DialogueState, attribute: str, value: str, scene: Scene, medium: str | None) -> str:
    """An edit of one attribute in words."""
    if attribute == "size" and medium == "audio" and talk.chance(0.5):
        return talk.ask("edit_quieter" if value == "small" else "edit_louder")
    if attribute == "size" and talk.chance(0.3):
        return talk.ask("edit_smaller" if value == "small" else "edit_larger")
    if attribute == "motion" and medium in ("audio", "video"):
        if value == "still" and talk.chance(0.5):
            return talk.ask("edit_stop")
        if value == OPPOSITE.get(scene.motion or "") and talk.chance(0.5):
            return talk.ask("edit_reverse")
        if value != "still" and talk.chance(0.4):
            return talk.ask("edit_way", value=talk.rng.choice(WAYS[value]))
    return talk.ask(f"edit_{attribute}", value=value_phrase(attribute, value, talk.rng))
