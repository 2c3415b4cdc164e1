"""`anygpt world`: shows scenes of the small world and reads them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from anygpt.errors import RequestError
from pipelines.cli.options import Seed


def world_draw(
    words: Annotated[str, typer.Argument(help="A scene, as in: 'a small red circle at the top left'.")],
    out: Annotated[Path, typer.Option(help="File to write: .png, .wav, .mp4 or .ply.")] = Path("scene.png"),
    seed: Seed = 0,
) -> None:
    """Draw, play, film or scan a scene exactly, without any model."""
    from anygpt.media.kinds import kind_of_file, save_medium
    from pipelines.tiny.world.oracle import read_text
    from pipelines.tiny.world.phrases import canonical
    from pipelines.tiny.world.rendering import render
    from pipelines.tiny.world.scenes import Scene

    reading = read_text(canonical(words))
    if reading.shape is None or reading.colour is None:
        raise RequestError(
            f"scene: '{words}' given, expected one shape and one colour, as in: a small red circle at the top"
        )
    modality = kind_of_file(out)
    size, position, motion = reading.size or "large", reading.position or "center", reading.motion or "still"
    scene = Scene(reading.shape, reading.colour, size, position, motion).in_modality(modality)
    save_medium(render(scene, modality, seed), out)
    print(out)


def world_read(file: Annotated[Path, typer.Argument(help="A picture, sound, video or point cloud.")]) -> None:
    """Read a file's attributes back by signal processing."""
    from anygpt.config.schema import Limits
    from anygpt.media.kinds import kind_of_file
    from pipelines.cli.terminal import load_file
    from pipelines.tiny.world.oracle import READERS
    from pipelines.tiny.world.scenes import attributes_of

    modality = kind_of_file(file)
    reading = READERS[modality](load_file(modality, file, Limits()))
    print(json.dumps({attribute: reading.get(attribute) for attribute in attributes_of(modality)}))
