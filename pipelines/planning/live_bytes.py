"""Count the memory of a forward pass while it runs: the bytes of all tensors that are alive at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Bytes of the meta tensors that operations make inside the block, from when they are made until nobody holds them.

    Views count once, with what they look at; the modules' weights and buffers do not count.

    Args:
        modules: whose weights are counted elsewhere.
    Attributes:
        now, peak: bytes alive now, and the most that there were at once.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, Any] = {}
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                self._remember(tensor, count=False)

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.is_meta:
                self._remember(value, count=True)
        self.peak = max(self.peak, self.now)
        return result

    def _remember(self, tensor: Tensor, *, count: bool) -> None:
        storage = tensor.untyped_storage()
        if id(storage) not in self._known:
            size = storage.nbytes() if count else 0
            self._known[id(storage)] = weakref.ref(storage, partial(self._forget, id(storage), size))
            self.now += size

    def _forget(self, key: int, size: int, _: Any) -> None:
        del self._known[key]
        self.now -= size
