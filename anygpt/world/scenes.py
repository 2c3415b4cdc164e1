"""What can exist in the world: scenes and their attributes."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = {
    "red": (220, 40, 40),
    "yellow": (235, 215, 40),
    "green": (40, 180, 70),
    "cyan": (40, 200, 215),
    "blue": (50, 80, 225),
    "magenta": (205, 60, 200),
}
SIZES = ("small", "large")
POSITIONS = (
    "top left", "top", "top right",
    "left", "center", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
ATTRIBUTES = {"shape": SHAPES, "colour": tuple(COLOURS), "size": SIZES, "position": POSITIONS}

# (colour, shape) pairs that no adapter (projector, signal token, LoRA weight) is ever trained on.
UNSEEN_PAIRS = frozenset({("cyan", "circle"), ("magenta", "square"), ("blue", "triangle"), ("yellow", "star")})


@dataclass(frozen=True)
class Scene:
    """One thing in the world. Every attribute is one of the values in `ATTRIBUTES`."""

    shape: str
    colour: str
    size: str = "large"
    position: str = "center"

    def __post_init__(self) -> None:
        for name, values in ATTRIBUTES.items():
            if getattr(self, name) not in values:
                raise ValueError(f"scene {name}: {getattr(self, name)!r} is not one of {', '.join(values)}")

    @property
    def seen(self) -> bool:
        """True where the adapters may be trained on this scene."""
        return (self.colour, self.shape) not in UNSEEN_PAIRS

    def changed(self, attribute: str, value: str) -> Scene:
        """The same scene with one attribute changed."""
        return replace(self, **{attribute: value})


ALL_SCENES = tuple(
    Scene(shape, colour, size, position)
    for shape, colour, size, position in itertools.product(SHAPES, COLOURS, SIZES, POSITIONS)
)
SEEN_SCENES = tuple(scene for scene in ALL_SCENES if scene.seen)
UNSEEN_SCENES = tuple(scene for scene in ALL_SCENES if not scene.seen)


def random_edit(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """An attribute of the scene and another value for it: `("colour", "blue")`."""
    attribute = rng.choice(tuple(ATTRIBUTES))
    others = [value for value in ATTRIBUTES[attribute] if value != getattr(scene, attribute)]
    return attribute, rng.choice(others)
