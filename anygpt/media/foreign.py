"""What a refused file is, by its first bytes, so that the refusal can say so."""

from __future__ import annotations

_SIGNATURES = (  # where in the file, what is there, what such a file is
    (8, b"AVI ", "an AVI video"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMV or WMA file"),
    (0, b"FLV\x01", "a Flash video"),
    (0, b"\x00\x00\x01\xba", "an MPEG program stream"),
    (0, b"\x00\x00\x01\xb3", "an MPEG-1 or MPEG-2 video stream"),
    (0, b"P3\n", "a PPM picture"),
    (0, b"P5\n", "a PGM picture"),
    (0, b"P6\n", "a PPM picture"),
    (0, b".RMF", "a RealMedia file"),
    (0, b"MThd", "a MIDI file, which holds notes and no sound"),
    (0, b".snd", "a Sun AU sound"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b"wvpk", "a WavPack sound"),
    (4, b"ftypheic", "a HEIC picture, as iPhones take them"),
    (4, b"ftypheix", "a HEIC picture, as iPhones take them"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypmsf1", "a HEIF picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftypavis", "an AVIF picture"),
    (4, b"ftyp", "an MP4, MOV or M4A file"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"II*\x00", "a TIFF picture or a camera's raw picture"),
    (0, b"MM\x00*", "a TIFF picture or a camera's raw picture"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"\x00\x00\x01\x00", "an icon"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"RIFF", "a WAV file or another RIFF file"),
    (0, b"ID3", "an MP3 sound"),
    (0, b"OggS", "an OGG sound"),
    (0, b"fLaC", "a FLAC sound"),
    (0, b"\x1aE\xdf\xa3", "a WebM or MKV video"),
    (0, b"glTF", "a GLB mesh"),
    (0, b"LASF", "a LAS or LAZ scan"),
    (0, b"ASTM-E57", "an E57 scan"),
    (0, b"Kaydara FBX", "an FBX mesh"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"SQLite format 3", "an SQLite database"),
    (0, b"\x80\x04\x95", "a Python pickle"),
    (0, b"\xff\xfe", "a text in UTF-16"),
    (0, b"\xfe\xff", "a text in UTF-16"),
    (0, b"version https://git-lfs", "a pointer of Git LFS and not the file itself"),
)
_TRANSPORT_PACKETS = ((0, 188), (4, 192))  # where a packet has its mark "G", and how many bytes a packet has
_TEXT_STARTS = (  # in small letters, behind blanks
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML file"),
    (b"{", "a JSON file"),
)


def but_what(data: bytes) -> str:
    """ " but a PDF document" for use in a message that says what a file is not; "" where its kind is not known."""
    kind = next((kind for at, magic, kind in _SIGNATURES if data.startswith(magic, at)), None)
    if kind is None and any(data[at : at + 3 * size : size] == b"GGG" for at, size in _TRANSPORT_PACKETS):
        kind = "an MPEG transport stream, as camcorders write them"
    if kind is None:
        text = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        kind = next((kind for magic, kind in _TEXT_STARTS if text.startswith(magic)), None)
    return "" if kind is None else f" but {kind}"
