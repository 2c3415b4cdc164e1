"""BEATs: a transformer over 16×16 patches of a log mel spectrogram, with gated relative positions.

Legend: B batch, F frames, M mel bands, T tokens, D model width, H heads, Q queries, K keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.beats.kaldi_fbank import MEL_BANDS
from encoders.state_dicts import save_folder

MODEL_TYPE = "beats"
_GATE_WIDTH = 8  # two gates, each the sum of four numbers


@dataclass(frozen=True)
class BeatsSettings:
    """Sizes of a BEATs, by the names of an official checkpoint's `cfg`.

    Raises:
        ValueError: if they do not go together, or ask for what no released model has.
    """

    input_patch_size: int
    embed_dim: int
    conv_bias: bool
    encoder_layers: int
    encoder_embed_dim: int
    encoder_ffn_embed_dim: int
    encoder_attention_heads: int
    activation_fn: str
    layer_norm_first: bool
    deep_norm: bool
    conv_pos: int
    conv_pos_groups: int
    relative_position_embedding: bool
    num_buckets: int
    max_distance: int
    gru_rel_pos: bool

    def __post_init__(self) -> None:
        released = {
            "activation_fn": "gelu",
            "layer_norm_first": False,
            "relative_position_embedding": True,
            "gru_rel_pos": True,
        }
        for name, only in released.items():
            if getattr(self, name) != only:
                raise ValueError(f"{name}={getattr(self, name)!r}, expected {only!r} as in the released models")
        for name, value in vars(self).items():
            if type(value) is int and value < 1:
                raise ValueError(f"{name}={value}, expected at least 1")
        for divisor in ("encoder_attention_heads", "conv_pos_groups"):
            if self.encoder_embed_dim % getattr(self, divisor):
                raise ValueError(
                    f"{divisor}={getattr(self, divisor)}, expected a divisor of encoder_embed_dim "
                    f"{self.encoder_embed_dim}"
                )
        if self.input_patch_size > MEL_BANDS:
            raise ValueError(f"input_patch_size={self.input_patch_size}, expected at most {MEL_BANDS} mel bands")
        if self.num_buckets < 4 or self.num_buckets % 4 or self.max_distance <= self.num_buckets // 4:
            raise ValueError(
                f"num_buckets={self.num_buckets} and max_distance={self.max_distance}, expected a multiple of 4 and "
                "more than a quarter of it"
            )

    @property
    def bands(self) -> int:
        """Tokens of one column of patches."""
        return MEL_BANDS // self.input_patch_size


class BeatsModel(nn.Module):
    """The whole network, with the official checkpoints' keys.

    Args:
        settings: the sizes.
    Source: BEATs (arXiv 2212.09058), section 3.1.
    """

    def __init__(self, settings: BeatsSettings) -> None:
        super().__init__()
        self.settings = settings
        patch, width = settings.input_patch_size, settings.embed_dim
        self.patch_embedding = nn.Conv2d(1, width, patch, stride=patch, bias=settings.conv_bias)
        self.layer_norm = nn.LayerNorm(width)
        needs_projection = width != settings.encoder_embed_dim
        self.post_extract_proj = nn.Linear(width, settings.encoder_embed_dim) if needs_projection else None
        self.encoder = BeatsTransformer(settings)

    def forward(self, fbank_BFM: Tensor, valid_BT: Tensor) -> Tensor:
        """Encode normalised spectrograms.

        Args:
            fbank_BFM: (B, F, 128).
            valid_BT: (B, T) bool, True = real; T = bands · (F // patch), with the frequency running fastest, and at
                least one valid token an item.
        Returns:
            (B, T, D); what padded tokens become means nothing.
        """
        patches_BDRC = self.patch_embedding(fbank_BFM[:, None])
        x_BTD = self.layer_norm(patches_BDRC.flatten(2).transpose(1, 2))
        if self.post_extract_proj is not None:
            x_BTD = self.post_extract_proj(x_BTD)
        output_BTD: Tensor = self.encoder(x_BTD.masked_fill(~valid_BT[..., None], 0.0), valid_BT)
        return output_BTD

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, which `BeatsEncoder` loads."""
        save_folder(self, folder, model_type=MODEL_TYPE, settings=self.settings)


class BeatsTransformer(nn.Module):
    """Convolutional positions, then post-norm layers that share one table of relative positions."""

    def __init__(self, settings: BeatsSettings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.encoder_embed_dim
        convolution = PositionConvolution(width, settings.conv_pos, settings.conv_pos_groups)
        self.pos_conv = nn.Sequential(convolution, nn.GELU())
        self.layer_norm = nn.LayerNorm(width)
        distances = nn.Embedding(settings.num_buckets, settings.encoder_attention_heads)
        self.layers = nn.ModuleList(BeatsLayer(settings, distances) for _ in range(settings.encoder_layers))

    def forward(self, x_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        """(B, T, D) and (B, T) → (B, T, D)."""
        x_BTD = self.layer_norm(x_BTD + self.pos_conv(x_BTD.transpose(1, 2)).transpose(1, 2))
        bias_HTT = self.position_bias(x_BTD.shape[1])
        for layer in self.layers:
            x_BTD = layer(x_BTD, valid_BT, bias_HTT)
        return x_BTD

    def position_bias(self, tokens: int) -> Tensor:
        """(H, Q, K): what a query adds to a key's score for the distance between them."""
        table = cast(BeatsLayer, self.layers[0]).self_attn.relative_attention_bias
        position_T = torch.arange(tokens, device=table.weight.device)
        buckets_TT = relative_buckets(
            position_T[None, :] - position_T[:, None], self.settings.num_buckets, self.settings.max_distance
        )
        bias_TTH: Tensor = table(buckets_TT)
        return bias_TTH.permute(2, 0, 1)


class PositionConvolution(nn.Module):
    """A grouped convolution over time whose weight has a norm for every position of the kernel."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        direction = torch.randn(width, width // groups, kernel) * math.sqrt(4.0 / (kernel * width))
        self.weight_v = nn.Parameter(direction)
        self.weight_g = nn.Parameter(direction.norm(dim=(0, 1), keepdim=True))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x_BDT: Tensor) -> Tensor:
        """(B, D, T) → (B, D, T)."""
        kernel = self.weight_v.shape[2]
        weight = self.weight_g * self.weight_v / self.weight_v.norm(dim=(0, 1), keepdim=True)
        convolved_BDT = F.conv1d(x_BDT, weight, self.bias, padding=kernel // 2, groups=self.groups)
        return convolved_BDT[..., : x_BDT.shape[2]]  # an even kernel gives one more


class BeatsLayer(nn.Module):
    """Attention and feed-forward, each added to its amplified input before the norm.

    Source: DeepNet (arXiv 2203.00555), section 3, for the amplification.
    """

    def __init__(self, settings: BeatsSettings, distances: nn.Embedding) -> None:
        super().__init__()
        width, inner = settings.encoder_embed_dim, settings.encoder_ffn_embed_dim
        self.amplification = (2.0 * settings.encoder_layers) ** 0.25 if settings.deep_norm else 1.0
        self.self_attn = GatedAttention(width, settings.encoder_attention_heads, distances)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x_BTD: Tensor, valid_BT: Tensor, bias_HTT: Tensor) -> Tensor:
        """(B, T, D) → (B, T, D)."""
        attended_BTD = self.self_attn(x_BTD, valid_BT, bias_HTT)
        x_BTD = self.self_attn_layer_norm(self.amplification * x_BTD + attended_BTD)
        fed_BTD = self.fc2(F.gelu(self.fc1(x_BTD)))
        output_BTD: Tensor = self.final_layer_norm(self.amplification * x_BTD + fed_BTD)
        return output_BTD


class GatedAttention(nn.Module):
    """Self-attention whose queries decide how much the relative positions count.

    Args:
        distances: (buckets, H), shared by all layers; every layer lists it under its own name.
    Source: WavLM (arXiv 2110.13900), section 3.1.
    """

    def __init__(self, width: int, heads: int, distances: nn.Embedding) -> None:
        super().__init__()
        self.heads = heads
        self.relative_attention_bias = distances
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.grep_linear = nn.Linear(width // heads, _GATE_WIDTH)
        self.grep_a = nn.Parameter(torch.ones(1, heads, 1, 1))

    def forward(self, x_BTD: Tensor, valid_BT: Tensor, bias_HTT: Tensor) -> Tensor:
        """(B, T, D), (B, T) and (H, T, T) → (B, T, D)."""
        query_BHTd, key_BHTd, value_BHTd = (
            projection(x_BTD).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        gates_BHT2 = self.grep_linear(query_BHTd).unflatten(3, (2, -1)).sum(-1).sigmoid()
        update_BHT1, reset_BHT1 = gates_BHT2.chunk(2, dim=3)
        gate_BHT1 = update_BHT1 * (reset_BHT1 * self.grep_a - 1.0) + 2.0
        scores_BHTT = (gate_BHT1 * bias_HTT).masked_fill(~valid_BT[:, None, None, :], float("-inf"))
        attended_BHTd = F.scaled_dot_product_attention(query_BHTd, key_BHTd, value_BHTd, attn_mask=scores_BHTT)
        output_BTD: Tensor = self.out_proj(attended_BHTd.transpose(1, 2).flatten(2))
        return output_BTD


def relative_buckets(distance: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """Which row of the table a distance has: exact near by, logarithmic farther off.

    Args:
        distance: int64, key position minus query position.
    Source: T5 (arXiv 1910.10683), section 2.1.
    """
    half = num_buckets // 2
    exact = half // 2
    span = distance.abs()
    # Float32, as in the original: a more exact logarithm would put some distances elsewhere.
    growth = torch.log(span.clamp_min(1).float() / exact) / math.log(max_distance / exact)
    far = (exact + (growth * (half - exact)).long()).clamp_max(half - 1)
    return torch.where(distance > 0, half, 0) + torch.where(span < exact, span, far)
