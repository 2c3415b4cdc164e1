"""A conversation of the world while it is being made: its turns, and what is talked about.

A turn's parts are text or a `Depiction`, a scene in some modality that its reader renders (training, evaluation) or
spells out (text-only pretraining). What is talked about is the last thing that was said, shown or made: a scene and
the medium it was in.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.tiny.world.phrases import Split, request
from pipelines.tiny.world.scenes import Scene, scenes_for, seen_scenes

SHOWABLE = ("image", "audio", "video", "points")
MAKEABLE = ("image", "audio", "video")


@dataclass(frozen=True)
class Depiction:
    """A scene as a medium: `modality` is "image", "audio", "video" or "points"."""

    scene: Scene
    modality: str = "image"


Part = str | Depiction


@dataclass(frozen=True)
class Turn:
    """One request and the right reply."""

    user: tuple[Part, ...]
    reply: tuple[Part, ...]


@dataclass
class DialogueState:
    """A dialogue being made.

    Attributes:
        seen: True keeps to pairs that adapters may be trained on.
        inputs, outputs: modalities that people may show and ask for.
        scene, medium: what is talked about, and the modality it was last in; None of both at first.
        before: what `scene` and `medium` were before the last turn that changed them.
    """

    rng: random.Random
    seen: bool = True
    split: Split = "train"
    inputs: Sequence[str] = SHOWABLE
    outputs: Sequence[str] = MAKEABLE
    turns: list[Turn] = field(default_factory=list)
    scene: Scene | None = None
    medium: str | None = None
    before: tuple[Scene | None, str | None] = (None, None)

    def ask(self, part: str, **slots: str) -> str:
        return request(part, self.split, self.rng, **slots)

    def add(self, user: Sequence[Part], reply: Sequence[Part], scene: Scene | None, medium: str | None) -> None:
        self.turns.append(Turn(tuple(user), tuple(reply)))
        if (scene, medium) != (self.scene, self.medium):
            self.before = (self.scene, self.medium)
            self.scene, self.medium = scene, medium

    @property
    def began(self) -> bool:
        """True once anything was said, shown or made."""
        return self.scene is not None or any(isinstance(part, Depiction) for turn in self.turns for part in turn.user)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def allows(self, scene: Scene) -> bool:
        return scene.seen or not self.seen

    def random_scene(self, modality: str) -> Scene:
        return self.rng.choice(seen_scenes(modality) if self.seen else scenes_for(modality))

    def sayable_scene(self) -> Scene:
        """A scene that only words hold: as any medium has it, now and then with a place and a motion."""
        return self.random_scene(self.rng.choice(("image", "image", "video", "video", "points", "text")))

    def shows(self, said: str, modality: str, scene: Scene) -> list[Part]:
        """A user message with a medium and words, in either order; the words may be missing."""
        depiction = Depiction(scene, modality)
        if not said:
            return [depiction]
        return [depiction, said] if self.chance(0.7) else [said, depiction]

    def subject(self, fresh_share: float) -> tuple[Scene, str | None, bool] | None:
        """What a turn is about: scene, modality, and whether the user shows it now; None where there is nothing yet."""
        if self.scene is not None and not (self.inputs and self.chance(fresh_share)):
            return self.scene, self.medium, False
        if not self.inputs:
            return None
        modality = self.rng.choice(self.inputs)
        return self.random_scene(modality), modality, True

    def about(self, said: str, scene: Scene, modality: str | None, fresh: bool) -> list[Part]:
        """The user's message about the subject."""
        return self.shows(said, modality, scene) if fresh and modality else [said]
