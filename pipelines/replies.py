"""A request's events become its reply: one fold for Python, the command line, the service and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anygpt.events import Done, Event, Failed, MediaFailed, MediaProgress, MediaReady, MediaStarted, TextDelta, Usage
from anygpt.media import Audio, Video
from anygpt.messages import MediumRef, Message, Part, modality_of
from pipelines.any_to_any import Request

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass
class ReplyText:
    """Text of a reply, up to the next medium.

    Attributes:
        added: what the last event has added to `text`.
        hidden: it was not asked for, and belongs to the conversation alone.
    """

    text: str
    added: str
    hidden: bool


@dataclass
class ReplyMedium:
    """A medium of a reply: where it stands and how far it is.

    Attributes:
        index: number among the reply's media.
        part_index: number among all shown parts of the reply.
        text_offset: characters of shown text before it.
        step, steps: of denoising; `steps` is None until the first one is done.
        medium: the finished medium.
        failure: why it will not come.
    """

    modality: str
    index: int
    part_index: int
    text_offset: int
    step: int = 0
    steps: int | None = None
    medium: Part = None
    failure: MediaFailed | None = None


@dataclass
class ReplyBuilder:
    """A reply as far as it has come."""

    parts: list[ReplyText | ReplyMedium] = field(default_factory=list)
    media: list[ReplyMedium] = field(default_factory=list)
    errors: list[MediaFailed] = field(default_factory=list)
    done: Done | None = None

    def take(self, event: Event) -> ReplyText | ReplyMedium | None:
        """Add one event.

        Returns:
            The part that has changed; None at the end.
        Raises:
            AnyGPTError: if the event says that the request failed.
        """
        match event:
            case TextDelta(text=text, hidden=hidden):
                return self._add_text(text, hidden)
            case MediaStarted(modality=modality):
                return self._start_medium(modality)
            case MediaProgress(index=index, step=step, steps=steps):
                self.media[index].step, self.media[index].steps = step, steps
                return self.media[index]
            case MediaReady(index=index, medium=medium):
                self.media[index].medium = medium
                return self.media[index]
            case MediaFailed(index=index):
                self.errors.append(event)
                self.media[index].failure = event
                return self.media[index]
            case Done():
                self.done = event
                return None
            case Failed(error=error):
                raise error

    @property
    def shown(self) -> list[ReplyText | ReplyMedium]:
        """The parts that were asked for."""
        return [part for part in self.parts if isinstance(part, ReplyMedium) or not part.hidden]

    @property
    def text(self) -> str:
        """All shown text, joined."""
        return "".join(part.text for part in self.shown if isinstance(part, ReplyText))

    def message(self) -> Message:
        """The reply as the model reads it in the next turn: all text, and a reference where a medium is missing."""
        return Message("assistant", [_as_part(part) for part in self.parts])

    def finished(self) -> Done:
        """How the reply ended."""
        assert self.done is not None, "a request always ends with Done or Failed"
        return self.done

    def reply(self, request: Request) -> Reply:
        """The finished reply to a request."""
        done = self.finished()
        return Reply(
            parts=tuple(part for part in map(_as_part, self.shown) if not isinstance(part, MediumRef)),
            conversation=(*request.conversation, self.message()),
            errors=tuple(self.errors),
            finish_reason=done.finish_reason,
            usage=done.usage,
            timings=done.timings,
            seed=request.options.seed,
        )

    def _add_text(self, text: str, hidden: bool) -> ReplyText:
        last = self.parts[-1] if self.parts else None
        if not isinstance(last, ReplyText):
            last = ReplyText("", "", hidden)
            self.parts.append(last)
        last.text += text
        last.added = text
        return last

    def _start_medium(self, modality: str) -> ReplyMedium:
        medium = ReplyMedium(modality, len(self.media), len(self.shown), len(self.text))
        self.media.append(medium)
        self.parts.append(medium)
        return medium


@dataclass(frozen=True)
class Reply:
    """A finished reply.

    Attributes:
        parts: text and media in order, as far as they were asked for.
        conversation: the conversation with this reply added, to go on from.
        errors: media that were lost on the way.
        seed: gives the same reply again.
        timings: stage → seconds.
    """

    parts: tuple[Part, ...]
    conversation: tuple[Message, ...]
    errors: tuple[MediaFailed, ...]
    finish_reason: str
    usage: Usage
    timings: Mapping[str, float]
    seed: int

    @property
    def text(self) -> str:
        """All text, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> list[Image]:
        """The pictures, in order."""
        return [part for part in self.parts if modality_of(part) == "image"]

    @property
    def audios(self) -> list[Audio]:
        """The sounds, in order."""
        return [part for part in self.parts if isinstance(part, Audio)]

    @property
    def videos(self) -> list[Video]:
        """The videos, in order."""
        return [part for part in self.parts if isinstance(part, Video)]


def _as_part(part: ReplyText | ReplyMedium) -> Part:
    if isinstance(part, ReplyText):
        return part.text
    return MediumRef(part.modality) if part.medium is None else part.medium
