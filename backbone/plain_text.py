"""Text as a keyboard has it, for language models that never met anything else."""

from __future__ import annotations

import re
import unicodedata

_QUOTES = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′ʼ", "'"),
        **dict.fromkeys('“”„‟«»″"', ""),
        "…": ".",
    }
)
_DASH = re.compile(r"\s*[‒–—―]\s*")
_BEFORE_MARK = re.compile(r"\s+([.,!?;:])")
_DOTS = re.compile(r"\.{2,}")
_DROPPED = ("So", "Sk", "Cf", "Cn", "Co", "Mn", "Me")  # emoji and what joins or colours them


def as_plain_text(text: str) -> str:
    """The same words in one line: straight apostrophes, no quotation marks, commas for dashes, no emoji.

    Text that holds nothing else is returned as it is; plain text is not changed.
    """
    plain = _DASH.sub(", ", text.translate(_QUOTES))
    plain = "".join(char for char in plain if unicodedata.category(char) not in _DROPPED)
    plain = _DOTS.sub(".", _BEFORE_MARK.sub(r"\1", " ".join(plain.split())))
    return plain or text
