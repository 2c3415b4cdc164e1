"""What a file must begin with to be stored as a medium of some kind. Whether it is whole, the decoder finds out."""

from __future__ import annotations

from anygpt.media.foreign import but_what

HEAD_BYTES = 1024  # of a file, on which is decided
_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_TIFF = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
_WAV = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff")
_MEDIA: dict[str, list[tuple[int, tuple[bytes, ...]]]] = {  # modality → where in the file, what may stand there
    "image": [(0, (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", *_TIFF)), (8, (b"WEBP",))],
    "audio": [(0, (*_WAV, b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"FORM", b"caff", b"#!AMR")), (4, _BOXES)],
    "video": [(0, (b"\x1aE\xdf\xa3", b"GIF8")), (4, _BOXES)],
    "points": [(0, (b"ply", b"glTF", b"\x93NUMPY", b"PK\x03\x04"))],
}
_PROGRAMS = (b"MZ", b"\x7fELF", b"\xfe\xed\xfa", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!")


def is_of_kind(head: bytes, modality: str) -> bool:
    """True unless a file cannot be of the modality.

    An MP3 may begin with junk, and many point clouds are text: they pass if they are neither a program, nor of another
    known kind, nor text for a sound or no text for points.

    Args:
        head: the first `HEAD_BYTES` bytes, or all there are.
        modality: "image", "audio", "video" or "points".
    """
    if _has_signature(head, modality):
        return not (head.startswith(b"RIFF") and modality == "audio" and head[8:12] != b"WAVE")
    if modality in ("image", "video") or not head or head.startswith(_PROGRAMS) or but_what(head):
        return False
    if modality == "points":
        return _is_text(head)
    return _is_mpeg_frame(head) or not (_is_text(head) or any(_has_signature(head, other) for other in _MEDIA))


def what_it_is(head: bytes) -> str:
    """ " but a PDF document", as far as that is known."""
    return " but a program" if head.startswith(_PROGRAMS) else but_what(head)


def _has_signature(head: bytes, modality: str) -> bool:
    return any(head.startswith(magic, at) for at, magics in _MEDIA[modality] for magic in magics)


def _is_mpeg_frame(head: bytes) -> bool:
    """True for the sync word of MP3 and AAC, which is not the mark of UTF-16 text."""
    return head[:1] == b"\xff" and head[1:2] >= b"\xe0" and not head.startswith(b"\xff\xfe")


def _is_text(head: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 32 or byte == 127 for byte in head)
