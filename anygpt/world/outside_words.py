"""Colours and things that the world does not have, to be asked for and refused."""

from __future__ import annotations

import random

from anygpt.world.scenes import COLOURS, SHAPES

# Split → words. What is held out measures whether a word must be known to be refused.
UNKNOWN_COLOURS = {
    "train": (
        "pink", "purple", "orange", "black", "white", "brown", "grey", "gray", "golden", "silver", "violet",
        "turquoise", "beige", "lime", "olive", "navy", "maroon", "indigo", "crimson", "striped", "rainbow-coloured",
        "transparent", "dark", "bright", "spotted", "cream", "bronze", "rose", "lilac",
    ),
    "held_out": ("teal", "peach", "mint", "copper", "lavender", "checkered"),
}  # fmt: skip
UNKNOWN_THINGS = {
    "train": (
        "cat", "dog", "house", "tree", "car", "horse", "mountain", "flower", "bird", "fish", "person", "city",
        "hexagon", "pentagon", "heart", "diamond", "rectangle", "line", "cross", "moon", "sun", "boat", "robot",
        "bicycle", "rabbit", "ball", "table", "chair", "dragon", "train", "river", "cup", "book", "guitar", "piano",
        "bell", "drum",
        "voice", "song", "melody", "dance", "football match", "cloud", "trapezoid", "spiral", "smiley", "spaceship",
        "lion", "face",
    ),
    "held_out": ("castle", "banana", "lamp", "parallelogram", "tiger", "bridge", "flute", "clock"),
}  # fmt: skip


def unknown_value(attribute: str, split: str, rng: random.Random) -> str:
    """A colour or a shape (any thing) that the world does not have."""
    return rng.choice((UNKNOWN_COLOURS if attribute == "colour" else UNKNOWN_THINGS)[split])


def unknown_thing(split: str, rng: random.Random) -> str:
    """A noun phrase of something that the world does not have: "a small pink star", "a red house", "a cat"."""
    size = rng.choice(("", "", "small", "tiny", "large", "big"))
    colour, thing = rng.choice(
        (
            (unknown_value("colour", split, rng), rng.choice(SHAPES)),
            (rng.choice(tuple(COLOURS)), unknown_value("shape", split, rng)),
            ("", unknown_value("shape", split, rng)),
        )
    )
    words = " ".join(f"{size} {colour} {thing}".split())
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
