"""PointBERT: a transformer over local groups of points, and ULIP's projection into the joint space.

Legend: B batch, N points, G groups, K points a group, C channels, T tokens (cls and groups), D width, E joint space.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.state_dicts import save_folder
from encoders.ulip2.point_groups import group_points

MODEL_TYPE = "ulip2"
_MLP_RATIO = 4
_POSITION_WIDTH = 128
# Widths inside the network that looks at one group.
_POINT_WIDTH, _LOCAL_WIDTH = 128, 256


@dataclass(frozen=True)
class PointBertSettings:
    """Sizes of a PointBERT with ULIP's projection; the defaults are what the weights of a checkpoint do not show.

    Attributes:
        channels: 3 for xyz, 6 for xyz and colours.
        joint_dim: E, of the space shared with pictures and texts.
    Raises:
        ValueError: if they do not go together.
    """

    channels: int
    trans_dim: int
    depth: int
    encoder_dims: int
    joint_dim: int
    num_heads: int = 6
    num_group: int = 512
    group_size: int = 32

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name}={value}, expected at least 1")
        if self.channels not in (3, 6):
            raise ValueError(f"channels={self.channels}, expected 3 (xyz) or 6 (xyz and colours)")
        if self.trans_dim % self.num_heads:
            raise ValueError(f"trans_dim={self.trans_dim}, expected a multiple of num_heads {self.num_heads}")

    @property
    def tokens(self) -> int:
        """T: the class token and one for every group."""
        return 1 + self.num_group


class Ulip2Model(nn.Module):
    """The point half of ULIP, with the official checkpoints' keys.

    Args:
        settings: the sizes.
    Source: ULIP-2 (arXiv 2305.08275), section 3.3.
    """

    def __init__(self, settings: PointBertSettings) -> None:
        super().__init__()
        self.settings = settings
        self.point_encoder = PointBert(settings)
        width = 2 * settings.trans_dim
        self.pc_projection = nn.Parameter(torch.randn(width, settings.joint_dim) * width**-0.5)

    def forward(self, points_BNC: Tensor) -> Tensor:
        """Normalised clouds (B, N, C) float32 → tokens (B, T, D), the class token first."""
        tokens_BTD: Tensor = self.point_encoder(points_BNC)
        return tokens_BTD

    def embed(self, points_BNC: Tensor) -> Tensor:
        """Normalised clouds (B, N, C) float32 → unit vectors (B, E) of the joint space."""
        return F.normalize(self.project(self(points_BNC)), dim=-1)

    def project(self, tokens_BTD: Tensor) -> Tensor:
        """Tokens (B, T, D) → vectors (B, E) of the joint space, of any length."""
        return torch.cat([tokens_BTD[:, 0], tokens_BTD[:, 1:].amax(dim=1)], dim=-1) @ self.pc_projection

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, which `Ulip2Encoder` loads."""
        save_folder(self, folder, model_type=MODEL_TYPE, settings=self.settings)


class PointBert(nn.Module):
    """Groups of points as the tokens of a pre-norm transformer.

    Source: Point-BERT (arXiv 2111.14819), section 3.1.
    """

    def __init__(self, settings: PointBertSettings) -> None:
        super().__init__()
        self.settings = settings
        width = settings.trans_dim
        self.encoder = GroupEncoder(settings.channels, settings.encoder_dims)
        self.reduce_dim = nn.Linear(settings.encoder_dims, width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.cls_pos = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Sequential(nn.Linear(3, _POSITION_WIDTH), nn.GELU(), nn.Linear(_POSITION_WIDTH, width))
        self.blocks = PointBlocks(width, settings.depth, settings.num_heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, points_BNC: Tensor) -> Tensor:
        """(B, N, C) float32 → (B, T, D) in the weights' dtype."""
        groups_BGKC, centres_BG3 = group_points(
            points_BNC, groups=self.settings.num_group, group_size=self.settings.group_size
        )
        dtype = self.cls_token.dtype
        groups_BGD = self.reduce_dim(self.encoder(groups_BGKC.to(dtype)))
        positions_BGD = self.pos_embed(centres_BG3.to(dtype))
        batch = len(points_BNC)
        x_BTD = torch.cat([self.cls_token.expand(batch, -1, -1), groups_BGD], dim=1)
        positions_BTD = torch.cat([self.cls_pos.expand(batch, -1, -1), positions_BGD], dim=1)
        tokens_BTD: Tensor = self.norm(self.blocks(x_BTD, positions_BTD))
        return tokens_BTD


class GroupEncoder(nn.Module):
    """A small PointNet: what a group of points looks like, whatever their order."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv1d(channels, _POINT_WIDTH, 1),
            nn.BatchNorm1d(_POINT_WIDTH),
            nn.ReLU(),
            nn.Conv1d(_POINT_WIDTH, _LOCAL_WIDTH, 1),
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(2 * _LOCAL_WIDTH, 2 * _LOCAL_WIDTH, 1),
            nn.BatchNorm1d(2 * _LOCAL_WIDTH),
            nn.ReLU(),
            nn.Conv1d(2 * _LOCAL_WIDTH, width, 1),
        )

    def forward(self, groups_BGKC: Tensor) -> Tensor:
        """(B, G, K, C) → (B, G, width)."""
        local_xDK = self.first_conv(groups_BGKC.flatten(0, 1).transpose(1, 2))
        overall_xDK = local_xDK.amax(dim=2, keepdim=True).expand_as(local_xDK)
        described_xDK: Tensor = self.second_conv(torch.cat([overall_xDK, local_xDK], dim=1))
        return described_xDK.amax(dim=2).unflatten(0, groups_BGKC.shape[:2])


class PointBlocks(nn.Module):
    """The transformer's blocks; each sees the positions anew."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PointBlock(width, heads) for _ in range(depth))

    def forward(self, x_BTD: Tensor, positions_BTD: Tensor) -> Tensor:
        """(B, T, D) twice → (B, T, D)."""
        for block in self.blocks:
            x_BTD = block(x_BTD + positions_BTD)
        return x_BTD


class PointBlock(nn.Module):
    """Attention and feed-forward, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = PointAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, _MLP_RATIO * width), "fc2": nn.Linear(_MLP_RATIO * width, width)}
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) → (B, T, D)."""
        x_BTD = x_BTD + self.attn(self.norm1(x_BTD))
        fed_BTD: Tensor = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x_BTD))))
        return x_BTD + fed_BTD


class PointAttention(nn.Module):
    """Plain self-attention with queries, keys and values in one matrix without a bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) → (B, T, D)."""
        query, key, value = self.qkv(x_BTD).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended_BHTd = F.scaled_dot_product_attention(query, key, value)
        output_BTD: Tensor = self.proj(attended_BHTd.transpose(1, 2).flatten(2))
        return output_BTD
