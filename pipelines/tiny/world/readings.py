"""What an oracle reads from a medium, and what all of them share: the names of hues."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.tiny.world.scenes import COLOURS, VALUES, Scene

MAX_HUE_ERROR_DEG = 18.0
MIN_SATURATION = 0.5


@dataclass(frozen=True)
class Reading:
    """What can be read from a medium; None where an attribute is not readable or not carried."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    position: str | None = None
    motion: str | None = None

    def get(self, attribute: str) -> str | None:
        """The value of an attribute named as in `VALUES`."""
        if attribute not in VALUES:
            raise ValueError(f"attribute: {attribute!r} is not one of {', '.join(VALUES)}")
        value: str | None = getattr(self, attribute)
        return value

    def matches(self, scene: Scene, attributes: Sequence[str] | None = None) -> bool:
        """True where all the named attributes, by default those that the scene has, are read as they are in it."""
        names = scene.attributes if attributes is None else attributes
        return all(self.get(attribute) == getattr(scene, attribute) for attribute in names)


def name_hue(rgb_3: np.ndarray) -> str | None:
    """The colour whose hue is nearest to an RGB value of any scale; None if that is far, or the value is pale."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*(float(channel) for channel in rgb_3))
    if saturation < MIN_SATURATION:
        return None
    errors_deg = {name: abs((360.0 * (hue - nominal) + 180.0) % 360.0 - 180.0) for name, nominal in _hues().items()}
    nearest = min(errors_deg, key=errors_deg.__getitem__)
    return nearest if errors_deg[nearest] <= MAX_HUE_ERROR_DEG else None


@functools.cache
def _hues() -> dict[str, float]:
    return {name: colorsys.rgb_to_hsv(*rgb)[0] for name, rgb in COLOURS.items()}
