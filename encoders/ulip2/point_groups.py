"""Local groups of a point cloud: far-apart centres, and the points nearest to each. Nothing here has weights.

Legend: B batch, N points, G groups, K points a group, C channels (xyz, then colours).
"""

from __future__ import annotations

import torch
from torch import Tensor

# Points this near to the origin are never chosen as centres, as in the original, which takes them for padding.
_ORIGIN_SQUARED = 1e-3
_FAR_SQUARED = 1e10


def group_points(points_BNC: Tensor, *, groups: int, group_size: int) -> tuple[Tensor, Tensor]:
    """Cut clouds into overlapping neighbourhoods.

    Args:
        points_BNC: (B, N, C) float32, C at least 3; the first three are xyz.
        groups: G; where there are fewer points, centres repeat.
        group_size: K, at most N.
    Returns:
        Neighbourhoods (B, G, K, C), xyz relative to the centre and the other channels as they are, in no certain
        order; and centres (B, G, 3).
    Source: Point-BERT (arXiv 2111.14819), section 3.1.
    """
    xyz_BN3 = points_BNC[..., :3]
    centres_BG3 = gather_points(xyz_BN3, farthest_points(xyz_BN3, groups))
    nearest_BGK = nearest_points(xyz_BN3, centres_BG3, group_size)
    neighbours_BGKC = gather_points(points_BNC, nearest_BGK.flatten(1)).unflatten(1, nearest_BGK.shape[1:])
    relative_BGK3 = neighbours_BGKC[..., :3] - centres_BG3[:, :, None]
    return torch.cat([relative_BGK3, neighbours_BGKC[..., 3:]], dim=-1), centres_BG3


def farthest_points(xyz_BN3: Tensor, count: int) -> Tensor:
    """Farthest point sampling: starting with the first point, always take the one farthest from all taken.

    Args:
        xyz_BN3: (B, N, 3) float32.
        count: how many.
    Returns:
        (B, count) int64 indices.
    Source: PointNet++ (arXiv 1706.02413), section 3.2.
    """
    axes_3BN = xyz_BN3.permute(2, 0, 1).contiguous()  # long rows make one step a few passes over B·N numbers
    x_BN, y_BN, z_BN = axes_3BN
    squared_BN = torch.full_like(x_BN, _FAR_SQUARED)
    squared_BN.masked_fill_(x_BN.square() + y_BN.square() + z_BN.square() <= _ORIGIN_SQUARED, -1.0)
    chosen_BG = torch.zeros(len(xyz_BN3), count, dtype=torch.long, device=xyz_BN3.device)
    distance_BN, term_BN = torch.empty_like(x_BN), torch.empty_like(x_BN)
    for step in range(1, count):
        last_3B1 = axes_3BN.gather(2, chosen_BG[None, :, step - 1, None].expand(3, -1, -1))
        torch.sub(x_BN, last_3B1[0], out=distance_BN).square_()
        for axis_BN, last_B1 in ((y_BN, last_3B1[1]), (z_BN, last_3B1[2])):
            distance_BN.add_(torch.sub(axis_BN, last_B1, out=term_BN).square_())
        torch.minimum(squared_BN, distance_BN, out=squared_BN)
        chosen_BG[:, step] = squared_BN.argmax(dim=1)
    return chosen_BG


def nearest_points(xyz_BN3: Tensor, centres_BG3: Tensor, count: int) -> Tensor:
    """The points nearest to each centre, itself among them, in no certain order.

    Returns:
        (B, G, count) int64 indices.
    """
    # Without a matrix product, which autocast or TF32 would make too coarse to tell neighbours apart.
    distance_BGN = torch.cdist(centres_BG3, xyz_BN3, compute_mode="donot_use_mm_for_euclid_dist")
    return distance_BGN.topk(count, dim=2, largest=False, sorted=False).indices


def gather_points(points_BNC: Tensor, index_BG: Tensor) -> Tensor:
    """(B, N, C) and (B, G) int64 → (B, G, C)."""
    return points_BNC.gather(1, index_BG[..., None].expand(-1, -1, points_BNC.shape[2]))
