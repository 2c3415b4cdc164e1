"""The files that people sent to the page: which are taken, where they lie, and how many bytes each person keeps."""

from __future__ import annotations

import ipaddress
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from anygpt.config.schema import Limits, ServiceLimits
from anygpt.media.kinds import KINDS
from pipelines.demo.media import endings, in_words
from pipelines.demo.refusals import RefusedError, quoted
from pipelines.demo.signatures import HEAD_BYTES, is_of_kind, what_it_is

UNSENT_KEPT_S = 600.0  # a file that lies in the box longer than this, unsent, makes room for others
MAX_FILES_PER_PERSON, MAX_FILES = 1024, 16 * 1024
MAX_NAME_CHARS = 60  # at most 240 bytes


@dataclass
class Kept:
    """A file's weight, and whose it is.

    Attributes:
        complete: it has arrived.
        sent: it belongs to a conversation.
    """

    person: str
    num_bytes: int = 0
    complete: bool = False
    sent: bool = False
    since: float = field(default_factory=time.monotonic)


class Uploads:
    """Takes files in and counts them until they are deleted, by whomever.

    Args:
        folder: each file gets a folder of its own here.
        takes: the modalities that may be attached.
        limits: of a single file.
        service: what a person, and all together, may keep.
    """

    def __init__(self, folder: Path, takes: Sequence[str], limits: Limits, service: ServiceLimits) -> None:
        self.folder, self.takes, self.limits, self.service = folder, takes, limits, service
        self._kept: dict[Path, Kept] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, person: str) -> Upload:
        """Begin to take a file in.

        Args:
            name: as the browser gives it.
            person: whose it is: see `person_at`.
        Raises:
            RefusedError: 415 if no file of that name is taken, 413 if the person keeps too many files.
        """
        name = plain_name(name)
        modality = next((kind for kind in self.takes if name.lower().endswith(KINDS[kind].reads)), None)
        if modality is None:
            taken = f"{in_words(self.takes)} ({', '.join(endings(self.takes))})" if self.takes else "no file at all"
            raise RefusedError(415, f"{quoted(name)}: not stored, expected {taken}; convert it to one of these")
        path = self.folder / secrets.token_hex(16) / name
        with self._lock:
            self._make_room()
            count = sum(kept.person == person for kept in self._kept.values())
            if count >= MAX_FILES_PER_PERSON or len(self._kept) >= MAX_FILES:
                raise RefusedError(
                    413, f"{quoted(name)}: not stored, {count:,} of your files are kept; press Clear first"
                )
            self._kept[path] = Kept(person)
        return Upload(self, path, modality)

    def complete(self, path: Path) -> None:
        """A file has arrived."""
        self._kept[path].complete = True

    def charge(self, path: Path, num_bytes: int) -> None:
        """Count more bytes of a file.

        Raises:
            RefusedError: 413 if its person, or all together, would then keep too much; nothing is counted.
        """
        with self._lock:
            if self._excess(path, num_bytes):
                self._make_room()
                if message := self._excess(path, num_bytes):
                    raise RefusedError(413, f"{quoted(path.name)}: not stored, {message}")
            self._kept[path].num_bytes += num_bytes

    def keep(self, paths: Iterable[str | Path]) -> None:
        """Files that are part of a conversation now."""
        with self._lock:
            for path in map(Path, paths):
                if path in self._kept:
                    self._kept[path].sent = True

    def delete(self, paths: Iterable[str | Path]) -> None:
        """Delete files that were uploaded; any other path is left alone."""
        with self._lock:
            for path in map(Path, paths):
                if self._kept.pop(path, None) is not None:
                    _remove(path)

    def held_bytes(self, person: str | None = None) -> int:
        """What a person keeps, or all together."""
        return sum(kept.num_bytes for kept in self._kept.values() if person in (None, kept.person))

    def _excess(self, path: Path, num_bytes: int) -> str:
        """What would be too much with so many more bytes; "" if nothing would."""
        service, person = self.service, self._kept[path].person
        if self.held_bytes(person) + num_bytes > service.max_upload_bytes_per_person:
            return (
                f"your files would be more than service.max_upload_bytes_per_person="
                f"{service.max_upload_bytes_per_person:,} bytes; press Clear to remove those of the conversation"
            )
        if self.held_bytes() + num_bytes > service.max_upload_bytes:
            return (
                f"everybody's files would be more than service.max_upload_bytes={service.max_upload_bytes:,} bytes; "
                "try again later"
            )
        return ""

    def _make_room(self) -> None:
        """Forget files that somebody deleted, and delete those that were never sent."""
        now = time.monotonic()
        for path, kept in [*self._kept.items()]:
            if kept.complete and not kept.sent and now - kept.since > UNSENT_KEPT_S:
                _remove(path)
            if kept.complete and not path.exists():
                del self._kept[path]


class Upload:
    """A file on its way; nothing of it is written before its first bytes are those of its kind."""

    def __init__(self, uploads: Uploads, path: Path, modality: str) -> None:
        self.path, self.modality = path, modality
        self._uploads = uploads
        self._head = bytearray()
        self._num_bytes = 0
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        """Take more of it in.

        Raises:
            RefusedError: 413 if it is too large or its person keeps too much, 415 if it is of another kind, 507 if the
                disk is full.
        """
        self._num_bytes += len(data)
        most = getattr(self._uploads.limits, self.modality).max_bytes
        if self._num_bytes > most:
            raise RefusedError(
                413,
                f"{quoted(self.path.name)}: not stored, more than {most:,} bytes given, which is "
                f"limits.{self.modality}.max_bytes; shrink it",
            )
        self._uploads.charge(self.path, len(data))
        if self._file is not None:
            self._store(data)
            return
        self._head += data
        if len(self._head) >= HEAD_BYTES:
            self._open()

    def finish(self) -> Path:
        """The complete file.

        Raises:
            RefusedError: as in `write`.
        """
        if self._file is None:
            self._open()
        assert self._file is not None
        try:
            self._file.close()
        except OSError as error:
            raise self._no_room(error) from error
        self._uploads.complete(self.path)
        return self.path

    def abandon(self) -> None:
        """Remove what is there of it."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._uploads.delete([self.path])

    def _open(self) -> None:
        head, word = bytes(self._head[:HEAD_BYTES]), KINDS[self.modality].word
        if not is_of_kind(head, self.modality):
            # In figures, as the page takes a notice for HTML.
            starts = what_it_is(head) or (
                f", it starts with the bytes {head[:8].hex(' ')}" if head else ", it is empty"
            )
            raise RefusedError(415, f"{quoted(self.path.name)}: not stored, not a {word}{starts}; send a {word}")
        try:
            self.path.parent.mkdir()  # not its parents: a closed page's folder must not come back
            self._file = self.path.open("xb")
        except OSError as error:
            raise self._no_room(error) from error
        self._store(bytes(self._head))
        self._head.clear()

    def _store(self, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise self._no_room(error) from error

    def _no_room(self, error: OSError) -> RefusedError:
        return RefusedError(507, f"{quoted(self.path.name)}: cannot be stored ({error.strerror}); make room for it")


def person_at(address: str) -> str:
    """Who counts as one person: an IP address, or the network of an IPv6 address, in which a home has all addresses."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    if parsed.version == 6 and mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(mapped or parsed)


def plain_name(name: str) -> str:
    """A file's name without folders, and without what has a meaning in addresses or on a terminal."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(char if char.isalnum() or char in " ._-()+," else "_" for char in last).strip(" .")
    stem, dot, ending = plain.rpartition(".")
    return f"{stem[: MAX_NAME_CHARS - len(ending)]}{dot}{ending[:MAX_NAME_CHARS]}" or "file"


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(OSError):  # it was never made, or something else lies there
        path.parent.rmdir()
