"""What the page knows about each kind of medium: a later modality is one more line in `KINDS`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anygpt.config import Limits
from anygpt.errors import MediaError
from anygpt.media import encode_png, load_image


@dataclass(frozen=True)
class MediaKind:
    """How one modality goes in and out of the page.

    Attributes:
        word: what people call it.
        suffix: the ending of the files that `encode` makes.
        decode: an attached file, under the stack's limits → a media value.
        encode: a media value → a file's bytes.
        max_bytes: the largest file that the limits allow.
    """

    word: str
    suffix: str
    decode: Callable[[str, Limits], Any]
    encode: Callable[[Any], bytes]
    max_bytes: Callable[[Limits], int]


KINDS = {
    "image": MediaKind(
        word="picture",
        suffix=".png",
        decode=lambda file, limits: load_image(file, limits.image),
        encode=encode_png,
        max_bytes=lambda limits: limits.image.max_bytes,
    ),
}


def read_attachment(file: str, limits: Limits) -> Any:
    """Decode an attached file.

    Raises:
        MediaError: if it cannot be used; the message calls the file by its name, without the server's folders.
    """
    try:
        return KINDS["image"].decode(file, limits)
    except MediaError as error:
        raise MediaError(str(error).replace(os.path.dirname(file) + os.sep, "")) from error


def write_medium(folder: Path, modality: str, medium: Any) -> Path:
    """Write a reply's medium to a file of its own in `folder`, under a name that nobody can guess."""
    kind = KINDS[modality]
    place = folder / secrets.token_hex(16)
    place.mkdir(parents=True)
    path = place / f"{kind.word}{kind.suffix}"
    path.write_bytes(kind.encode(medium))
    return path


def upload_limit_bytes(limits: Limits) -> int:
    """The largest file that any modality takes."""
    return max(kind.max_bytes(limits) for kind in KINDS.values())
