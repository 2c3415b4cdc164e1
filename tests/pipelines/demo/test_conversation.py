from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anygpt.errors import StageError
from anygpt.events import Event, Failed, MediaFailed, MediaProgress, MediaReady, MediaStarted, TextDelta
from anygpt.media import encode_png
from anygpt.messages import MediumRef, Message
from pipelines.demo.conversation import Reply, Session


def taken(folder: Path, *events: Event) -> Reply:
    reply = Reply()
    for event in events:
        reply.take(event, folder)
    return reply


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def test_a_medium_takes_its_place_in_the_reply(tmp_path, picture):
    reply = taken(tmp_path, TextDelta(0, "He"), TextDelta(0, "re: "), MediaStarted(0, 0, "image"), TextDelta(0, "."))
    assert reply.content() == [said("Here: "), said("picture 1: started"), said(".")]
    reply.take(MediaProgress(0, 0, 3, 12), tmp_path)
    assert reply.content()[1] == said("picture 1: step 3 of 12")
    assert reply.message() == Message("assistant", ["Here: ", MediumRef("image"), "."])
    reply.take(MediaReady(0, 0, "image", picture), tmp_path)
    assert Path(reply.content()[1]["path"]).read_bytes() == encode_png(picture)
    assert reply.message() == Message("assistant", ["Here: ", picture, "."])


def test_a_lost_medium_leaves_a_line_and_a_reference(tmp_path):
    lost = MediaFailed(0, 1, "image", "generators.image", "out of memory")
    reply = taken(tmp_path, MediaStarted(0, 0, "image"), MediaStarted(0, 1, "image"), lost)
    reply.stop()
    lines = [said("picture 1: stopped"), said("⚠ picture 2 is lost: generators.image: out of memory")]
    assert reply.content() == lines
    assert reply.message() == Message("assistant", [MediumRef("image"), MediumRef("image")])


def test_hidden_text_belongs_to_the_conversation_alone(tmp_path):
    reply = taken(tmp_path, TextDelta(0, "Here.", hidden=True), MediaStarted(0, 0, "image"))
    assert reply.content() == [said("picture 1: started")]
    assert reply.message().text == "Here."


def test_a_failed_request_raises_its_error(tmp_path):
    with pytest.raises(StageError, match="stage 'backbone': broken"):
        taken(tmp_path, Failed(0, StageError("backbone", "broken")))


def test_text_is_shown_as_it_is_written(tmp_path):
    assert taken(tmp_path, TextDelta(0, "  1 < 2 & <b>\n")).content() == [said("  1 &lt; 2 &amp; &lt;b&gt;\n")]


def test_pictures_lie_in_places_that_nobody_can_guess(tmp_path, picture):
    events = [MediaStarted(0, 0, "image"), MediaReady(0, 0, "image", picture)]
    one, other = (Path(taken(tmp_path, *events).content()[0]["path"]) for _ in range(2))
    assert one != other
    assert len(one.parent.name) == 32


# Sessions


@pytest.fixture
def session() -> Session:
    """One turn that is finished, and one that is running."""
    session = Session()
    session.ask(Message("user", "Hello"), []).reply.take(TextDelta(0, "Hi"), Path())
    session.turns[0].end(kept=True)
    session.ask(Message("user", "More"), [])
    session.busy = True
    return session


def test_conversation_ends_with_the_running_question(session):
    assert session.conversation() == [Message("user", "Hello"), Message("assistant", "Hi"), Message("user", "More")]


@pytest.mark.parametrize(("written", "kept"), [("", 2), ("Well", 4)])
def test_a_stopped_reply_stays_as_far_as_it_was_written(session, written, kept):
    if written:
        session.turns[-1].reply.take(TextDelta(0, written), Path())
    session.stop()
    assert not session.busy
    assert len(session.conversation()) == kept
    assert session.bubbles()[-1]["content"] == [*([said(written)] if written else []), said("stopped")]


def test_stopping_what_is_finished_changes_nothing(session):
    session.turns[-1].end(kept=True)
    before = session.bubbles()
    session.stop()
    assert session.bubbles() == before


def test_a_failed_turn_is_shown_and_left_out_of_the_conversation(session):
    session.turns[-1].end(kept=False, note="⚠ no")
    assert session.conversation() == session.conversation()[:2]
    assert session.bubbles()[-1] == {"role": "assistant", "content": [said("⚠ no")]}


def test_a_refused_message_leaves_the_conversation_as_it_was(session):
    session.stop()
    before = session.conversation()
    session.refuse("broken")
    assert session.conversation() == before
    assert session.bubbles()[-1] == {"role": "assistant", "content": [said("⚠ broken")]}


def test_asking_again_takes_the_last_question_without_its_reply(session):
    session.turns[-1].end(kept=True)
    session.refuse("broken")
    again = session.ask_again()
    assert again is session.turns[-1]
    assert [turn.question for turn in session.turns] == [Message("user", "Hello"), Message("user", "More")]
    assert again.reply.parts == []
    assert Session().ask_again() is None


def test_attached_files_are_shown_before_the_text():
    session = Session()
    session.ask(Message("user", [Image.new("RGB", (2, 2)), "What?"]), ["/a/star.png"])
    assert session.bubbles() == [{"role": "user", "content": [{"path": "/a/star.png"}, said("What?")]}]
