"""Text that OmegaConf would take for a reference ("${key}", "${oc.env:HOME}") and look up, hidden from it.

OmegaConf has no switch for it, and its escape, a backslash, is taken away in some places and then looked up all the
same. So it never sees "${": a character that no text needs stands between the two, as long as OmegaConf has the values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

_REFERENCE = "${"
_HIDDEN = "$\ue0f1{"  # of Unicode's private use area


def without_references(values: Any) -> Any:
    """Plain values for OmegaConf."""
    return _replaced(values, _REFERENCE, _HIDDEN)


def with_references(values: Any) -> Any:
    """What OmegaConf has made of them, with the text as it was: plain values, dataclasses or a message."""
    return _replaced(values, _HIDDEN, _REFERENCE)


def _replaced(values: Any, old: str, new: str) -> Any:
    if isinstance(values, str):
        return values.replace(old, new)
    if isinstance(values, Mapping):
        return {_replaced(key, old, new): _replaced(value, old, new) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(_replaced(value, old, new) for value in values)
    if dataclasses.is_dataclass(values):
        for field in dataclasses.fields(values):
            object.__setattr__(values, field.name, _replaced(getattr(values, field.name), old, new))
    return values
