"""A small world, so that no recipe's pool takes long, and the untrained parts that recipes build on."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from pipelines.tiny.recipes import audioldm2, autoencoder, clip, language_model, stable_diffusion, towers, zeroscope


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few scenes, copies and dialogues."""
    pictures = autoencoder.ALL_SCENES[::26]
    for module in (autoencoder, clip, stable_diffusion):
        monkeypatch.setattr(module, "ALL_SCENES", pictures)
    monkeypatch.setattr(audioldm2, "SCENES", audioldm2.SCENES[::20])
    monkeypatch.setattr(zeroscope, "SCENES", zeroscope.SCENES[::40])
    monkeypatch.setattr(zeroscope, "COPIES", 2)
    monkeypatch.setattr(towers, "SOUND_COPIES", 1)
    monkeypatch.setattr(towers, "CALIBRATION_BATCHES", 2)
    few_dialogues = partial(language_model.build_tokenizer, dialogues=100)
    monkeypatch.setattr(language_model, "build_tokenizer", few_dialogues)


@pytest.fixture(scope="session")
def clip_dir(random_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained CLIP with its tokenizer, as `pretrain_clip` leaves it."""
    folder = tmp_path_factory.mktemp("clip")
    shutil.copytree(random_parts / "clip", folder, dirs_exist_ok=True)
    shutil.copytree(random_parts / "stable_diffusion" / "tokenizer", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def autoencoder_dir(random_parts: Path) -> Path:
    """An untrained autoencoder of pictures."""
    return random_parts / "stable_diffusion" / "vae"
