"""How the recipes compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def bf16_products() -> Iterator[None]:
    """Matrix products and convolutions in bfloat16, and attention as plain products.

    On a CPU the fused attention's backward pass is ten times slower in bfloat16 than these for the few tokens that
    tiny models attend to (torch 2.13): it took half of a denoiser's training step.
    """
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield
