"""How the embedded default is made: the steps in order, with their sizes and seeds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from anygpt.checkpoints.locate import WEIGHTS_DIR
from anygpt.errors import ConfigError

SEED = 0


def _autoencoder(out: Path) -> None:
    from pipelines.tiny.recipes.autoencoder import pretrain_autoencoder

    pretrain_autoencoder(out / "autoencoder", steps=3200, detail_steps=400, batch_size=32, seed=SEED)


def _clip(out: Path) -> None:
    from pipelines.tiny.recipes.clip import pretrain_clip

    pretrain_clip(out / "clip", steps=1100, batch_size=144, seed=SEED)


def _sound_tower(out: Path) -> None:
    from pipelines.tiny.recipes.towers import pretrain_sound_tower

    pretrain_sound_tower(out / "sound_tower", out / "clip", steps=1000, batch_size=96, seed=SEED)


def _beats(out: Path) -> None:
    from pipelines.tiny.recipes.towers import pretrain_beats

    pretrain_beats(out / "beats", out / "sound_tower" / "clip", steps=800, batch_size=96, seed=SEED)


def _point_tower(out: Path) -> None:
    from pipelines.tiny.recipes.towers import pretrain_point_tower

    pretrain_point_tower(out / "point_tower", out / "sound_tower" / "clip", steps=600, batch_size=48, seed=SEED)


def _stable_diffusion(out: Path) -> None:
    from pipelines.tiny.recipes.stable_diffusion import pretrain_stable_diffusion

    pretrain_stable_diffusion(
        out / "stable_diffusion", out / "autoencoder", out / "clip", steps=2600, batch_size=64, seed=SEED
    )


def _mel_autoencoder(out: Path) -> None:
    from pipelines.tiny.recipes.audioldm2 import pretrain_mel_autoencoder

    pretrain_mel_autoencoder(out / "mel_autoencoder", steps=2200, batch_size=20, seed=SEED)


def _audioldm2(out: Path) -> None:
    from pipelines.tiny.recipes.audioldm2 import pretrain_audioldm2

    pretrain_audioldm2(out / "audioldm2", out / "mel_autoencoder", steps=2400, batch_size=32, seed=SEED)


def _frame_decoder(out: Path) -> None:
    from pipelines.tiny.recipes.zeroscope import pretrain_frame_decoder

    pretrain_frame_decoder(out / "frame_decoder", out / "autoencoder", steps=400, batch_size=32, seed=SEED)


def _zeroscope(out: Path) -> None:
    from pipelines.tiny.recipes.zeroscope import pretrain_zeroscope

    pretrain_zeroscope(
        out / "zeroscope",
        picture_unet_dir=out / "stable_diffusion" / "unet",
        vae_dir=out / "frame_decoder",
        clip_dir=out / "sound_tower" / "clip",
        steps=2400,
        batch_size=16,
        seed=SEED,
    )


def _language_model(out: Path) -> None:
    from pipelines.tiny.recipes.language_model import pretrain_language_model

    pretrain_language_model(out / "language_model", steps=3400, turns_per_batch=96, seed=SEED)


def _package(out: Path) -> None:
    from pipelines.tiny.recipes.packaging import package_parts

    package_parts(out, WEIGHTS_DIR / "tiny")


def _align_input(out: Path) -> None:
    _train("align-input", out / "align_input")


def _align_output(out: Path) -> None:
    _train("align-output", out / "align_output", f"adapters={out / 'align_input'}")


def _instruct(out: Path) -> None:
    _train("instruct", out / "instruct", f"adapters={out / 'align_output'}")


def _align_beats(out: Path) -> None:
    overrides = (f"adapters={out / 'instruct'}", "stack=tiny-beats", "untrained_inputs=[audio]", "batch_size=32")
    _train("align-input", out / "align_beats", *overrides)


def _train(objective: str, out: Path, *overrides: str) -> None:
    from pipelines.training.trainer import load_training_config, train

    if train(load_training_config(f"training/{objective}", overrides), out) is None:
        raise KeyboardInterrupt(f"{objective}: stopped")


def _package_adapters(out: Path) -> None:
    from pipelines.tiny.recipes.packaging import package_adapters, package_input_projector

    package_adapters(out / "instruct", WEIGHTS_DIR / "tiny")
    package_input_projector(out / "align_beats", "audio", WEIGHTS_DIR / "tiny" / "beats_projector")


# In the order in which they build on each other.
RECIPES: Mapping[str, Callable[[Path], None]] = {
    "autoencoder": _autoencoder,
    "clip": _clip,
    "sound_tower": _sound_tower,
    "beats": _beats,
    "point_tower": _point_tower,
    "stable_diffusion": _stable_diffusion,
    "mel_autoencoder": _mel_autoencoder,
    "audioldm2": _audioldm2,
    "frame_decoder": _frame_decoder,
    "zeroscope": _zeroscope,
    "language_model": _language_model,
    "package": _package,
    "align_input": _align_input,
    "align_output": _align_output,
    "instruct": _instruct,
    "align_beats": _align_beats,
    "package_adapters": _package_adapters,
}


def run_recipes(part: str, out: Path) -> None:
    """Make one part, or all of them, under `out`; unfinished parts go on where they were.

    "package" copies the frozen parts in half precision to where `embedded:tiny/…` finds them, which the adapters
    are then trained on; "package_adapters", the last step, copies those.

    Raises:
        ConfigError: if the part is unknown.
        KeyboardInterrupt: if a run was stopped; its state is saved.
    """
    if part != "all" and part not in RECIPES:
        raise ConfigError(f"part: '{part}' given, expected all, {', '.join(RECIPES)}")
    for name in RECIPES if part == "all" else (part,):
        print(f"{name}:", file=sys.stderr)
        started, cpu_started = time.perf_counter(), time.process_time()
        RECIPES[name](out)
        spent, cpu_spent = time.perf_counter() - started, time.process_time() - cpu_started
        print(f"{name}: {spent:.0f} s, {cpu_spent:.0f} CPU-seconds", file=sys.stderr)
