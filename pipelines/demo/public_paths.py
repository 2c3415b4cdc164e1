"""Files by the names that browsers see: the server's folders show in no address, message or download."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote


class PublicPaths:
    """Names for the files of one folder: `files-3f…/a1…/star.png` for `/tmp/anygpt-demo-x/a1…/star.png`.

    Args:
        folder: holds a folder for each file.
    Attributes:
        name: stands for the folder. It is drawn, so that no text holds it by accident.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"files-{secrets.token_hex(8)}"
        written = {form for path in (str(folder), os.path.realpath(folder)) for form in _written(path)}
        self._written = sorted(written, key=len, reverse=True)

    def hide(self, data: bytes) -> bytes:
        """Text for a browser, with the folder's name in the place of its path."""
        for path in self._written:
            data = data.replace(path, self.name.encode())
        return data

    def find(self, public: str) -> Path | None:
        """The file of a public name; None if there is none of that name."""
        name, *place = public.split("/")
        if name != self.name or len(place) != 2 or not all(_is_plain(part) for part in place):
            return None
        path = self.folder.joinpath(*place)
        return path if path.is_file() and not path.is_symlink() else None


def _written(path: str) -> Iterator[bytes]:
    """A path as it may stand in an address or in JSON."""
    yield os.fsencode(path)
    yield quote(path).encode()
    for only_ascii in (True, False):
        yield json.dumps(path, ensure_ascii=only_ascii)[1:-1].encode("utf-8", "replace")


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and part.isprintable() and "\\" not in part and len(part) <= 255
