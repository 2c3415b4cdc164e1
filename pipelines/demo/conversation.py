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
from anygpt.events import Event
from anygpt.media.kinds import KINDS
from anygpt.messages import Message
from pipelines.demo.backends import MediaReceived, SeedUsed
from pipelines.demo.media import Attachment, write_file
from pipelines.replies import ReplyBuilder, ReplyMedium, ReplyText

STOPPED = "stopped"


@dataclass
class ShownReply:
    """A reply as far as it has come, and what the chat shows of it.

    Attributes:
        seed: what it is made with.
        stopped: no medium is under way any more.
        files: the files of finished media, by the media's numbers.
        unshown: why a finished medium cannot be shown, by its number.
    """

    builder: ReplyBuilder = field(default_factory=ReplyBuilder)
    seed: int | None = None
    stopped: bool = False
    files: dict[int, Path] = field(default_factory=dict)
    unshown: dict[int, str] = field(default_factory=dict)

    @property
    def has_parts(self) -> bool:
        """True once something of the reply has come."""
        return bool(self.builder.parts)

    def take(self, event: Event | SeedUsed, folder: Path) -> None:
        """Add one event; a finished medium is written to a file in `folder`.

        Raises:
            AnyGPTError: if the event says that the request failed.
        """
        if isinstance(event, SeedUsed):
            self.seed = event.seed
            return
        part = self.builder.take(event)
        if isinstance(part, ReplyMedium) and part.medium is not None:
            try:
                encode = KINDS[part.modality].encode
                data = event.file if isinstance(event, MediaReceived) else encode(part.medium)
                self.files[part.index] = write_file(folder, part.modality, data)
            except AnyGPTError as error:
                self.unshown[part.index] = str(error)

    def stop(self) -> None:
        """Say at every unfinished medium that it will not come."""
        self.stopped = True

    def message(self) -> Message:
        """The reply as the model reads it later."""
        return self.builder.message()

    def content(self) -> list[dict[str, Any]]:
        """The reply as the chat takes it."""
        return [self._shown(part) for part in self.builder.shown]

    def _shown(self, part: ReplyText | ReplyMedium) -> dict[str, Any]:
        if isinstance(part, ReplyText):
            return _text(part.text)
        file = self.files.get(part.index)
        return _text(self._line(part)) if file is None else _file(file, part.modality)

    def _line(self, medium: ReplyMedium) -> str:
        """What is said in the place of a medium that is not there."""
        name = f"{KINDS[medium.modality].word} {medium.index + 1}"
        if medium.failure is not None:
            return f"⚠ {name} is lost: {medium.failure.stage}: {medium.failure.message}"
        if medium.index in self.unshown:
            return f"⚠ {name} cannot be shown: {self.unshown[medium.index]}"
        if self.stopped:
            return f"{name}: {STOPPED}"
        return f"{name}: step {medium.step} of {medium.steps}" if medium.step else f"{name}: started"


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
    reply: ShownReply = field(default_factory=ShownReply)
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
        if self.ended and self.reply.has_parts and self.reply.seed is not None:
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
            self.turns[-1].end(kept=self.turns[-1].reply.has_parts, note=STOPPED)
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


def _text(text: str) -> dict[str, Any]:
    """Text to be shown as it is written: the chat component would take it for HTML."""
    return {"type": "text", "text": html.escape(text, quote=False)}


def _file(file: Path, modality: str) -> dict[str, Any]:
    """A file to be shown as what it is, whatever the system's table of file types knows of its ending."""
    return {"type": "file", "file": {"path": str(file), "mime_type": KINDS[modality].mime}}
