"""Media on their way in and out of the page."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anygpt.config.schema import Limits
from anygpt.errors import MediaError
from anygpt.media.kinds import KINDS, kind_of_file
from pipelines.media_decoding.pool import DecoderPool

# Files that browsers show as they are. Of any other the page shows what was read of it: of a cloud or mesh the points,
# a few thousand at most, which the chat draws in 3D.
BROWSERS_SHOW = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"),
    "audio": (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a"),
    "video": (".mp4", ".webm", ".m4v"),
}


@dataclass(frozen=True)
class Attachment:
    """A file that somebody attached.

    Attributes:
        name: of the file.
        modality, medium: what was read of it.
        file: what the chat shows of it.
        sent: the file itself.
    """

    name: str
    modality: str
    medium: Any
    file: Path
    sent: Path


async def read_attachment(file: str, limits: Limits, folder: Path, decoders: DecoderPool) -> Attachment:
    """Decode an attached file; what a browser cannot show is written to a file in `folder` as well.

    Cancelling the call ends the decoding.

    Raises:
        MediaError: if it cannot be used or takes too long; the message calls the file by its name, without the
            server's folders.
        MissingExtraError: if what decodes it is not installed.
    """
    try:
        modality = kind_of_file(file)
        medium = await decoders.decode(modality, file, getattr(limits, modality))
        shown = Path(file)
        if shown.suffix.lower() not in BROWSERS_SHOW.get(modality, ()):
            shown = await asyncio.to_thread(lambda: write_file(folder, modality, KINDS[modality].encode(medium)))
    except MediaError as error:
        raise MediaError(str(error).replace(os.path.dirname(file) + os.sep, "")) from error
    return Attachment(os.path.basename(file), modality, medium, shown, Path(file))


def write_file(folder: Path, modality: str, data: bytes) -> Path:
    """Write a medium to a file of its own in `folder`, under a name that nobody can guess.

    Raises:
        MediaError: if it cannot be written, as where the disk is full or the page was closed.
    """
    kind = KINDS[modality]
    path = folder / secrets.token_hex(16) / f"{kind.word.replace(' ', '-')}{kind.suffix}"
    try:
        path.parent.mkdir()  # not its parents: a closed page's folder must not come back
        path.write_bytes(data)
    except OSError as error:
        reason = error.strerror or error
        raise MediaError(f"{modality}: no file can be written for the page ({reason}); make room for it") from error
    return path


def endings(modalities: Sequence[str]) -> list[str]:
    """Of the files that may be attached."""
    return [ending for modality in modalities for ending in KINDS[modality].reads]


def upload_limit_bytes(limits: Limits, modalities: Sequence[str]) -> int:
    """The largest file that any of the modalities takes."""
    return max((getattr(limits, modality).max_bytes for modality in modalities), default=1)


def in_words(modalities: Sequence[str]) -> str:
    """The media in words: "a picture, a sound or a video"."""
    *others, last = [f"a {KINDS[modality].word}" for modality in modalities]
    return f"{', '.join(others)} or {last}" if others else last
