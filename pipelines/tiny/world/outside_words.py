"""Colours and things that the world does not have, to be asked for and refused."""

from __future__ import annotations

import functools
import random

from pipelines.tiny.world.replies import SOLIDS
from pipelines.tiny.world.scenes import COLOURS, SHAPES, VALUES

# Split → words. What is held out measures whether a word must be known to be refused.
UNKNOWN_COLOURS = {
    "train": (
        "pink", "purple", "orange", "black", "white", "brown", "grey", "gray", "golden", "silver", "violet",
        "turquoise", "beige", "lime", "olive", "navy", "maroon", "indigo", "crimson", "striped", "rainbow-coloured",
        "transparent", "dark", "bright", "spotted", "cream", "bronze", "rose", "lilac", "amber", "scarlet", "ruby",
        "emerald", "jade", "sapphire", "tan", "khaki", "ivory", "coral", "salmon", "plum", "mustard", "ochre",
        "rusty", "charcoal", "burgundy", "azure", "cobalt", "pastel", "dotted", "shiny", "glowing", "wooden",
        "furry", "colourless", "muddy", "neon", "metallic", "glass", "patterned", "chocolate", "cherry", "lemon",
        "apricot", "denim",
    ),
    "held_out": ("teal", "peach", "mint", "copper", "lavender", "checkered"),
}  # fmt: skip
UNKNOWN_THINGS = {
    "train": (
        "cat", "dog", "house", "tree", "car", "horse", "mountain", "flower", "bird", "fish", "person", "city",
        "hexagon", "pentagon", "heart", "diamond", "rectangle", "line", "cross", "moon", "sun", "boat", "robot",
        "bicycle", "rabbit", "ball", "table", "chair", "dragon", "train", "river", "cup", "book", "guitar", "piano",
        "bell", "drum", "voice", "song", "melody", "dance", "football match", "cloud", "trapezoid", "spiral",
        "smiley", "spaceship", "lion", "face", "apple", "orange", "pear", "bread", "cake", "cheese", "pizza", "egg",
        "tomato", "potato", "carrot", "leaf", "forest", "garden", "lake", "ocean", "beach", "island", "desert",
        "volcano", "hill", "valley", "waterfall", "rainbow", "snowman", "storm", "planet", "rocket", "airplane",
        "helicopter", "bus", "truck", "ship", "tractor", "wheel", "road", "tower", "church", "school", "window",
        "door", "roof", "wall", "kitchen", "bed", "sofa", "desk", "mirror", "candle", "bottle", "glass", "plate",
        "spoon", "knife", "key", "lock", "box", "bag", "hat", "shoe", "shirt", "dress", "ring", "crown", "sword",
        "flag", "phone", "camera", "computer", "screen", "newspaper", "letter", "map", "pencil", "brush", "hammer",
        "monkey", "elephant", "bear", "wolf", "fox", "mouse", "cow", "pig", "sheep", "goat", "duck", "chicken",
        "eagle", "owl", "snake", "frog", "turtle", "shark", "whale", "spider", "bee", "butterfly", "dinosaur",
        "ghost", "monster", "fairy", "king", "queen", "knight", "doctor", "teacher", "child", "baby", "woman", "man",
        "family", "hand", "eye", "nose", "violin", "trumpet", "whistle", "symphony", "thunder", "engine", "siren",
        "choir", "poem", "oval", "ellipse", "octagon", "pyramid", "cylinder", "crescent", "arrow", "grid", "wave",
        "zigzag", "ladder", "fence", "tent",
    ),
    "held_out": ("castle", "banana", "lamp", "parallelogram", "tiger", "bridge", "flute", "clock"),
}  # fmt: skip

MADE_UP_SHARE = 0.5  # of the words to refuse in training, so that it is not their list that is learned
_ONSETS = (
    "b", "br", "c", "ch", "cl", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl", "qu", "r",
    "s", "sh", "sl", "sp", "t", "tr", "v", "w", "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "oo", "ou", "y")
_CODAS = ("", "", "ck", "d", "l", "ld", "m", "mp", "n", "nd", "nk", "p", "r", "rn", "s", "st", "t", "x")


def made_up_word(rng: random.Random) -> str:
    """A word of one to three syllables that no list here has: "grompel", "shaitrind"."""
    while True:
        syllables = rng.choice((1, 1, 2, 2, 2, 3))
        word = "".join(rng.choice(part) for _ in range(syllables) for part in (_ONSETS, _VOWELS, _CODAS))
        if len(word) > 3 and word not in _known_words():
            return word


@functools.cache
def _known_words() -> frozenset[str]:
    """The world's own words, and those that are held out."""
    own = " ".join((*(value for values in VALUES.values() for value in values), "tiny little huge middle upper lower"))
    return frozenset((*own.split(), *SOLIDS.values(), *UNKNOWN_COLOURS["held_out"], *UNKNOWN_THINGS["held_out"]))


def unknown_value(attribute: str, split: str, rng: random.Random) -> str:
    """A colour or a shape (any thing) that the world does not have."""
    if split == "train" and rng.random() < MADE_UP_SHARE:
        return made_up_word(rng)
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
