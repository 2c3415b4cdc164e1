"""Read attributes back from texts by their words alone."""

from __future__ import annotations

import functools
import re

from pipelines.tiny.world.readings import Reading
from pipelines.tiny.world.scenes import ATTRIBUTES, MOTIONS, attributes_of

_MOTION = re.compile(rf"\b(?:moving\s+({'|'.join(MOTIONS[1:])})|(still))\b", re.IGNORECASE)

_VERDICT = re.compile(
    r"You ask if it is ([^,]+), and it is ([^:]+): (?:the same, so (yes)|not the same, so (no))\.", re.IGNORECASE
)
_COMPARISON = re.compile(
    r"\b(?:first is|it was) ([^,]+), (?:the second is|now it is) ([^:]+): (not )?the same (\w+)\b", re.IGNORECASE
)


def read_text(text: str, modality: str = "text") -> Reading:
    """Read the attribute words of a free text: whole words in any case, the longest position that fits.

    These are the world's canonical words; `phrases.canonical` puts them in place of their synonyms.
    A motion is "moving left" and the like, or "still"; its "left" is no position.

    Args:
        text: any text.
        modality: what the text is about. Where that is a video or an audio, no word of a motion means "still".
    Returns:
        The reading; None for what is named with two different values, or not at all.
    """
    found: dict[str, str | None] = {}
    motions = {(match[1] or match[2]).lower() for match in _MOTION.finditer(text)}
    if not motions and modality != "text" and "motion" in attributes_of(modality):
        motions = {"still"}
    found["motion"] = motions.pop() if len(motions) == 1 else None
    without_motions = _MOTION.sub(" ", text)
    for attribute in ATTRIBUTES:
        values = {" ".join(match.lower().split()) for match in _words(attribute).findall(without_motions)}
        found[attribute] = values.pop() if len(values) == 1 else None
    return Reading(**found)


def read_comparison(text: str) -> dict[str, str | None]:
    """Read a verdict on two things: {"attribute": "colour", "first": "red", "second": "blue", "same": "no"}.

    All are None where there is no such verdict, a value also where none or several are named.
    """
    found = _COMPARISON.search(text)
    if found is None:
        return dict.fromkeys(("attribute", "first", "second", "same"))
    first, second, differs, attribute = found.groups()
    return {
        "attribute": attribute.lower(),
        "first": _one_value(first),
        "second": _one_value(second),
        "same": "no" if differs else "yes",
    }


def read_verdict(text: str) -> dict[str, str | None]:
    """Read a yes or no: {"asked": "blue", "stated": "red", "verdict": "no"}, None for what is not said."""
    found = _VERDICT.fullmatch(text.strip())
    if found is None:
        return dict.fromkeys(("asked", "stated", "verdict"))
    return {"asked": _one_value(found[1]), "stated": _one_value(found[2]), "verdict": (found[3] or found[4]).lower()}


def _one_value(text: str) -> str | None:
    """The value of the only attribute that a text names."""
    values = [value for attribute in (*ATTRIBUTES, "motion") if (value := read_text(text).get(attribute)) is not None]
    return values[0] if len(values) == 1 else None


@functools.cache
def _words(attribute: str) -> re.Pattern[str]:
    """Matches any value of an attribute; longer ones first, so that "top left" is neither "top" nor "left"."""
    values = sorted(ATTRIBUTES[attribute], key=len, reverse=True)
    either = "|".join(value.replace(" ", r"\s+") for value in values)
    return re.compile(rf"\b(?:{either})\b", re.IGNORECASE)
