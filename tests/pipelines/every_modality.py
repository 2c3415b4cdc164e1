"""A stack that takes in and gives out everything there is: real classes at tiny size, without any training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from anygpt.config.files import read_values
from anygpt.config.resolve import resolve
from anygpt.config.schema import StackConfig
from encoders.ulip2.pointbert import PointBertSettings, Ulip2Model
from tests.conftest import PICTURES
from tests.generators.tiny_audioldm2 import DURATION_S, MELS, PROMPT_TOKENS, save_tiny_audioldm2
from tests.generators.tiny_zeroscope import save_tiny_zeroscope

SIGNAL_TOKENS = {"image": 4, "audio": 3, "video": 2}


def every_modality_config(parts: Path, folder: Path) -> StackConfig:
    """The config of such a stack.

    Args:
        parts: the untrained parts of the tiny stack.
        folder: where the others are saved.
    """
    _save_encoders(folder)
    save_tiny_zeroscope(folder / "zeroscope")
    save_tiny_audioldm2(folder / "audioldm2")
    values = read_values(PICTURES, ["backbone.max_tokens=6", "generators.image.steps=1"])
    values["name"] = "everything"
    values["backbone"] |= {"pretrained": str(parts / "language_model"), "signal_tokens": SIGNAL_TOKENS}
    values["encoders"]["image"]["pretrained"] = str(parts / "clip")
    values["encoders"] |= {
        "audio": {"name": "whisper", "pretrained": str(folder / "whisper"), "max_duration_s": 1.0},
        "video": {"name": "sampled_frames", "frames": 2, "frame_encoder": values["encoders"]["image"]},
        "points": {"name": "ulip2", "pretrained": str(folder / "ulip2"), "num_points": 64},
    }
    values["generators"]["image"]["pretrained"] = str(parts / "stable_diffusion")
    values["generators"] |= {
        "video": {"name": "zeroscope", "pretrained": str(folder / "zeroscope"), "steps": 1, "frames": 2},
        "audio": {
            "name": "audioldm2",
            "pretrained": str(folder / "audioldm2"),
            "steps": 1,
            "duration_s": DURATION_S,
            "prompt_tokens": PROMPT_TOKENS,
            "mels": asdict(MELS),
        },
    }
    projectors: dict[str, Any] = values["projectors"]
    projectors["input"] |= dict.fromkeys(("audio", "video", "points"), projectors["input"]["image"])
    projectors["output"] |= dict.fromkeys(("audio", "video"), projectors["output"]["image"])
    values["placement"] = {}
    return resolve(StackConfig, values)


def _save_encoders(folder: Path) -> None:
    torch.manual_seed(0)
    sizes = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_layers": 1}
    WhisperEncoder(WhisperConfig(d_model=16, num_mel_bins=80, max_source_positions=50, **sizes)).save_pretrained(
        folder / "whisper"
    )
    settings = PointBertSettings(
        channels=6, trans_dim=24, depth=1, encoder_dims=16, joint_dim=8, num_heads=2, num_group=8, group_size=4
    )
    Ulip2Model(settings).save_pretrained(folder / "ulip2")
