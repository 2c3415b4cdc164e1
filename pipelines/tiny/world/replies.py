"""What the assistant says: the wordings of its replies, one for each thing that it can mean."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.tiny.world.phrases import caption, movement, place
from pipelines.tiny.world.scenes import Scene
from pipelines.tiny.world.turns import Depiction, Part

GREETING = (
    "I draw, play, film and describe simple things: a circle, square, triangle or star in red, yellow, green, cyan, "
    "blue or magenta. Ask me for a picture, a sound or a video of one, or show me something."
)
OUTSIDE = (
    "That is outside my small world. I can draw, play, film, describe and change a circle, square, triangle or star "
    "in red, yellow, green, cyan, blue or magenta."
)
NOTHING_YET = "There is nothing yet. Ask me for a picture, a sound or a video, or show me something."
WELCOME = "You are welcome. What shall we make next?"
# Output modality → the word that announces its medium, and what stands in its place where a request forbids it.
ANNOUNCED = {"image": "Here is", "audio": "Listen to", "video": "Watch"}
NOT_ALLOWED = {
    "image": " But no picture is allowed here.",
    "audio": " But no sound is allowed here.",
    "video": " But no video is allowed here.",
}
LOUDNESS = {"small": "quiet", "large": "loud"}
SOLIDS = {"circle": "sphere", "square": "cube", "triangle": "cone", "star": "star prism"}


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


def given(scene: Scene, medium: str | None) -> list[Part]:
    """The reply that makes a medium of a scene, or keeps it in words where `medium` is None."""
    return [f"Now there is {caption(scene)}."] if medium is None else made(scene, medium)


def description(scene: Scene) -> str:
    """ "This is a small red circle at the top left." """
    return f"This is {caption(scene)}."


def descriptions(first: Scene, second: Scene) -> str:
    """The description of two media."""
    return f"The first is {caption(first)}, the second is {caption(second)}."


def stated(attribute: str, value: str) -> str:
    """A value as it stands in a reply: "a star", "blue", "small", "at the top", "moving up", "still"."""
    if attribute == "shape":
        return f"a {value}"
    if attribute == "position":
        return place(value)
    return (movement(value) or value) if attribute == "motion" else value


def answer(attribute: str, scene: Scene) -> str:
    """The reply to a question about one attribute."""
    return f"It is {stated(attribute, scene.value(attribute))}."


def answer_both(one: str, other: str, scene: Scene) -> str:
    """The reply to a question about two attributes: "It is red and it is a star." """
    return f"{answer(one, scene)[:-1]} and it is {stated(other, scene.value(other))}."


def loudness(scene: Scene) -> str:
    """How loud it is: a sound's loudness is the size of the thing."""
    size = scene.value("size")
    return f"It is {size}, so it is {LOUDNESS[size]}."


def solid(scene: Scene) -> str:
    """Which solid it is: a point cloud's solid is the shape of the thing."""
    return f"It is a {scene.shape}, so it is a {SOLIDS[scene.shape]}."


def verdict(attribute: str, asked: str, scene: Scene) -> str:
    """The reply to a yes or no question: both values come first, and then a comparison's words, since a small model
    compares what it has written."""
    one, other = (stated(attribute, value) for value in (asked, scene.value(attribute)))
    return f"You ask if it is {one}, and it is {other}: {_alike(one, other)}, so {'yes' if one == other else 'no'}."


def comparison(attribute: str, first: Scene, second: Scene) -> str:
    """Whether two media are alike; both values come first, as in a verdict."""
    one, other = (stated(attribute, scene.value(attribute)) for scene in (first, second))
    return f"The first is {one}, the second is {other}: {_alike(one, other)} {attribute}."


def comparison_with_before(attribute: str, before: Scene, now: Scene) -> str:
    """Whether a thing is like the one that was talked about before it."""
    one, other = (stated(attribute, scene.value(attribute)) for scene in (before, now))
    return f"It was {one}, now it is {other}: {_alike(one, other)} {attribute}."


def _alike(one: str, other: str) -> str:
    return "the same" if one == other else "not the same"
