"""Sound and video files in memory: told by their first bytes, tidied, and opened with the one demuxer that fits.

A demuxer is named here and reads from memory: libav never sees a path, so that a playlist cannot make it read other
files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from anygpt.errors import AnyGPTError, MediaError, MissingExtraError
from anygpt.media.foreign import but_what
from anygpt.media.gif import gif_layout, is_gif
from anygpt.media.mpeg_audio import end_of_tags, first_frame
from anygpt.media.sources import one_line
from anygpt.media.wav import is_wav, tidy_wav
from anygpt.media.wholeness import check_whole

if TYPE_CHECKING:
    from av.container import InputContainer

_SIGNATURES = (  # where in the file, what is there, libav's demuxer for it
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
    (0, b"caff", "caf"),
    (0, b"#!AMR", "amr"),
    *((4, kind, "mov") for kind in (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),
)
_MAX_PICTURE_PIXELS = 64_000_000  # of a picture inside a file, such as an album's cover, which libav looks into
_JUNK_BYTES = 65_536  # so many may stand before the first frame of an MP3 without tags
_TAG_BYTES = 16 * 1024 * 1024  # so many are searched where an MP3's tag does not end where it says
_GIF_FRAMES = 1_000_000


def import_av() -> Any:
    """PyAV, imported only when a sound or video is at hand."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(
            "audio and video need the package 'av', which is missing; pip install 'anygpt[media]'"
        ) from error
    return av


def tidy(data: bytes, name: str, demuxers: tuple[str, ...], *, expected: str) -> tuple[str, bytes]:
    """The demuxer that the content calls for, and the content as that demuxer understands it.

    Args:
        data: the whole file.
        name: what messages call it.
        demuxers: libav's names of those that may be used.
        expected: those formats in words.
    Raises:
        MediaError: if the content calls for none of `demuxers` or is cut off.
    """
    demuxer, start = _recognised(data)
    if demuxer not in demuxers:
        medium = name.partition(" ")[0]
        raise MediaError(
            f"{name}: not {medium} that can be decoded{but_what(data)}, it starts with {data[:16]!r}, expected "
            f"{expected}; convert it to one of them"
        )
    content = data[start:] if start else data
    if demuxer == "wav":
        return demuxer, tidy_wav(content, name)
    if demuxer == "gif":
        return demuxer, _tidy_gif(content, name)
    check_whole(content, demuxer, name)
    if demuxer == "aiff":  # libav reads no further than the size of the whole, which may be too small
        content = content[:4] + (len(content) - 8).to_bytes(4, "big") + content[8:]
    return demuxer, content


@contextmanager
def open_container(
    demuxer: str, content: bytes, name: str, *, max_pixels: int = _MAX_PICTURE_PIXELS
) -> Iterator[InputContainer]:
    """Open what `tidy` gave.

    Args:
        demuxer, content: the file.
        name: what messages call it.
        max_pixels: libav decodes no larger picture while it looks into the file.
    Raises:
        MediaError: if what is done inside fails on it.
    """
    av = import_av()
    options = {"max_pixels": str(max_pixels), "protocol_whitelist": "none", "enable_drefs": "0"}
    with (
        errors_as_media_errors(name),
        av.open(io.BytesIO(content), format=demuxer, options=options, metadata_errors="ignore") as container,
    ):
        yield container


@contextmanager
def errors_as_media_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder or encoder raises on hostile or damaged media into one MediaError."""
    try:
        yield
    except AnyGPTError:
        raise
    except Exception as error:  # libav's errors are of many built-in kinds; numpy adds ValueError, MemoryError, ...
        reason = one_line(getattr(error, "strerror", None) or str(error)) or type(error).__name__
        raise MediaError(
            f"{name}: damaged, cut off or of an unknown kind ({reason}), expected a complete file; "
            "save or send it again"
        ) from error


def read_only(container: InputContainer, wanted: Any) -> None:
    """Let the demuxer pass over all streams but one, so that damage in the others does no harm to it."""
    from av.stream import Discard

    for stream in container.streams:
        if stream.index != wanted.index:
            stream.discard = Discard.all


def check_samples_are_there(container: InputContainer, stream: Any, name: str) -> None:
    """Refuse an MP4 whose index, once all of it has been read, names pictures or sound behind the end of the file."""
    if container.format.name.startswith("mov"):
        needed = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
        if needed > container.size:
            raise MediaError(
                f"{name}: damaged, cut off, {container.size:,} bytes are there and its {stream.type} needs {needed:,}, "
                "expected a complete file; save or send it again"
            )


def _recognised(data: bytes) -> tuple[str | None, int]:
    """The demuxer that a file calls for, and where its content starts behind tags and junk."""
    has_tag = data.startswith(b"ID3")
    start = end_of_tags(data)
    start = start if start < len(data) else 0
    head = data[start : start + 64] if start else data
    if is_wav(head):
        return "wav", start
    if is_gif(head):
        return "gif", start
    demuxer = next((demuxer for at, magic, demuxer in _SIGNATURES if head.startswith(magic, at)), None)
    if demuxer is not None:
        return demuxer, start
    if head[:1] == b"\xff" and head[1:2] and head[1] & 0xE6 == 0xE2:
        return "mp3", start  # the sync word of an MPEG frame, layer III
    # A tag whose size is wrong ends elsewhere; then its own pictures are searched as well.
    found = first_frame(data, 0, _TAG_BYTES if has_tag else _JUNK_BYTES)
    if found is None:
        return ("mp3" if has_tag else None), start
    return found


def _tidy_gif(data: bytes, name: str) -> bytes:
    """A GIF up to its last frame; libav would take one that is cut off for a shorter one."""
    layout = gif_layout(data, max_frames=_GIF_FRAMES)
    if layout.ends_inside_frame or not (layout.frames or data.rstrip(b"\0").endswith(b";")):
        raise MediaError(
            f"{name}: cut off inside a frame, the mark of the end is missing, expected a complete file; "
            "save or send it again"
        )
    return layout.content
