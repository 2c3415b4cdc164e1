"""Training samples from a user's conversations, as JSON lines."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anygpt.errors import ConfigError, MediaError, RequestError
from anygpt.media.kinds import KINDS
from anygpt.messages import MediumRef, Message, Role
from anygpt.options import OUTPUT_MODALITIES
from pipelines.training.inputs import data_fingerprint
from pipelines.training.samples import Sample, Target


class JsonLinesSource:
    """A user's conversations, one JSON object a line.

        {"conversation": [
            {"role": "user", "content": [{"type": "image", "path": "cat.jpg"}, {"type": "text", "text": "And this?"}]},
            {"role": "assistant", "content": "A cat. Here is a dog:"},
            ...]}

    Types are text, image, audio, video and points. In a reply, `{"type": "image", "caption": "a dog"}` is a picture to
    learn (audio and video likewise), with `path` for the denoising loss. Paths are relative to the file.

    Args:
        path: the file.
        target_media: whether the media of replies are loaded too.
    Raises:
        ConfigError: naming the line, if anything in the file cannot be used.
    """

    def __init__(self, path: Path, target_media: bool = True) -> None:
        self.path = Path(path)
        self.target_media = target_media
        if not os.path.isfile(self.path):
            raise ConfigError(f"data: no file '{path}'; give a JSON lines file of conversations")
        self.records = []
        # Cut at line feeds alone: JSON text may hold the other line ends of Unicode.
        for number, line in enumerate(self.path.read_bytes().split(b"\n"), start=1):
            if line.strip():
                self.records.append(self._checked(line, number))
        if not self.records:
            raise ConfigError(f"data: {path} holds no conversation, expected one JSON object a line")
        self._shuffled: tuple[str, list[int]] = ("", [])

    def fingerprint(self) -> str:
        """A hash of the file and of the media that it names."""
        parts = [part for turns, _ in self.records for turn in turns for part in _parts(turn["content"])]
        return data_fingerprint(self.path, [self.path.parent / part["path"] for part in parts if part.get("path")])

    def batch(self, seed: int, step: int, size: int) -> list[Sample]:
        """See `SampleSource.batch`: every epoch is a new shuffle of the file."""
        chosen = []
        for place in range(step * size, (step + 1) * size):
            epoch, offset = divmod(place, len(self.records))
            chosen.append(self._sample(*self.records[self._order(f"{seed}/{epoch}")[offset]]))
        return chosen

    def media_names(self) -> list[str]:
        """The paths of all media that the file names, each once, as it names them."""
        parts = (part for turns, _ in self.records for turn in turns for part in _parts(turn["content"]))
        return list(dict.fromkeys(part["path"] for part in parts if part["type"] != "text" and part.get("path")))

    def _order(self, epoch: str) -> list[int]:
        if self._shuffled[0] != epoch:
            order = list(range(len(self.records)))
            random.Random(epoch).shuffle(order)
            self._shuffled = (epoch, order)
        return self._shuffled[1]

    def _checked(self, line: bytes, number: int) -> tuple[list[dict[str, Any]], int]:
        try:
            turns = _of_type(_value(_of_type(json.loads(line), dict, "the line"), "conversation"), list, "conversation")
            for turn in turns:
                self._check_turn(_of_type(turn, dict, "message"))
            if not turns or turns[-1]["role"] != "assistant":
                raise ValueError("the last message is not the assistant's")
            if next(turn["role"] for turn in turns if turn["role"] != "system") != "user":
                raise ValueError("the first message is the assistant's, expected the user's")
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"data: {self.path}, line {number}: {error}") from error
        return turns, number

    def _check_turn(self, turn: Mapping[str, Any]) -> None:
        role, content = _value(turn, "role"), _value(turn, "content")
        Message(role, [])
        if role == "assistant" and not _says_something(content):
            raise ValueError("a reply is empty")
        for part in _parts(content) if isinstance(content, str) else _of_type(content, list, "content"):
            kind = _of_type(_value(_of_type(part, dict, "part"), "type"), str, "type")
            if kind == "text":
                Message(role, _of_type(_value(part, "text"), str, "text"))
            elif kind in KINDS:
                self._check_medium(part, role)
            else:
                raise ValueError(f"part type {kind!r} given, expected text, {', '.join(KINDS)}")

    def _check_medium(self, part: Mapping[str, Any], role: Role) -> None:
        if role == "assistant" and part["type"] not in OUTPUT_MODALITIES:
            raise ValueError(f"a reply with {part['type']} given, expected one of {', '.join(OUTPUT_MODALITIES)}")
        caption = _of_type(part.get("caption", ""), str, "caption")
        Message(role, caption)  # refuses what is no text
        if role == "assistant" and not caption.strip():
            raise ValueError(f"a {KINDS[part['type']].word} in a reply has no caption")
        if role != "assistant" or part.get("path") is not None:
            path = _of_type(_value(part, "path"), str, "path")
            if not os.path.isfile(self.path.parent / path):
                raise ValueError(f"no file {path!r}")

    def _sample(self, turns: Sequence[Mapping[str, Any]], number: int) -> Sample:
        messages, targets = [], []
        try:
            for turn in turns:
                parts: list[Any] = []
                for part in _parts(turn["content"]):
                    if part["type"] == "text":
                        parts.append(part["text"])
                        continue
                    modality = part["type"]
                    in_reply = turn["role"] == "assistant"
                    wanted = part.get("path") and (self.target_media or not in_reply)
                    medium = KINDS[modality].load(self.path.parent / part["path"]) if wanted else None
                    if in_reply:
                        targets.append(Target(modality, part["caption"], medium))
                        parts.append(MediumRef(modality))
                    else:
                        parts.append(medium)
                messages.append(Message(turn["role"], parts))
        except (MediaError, RequestError) as error:
            raise ConfigError(f"data: {self.path}, line {number}: {error}") from error
        return Sample(tuple(messages), tuple(targets), origin=f"{self.path}, line {number}")


def _value(holder: Mapping[str, Any], key: str) -> Any:
    if key not in holder:
        raise ValueError(f"no '{key}' given, only {', '.join(map(repr, holder)) or 'nothing'}")
    return holder[key]


def _of_type(value: Any, wanted: type, name: str) -> Any:
    if not isinstance(value, wanted):
        given, expected = type(value).__name__, wanted.__name__
        raise ValueError(f"{name} is a {given}, expected a {expected}")
    return value


def _says_something(content: Any) -> bool:
    """False for a reply of blanks alone; what is no message at all is refused elsewhere."""
    if not isinstance(content, list):
        return bool(content.strip() if isinstance(content, str) else content)
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return len(texts) < len(content) or any(not isinstance(text, str) or text.strip() for text in texts)


def _parts(content: Any) -> list[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
