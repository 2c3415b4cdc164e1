"""What can exist in the world: scenes and their attributes."""

from __future__ import annotations

import functools
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
MOTIONS = ("still", "left", "right", "up", "down")
VALUES = {"shape": SHAPES, "colour": tuple(COLOURS), "size": SIZES, "position": POSITIONS, "motion": MOTIONS}

# Modality → the attributes that it carries; words can say all of them.
CARRIED = {
    "text": tuple(VALUES),
    "image": ("shape", "colour", "size", "position"),
    "audio": ("shape", "colour", "size", "motion"),
    "video": ("shape", "colour", "size", "motion"),
    "points": ("shape", "colour"),
}
ATTRIBUTES = {name: VALUES[name] for name in CARRIED["image"]}  # of a picture
DEFAULTS = {"size": "large", "position": "center", "motion": "still"}  # where nothing is said

# (colour, shape) pairs that no adapter (projector, signal token, LoRA weight) is ever trained on.
UNSEEN_PAIRS = frozenset({("cyan", "circle"), ("magenta", "square"), ("blue", "triangle"), ("yellow", "star")})


@dataclass(frozen=True)
class Scene:
    """One thing in the world. Every attribute is one of the values in `VALUES`.

    Size, position and motion are None where the scene has none, as in a medium that does not carry them.
    """

    shape: str
    colour: str
    size: str | None = "large"
    position: str | None = "center"
    motion: str | None = None

    def __post_init__(self) -> None:
        for name, values in VALUES.items():
            value = getattr(self, name)
            if value not in values and not (value is None and name in DEFAULTS):
                raise ValueError(f"scene {name}: {value!r} is not one of {', '.join(values)}")

    @property
    def seen(self) -> bool:
        """True where the adapters may be trained on this scene."""
        return (self.colour, self.shape) not in UNSEEN_PAIRS

    def changed(self, attribute: str, value: str) -> Scene:
        """The same scene with one attribute changed."""
        return replace(self, **{attribute: value})

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the attributes that the scene has, in the order of `VALUES`."""
        return tuple(name for name in VALUES if getattr(self, name) is not None)

    def value(self, attribute: str) -> str:
        """The value of an attribute that the scene must have.

        Raises:
            ValueError: if it has none.
        """
        value: str | None = getattr(self, attribute)
        if value is None:
            raise ValueError(
                f"scene {attribute}: {self} has none, expected one of {', '.join(VALUES[attribute])}; "
                "scene.in_modality(...) fills in what a medium needs"
            )
        return value

    def in_modality(self, modality: str) -> Scene:
        """The scene as a medium shows it: with what that carries alone, and the defaults for what was not said."""
        carried = attributes_of(modality)
        values = {
            name: getattr(self, name) or default if name in carried else None for name, default in DEFAULTS.items()
        }
        return Scene(self.shape, self.colour, **values)


def attributes_of(modality: str) -> tuple[str, ...]:
    """The names of the attributes that a modality carries: "text", "image", "audio", "video" or "points"."""
    if modality not in CARRIED:
        raise ValueError(f"modality: {modality!r} is not one of {', '.join(CARRIED)}")
    return CARRIED[modality]


@functools.cache
def scenes_for(modality: str) -> tuple[Scene, ...]:
    """Every scene of a modality; those of the image are `ALL_SCENES`, and text has those that say everything."""
    carried = attributes_of(modality)
    values = [VALUES[name] if name in carried else (None,) for name in VALUES]
    return tuple(itertools.starmap(Scene, itertools.product(*values)))


@functools.cache
def seen_scenes(modality: str, seen: bool = True) -> tuple[Scene, ...]:
    """The scenes of a modality whose pairs adapters may be trained on; with `seen=False` all the others."""
    return tuple(scene for scene in scenes_for(modality) if scene.seen == seen)


ALL_SCENES = scenes_for("image")
SEEN_SCENES = seen_scenes("image")
UNSEEN_SCENES = seen_scenes("image", seen=False)


def random_edit(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """An attribute of the scene and another value for it: `("colour", "blue")`."""
    attribute = rng.choice(scene.attributes)
    others = [value for value in VALUES[attribute] if value != getattr(scene, attribute)]
    return attribute, rng.choice(others)
