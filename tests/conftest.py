"""Shared fixtures: a whole stack of real classes at tiny size with random weights, made once a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from anygpt.config.files import read_values
from anygpt.config.resolve import resolve
from anygpt.config.schema import StackConfig

PICTURES = Path(__file__).parent / "fixtures" / "pictures.yaml"  # a stack of text and pictures
STARTING_SERVERS = {"demo", "executors", "serving"}  # folders of tests that start Ray, services and browsers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several workers, one runs all that starts servers (it counts processes, too), and a file stays with one."""
    for item in items:
        starts_servers = STARTING_SERVERS.intersection(item.path.parts)
        item.add_marker(pytest.mark.xdist_group("servers" if starts_servers else str(item.path)))


@pytest.fixture(scope="session")
def random_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `clip`, `language_model` and `stable_diffusion` with untrained weights."""
    from pipelines.tiny.recipes.autoencoder import build_autoencoder
    from pipelines.tiny.recipes.clip import build_clip, build_tokenizer, image_processor
    from pipelines.tiny.recipes.language_model import build_language_model
    from pipelines.tiny.recipes.language_model import build_tokenizer as build_language_tokenizer
    from pipelines.tiny.recipes.prompting import text_tower
    from pipelines.tiny.recipes.stable_diffusion import assemble_pipeline, build_unet

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("parts")
    tokenizer = build_tokenizer(seed=0)
    clip = build_clip(tokenizer)
    clip.save_pretrained(folder / "clip")
    image_processor().save_pretrained(folder / "clip")
    pipeline = assemble_pipeline(build_autoencoder(), text_tower(clip), tokenizer, build_unet(latent_size=8))
    pipeline.save_pretrained(folder / "stable_diffusion")
    language_tokenizer = build_language_tokenizer(seed=0, dialogues=300)
    language_model = build_language_model(language_tokenizer)
    keep_to_readable_tokens(language_model, language_tokenizer)
    language_model.save_pretrained(folder / "language_model")
    language_tokenizer.save_pretrained(folder / "language_model")
    return folder


def keep_to_readable_tokens(language_model: Any, tokenizer: Any) -> None:
    """Untrained weights would write broken characters: with rows of zeros, those tokens are never the likeliest."""
    rows = language_model.get_input_embeddings().weight
    texts = [tokenizer.decode([token], skip_special_tokens=True) for token in range(len(rows))]
    unreadable = [not (text and text.isascii() and text.isprintable()) for text in texts]
    with torch.no_grad():
        rows[torch.tensor(unreadable)] = 0.0


@pytest.fixture(scope="session")
def random_config(random_parts: Path) -> StackConfig:
    """A stack of text and pictures over the untrained parts, without adapters."""
    values = read_values(
        PICTURES,
        [
            f"encoders.image.pretrained={random_parts / 'clip'}",
            f"backbone.pretrained={random_parts / 'language_model'}",
            f"generators.image.pretrained={random_parts / 'stable_diffusion'}",
            "backbone.max_tokens=12",
            "generators.image.steps=2",
        ],
    )
    return resolve(StackConfig, values)
