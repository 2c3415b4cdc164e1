"""One person's conversation, and how it is shown: the true messages on one side, the chat's bubbles on the other.

Knows no gradio: a bubble is the plain `{"role": …, "content": […]}` that the chat component takes.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anygpt.errors import AnyGPTError
from anygpt.events import Event, Failed, MediaFailed, MediaProgress, MediaReady, MediaStarted, TextDelta
from anygpt.media.kinds import KINDS
from anygpt.messages import MediumRef, Message
from pipelines.demo.backends import MediaReceived, SeedUsed
from pipelines.demo.media import Attachment, write_file

STOPPED = "stopped"


@dataclass
class Words:
    """Text of a reply; hidden text belongs to the conversation alone."""

    text: str
    hidden: bool


@dataclass
class Place:
    """Where a medium stands in a reply: `line` is shown until its `file` is there, and for good where it is lost."""

    modality: str
    name: str
    line: str
    medium: Any = None
    file: Path | None = None
    lost: bool = False


@dataclass
class Reply:
    """A reply as far as it has come, and the seed that it was made with. Once stopped, no medium is under way."""

    parts: list[Words | Place] = field(default_factory=list)
    seed: int | None = None
    stopped: bool = False
    places: dict[int, Place] = field(default_factory=dict)

    def take(self, event: Event | SeedUsed, folder: Path) -> None:
        """Add one event; a finished medium is written to a file in `folder`.

        Raises:
            AnyGPTError: if the event says that the request failed.
        """
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, SeedUsed):
            self.seed = event.seed
        elif isinstance(event, TextDelta):
            self._write(event)
        elif isinstance(event, MediaStarted):
            name = f"{KINDS[event.modality].word} {event.index + 1}"
            self.places[event.index] = Place(event.modality, name, f"{name}: started")
            self.parts.append(self.places[event.index])
        elif isinstance(event, MediaProgress):
            place = self.places[event.index]
            place.line = f"{place.name}: step {event.step} of {event.steps}"
        elif isinstance(event, MediaReady):
            self.places[event.index].medium = event.medium
            self._show(self.places[event.index], event, folder)
        elif isinstance(event, MediaFailed):
            place = self.places[event.index]
            place.line, place.lost = f"⚠ {place.name} is lost: {event.stage}: {event.message}", True
        if self.stopped:  # in another thread, while the event was on its way
            self.stop()

    def _write(self, delta: TextDelta) -> None:
        last = self.parts[-1] if self.parts else None
        if isinstance(last, Words):
            last.text += delta.text
        else:
            self.parts.append(Words(delta.text, delta.hidden))

    def _show(self, place: Place, event: MediaReady, folder: Path) -> None:
        try:
            encode = KINDS[event.modality].encode
            data = event.file if isinstance(event, MediaReceived) else encode(event.medium)
            place.file = write_file(folder, event.modality, data)
        except AnyGPTError as error:
            place.line, place.lost = f"⚠ {place.name} cannot be shown: {error}", True

    def stop(self) -> None:
        """Say at every unfinished medium that it will not come."""
        self.stopped = True
        for place in self.places.values():
            if place.file is None and not place.lost:
                place.line = f"{place.name}: {STOPPED}"

    def message(self) -> Message:
        """The reply as the model reads it later: all text, and a reference where a medium is missing."""
        return Message("assistant", [_part(part) for part in self.parts])

    def content(self) -> list[dict[str, Any]]:
        """The reply as it is shown."""
        return [_shown(part) for part in self.parts if not (isinstance(part, Words) and part.hidden)]


@dataclass
class Turn:
    """A question and its reply.

    Attributes:
        question: the user's message; None until it is read.
        attached: the files of the question.
        note: a line under the reply: what it waits for, why there is none, or that it was stopped.
        ended: nothing more will come.
        kept: the turn is part of the conversation that the model reads.
        at_rest: the chat has shown the end. Point clouds wait for it: gradio's 3D view stays empty where the chat
            changes while the view is being built.
    """

    question: Message | None = None
    attached: Sequence[Attachment] = ()
    reply: Reply = field(default_factory=Reply)
    note: str = ""
    ended: bool = False
    kept: bool = False
    at_rest: bool = False

    def ask(self, text: str, attached: Sequence[Attachment]) -> None:
        """The question, as soon as its files are read."""
        media = [attachment.medium for attachment in attached]
        self.question, self.attached, self.note = Message("user", [*media, *([text] if text else [])]), attached, ""

    def end(self, *, kept: bool, note: str = "") -> None:
        """Take nothing more; a second time does nothing."""
        if not self.ended:
            self.ended, self.kept, self.note = True, kept, note
            self.reply.stop()

    def bubbles(self) -> list[dict[str, Any]]:
        """The turn as it is shown."""
        said = [
            _file(attached.file, attached.modality)
            if attached.modality != "points" or self.at_rest
            else _text(attached.name)
            for attached in self.attached
        ]
        if self.question is not None and self.question.text:
            said.append(_text(self.question.text))
        answered = [*self.reply.content(), *([_text(self.note)] if self.note else [])]
        if self.ended and self.reply.parts and self.reply.seed is not None:
            answered.append({"type": "text", "text": f"<small>seed {self.reply.seed}</small>"})
        both = [{"role": "user", "content": said}, {"role": "assistant", "content": answered}]
        return [bubble for bubble in both if bubble["content"]]


@dataclass
class Session:
    """One person's conversation. `busy` from a question's arrival to its reply's end."""

    turns: list[Turn] = field(default_factory=list)
    busy: bool = False

    def begin(self, note: str = "") -> Turn:
        """A new turn, still without its question."""
        self.turns.append(Turn(note=note))
        return self.turns[-1]

    def ask_again(self) -> Turn | None:
        """Begin the last question's turn anew, without its first reply; None if there is no question yet."""
        while self.turns:
            last = self.turns.pop()
            if last.question is not None:
                self.turns.append(Turn(last.question, last.attached))
                return self.turns[-1]
        return None

    def stop(self) -> None:
        """End a running turn where it is; what was written stays in the conversation."""
        if self.turns:
            self.turns[-1].end(kept=bool(self.turns[-1].reply.parts), note=STOPPED)
        self.busy = False

    def rest(self) -> None:
        """The last turn's end is on the page."""
        if self.turns:
            self.turns[-1].at_rest = self.turns[-1].ended

    def files(self) -> list[Path]:
        """The files that were attached."""
        return [attached.sent for turn in self.turns for attached in turn.attached]

    def conversation(self) -> list[Message]:
        """What the model reads: the turns that were kept, and the question of the one that is running."""
        messages = []
        for turn in self.turns:
            if turn.question is not None and (turn.kept or not turn.ended):
                messages.append(turn.question)
            if turn.kept:
                messages.append(turn.reply.message())
        return messages

    def bubbles(self) -> list[dict[str, Any]]:
        """What the chat shows."""
        return [bubble for turn in self.turns for bubble in turn.bubbles()]


def _part(part: Words | Place) -> Any:
    if isinstance(part, Words):
        return part.text
    return MediumRef(part.modality) if part.medium is None else part.medium


def _shown(part: Words | Place) -> dict[str, Any]:
    if isinstance(part, Words):
        return _text(part.text)
    return _text(part.line) if part.file is None else _file(part.file, part.modality)


def _text(text: str) -> dict[str, Any]:
    """Text to be shown as it is written: the chat component would take it for HTML."""
    return {"type": "text", "text": html.escape(text, quote=False)}


def _file(file: Path, modality: str) -> dict[str, Any]:
    """A file to be shown as what it is, whatever the system's table of file types knows of its ending."""
    return {"type": "file", "file": {"path": str(file), "mime_type": KINDS[modality].mime}}
