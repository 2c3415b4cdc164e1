"""Where the sound of an MP3 or AAC (ADTS) file begins: behind tags, and behind junk that is no sound at all.

Source: ISO/IEC 11172-3, section 2.4.2.3 (MPEG audio header); ISO/IEC 13818-7, section 6.2 (ADTS); id3.org, ID3v2.
"""

from __future__ import annotations

_KBITS_PER_S = {  # (MPEG 1, layer) -> by the index in the header
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_FRAMES_IN_A_ROW = 4  # so many are no accident
_MAX_TAGS = 8


def end_of_tags(data: bytes) -> int:
    """Where the first byte behind all ID3v2 tags at the start of the file should be, by their own sizes."""
    at = 0
    for _ in range(_MAX_TAGS):
        if data[at : at + 3] != b"ID3" or len(data) < at + 10:
            break
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size + (10 if data[at + 5] & 0x10 else 0)  # a footer
    return at


def first_frame(data: bytes, start: int, end: int) -> tuple[str, int] | None:
    """The first place between `start` and `end` from which several frames follow one another.

    Returns:
        libav's demuxer for them ("mp3", "aac") and the place; None if there is no such place.
    """
    at = data.find(b"\xff", start, end)
    while at >= 0:
        kind, place = None, at
        for index in range(_FRAMES_IN_A_ROW):
            found = _frame_at(data, place)
            if found is None or kind not in (None, found[0]):
                break
            kind, place = found[0], place + found[1]
            if index == _FRAMES_IN_A_ROW - 1 or (index and place == len(data)):
                return kind, at
        at = data.find(b"\xff", at + 1, end)
    return None


def _frame_at(data: bytes, at: int) -> tuple[str, int] | None:
    """The demuxer and the length in bytes of the frame that starts here; None if none does."""
    head = int.from_bytes(data[at : at + 6], "big") if len(data) >= at + 6 else 0
    if head >> 36 == 0xFFF and head >> 33 & 0b011 == 0:  # sync word, layer 0
        length = head >> 5 & 0x1FFF
        return ("aac", length) if length > 7 and head >> 26 & 0xF < 13 else None
    word = head >> 16
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    rate_index, bits_index = word >> 10 & 3, word >> 12 & 15
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or rate_index == 3 or bits_index in (0, 15):
        return None
    rate_hz, padding = _RATES_HZ[version][rate_index], word >> 9 & 1
    bits_per_s = 1000 * _KBITS_PER_S[version == 3, layer][bits_index]
    if layer == 1:
        return "mp3", (12 * bits_per_s // rate_hz + padding) * 4
    return "mp3", (72 if layer == 3 and version != 3 else 144) * bits_per_s // rate_hz + padding
