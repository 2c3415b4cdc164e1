"""Choose the next token of one row.

Legend: V logits of the base vocabulary followed by one logit per signal group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anygpt.options import SamplingOptions


def choose(logits_V: Tensor, options: SamplingOptions, generator: torch.Generator) -> int:
    """Greedy at temperature 0, else top-k and nucleus sampling.

    A single uniform number is drawn per token and inverted through the distribution, so a row's choices depend on its
    own generator alone, never on its neighbours in a batch.
    """
    if options.temperature == 0.0:
        return int(logits_V.argmax())
    # Relative to the largest, so that the smallest temperature overflows to -inf at most, never to NaN.
    scaled_V = (logits_V - logits_V.max()) / max(options.temperature, torch.finfo(logits_V.dtype).tiny)
    sorted_V, order_V = scaled_V.sort(descending=True)
    if options.top_k:
        sorted_V = sorted_V[: options.top_k]
    probabilities_V = sorted_V.softmax(-1)
    cumulative_V = probabilities_V.cumsum(-1)
    if options.top_p < 1.0:
        kept = int((cumulative_V - probabilities_V < options.top_p).sum())
        cumulative_V = cumulative_V[: max(1, kept)]
    drawn = torch.rand((), generator=generator) * cumulative_V[-1].cpu()
    index = int(torch.searchsorted(cumulative_V.cpu(), drawn))
    return int(order_V[min(index, len(cumulative_V) - 1)])
