"""Media on their way in and out of the page."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anygpt.config import Limits
from anygpt.errors import MediaError
from anygpt.media.kinds import KINDS, kind_of_file


def read_attachment(file: str, limits: Limits) -> Any:
    """Decode an attached file.

    Raises:
        MediaError: if it cannot be used; the message calls the file by its name, without the server's folders.
    """
    try:
        modality = kind_of_file(file)
        return KINDS[modality].load(file, getattr(limits, modality))
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


def endings(modalities: Sequence[str]) -> list[str]:
    """Of the files that may be attached."""
    return [ending for modality in modalities for ending in KINDS[modality].reads]


def upload_limit_bytes(limits: Limits, modalities: Sequence[str]) -> int:
    """The largest file that any of the modalities takes."""
    return max((getattr(limits, modality).max_bytes for modality in modalities), default=1)
