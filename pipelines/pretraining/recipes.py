"""How the embedded default's frozen parts are made: the steps in order, with their sizes and seeds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from anygpt.errors import ConfigError
from anygpt.weights import WEIGHTS_DIR

SEED = 0


def _autoencoder(out: Path) -> None:
    from pipelines.pretraining.autoencoder import pretrain_autoencoder

    pretrain_autoencoder(out / "autoencoder", steps=3200, batch_size=32, seed=SEED)


def _clip(out: Path) -> None:
    from pipelines.pretraining.clip import pretrain_clip

    pretrain_clip(out / "clip", steps=1100, batch_size=144, seed=SEED)


def _language_model(out: Path) -> None:
    from pipelines.pretraining.language_model import pretrain_language_model

    pretrain_language_model(out / "language_model", steps=2000, turns_per_batch=96, seed=SEED)


def _stable_diffusion(out: Path) -> None:
    from pipelines.pretraining.diffusion import pretrain_diffusion

    pretrain_diffusion(
        out / "stable_diffusion", out / "autoencoder", out / "clip", steps=2600, batch_size=64, seed=SEED
    )


def _package(out: Path) -> None:
    from pipelines.pretraining.packaging import package_parts

    package_parts(out, WEIGHTS_DIR / "tiny")


# In the order in which they build on each other.
RECIPES: Mapping[str, Callable[[Path], None]] = {
    "autoencoder": _autoencoder,
    "clip": _clip,
    "language_model": _language_model,
    "stable_diffusion": _stable_diffusion,
    "package": _package,
}


def run_recipes(part: str, out: Path) -> None:
    """Make one part, or all of them, under `out`; unfinished parts go on where they were.

    The last step, "package", copies all parts in half precision to where `embedded:tiny/…` finds them.

    Raises:
        ConfigError: if the part is unknown.
    """
    if part != "all" and part not in RECIPES:
        raise ConfigError(f"part: '{part}' given, expected all, {', '.join(RECIPES)}")
    for name in RECIPES if part == "all" else (part,):
        print(f"{name}:", file=sys.stderr)
        started = time.perf_counter()
        RECIPES[name](out)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
