from __future__ import annotations

import random
import re

import pytest

from pipelines.tiny.world.media_turns import make
from pipelines.tiny.world.oracle import read_comparison, read_text, read_verdict
from pipelines.tiny.world.outside_words import UNKNOWN_COLOURS, UNKNOWN_THINGS, made_up_word, unknown_thing
from pipelines.tiny.world.phrases import canonical, caption
from pipelines.tiny.world.replies import GREETING, LOUDNESS, NOTHING_YET, OUTSIDE, SOLIDS, WELCOME, answer, verdict
from pipelines.tiny.world.scenes import COLOURS, SHAPES, VALUES, Scene
from pipelines.tiny.world.turns import SHOWABLE, DialogueState
from pipelines.tiny.world.word_turns import (
    COMPARED,
    ask,
    compare,
    compare_with_before,
    describe,
    describe_two,
    greet,
    miss,
    outside,
    say,
    thank,
)
from tests.pipelines.tiny.world.conversations import DESCRIBED, STATED, depicted, texts, turns_of


def test_say_answers_in_words_alone():
    for turns in turns_of(say):
        for turn in turns:
            (reply,) = turn.reply
            described = DESCRIBED.fullmatch(reply)
            assert described[1] == "Now there is"
            said, told = read_text(canonical(turn.user[0]), "video"), read_text(described[2], "video")
            assert said == told


def test_descriptions_are_of_the_newest_thing():
    for turns in turns_of(describe):
        newest = None
        for turn in turns:
            shown = [caption(medium.scene) for medium in depicted(turn.user)]
            newest = (shown or [newest])[-1]
            assert turn.reply == (f"This is {newest}.",)


def test_answers_are_of_the_newest_thing_and_yes_and_no_are_true():
    verdicts, two, others = set(), set(), set()
    for seen in (True, False):
        rng = random.Random(8)
        for _ in range(1200):
            talk = DialogueState(rng, seen=seen)
            say(talk)
            ask(talk)
            turn, scene = talk.turns[1], talk.scene
            assert [medium.scene for medium in depicted(turn.user)] in ([], [scene])
            (reply,), (said,) = turn.reply, texts(turn.user)
            reading = read_verdict(reply)
            if reading["verdict"]:
                attribute = next(name for name in VALUES if reading["stated"] == getattr(scene, name))
                assert reply == verdict(attribute, reading["asked"], scene)
                assert (reading["verdict"] == "yes") == (reading["asked"] == reading["stated"])
                asked = read_text(canonical(said.lower().replace("am i right", ""))).get(attribute)
                assert asked == reading["asked"] or any(SOLIDS[shape] in said.lower() for shape in SHAPES), said
                verdicts.add((attribute, reading["verdict"]))
            elif both := re.fullmatch(r"It is (.*) and it is (.*)\.", reply):
                names = [STATED[stating] for stating in both.groups()]
                assert [f"It is {stating}." for stating in both.groups()] == [answer(name, scene) for name in names]
                assert re.findall(r"shape|colour|size|position|motion", said.lower()) == names, said
                two.add(frozenset(names))
            elif ", so it is" in reply:
                others.add(reply)
                assert re.match(r"It is (?:a )?(\w+)", reply)[1] in (scene.size, scene.shape)
            else:
                assert reply in {answer(name, scene) for name in scene.attributes}
                verdicts.add((STATED[reply.removeprefix("It is ").removesuffix(".")], None))
    assert verdicts == {(attribute, verdict) for attribute in VALUES for verdict in ("yes", "no", None)}
    assert len(two) == 10
    assert len(others) == len(LOUDNESS) + len(SOLIDS)


def test_answers_name_the_attribute():
    scene = Scene("star", "blue", "small", "center", "up")
    assert [answer(attribute, scene) for attribute in VALUES] == [
        "It is a star.", "It is blue.", "It is small.", "It is at the center.", "It is moving up.",
    ]  # fmt: skip
    assert answer("motion", scene.changed("motion", "still")) == "It is still."


# Two media, and small talk


def test_compare_tells_the_truth():
    verdicts, modalities = set(), set()
    for turns in turns_of(compare, 600):
        for turn in turns:
            first, second = depicted(turn.user)
            (reply,) = turn.reply
            reading = read_comparison(reply)
            one, other = (medium.scene.value(reading["attribute"]) for medium in (first, second))
            same = "yes" if one == other else "no"
            assert reading == {"attribute": reading["attribute"], "first": one, "second": other, "same": same}
            verdicts.add((reading["attribute"], same))
            modalities.add((first.modality, second.modality))
    assert verdicts == {(attribute, same) for attribute in COMPARED for same in ("yes", "no")}
    assert len(modalities) == len(SHOWABLE) ** 2


def test_compare_asks_of_what_can_be_perceived_alone():
    read = {
        read_comparison(turn.reply[0])["attribute"] for turns in turns_of(compare, inputs=("points",)) for turn in turns
    }
    assert read == {"shape", "colour"}


def test_two_media_are_described_in_order():
    for turns in turns_of(describe_two):
        for turn in turns:
            first, second = depicted(turn.user)
            assert turn.reply == (f"The first is {caption(first.scene)}, the second is {caption(second.scene)}.",)


def test_comparisons_with_before_tell_the_truth():
    compared = set()
    for seed in range(600):
        talk = DialogueState(random.Random(seed))
        make(talk)
        first = talk.scene
        another = talk.random_scene("video")
        if another == first:
            continue
        talk.add(["Another."], [], another, "video")
        before = talk.scene
        compare_with_before(talk)
        turn, now = talk.turns[-1], talk.scene
        before = before if depicted(turn.user) else first
        reading = read_comparison(turn.reply[0])
        attribute = reading["attribute"]
        one, other = before.value(attribute), now.value(attribute)
        same = "yes" if one == other else "no"
        assert reading == {"attribute": attribute, "first": one, "second": other, "same": same}
        compared.add((attribute, same, bool(depicted(turn.user))))
    assert {(attribute, same) for attribute, same, _ in compared} >= {
        (attribute, same) for attribute in ("shape", "colour", "size", "motion") for same in ("yes", "no")
    }
    assert {fresh for *_, fresh in compared} == {True, False}


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_what_the_world_does_not_have_is_refused(split):
    rng = random.Random(12)
    for _ in range(300):
        thing = read_text(said := unknown_thing(split, rng))
        assert thing.shape is None or thing.colour is None, said
    words = {*UNKNOWN_COLOURS[split], *UNKNOWN_THINGS[split]}
    assert not words & {*COLOURS, *SHAPES, *SOLIDS.values()}
    refused = [turn for turns in turns_of(outside, 3000, split=split) for turn in turns]
    assert all(turn.reply == (OUTSIDE,) for turn in refused)
    asked = " ".join(turn.user[0].lower() for turn in refused)
    assert all(word in asked for word in words)


def test_words_to_refuse_that_are_held_out_are_not_trained_on():
    for words in (UNKNOWN_COLOURS, UNKNOWN_THINGS):
        assert not {*words["train"]} & {*words["held_out"]}


def test_made_up_words_are_neither_the_worlds_nor_held_out():
    rng = random.Random(13)
    words = {made_up_word(rng) for _ in range(20_000)}
    assert len(words) > 10_000
    held_out = {*UNKNOWN_COLOURS["held_out"], *UNKNOWN_THINGS["held_out"]}
    assert not words & {*COLOURS, *SHAPES, *SOLIDS.values(), *held_out, "tiny", "still"}
    assert all(len(word) > 3 for word in words)


def test_there_is_nothing_to_ask_for_before_there_is_anything():
    for turns in turns_of(miss, 300):
        assert all(turn.reply == (NOTHING_YET,) and not depicted(turn.user) for turn in turns)
    for begin in (make, say, compare):
        talk = DialogueState(random.Random(14))
        begin(talk)
        miss(talk)
        assert talk.turns[1].reply != (NOTHING_YET,)


@pytest.mark.parametrize(("kind", "reply"), [(greet, GREETING), (outside, OUTSIDE), (thank, WELCOME)])
def test_small_talk_leaves_alone_what_is_talked_about(kind, reply):
    talk = DialogueState(random.Random(11))
    make(talk)
    before = (talk.scene, talk.medium)
    kind(talk)
    assert talk.turns[1].reply == (reply,)
    assert (talk.scene, talk.medium) == before
