"""Forward passes on the meta device, where tensors have shapes and no numbers.

Some code asks tensors for numbers ("is anything padded?", "where is the mask True?"). Here every answer is yes: nothing
is padded and every mask is all True, which is the largest case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental import _config as meta_options
from torch.overrides import TorchFunctionMode

from pipelines.planning.replaced import replaced

META = "meta"


@contextmanager
def meta_passes() -> Iterator[None]:
    """Inside the block, the real code's forward passes run on meta tensors; no gradients."""
    with (
        torch.no_grad(),
        meta_options.patch(meta_nonzero_assume_all_nonzero=True),  # type: ignore[attr-defined]
        replaced(torch, "autocast", _no_autocast),
        _LargestCase(),
    ):
        yield


def _no_autocast(*_: Any, **__: Any) -> AbstractContextManager[None]:
    """torch's own refuses the meta device, even to be turned off."""
    return nullcontext()


class _LargestCase(TorchFunctionMode):
    """Answers yes, and gives attention's result without its scores, as the fused kernels of a GPU do."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if function is Tensor.__bool__ and args[0].is_meta:
            return True
        if function is F.scaled_dot_product_attention and args and args[0].is_meta:
            query, _, value = args[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return function(*args, **options)
