"""The audio encoder out of either kind of Whisper checkpoint: of the `whisper` package, or of transformers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder as WhisperTower

from anygpt.checkpoints.reading_errors import reading
from anygpt.errors import CheckpointError, MissingExtraError
from encoders.state_dicts import build_strictly
from encoders.strict_loading import load_strictly, read_model_config, read_torch_file

_NARROW = ("tiny", "base", "small", "medium")
# The `whisper` package's names of its checkpoints → mel bands.
OFFICIAL_MELS = {
    **dict.fromkeys([*_NARROW, *(f"{name}.en" for name in _NARROW), "large-v1", "large-v2"], 80),
    **dict.fromkeys(["large-v3", "large", "large-v3-turbo", "turbo"], 128),
}
_OFFICIAL_POSITIONS = 1500

# Checkpoint keys of transformers' other Whisper classes → those of its encoder; the rest of their keys.
_KEY_MAPPING = {r"^(model\.)?encoder\.": ""}
_OTHER_PARTS = ("decoder.", "model.decoder.", "proj_out.", "projector.", "classifier.", "layer_weights")

# Parts of the `whisper` package's keys → transformers', in this order.
_RENAMED = (
    ("blocks.", "layers."),
    ("attn_ln.", "self_attn_layer_norm."),
    ("attn.query.", "self_attn.q_proj."),
    ("attn.key.", "self_attn.k_proj."),
    ("attn.value.", "self_attn.v_proj."),
    ("attn.out.", "self_attn.out_proj."),
    ("mlp_ln.", "final_layer_norm."),
    ("mlp.0.", "fc1."),
    ("mlp.2.", "fc2."),
    ("ln_post.", "layer_norm."),
)


def read_config(source: str, *, who: str, revision: str) -> PreTrainedConfig:
    """Mel bands and positions of a checkpoint, without its weights; for a `.pt` file, the whole shape.

    Args:
        source: a folder, a `.pt` file, a name of the `whisper` package or a hub name; what exists as a path wins.
    Raises:
        CheckpointError: if it is missing, damaged or not a Whisper.
    """
    if _is_official(source):
        return WhisperConfig(num_mel_bins=OFFICIAL_MELS[source], max_source_positions=_OFFICIAL_POSITIONS)
    if os.path.isfile(source):
        return _config_of(_read_file(source, who)["dims"], source, who)
    config = read_model_config(source, who=who, revision=revision)
    if config.model_type != "whisper":
        raise CheckpointError(
            f"{who}: '{source}' is of type '{config.model_type}', expected whisper; "
            "set `pretrained` to such a checkpoint"
        )
    return config


def load_tower(source: str, *, who: str, revision: str, dtype: torch.dtype) -> PreTrainedModel:
    """The encoder's weights, strictly, in transformers' class whatever kind the checkpoint is of.

    Raises:
        CheckpointError: as `read_config`, or if its weights do not cover the encoder exactly.
        MissingExtraError: for a name of the `whisper` package, where it is not installed.
    """
    if _is_official(source):
        dims, weights = _download(source, who)
        return _convert(dims, weights, source, who, dtype)
    if os.path.isfile(source):
        checkpoint = _read_file(source, who)
        return _convert(checkpoint["dims"], checkpoint["model_state_dict"], source, who, dtype)
    return load_strictly(
        WhisperTower,
        source,
        config=read_config(source, who=who, revision=revision),
        who=who,
        dtype=dtype,
        revision=revision,
        other_parts=_OTHER_PARTS,
        key_mapping=_KEY_MAPPING,
    )


def _is_official(source: str) -> bool:
    return source in OFFICIAL_MELS and not os.path.exists(source)


def _download(name: str, who: str) -> tuple[Mapping[str, int], dict[str, Tensor]]:
    try:
        import whisper
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{who}: '{name}' is a checkpoint of the package openai-whisper, which is missing; "
            f"pip install 'anygpt[audio]', or set pretrained=openai/whisper-{name} to load it by transformers"
        ) from error
    with reading(f"{who}: '{name}'", name, advice="correct `pretrained`, or make the download possible"):
        model = whisper.load_model(name, device="cpu")  # checks the file's hash, and loads with weights_only
    return vars(model.dims), model.state_dict()


def _read_file(path: str, who: str) -> dict[str, Any]:
    checkpoint = read_torch_file(path, who=who)
    for key in ("dims", "model_state_dict"):
        if not (isinstance(checkpoint, dict) and isinstance(checkpoint.get(key), dict)):
            raise CheckpointError(
                f"{who}: '{path}' holds no '{key}', expected a checkpoint of the whisper package "
                "{'dims': …, 'model_state_dict': …}; correct `pretrained`"
            )
    return checkpoint


def _config_of(dims: Mapping[str, int], source: str, who: str) -> WhisperConfig:
    wanted = ("n_mels", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer")
    for name in wanted:
        if not (isinstance(dims.get(name), int) and dims[name] > 0):
            raise CheckpointError(
                f"{who}: '{source}': dims.{name} is {dims.get(name)!r}, expected a number above 0; "
                "get the checkpoint again"
            )
    return WhisperConfig(
        num_mel_bins=dims["n_mels"],
        max_source_positions=dims["n_audio_ctx"],
        d_model=dims["n_audio_state"],
        encoder_attention_heads=dims["n_audio_head"],
        encoder_layers=dims["n_audio_layer"],
        encoder_ffn_dim=4 * dims["n_audio_state"],
    )


def _convert(
    dims: Mapping[str, int], weights: Mapping[str, Tensor], source: str, who: str, dtype: torch.dtype
) -> PreTrainedModel:
    """Source: transformers, models/whisper/convert_openai_to_hf.py."""
    config = _config_of(dims, source, who)
    own = {_renamed(key): tensor for key, tensor in weights.items() if not key.startswith("decoder.")}
    return build_strictly(lambda: WhisperTower(config), own, source, who=who, dtype=dtype)


def _renamed(key: str) -> str:
    if not key.startswith("encoder."):
        return key
    key = key.removeprefix("encoder.")
    if key == "positional_embedding":
        return "embed_positions.weight"
    for theirs, ours in _RENAMED:
        key = key.replace(theirs, ours)
    return key
