"""Takes in the files of one upload as they arrive: a form of the kind `multipart/form-data`, as browsers send it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pipelines.demo.refusals import RefusedError
from pipelines.demo.uploads import Upload, Uploads

MAX_OTHER_BYTES = 1024 * 1024  # of an upload: names, boundaries and other fields


async def receive_files(content_type: str, pieces: AsyncIterator[bytes], uploads: Uploads, person: str) -> list[Path]:
    """Store the files of a form, all of them or none.

    Args:
        content_type: of the request.
        pieces: of its body.
        uploads: where they go.
        person: whose they are.
    Returns:
        Their paths, in order.
    Raises:
        RefusedError: if one of them is refused, or the body is no form of files.
    """
    form = _Form(content_type, uploads, person)
    try:
        async for piece in pieces:
            await asyncio.to_thread(form.take, piece)
        return form.end()
    except BaseException:
        await asyncio.shield(asyncio.to_thread(form.abandon))
        raise


class _Form:
    """The parser's callbacks, and the files so far."""

    def __init__(self, content_type: str, uploads: Uploads, person: str) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise RefusedError(415, "upload: not multipart/form-data with a boundary; send files as browsers do")
        self.uploads, self.person = uploads, person
        self.files: list[Upload] = []
        self._finished: list[Path] = []
        self._options = parse_options_header
        self._field = self._value = b""
        self._disposition = b""
        self._upload: Upload | None = None
        self._all_bytes = self._file_bytes = 0
        self._ended = False
        names = (
            "part_begin",
            "header_field",
            "header_value",
            "header_end",
            "headers_finished",
            "part_data",
            "part_end",
        )
        callbacks: Any = {f"on_{name}": getattr(self, f"_{name}") for name in (*names, "end")}
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except ValueError as error:
            raise RefusedError(400, f"upload: {error}; send files as browsers do") from error

    def take(self, piece: bytes) -> None:
        """Read a piece of the body; in a thread, as it writes files.

        Raises:
            RefusedError: if a file is refused, or the form is broken.
        """
        self._all_bytes += len(piece)
        try:
            self._parser.write(piece)
        except ValueError as error:  # the parser's errors are of this kind; ours pass
            if isinstance(error, RefusedError):
                raise
            raise RefusedError(
                400, f"upload: not a form that can be read ({error}); send files as browsers do"
            ) from error
        if self._all_bytes - self._file_bytes > MAX_OTHER_BYTES:
            raise RefusedError(
                413, f"upload: more than {MAX_OTHER_BYTES:,} bytes besides files given; send files alone"
            )

    def end(self) -> list[Path]:
        """All files, once the body has ended.

        Raises:
            RefusedError: if the form has not.
        """
        if not self._ended:
            raise RefusedError(400, "upload: cut off, the form has no end; send it again")
        return self._finished

    def abandon(self) -> None:
        """Remove all that was stored."""
        for upload in self.files:
            upload.abandon()

    def _part_begin(self) -> None:
        self._disposition, self._upload = b"", None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        _, options = self._options(self._disposition)
        if b"filename" in options:
            name = options[b"filename"].decode("utf-8", "replace")
            self._upload = self.uploads.begin(name, self.person)
            self.files.append(self._upload)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._upload is not None:
            self._file_bytes += end - start
            self._upload.write(data[start:end])

    def _part_end(self) -> None:
        if self._upload is not None:
            self._finished.append(self._upload.finish())
            self._upload = None

    def _end(self) -> None:
        self._ended = True
