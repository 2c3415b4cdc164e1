"""What the page's functions take: checked before gradio does, which answers what does not fit in pages of traceback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_WHOLE = 2**53  # beyond it browsers lose digits


@dataclass(frozen=True)
class Input:
    """One value that a function takes.

    Attributes:
        kind: gradio's name of the component: "number", "checkboxgroup", …
        choices: what may be chosen.
        least, most: the range of a number, or of the place of a chosen example.
    """

    kind: str
    choices: tuple[str, ...] = ()
    least: float = -MAX_WHOLE
    most: float = MAX_WHOLE

    def fits(self, value: Any) -> bool:
        """True if the component can hold the value; what a message holds is looked at elsewhere."""
        if self.kind == "state":
            return True  # what a browser says of it is never used
        if self.kind == "multimodaltextbox":
            return isinstance(value, dict)
        if self.kind == "textbox":
            return value is None or isinstance(value, str)
        if self.kind == "checkboxgroup":
            return isinstance(value, list) and all(isinstance(item, str) and item in self.choices for item in value)
        if self.kind == "dataset":
            return type(value) is int and self.least <= value <= self.most
        if self.kind == "number":
            return value is None or self._is_in_range(value)
        return self.kind == "slider" and self._is_in_range(value)

    def _is_in_range(self, value: Any) -> bool:
        return type(value) in (int, float) and self.least <= value <= self.most and math.isfinite(value)


def functions_of(config: Mapping[str, Any]) -> dict[int, tuple[Input, ...]]:
    """The page's functions by number, and what each takes.

    Args:
        config: gradio's description of the page.
    """
    inputs = {part["id"]: _input(part["type"], part["props"]) for part in config["components"]}
    return {
        function["id"]: tuple(inputs[number] for number in function["inputs"])
        for function in config["dependencies"]
        if function["backend_fn"]
    }


def _input(kind: str, props: Mapping[str, Any]) -> Input:
    if kind == "checkboxgroup":
        return Input(kind, choices=tuple(value for _, value in props["choices"]))
    if kind == "dataset":
        return Input(kind, least=0, most=len(props["samples"]) - 1)
    if kind == "slider":
        return Input(kind, least=props["minimum"], most=props["maximum"])
    return Input(kind)
