"""Messages: a role and an ordered list of parts, each text or a media value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from anygpt.errors import RequestError
from anygpt.media.kinds import KINDS, kind_of_value

Role = Literal["system", "user", "assistant"]
ROLES = ("system", "user", "assistant")

# A part is a str, a media value (PIL.Image.Image, Audio, Video, PointCloud) or a `MediumRef`.
Part = Any


@dataclass(frozen=True)
class MediumRef:
    """Stands for a medium where only its place in the conversation matters."""

    modality: str


def modality_of(part: Part) -> str:
    """The modality of a part: "text", "image", "audio", "video" or "points".

    Raises:
        RequestError: if the part is of no known type.
    """
    if isinstance(part, str):
        return "text"
    if isinstance(part, MediumRef):
        return part.modality
    modality = kind_of_value(part)
    if modality is None:
        known = ", ".join(kind.value.__name__ for kind in KINDS.values())
        raise RequestError(
            f"message part: a {type(part).__name__} given, expected str or one of {known}; decode files first"
        )
    return modality


@dataclass(frozen=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: "system", "user" or "assistant".
        parts: text and media in order; a single part may be given bare.
    """

    role: Role
    parts: tuple[Part, ...]

    def __init__(self, role: Role, parts: Part | Iterable[Part]) -> None:
        if role not in ROLES:
            raise RequestError(f"message role: {role!r} given, expected one of {', '.join(ROLES)}")
        listed = tuple(parts) if isinstance(parts, (list, tuple)) else (parts,)
        for part in listed:
            if modality_of(part) == "text":
                _check_text(part)
        object.__setattr__(self, "role", role)
        object.__setattr__(self, "parts", listed)

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))

    def media(self, modality: str) -> list[Part]:
        """The parts of one modality, in order."""
        return [part for part in self.parts if modality_of(part) == modality]

    def with_refs(self) -> Message:
        """The same message with every medium replaced by a `MediumRef`."""
        return Message(self.role, [p if isinstance(p, str) else MediumRef(modality_of(p)) for p in self.parts])


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError(
            f"message part: text with half a character ({text[error.start]!r} at {error.start}), "
            "expected valid Unicode; decode the bytes as what they are"
        ) from error


def check_conversation(messages: Sequence[Message]) -> None:
    """Refuse conversations that no reply can follow.

    Raises:
        RequestError: if empty, the last message is not the user's, or that message says and shows nothing.
    """
    if not messages:
        raise RequestError("conversation: no message given, expected at least one from the user")
    last = messages[-1]
    if last.role != "user":
        raise RequestError(f"conversation: the last message is the {last.role}'s, expected the user's")
    if not any(part.strip() if isinstance(part, str) else True for part in last.parts):
        raise RequestError("conversation: the last message is empty, expected text or a medium")
