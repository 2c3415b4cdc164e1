"""An assistant over the untrained stack, loaded once; tests that change it put it back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from anygpt.config.loading import save_config
from anygpt.config.schema import StackConfig
from pipelines.assistant import AnyGPT
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.scenes import Scene
from tests.pipelines.every_modality import every_modality_config


@pytest.fixture(scope="session")
def model(random_config: StackConfig) -> Iterator[AnyGPT]:
    torch.manual_seed(0)
    with AnyGPT.from_config(random_config) as assistant:
        yield assistant


@pytest.fixture(scope="session")
def stack_file(random_config: StackConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained stack's config as a YAML file."""
    path = tmp_path_factory.mktemp("stack") / "random.yaml"
    save_config(random_config, path)
    return path


@pytest.fixture(scope="session")
def everything_config(random_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> StackConfig:
    """An untrained stack of every modality."""
    return every_modality_config(random_parts, tmp_path_factory.mktemp("every"))


@pytest.fixture(scope="session")
def everything_file(everything_config: StackConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its config as a YAML file."""
    path = tmp_path_factory.mktemp("everything") / "everything.yaml"
    save_config(everything_config, path)
    return path


@pytest.fixture(scope="session")
def everything(everything_config: StackConfig) -> Iterator[AnyGPT]:
    """An assistant over it."""
    torch.manual_seed(0)
    with AnyGPT.from_config(everything_config) as assistant:
        yield assistant


@pytest.fixture
def picture() -> Image.Image:
    return render_image(Scene("star", "red"))


@pytest.fixture
def first_word_is_a_picture(model: AnyGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply begins with a picture, and text follows; for one request at a time."""
    rows = model.executor.stack.backbone.backbone.signal_tokens
    calls = []

    def logits(hidden_BTH: torch.Tensor) -> torch.Tensor:
        calls.append(len(hidden_BTH))
        return torch.full((*hidden_BTH.shape[:2], len(rows.groups)), 1e9 if len(calls) == 1 else -1e9)

    monkeypatch.setattr(rows, "logits", logits)


@pytest.fixture(scope="session")
def tiny() -> Iterator[AnyGPT]:
    """The embedded default with its trained weights, in this process."""
    with AnyGPT.from_config("tiny") as assistant:
        yield assistant


@pytest.fixture(scope="session")
def ray_tiny() -> Iterator[AnyGPT]:
    """The embedded default in three processes: its encoders, the backbone, its generators."""
    with AnyGPT.from_config("tiny", executor="ray") as assistant:
        yield assistant
