from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from anygpt.errors import StageError
from anygpt.events import Event, Failed, MediaFailed, MediaProgress, MediaReady, MediaStarted, TextDelta
from anygpt.media import encode_png
from anygpt.media.kinds import KINDS
from anygpt.messages import MediumRef, Message
from pipelines.demo.backends import MediaReceived, SeedUsed
from pipelines.demo.conversation import Session, ShownReply
from pipelines.demo.media import Attachment
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene

STAR = Scene("star", "red")


def taken(folder: Path, *events: Event) -> ShownReply:
    reply = ShownReply()
    for event in events:
        reply.take(event, folder)
    return reply


def shown_file(content: dict[str, Any], mime: str) -> Path:
    """The file of what the chat shows."""
    assert content.keys() == {"type", "file"}
    assert content["file"]["mime_type"] == mime
    return Path(content["file"]["path"])


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def test_a_medium_takes_its_place_in_the_reply(tmp_path, picture):
    reply = taken(tmp_path, TextDelta(0, "He"), TextDelta(0, "re: "), MediaStarted(0, 0, "image"), TextDelta(0, "."))
    assert reply.content() == [said("Here: "), said("picture 1: started"), said(".")]
    reply.take(MediaProgress(0, 0, 3, 12), tmp_path)
    assert reply.content()[1] == said("picture 1: step 3 of 12")
    assert reply.message() == Message("assistant", ["Here: ", MediumRef("image"), "."])
    reply.take(MediaReady(0, 0, "image", picture), tmp_path)
    assert shown_file(reply.content()[1], "image/png").read_bytes() == encode_png(picture)
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


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_sounds_and_videos_stand_between_the_texts(tmp_path, modality):
    medium, kind = render(STAR.in_modality(modality), modality), KINDS[modality]
    events = [TextDelta(0, "Here: "), MediaStarted(0, 0, modality), TextDelta(0, ".")]
    reply = taken(tmp_path, *events, MediaReady(0, 0, modality, medium))
    before, shown, after = reply.content()
    assert (before, after) == (said("Here: "), said("."))
    assert shown_file(shown, kind.mime).name == kind.word + kind.suffix
    assert shown_file(shown, kind.mime).read_bytes() == kind.encode(medium)
    assert reply.message().parts[1] is medium


def test_a_received_file_is_shown_as_it_came(tmp_path, picture):
    reply = taken(tmp_path, MediaStarted(0, 0, "video"), MediaReceived(0, 0, "video", picture, b"a file"))
    assert shown_file(reply.content()[0], "video/mp4").read_bytes() == b"a file"


def test_a_medium_that_cannot_be_written_costs_its_own_place(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    video = render(STAR.in_modality("video"), "video")
    reply = taken(tmp_path, MediaStarted(0, 0, "video"), MediaReady(0, 0, "video", video), TextDelta(0, "There."))
    reply.stop()
    line = "⚠ video 1 cannot be shown: audio and video need the package 'av', which is missing; "
    assert reply.content() == [said(line + "pip install 'anygpt[media]'"), said("There.")]
    assert reply.message().parts == (video, "There.")


def test_pictures_lie_in_places_that_nobody_can_guess(tmp_path, picture):
    events = [MediaStarted(0, 0, "image"), MediaReady(0, 0, "image", picture)]
    one, other = (shown_file(taken(tmp_path, *events).content()[0], "image/png") for _ in range(2))
    assert one != other
    assert len(one.parent.name) == 32


# Sessions


@pytest.fixture
def session() -> Session:
    """One turn that is finished, and one that is running."""
    session = Session(busy=True)
    for text in ("Hello", "More"):
        session.begin().ask(text, [])
    session.turns[0].reply.take(TextDelta(0, "Hi"), Path())
    session.turns[0].end(kept=True)
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


def test_a_stopped_reply_stays_stopped_whatever_was_on_its_way(session):
    reply = session.turns[-1].reply
    reply.take(MediaStarted(0, 0, "image"), Path())
    session.stop()
    reply.take(MediaProgress(0, 0, 3, 12), Path())
    assert reply.content() == [said("picture 1: stopped")]


def test_the_seed_stands_under_a_reply_that_has_ended(session):
    turn = session.turns[-1]
    for event in (SeedUsed(0), TextDelta(0, "Well")):
        turn.reply.take(event, Path())
    assert session.bubbles()[-1]["content"] == [said("Well")]
    turn.end(kept=True)
    assert session.bubbles()[-1]["content"] == [said("Well"), said("<small>seed 0</small>")]
    assert session.conversation()[-1] == Message("assistant", "Well")


def test_a_session_knows_the_files_that_were_sent(session, picture):
    session.turns[-1].ask("", [Attachment("star.tif", "image", picture, Path("/a/picture.png"), Path("/b/star.tif"))])
    assert session.files() == [Path("/b/star.tif")]


def test_a_failed_turn_is_shown_and_left_out_of_the_conversation(session):
    session.turns[-1].end(kept=False, note="⚠ no")
    assert session.conversation() == session.conversation()[:2]
    assert session.bubbles()[-1] == {"role": "assistant", "content": [said("⚠ no")]}


def test_a_message_that_cannot_be_read_leaves_the_conversation_as_it_was(session):
    session.stop()
    before = session.conversation()
    turn = session.begin("reading …")
    assert session.bubbles()[-1] == {"role": "assistant", "content": [said("reading …")]}
    turn.end(kept=False, note="⚠ broken")
    assert session.conversation() == before
    assert session.bubbles()[-1] == {"role": "assistant", "content": [said("⚠ broken")]}


def test_asking_again_takes_the_last_question_without_its_reply(session):
    session.turns[-1].end(kept=True)
    session.begin().end(kept=False, note="⚠ broken")
    again = session.ask_again()
    assert again is session.turns[-1]
    assert [turn.question for turn in session.turns] == [Message("user", "Hello"), Message("user", "More")]
    assert not again.reply.has_parts
    assert Session().ask_again() is None


def test_attached_files_are_shown_before_the_text(picture):
    session = Session()
    attached = Attachment("star.png", "image", picture, Path("/a/star.png"), Path("/b/star.png"))
    session.begin("reading …").ask("What?", [attached])
    file = {"type": "file", "file": {"path": "/a/star.png", "mime_type": "image/png"}}
    assert session.bubbles() == [{"role": "user", "content": [file, said("What?")]}]
    assert session.conversation() == [Message("user", [picture, "What?"])]


def test_a_point_cloud_is_drawn_once_its_turn_is_at_rest():
    cloud = render(STAR.in_modality("points"), "points")
    session = Session()
    turn = session.begin()
    turn.ask("", [Attachment("star.obj", "points", cloud, Path("/a/point-cloud.ply"), Path("/b/star.obj"))])
    session.rest()
    assert session.bubbles() == [{"role": "user", "content": [said("star.obj")]}]
    turn.end(kept=True)
    session.rest()
    (bubble,) = session.bubbles()
    assert shown_file(bubble["content"][0], "model/ply") == Path("/a/point-cloud.ply")
