# ruff: noqa: E501 (one phrase a line would make this file unreadable)
"""More ways to ask than any list: phrases put together from parts, so that no wording is learned by heart.

`{scene}` and `{value}` are slots as in `pipelines.tiny.world.phrases`, which keeps what is held out from being composed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

# Alternatives in order; one of each is taken. An empty one leaves its place out.
Composition = tuple[tuple[str, ...], ...]

WOULD = (
    "Can you",
    "Could you",
    "Would you",
    "Will you",
    "I want you to",
    "I need you to",
    "I'd like you to",
    "Please",
    "Try to",
    "You may",
    "Let's",
    "",
)
_DRAWING = ("draw", "paint", "sketch", "make", "create", "generate", "produce", "render", "prepare", "show", "do")
_PICTURE = ("a picture", "an image", "a drawing", "a painting", "a sketch", "one picture", "another image")
OF = (
    "of {scene}",
    "with {scene}",
    "that has {scene}",
    "that shows {scene}",
    "showing {scene}",
    "with {scene} in it",
    "which has {scene} in it",
    "where there is {scene}",
    ": {scene}",
)
WISH = (
    "I want",
    "I would like",
    "I'd like",
    "I need",
    "I'd love",
    "Give me",
    "Let me have",
    "Let me get",
    "Can I have",
    "Could I have",
    "May I have",
    "May I get",
    "I wish for",
    "Send me",
    "Get me",
)
SEE = (
    "Let me see",
    "I want to see",
    "I would like to see",
    "Can I see",
    "Could I see",
    "May I look at",
    "Might I see",
    "I'd like to look at",
    "Let us look at",
    "Show me",
    "Could you show",
    "May I have",
)
_IT = ("it", "that", "this", "the thing", "the same", "what I said")
TELL = (
    "tell me",
    "say",
    "describe",
    "write",
    "write down",
    "put down",
    "explain",
    "report",
    "note",
    "tell",
    "state in words",
    "write in a sentence",
)
_WHAT = (
    "what you see",
    "what this is",
    "what it is",
    "what is there",
    "what is shown",
    "what the picture shows",
    "what the image has",
    "what you see in the picture",
    "what we have here",
    "what I am showing you",
    "what there is to see",
    "the picture",
    "the image",
    "the scene",
    "this picture",
    "what is in this image",
)
WHOLE = ("a description", "a short description", "a caption", "some words", "a line", "one sentence")
_ABOUT = ("of it", "of this", "of the picture", "of the image", "of the scene", "about the picture", "for this image")
CLOSING = ("", "", "", "please", "for me", "here", "now")
_MAKE = (
    "make it",
    "turn it",
    "have it",
    "get it",
    "change it to",
    "make that",
    "make this",
    "switch it to",
    "let it become",
    "keep it but make it",
    "do it again but",
)
_RATHER = (
    "I'd prefer it",
    "I would rather see it",
    "I want it to be",
    "I'd like it to be",
    "It should become",
    "It must be",
    "It can be",
    "Let it become",
    "Might it be",
    "May it be",
    "Can it be",
    "Would it work if it were",
    "I need it to be",
    "Better",
    "I'd like to have it",
    "Have this",
    "Now it is",
)
_PLACE = (
    "move it",
    "put it",
    "place it",
    "shift it",
    "set it",
    "bring it",
    "have it moved",
    "have it put",
    "have this",
    "get it",
    "let it go",
    "push it",
    "draw it",
)

COMPOSITIONS: dict[str, tuple[Composition, ...]] = {
    "draw": (
        (WOULD, _DRAWING, ("", "me"), _PICTURE, OF, CLOSING),
        (WOULD, _DRAWING, ("", "me"), ("{scene}",), CLOSING),
        (WISH, _PICTURE, OF, CLOSING),
        (SEE, ("{scene}",), ("", "", "in a picture", "as an image", "as a drawing", "please", "now")),
        (_PICTURE, OF, CLOSING),
    ),
    "draw_it": (
        (WOULD, _DRAWING, ("", "me"), _IT, CLOSING),
        (WOULD, _DRAWING, ("", "me"), _PICTURE, ("of it", "of that", "of this"), CLOSING),
        (WISH, _PICTURE, ("of it", "of that", "of this"), CLOSING),
        (SEE, _IT, CLOSING),
    ),
    "describe": (
        (WOULD, TELL, _WHAT, CLOSING),
        (WISH, WHOLE, _ABOUT, CLOSING),
        (WOULD, ("give me", "write", "write me", "write down", "say", "make"), WHOLE, _ABOUT, CLOSING),
        (("What do you", "What can you", "What would you", "What do we"), ("see", "find", "notice", "make out", "have"), ("", "here", "in it", "in this", "in the picture", "in this picture", "in the image", "there")),
        (("What is", "What's", "What do you think is", "Tell me what is"), ("this", "here", "in this", "in the picture", "on this image", "there", "shown", "shown here", "to be seen")),
    ),
    "edit_colour": ((WOULD, _MAKE, ("{value}",), CLOSING), (_RATHER, ("{value}",), CLOSING)),
    "edit_size": ((WOULD, _MAKE, ("{value}",), CLOSING), (_RATHER, ("{value}",), CLOSING)),
    "edit_shape": (
        (WOULD, ("make it", "turn it into", "change it into", "make that", "switch it to", "have it be", "make this", "swap it for", "draw it as"), ("a {value}",), CLOSING),
        (_RATHER, ("a {value}",), CLOSING),
        (("I want", "I'd like", "I would like", "I need", "Give me", "I'd rather have", "Let me have"), ("a {value}",), ("in its place", "there", "of it", "instead of this", "here", "this time")),
    ),
    "edit_position": (
        (WOULD, _PLACE, ("{value}",), CLOSING),
        (_RATHER, ("{value}",), CLOSING),
        (("Might it", "May it", "Can it", "Would it", "I want it to", "I need it to", "It should", "It must"), ("go", "stand", "lie", "rest", "stay", "appear"), ("{value}",), CLOSING),
    ),
    "ask_colour": ((WOULD, ("tell me", "say", "name", "write", "write down"), ("the colour", "its color", "which colour it has", "what color this is", "what colour you see"), CLOSING),),
    "ask_shape": ((WOULD, ("tell me", "say", "name", "write", "write down"), ("the shape", "its shape", "which shape this is", "what shape you see", "what kind of shape it is"), CLOSING),),
    "ask_size": ((WOULD, ("tell me", "say", "name", "write", "write down"), ("the size", "its size", "how large it is", "how big this is", "if it is big or small"), CLOSING),),
    "ask_position": ((WOULD, ("tell me", "say", "name", "write", "write down"), ("the position", "its place", "where this is", "where you see it", "where it can be found"), CLOSING),),
    "say": ((("Imagine", "Suppose", "Think of", "Picture", "Let us imagine", "Let's consider", "Consider", "Assume", "See", "We see", "You see", "I think of", "Begin with", "I am seeing", "Before me is", "Here you have"), ("{scene}",), ("", "", "first", "now", "please", "for a start")),),
}  # fmt: skip


def compose(compositions: Sequence[Composition], rng: random.Random) -> str:
    """A phrase from one of the compositions, its slots not yet filled."""
    return _joined([rng.choice(alternatives) for alternatives in rng.choice(compositions)])


def all_compositions(compositions: Sequence[Composition]) -> Iterator[str]:
    """Every phrase that `compose` may give."""
    for composition in compositions:
        for words in itertools.product(*composition):
            yield _joined(list(words))


def _joined(words: list[str]) -> str:
    said = " ".join(word for word in words if word).replace(" :", ":")
    asks = said.startswith(("Can", "Could", "Would", "Will", "May", "Might", "What", "Is", "Are", "Do"))
    return said[0].upper() + said[1:] + ("?" if asks else ".")
