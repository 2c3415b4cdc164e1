"""Pictures as Markdown inside a reply's text, for clients that show nothing but text; and back again."""

from __future__ import annotations

import re

# A picture as this service writes it. Both brackets are found without looking back, however long the text is.
_PICTURE = re.compile(r"\s*!\[picture\]\((data:image/png;base64,[A-Za-z0-9+/=]*)\)\s*")


def as_markdown(url: str) -> str:
    """A picture's data URL as a paragraph of its own."""
    return f"\n\n![picture]({url})\n\n"


def with_pictures(text: str, pictures: list[tuple[int, str]]) -> str:
    """The text with pictures in their places.

    Args:
        pictures: (characters of text before it, data URL), in order.
    """
    pieces, start = [], 0
    for offset, url in pictures:
        pieces += [text[start:offset], as_markdown(url)]
        start = offset
    return "".join((*pieces, text[start:])).strip("\n")


def split_pictures(text: str) -> tuple[str, list[tuple[int, str]]]:
    """The text without the pictures that `with_pictures` put there, and those pictures."""
    pieces: list[str] = []
    pictures: list[tuple[int, str]] = []
    chars, start = 0, 0
    for match in _PICTURE.finditer(text):
        pieces.append(text[start : match.start()])
        chars += len(pieces[-1])
        pictures.append((chars, match[1]))
        start = match.end()
    return "".join((*pieces, text[start:])), pictures
