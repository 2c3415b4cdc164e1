"""A KV cache that writes new tokens in place.

transformers' dynamic cache copies all its keys and values at every step to append one token. Here each layer keeps
room for a block of tokens more, so a step moves only the new ones.

Legend: B rows, A key-value heads, T tokens, K new tokens, D head dim.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

BLOCK = 64  # tokens of room made at a time


class RoomyLayer(DynamicLayer):
    """A layer's keys and values (B, A, T, D): the front of tensors with room behind.

    It can grow and drop rows, which is all that decoding asks; it can't be cropped, reordered or offloaded.
    """

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """See `DynamicLayer.lazy_initialization`."""
        super().lazy_initialization(key_states, value_states)
        self._key_room, self._value_room = _room(key_states[..., :0, :], 0), _room(value_states[..., :0, :], 0)
        self._tokens = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, A, K, D); return all of them, as views that the next step leaves valid."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self._tokens = self._tokens, self._tokens + key_states.shape[-2]
        if self._tokens > self._key_room.shape[-2]:
            self._key_room = _room(self._key_room[..., :start, :], self._tokens)
            self._value_room = _room(self._value_room[..., :start, :], self._tokens)
        self._key_room[..., start : self._tokens, :] = key_states
        self._value_room[..., start : self._tokens, :] = value_states
        self._look()
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the rows `indices`."""
        if self.is_initialized:
            self._key_room, self._value_room = self._key_room[indices], self._value_room[indices]
            self._look()

    def _look(self) -> None:
        self.keys, self.values = self._key_room[..., : self._tokens, :], self._value_room[..., : self._tokens, :]


def decoding_cache(config: Any) -> Cache:
    """An empty cache for a model of this config; layers other than full attention are transformers' own."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _room(states: Tensor, tokens: int) -> Tensor:
    """A copy of the states (B, A, T, D) in a tensor that holds `tokens` and a block more."""
    room = states.new_empty(*states.shape[:-2], tokens + BLOCK, states.shape[-1])
    room[..., : states.shape[-2], :] = states
    return room
