"""From a conversation to segments of token ids and media slots, by the language model's own chat template.

The template is rendered to one string in which every medium is a single private character; the string is cut there
and at the ends of replies, and the pieces are tokenised. Text that a user writes cannot forge a special token, a signal
token or a medium. Replies that should be learned are found by rendering prefixes of the conversation, so any template
works, whatever it writes around a reply.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anygpt.errors import ConfigError, RequestError
from anygpt.messages import Message, modality_of
from backbone.plain_text import as_plain_text
from backbone.signal_tokens import SignalGroup

MEDIUM_IN, MEDIUM_OUT = "\ue000", "\ue001"
ZERO_WIDTH_SPACE = "\u200b"
_WRAP = re.compile(rf"([^{{}}{MEDIUM_IN}{MEDIUM_OUT}]|\{{media\}}|\{{modality\}})*")


@dataclass(frozen=True)
class TextSegment:
    """Token ids; `is_reply` where a training loss should teach them."""

    ids: tuple[int, ...]
    is_reply: bool = False


@dataclass(frozen=True)
class MediaSegment:
    """The slot of a user's medium: the `index`-th medium of its modality in the conversation."""

    modality: str
    index: int


@dataclass(frozen=True)
class SignalSegment:
    """A medium in a reply: the group's tokens stand for it."""

    group: SignalGroup
    is_reply: bool = False


Segment = TextSegment | MediaSegment | SignalSegment


@dataclass(frozen=True)
class Prompt:
    """A conversation ready for the language model: segments, and the user's media by modality."""

    segments: tuple[Segment, ...]
    media: Mapping[str, tuple[Any, ...]]


class PromptBuilder:
    """Builds prompts for one tokenizer.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        groups: the signal groups.
        media_wrap: text around a user's medium, "[{modality}:{media}]"; must hold "{media}" once.
        plain_text: give the model what users write as plain text, see `as_plain_text`.
    Raises:
        ConfigError: if the tokenizer has no chat template or `media_wrap` has not exactly one slot.
    """

    def __init__(
        self, tokenizer: Any, groups: Sequence[SignalGroup], media_wrap: str, *, plain_text: bool = False
    ) -> None:
        if not tokenizer.chat_template:
            raise ConfigError(
                "backbone: the tokenizer has no chat template; set backbone.chat_template to a Jinja template"
            )
        if media_wrap.count("{media}") != 1 or not _WRAP.fullmatch(media_wrap):
            raise ConfigError(f"backbone.media_wrap: {media_wrap!r} given, expected a text with {{media}} in it, once")
        self.tokenizer = tokenizer
        self.groups = {group.modality: group for group in groups}
        self.media_wrap = media_wrap
        self.plain_text = plain_text
        # Some tokenizers have added tokens for runs of blanks, which do nothing special.
        named = {token for token in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()) if token.strip()}
        specials = sorted(named, key=len, reverse=True)
        self._special_pattern = re.compile("|".join(map(re.escape, specials))) if specials else None

    def build(self, conversation: Sequence[Message], *, learn_replies: bool = False) -> Prompt:
        """Segments of a conversation.

        Args:
            conversation: ends with the user's message, or, with `learn_replies`, with a reply.
            learn_replies: mark every reply (and the end-of-turn text behind it) as `is_reply`.
        Raises:
            RequestError: if the template refuses the conversation or a reply's medium has no signal group.
        """
        messages = [{"role": message.role, "content": self._content(message)} for message in conversation]
        text = self._render(messages, add_generation_prompt=not learn_replies)
        spans = self._reply_spans(messages, text) if learn_replies else []
        return self._cut(text, spans, conversation)

    def _content(self, message: Message) -> str:
        pieces = []
        for part in message.parts:
            modality = modality_of(part)
            if modality == "text":
                is_plain = self.plain_text and message.role != "assistant"
                pieces.append(self.neutralised(as_plain_text(part) if is_plain else part))
            elif message.role == "assistant":
                if modality not in self.groups:
                    raise RequestError(f"conversation: a reply holds {modality}, for which there are no signal tokens")
                pieces.append(MEDIUM_OUT)
            else:
                pieces.append(self.media_wrap.replace("{modality}", modality).replace("{media}", MEDIUM_IN))
        return "".join(pieces) if message.role == "assistant" else " ".join(piece for piece in pieces if piece)

    def neutralised(self, text: str) -> str:
        """The text with everything broken up that would tokenise as a special token or stand for a medium."""
        text = text.replace(MEDIUM_IN, "").replace(MEDIUM_OUT, "")
        if self._special_pattern is None:
            return text
        return self._special_pattern.sub(lambda match: match[0][0] + ZERO_WIDTH_SPACE + match[0][1:], text)

    def _render(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:  # jinja2 raises its own tree, templates raise what they like
            raise RequestError(f"conversation: the model's chat template refuses it: {error}") from error

    def _reply_spans(self, messages: Sequence[Mapping[str, str]], text: str) -> list[tuple[int, int]]:
        spans = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._render(messages[:index], add_generation_prompt=True)
            until = self._render(messages[: index + 1], add_generation_prompt=False)
            if not (text.startswith(until) and until.startswith(before)):
                raise ConfigError(
                    "backbone: the chat template rewrites earlier turns, so replies cannot be located; "
                    "set backbone.chat_template to one that only appends"
                )
            spans.append((len(before), len(until)))
        return spans

    def _cut(self, text: str, spans: Sequence[tuple[int, int]], conversation: Sequence[Message]) -> Prompt:
        media: dict[str, list[Any]] = {}
        slots_in = _parts(conversation, assistant=False)
        slots_out = _parts(conversation, assistant=True)
        segments: list[Segment] = []
        for piece, is_reply in _pieces(text, spans):
            if piece == MEDIUM_IN:
                part = next(slots_in)
                modality = modality_of(part)
                segments.append(MediaSegment(modality, len(media.setdefault(modality, []))))
                media[modality].append(part)
            elif piece == MEDIUM_OUT:
                segments.append(SignalSegment(self.groups[modality_of(next(slots_out))], is_reply))
            else:
                ids = self.tokenizer(piece, add_special_tokens=False, verbose=False).input_ids
                segments.append(TextSegment(tuple(ids), is_reply))
        return Prompt(tuple(segments), {modality: tuple(parts) for modality, parts in media.items()})


def _parts(conversation: Sequence[Message], *, assistant: bool) -> Iterator[Any]:
    parts = (message.parts for message in conversation if (message.role == "assistant") == assistant)
    return (part for part in itertools.chain.from_iterable(parts) if modality_of(part) != "text")


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> Iterable[tuple[str, bool]]:
    """Cut the text at span ends and at every medium; empty pieces are left out."""
    ends = [0, *itertools.chain.from_iterable(spans), len(text)]
    for index, (start, end) in enumerate(itertools.pairwise(ends)):
        is_reply = index % 2 == 1
        for piece in re.split(f"([{MEDIUM_IN}{MEDIUM_OUT}])", text[start:end]):
            if piece:
                yield piece, is_reply
