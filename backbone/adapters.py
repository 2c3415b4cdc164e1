"""Save and load the backbone's trained parts: signal-token rows and LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anygpt.errors import CheckpointError
from backbone.signal_tokens import SignalTokens

SIGNAL_TOKENS_FILE = "signal_tokens.safetensors"
LORA_FOLDER = "lora"
LORA_FILE = "adapter_model.safetensors"


def save_signal_tokens(signal_tokens: SignalTokens, folder: Path) -> None:
    """Write the new rows, and which modality owns which, to `signal_tokens.safetensors`."""
    save_file(saved_tensors(signal_tokens.state_dict()), folder / SIGNAL_TOKENS_FILE, {"groups": layout(signal_tokens)})


def load_signal_tokens(signal_tokens: SignalTokens, folder: Path) -> None:
    """Read the rows back, strictly.

    Raises:
        CheckpointError: if the file is missing or damaged, or made for other groups or other sizes.
    """
    tensors = read_tensors(folder / SIGNAL_TOKENS_FILE)
    with safe_open(folder / SIGNAL_TOKENS_FILE, "pt") as file:
        groups = (file.metadata() or {}).get("groups")
    if groups not in (None, layout(signal_tokens)):
        raise CheckpointError(
            f"{SIGNAL_TOKENS_FILE}: made for backbone.signal_tokens {groups}, the config has {layout(signal_tokens)}; "
            "give the bundle's own, or adapters=null to start untrained"
        )
    load_strictly(signal_tokens, tensors, SIGNAL_TOKENS_FILE)


def layout(signal_tokens: SignalTokens) -> str:
    """Which modality owns how many rows, in order: "image:8,audio:8"."""
    return ",".join(f"{group.modality}:{group.size}" for group in signal_tokens.groups)


def save_lora(language_model: Any, folder: Path) -> None:
    """Write PEFT's own layout to `lora/`."""
    lora = {name: value for name, value in language_model.state_dict().items() if "lora_" in name}
    language_model.save_pretrained(folder / LORA_FOLDER, save_embedding_layers=False, state_dict=saved_tensors(lora))
    (folder / LORA_FOLDER / "README.md").unlink(missing_ok=True)  # PEFT's empty model card; the bundle has its own


def load_lora(language_model: Any, folder: Path) -> None:
    """Read `lora/` into the LoRA layers that are there, strictly."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    tensors = read_tensors(folder / LORA_FOLDER / LORA_FILE)
    check_fit(
        get_peft_model_state_dict(language_model, save_embedding_layers=False), tensors, f"{LORA_FOLDER}/{LORA_FILE}"
    )
    set_peft_model_state_dict(language_model, tensors)


def saved_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A module's state as files hold it: on the CPU, and in float32 where it is float64, which adds nothing to it."""
    narrow = {torch.float64: torch.float32}
    return {
        name: value.detach().to("cpu", narrow.get(value.dtype, value.dtype)).contiguous()
        for name, value in state.items()
    }


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"adapter bundle: {path} is missing, expected a safetensors file")
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own type, not exported
        raise CheckpointError(f"adapter bundle: {path} is damaged: {error}") from error


def check_fit(expected: dict[str, Tensor], given: dict[str, Tensor], name: str) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: naming the first tensors that are missing, unexpected or of another shape.
    """
    for problem, keys in (
        ("is missing", expected.keys() - given.keys()),
        ("is unexpected", given.keys() - expected.keys()),
    ):
        if keys:
            raise CheckpointError(
                f"{name}: tensor '{min(keys)}' {problem} ({len(keys)} in all); the config and the file differ"
            )
    for key, value in expected.items():
        if value.shape != given[key].shape:
            raise CheckpointError(
                f"{name}: tensor '{key}' has shape {tuple(given[key].shape)}, expected {tuple(value.shape)}"
            )


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Load a module's whole state, refusing any difference in names or shapes."""
    check_fit(module.state_dict(), tensors, name)
    module.load_state_dict(tensors)
