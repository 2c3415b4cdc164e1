"""Messages between a program and a process that it has started: pickled, each with its length before it.

Values that cannot leave their process travel as numbers: `number_of` names them where a message is written, `value_of`
finds them where it is read.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO

LENGTH_BYTES = 8


class _Pickler(pickle.Pickler):
    def __init__(self, file: BinaryIO, number_of: Callable[[Any], int | None]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._number_of = number_of

    def persistent_id(self, value: Any) -> int | None:
        return self._number_of(value)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, value_of: Callable[[int], Any]) -> None:
        super().__init__(file)
        self._value_of = value_of

    def persistent_load(self, number: Any) -> Any:
        return self._value_of(number)


def pack(message: Any, number_of: Callable[[Any], int | None]) -> bytes:
    """A message's bytes; `number_of` gives None for a value that travels as it is."""
    packed = io.BytesIO()
    _Pickler(packed, number_of).dump(message)
    return packed.getvalue()


def unpack(packed: bytes, value_of: Callable[[int], Any]) -> Any:
    """The message that `pack` was given."""
    return _Unpickler(io.BytesIO(packed), value_of).load()


def write_packed(pipe: BinaryIO, packed: bytes) -> None:
    """Send a message.

    Raises:
        OSError, ValueError: if nobody reads the pipe any more.
    """
    pipe.write(len(packed).to_bytes(LENGTH_BYTES, "big"))
    pipe.write(packed)
    pipe.flush()


def read_packed(pipe: BinaryIO) -> bytes:
    """Wait for the next message.

    Raises:
        EOFError: if the other process has ended, or closed the pipe.
    """
    length = int.from_bytes(_read(pipe, LENGTH_BYTES), "big")
    return _read(pipe, length)


def _read(pipe: BinaryIO, num_bytes: int) -> bytes:
    data = pipe.read(num_bytes)
    if len(data) < num_bytes:
        raise EOFError("the other process has closed the pipe")
    return data
