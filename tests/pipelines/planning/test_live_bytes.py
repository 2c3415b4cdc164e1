"""Memory of passes, against sums by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from pipelines.planning.live_bytes import LiveBytes
from pipelines.planning.meta_device import META, meta_passes

FLOAT = 4


def test_a_pass_peaks_where_most_tensors_live():
    with torch.device(META):
        up, down = nn.Linear(10, 1000), nn.Linear(1000, 10)
        x = torch.empty(8, 10)
    with meta_passes(), LiveBytes([up, down]) as live:
        y = down(torch.relu(up(x)))
    # relu's input and output live at once; the weights and x, which was there before, do not count.
    assert live.peak == 2 * 8 * 1000 * FLOAT
    assert live.now == y.nbytes == 8 * 10 * FLOAT


def test_views_count_once_and_the_dead_no_more():
    with LiveBytes([]) as live:
        x = torch.empty(6, 10, device=META)
        y = x.view(60)[:10].reshape(2, 5).T
        assert live.now == live.peak == 60 * FLOAT
        del x
        assert live.now == 60 * FLOAT  # its view holds it
        del y
    assert (live.now, live.peak) == (0, 60 * FLOAT)


def test_tensors_with_numbers_do_not_count():
    with LiveBytes([]) as live:
        torch.ones(1000)
    assert live.peak == 0


def test_masks_are_taken_as_all_true():
    x = torch.empty(3, 4, device=META)
    mask = torch.ones(3, dtype=torch.bool, device=META)
    with meta_passes():
        assert mask.all()
        assert x[mask].shape == (3, 4)


def test_attention_costs_no_scores():
    query = torch.empty(2, 4, 1000, 16, device=META)
    with meta_passes(), LiveBytes([]) as live:
        out = F.scaled_dot_product_attention(query, query, query)
    assert out.shape == query.shape
    assert live.peak == query.nbytes


def test_what_was_changed_is_put_back():
    before = torch.autocast
    with meta_passes():
        assert torch.autocast is not before
    assert torch.autocast is before
