"""What happens when the page's components are used. gradio itself is handed in."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anygpt.errors import AnyGPTError, RequestError
from anygpt.media.sources import one_line
from anygpt.options import MAX_SEED
from pipelines.demo.backends import Backend
from pipelines.demo.conversation import Session
from pipelines.demo.media import Attachment, read_attachment
from pipelines.demo.uploads import Uploads
from pipelines.media_decoding.pool import DecoderPool

HANDLER: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

_WHOLE = re.compile(r"[+-]?[0-9]+")
_MAX_DIGITS = 100

READING = "reading the attached files …"

# A handler's answers: what changes, by component.
Updates = AsyncGenerator[dict[Any, Any], None]


@dataclass
class Handlers:
    """The components, and what happens when they are used. A handler returns what changes, by component."""

    gr: Any
    backend: Backend
    folder: Path
    uploads: Uploads
    decoders: DecoderPool
    session: Any
    chat: Any
    box: Any
    stop: Any
    retry: Any
    clear: Any
    settings: dict[str, Any]

    def connect(self) -> None:
        outputs = [self.session, self.chat, self.box, self.stop, self.retry, self.clear]
        settings = self.settings.values()
        sent = self.box.submit(self.send, [self.session, self.box, *settings], outputs, **HANDLER)
        again = self.retry.click(self.send_again, [self.session, *settings], outputs, **HANDLER)
        for answered in (sent, again):
            answered.then(self.come_to_rest, self.session, self.chat, queue=False, **HANDLER)
        self.stop.click(self.end_reply, self.session, outputs, cancels=[sent, again], queue=False, **HANDLER)
        self.clear.click(self.start_afresh, self.session, outputs, queue=False, **HANDLER)
        self.chat.clear(self.start_afresh, self.session, outputs, queue=False, **HANDLER)

    async def send(self, session: Session, message: dict[str, Any], *values: Any) -> Updates:
        """Take the message in the box and answer it. Files that cannot be read leave the text in the box."""
        text, files = whole_characters(message["text"]), message["files"]
        if session.busy or not (text.strip() or files):
            yield self._changes(session)
            return
        session.busy = True
        turn = session.begin(READING if files else "")
        yield self._changes(session)
        try:
            attached = [await self._read(file) for file in files]
            if turn.ended:
                return
            turn.ask(text, attached)
        except Exception as error:
            self.uploads.delete(files)
            turn.end(kept=False, note=_told(error))
            session.busy = False
            yield {**self._changes(session), self.box: {"text": text, "files": []}}
            return
        yield {self.box: None}
        async with aclosing(self._answer(session, values)) as steps:
            async for changes in steps:
                yield changes

    async def _read(self, file: str) -> Attachment:
        """An attached file, decoded in a process that ends with the wish for it: the one place where that happens."""
        return await read_attachment(file, self.backend.limits, self.folder, self.decoders)

    async def send_again(self, session: Session, *values: Any) -> Updates:
        """Answer the last message again, by the settings of now."""
        if not session.busy and session.ask_again():
            session.busy = True
            async with aclosing(self._answer(session, values)) as steps:
                async for changes in steps:
                    yield changes
        yield self._changes(session)

    async def _answer(self, session: Session, values: tuple[Any, ...]) -> Updates:
        """Run the last turn. Cancelled by gradio when the user stops or leaves; `end_reply` tidies up then."""
        turn = session.turns[-1]
        yield self._changes(session)
        try:
            options = options_of(dict(zip(self.settings, values, strict=True)))
            async with aclosing(self.backend.stream(session.conversation(), options)) as events:
                async for event in events:
                    if turn.ended:
                        return
                    await asyncio.to_thread(turn.reply.take, event, self.folder)  # it may encode a medium
                    yield {self.chat: session.bubbles()}
            turn.end(kept=True)
        except Exception as error:
            turn.end(kept=False, note=_told(error))
        session.busy = False
        yield self._changes(session)

    def come_to_rest(self, session: Session) -> list[dict[str, Any]]:
        """The chat as it stays, after the last change that an answer made."""
        session.rest()
        return session.bubbles()

    def end_reply(self, session: Session) -> dict[Any, Any]:
        """End the running reply where it is."""
        session.stop()
        session.rest()
        return self._changes(session)

    def start_afresh(self, session: Session) -> dict[Any, Any]:
        """Forget the conversation, and delete the files that were attached to it."""
        if not session.busy:
            self.uploads.delete(session.files())
            session.turns.clear()
        return self._changes(session)

    def _changes(self, session: Session) -> dict[Any, Any]:
        """The chat and the buttons as they are now."""
        idle = self.gr.Button(interactive=not session.busy)
        return {
            self.session: session,
            self.chat: session.bubbles(),
            self.stop: self.gr.Button(interactive=session.busy),
            self.retry: idle,
            self.clear: idle,
        }


def options_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of a reply; empty fields leave the default, and so does 0, but for the seed.

    Raises:
        RequestError: if the seed is no whole number.
    """
    options = {name: value for name, value in values.items() if name == "modalities" or (value and name != "seed")}
    seed = "" if values.get("seed") is None else str(values["seed"]).strip()
    if seed:
        options["seed"] = _whole_number(seed)
    return options


def _whole_number(text: str) -> int:
    if not _WHOLE.fullmatch(text) or len(text) > _MAX_DIGITS:
        raise RequestError(
            f"seed: {one_line(text)!r} given, expected a whole number from 0 to {MAX_SEED}; or leave it empty"
        )
    return int(text)


def whole_characters(text: str) -> str:
    """Text in which halves of characters, which no reply could quote, are replaced; all else is as it was typed."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _told(error: Exception) -> str:
    """An error as a line of the chat."""
    if isinstance(error, AnyGPTError):
        return f"⚠ {error}"
    logging.getLogger(__name__).error("a request failed", exc_info=error)
    return f"⚠ {type(error).__name__}: {error} (a bug)"
