from __future__ import annotations

import pytest
from PIL import Image

from anygpt.errors import RequestError
from anygpt.messages import MediumRef, Message, check_conversation, modality_of

PICTURE = Image.new("RGB", (2, 2))


def test_message_takes_parts_and_a_bare_part():
    assert Message("user", "Hi").parts == ("Hi",)
    assert Message("user", PICTURE).parts == (PICTURE,)
    assert Message("user", ["Look", PICTURE]).parts == Message("user", ("Look", PICTURE)).parts == ("Look", PICTURE)


def test_message_text_and_media_are_picked_out_in_order():
    message = Message("assistant", ["A", PICTURE, "B", MediumRef("image"), MediumRef("audio")])
    assert message.text == "AB"
    assert message.media("image") == [PICTURE, MediumRef("image")]
    assert message.media("audio") == [MediumRef("audio")]


def test_message_refs_stand_for_media():
    message = Message("user", ["A", PICTURE])
    assert message.with_refs() == Message("user", ["A", MediumRef("image")])
    assert message.parts == ("A", PICTURE)


def test_message_cannot_be_changed():
    with pytest.raises(AttributeError):
        Message("user", "Hi").role = "assistant"  # type: ignore[misc]


@pytest.mark.parametrize("role", ["robot", "", None, "User", 5])
def test_message_refuses_unknown_roles(role):
    with pytest.raises(RequestError, match=r"message role: .* given, expected one of system, user, assistant"):
        Message(role, "Hi")


@pytest.mark.parametrize("part", [None, 5, b"bytes", {"type": "text"}, ["nested"], object()])
def test_message_refuses_what_is_no_part(part):
    with pytest.raises(
        RequestError, match=f"message part: a {type(part).__name__} given, expected str or one of Image, Audio, "
    ):
        Message("user", ["Hi", part])
    with pytest.raises(RequestError):
        modality_of(part)


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb"])
def test_message_refuses_text_that_is_no_unicode(text):
    with pytest.raises(RequestError, match=r"text with half a character \('\\ud.*' at [01]\), expected valid Unicode"):
        Message("user", text)


@pytest.mark.parametrize("text", ["", "\0", "🙂", "e\u0301", "\u202e", "\ufffd", "a\r\nb"])
def test_message_takes_any_unicode(text):
    assert Message("user", text).text == text


def test_modality_of_parts():
    assert [modality_of(part) for part in ("", PICTURE, MediumRef("video"))] == ["text", "image", "video"]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "no message given, expected at least one from the user"),
        ([Message("user", "a"), Message("assistant", "b")], "the last message is the assistant's, expected the user's"),
        ([Message("system", "a")], "the last message is the system's, expected the user's"),
        ([Message("user", [])], "the last message is empty, expected text or a medium"),
        ([Message("user", [" ", "\n"])], "the last message is empty, expected text or a medium"),
    ],
)
def test_conversations_that_no_reply_can_follow_are_refused(messages, message):
    with pytest.raises(RequestError) as caught:
        check_conversation(messages)
    assert message in str(caught.value)


def test_conversations_that_end_with_the_users_message_are_fine():
    check_conversation([Message("user", "a")])
    check_conversation([Message("user", PICTURE)])
    check_conversation(
        [Message("system", ""), Message("user", ""), Message("assistant", ""), Message("user", ["", "b"])]
    )
