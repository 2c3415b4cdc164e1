"""What every figure is measured on: a loaded assistant, and how often to repeat."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image

from pipelines.assistant import AnyGPT
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.scenes import Scene

DRAW = "Draw a large red circle at the top left, please."
# Enough text for a sentence; and an untrained model, which never ends by itself, comes to its picture as well.
DRAW_TOKENS = 12


@dataclass
class Setup:
    """The stack under test.

    Attributes:
        config: a shipped name or a YAML file.
        repeats: how often each measurement is repeated; figures are medians.
        new_tokens: length of the replies whose decoding is timed.
    """

    config: str | os.PathLike[str] = "tiny"
    repeats: int = 9
    new_tokens: int = 64

    @cached_property
    def model(self) -> AnyGPT:
        """The assistant, loaded when first asked for."""
        return AnyGPT.from_config(self.config)

    @property
    def stack(self) -> Any:
        """The assistant's parts, all in this process."""
        return self.model.executor.stack  # type: ignore[attr-defined]

    @property
    def picture(self) -> Image.Image:
        """A picture to send along."""
        return render_image(Scene("star", "red"))

    def draw(self, seed: int = 0) -> None:
        """One request for a picture.

        Raises:
            RuntimeError: if none came, which would make a figure mean nothing.
        """
        reply = self.model.chat(DRAW, seed=seed, modalities=["image"], max_tokens=DRAW_TOKENS)
        if len(reply.images) != 1:
            raise RuntimeError(f"{len(reply.images)} pictures came, expected one: {reply.errors}")

    def close(self) -> None:
        """Stop the assistant, if it was loaded."""
        if "model" in self.__dict__:
            self.model.close()
            del self.model
