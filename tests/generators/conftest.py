"""A tiny Stable Diffusion folder for all tests here, and a copy that a test may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.generators.tiny_stable_diffusion import save_tiny_stable_diffusion


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_stable_diffusion(tmp_path_factory.mktemp("stable_diffusion"))


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "damaged"))
