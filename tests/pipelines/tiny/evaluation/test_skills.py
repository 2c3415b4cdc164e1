from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from anygpt.messages import modality_of
from pipelines.tiny.evaluation.skills import (
    check,
    comparison,
    read_refusal,
    read_three,
    refusal,
    skills,
    three_media,
    two_changes,
)
from pipelines.tiny.evaluation.trials import Context, Trial
from pipelines.tiny.world.oracle import READERS, read_text
from pipelines.tiny.world.outside_words import UNKNOWN_COLOURS, UNKNOWN_THINGS
from pipelines.tiny.world.phrases import NOUNS, VERBS, canonical
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.replies import GREETING, OUTSIDE
from pipelines.tiny.world.scenes import VALUES, Scene
from pipelines.tiny.world.turns import MAKEABLE, SHOWABLE
from pipelines.tiny.world.word_turns import COMPARED

SCENE = Scene("star", "red", "small", None, "up")


def trials(builder: Any, seen: bool = True, count: int = 80, **options: Any) -> list[Trial]:
    return [builder(Context(random.Random(at), "held_out", seen, **options)) for at in range(count)]


def parts(trial: Trial) -> tuple[list[Any], str]:
    """The media and the words of a trial's only message."""
    (message,) = trial.messages
    (said,) = (part for part in message if isinstance(part, str))
    return [part for part in message if not isinstance(part, str)], said


def reply_of(*media: Any) -> Any:
    return SimpleNamespace(parts=("Here.", *media))


@pytest.mark.parametrize("seen", [True, False])
def test_comparisons_expect_what_the_media_show(seen):
    compared = set()
    for trial in trials(comparison, seen, 120):
        media, _ = parts(trial)
        attribute = trial.expected["attribute"]
        first, second = (READERS[modality_of(medium)](medium).get(attribute) for medium in media)
        same = "yes" if first == second else "no"
        assert trial.expected == {"attribute": attribute, "first": first, "second": second, "same": same}
        compared.add((attribute, same))
    assert compared == {(attribute, same) for attribute in COMPARED for same in ("yes", "no")}


def test_comparisons_are_of_what_all_inputs_together_carry():
    assert {trial.expected["attribute"] for trial in trials(comparison, inputs=("points",))} == {"shape", "colour"}


def test_checks_expect_what_the_medium_shows_and_the_words_ask():
    for trial in trials(check):
        (medium,), said = parts(trial)
        reading, asked = READERS[modality_of(medium)](medium), read_text(canonical(said))
        assert trial.expected["stated"] in {reading.get(name) for name in VALUES}
        assert trial.expected["asked"] in {asked.get(name) for name in VALUES}
        assert (trial.expected["verdict"] == "yes") == (trial.expected["asked"] == trial.expected["stated"])


@pytest.mark.parametrize("seen", [True, False])
def test_two_changes_are_said_and_the_rest_holds(seen):
    for trial in trials(two_changes, seen):
        (picture,), said = parts(trial)
        before, asked = READERS["image"](picture), read_text(canonical(said))
        changed = [name for name, value in trial.expected.items() if before.get(name) != value]
        assert len(changed) == 2
        assert [asked.get(name) for name in changed] == [trial.expected[name] for name in changed]
        assert Scene(before.shape, before.colour).seen == seen
        assert not seen or Scene(trial.expected["shape"], trial.expected["colour"]).seen


def test_three_media_are_of_what_the_words_say():
    orders = set()
    named = {word: modality for words in (NOUNS, VERBS) for modality in words for word in words[modality]}
    for trial in trials(three_media):
        media, said = parts(trial)
        assert media == []
        told = read_text(canonical(said), "video")
        assert trial.expected == {
            **{f"image {name}": told.get(name) for name in ("shape", "colour", "size")},
            **{
                f"{m} {name}": told.get(name)
                for m in ("audio", "video")
                for name in ("shape", "colour", "size", "motion")
            },
        }
        places = {said.lower().find(word): modality for word, modality in named.items() if word in said.lower()}
        orders.add(tuple(dict.fromkeys(modality for _, modality in sorted(places.items()))))
    assert len(orders) == 6


def test_refusals_are_of_words_that_are_never_trained_on():
    unknown = {*UNKNOWN_COLOURS["held_out"], *UNKNOWN_THINGS["held_out"]}
    for trial in trials(refusal):
        _, said = parts(trial)
        assert any(word in said for word in unknown), said
        assert trial.expected == {"refused": "yes"}


@pytest.mark.parametrize(("text", "read"), [(OUTSIDE, "yes"), (f" {OUTSIDE}\n", "yes"), (GREETING, "no"), ("", "no")])
def test_a_refusal_is_read_by_its_words_alone(text, read):
    assert read_refusal(text) == {"refused": read}


def test_three_media_are_read_each_for_itself():
    media = [render(SCENE.in_modality(modality), modality) for modality in MAKEABLE]
    read = read_three(reply_of(*media[::-1]))
    assert (read["image shape"], read["audio motion"], read["video colour"]) == ("star", "up", "red")
    assert read["video position"] is None


@pytest.mark.parametrize("chosen", [[0, 1], [0, 1, 1], [0, 1, 2, 2], []])
def test_replies_without_one_medium_of_each_kind_read_as_nothing(chosen):
    media = [render(SCENE.in_modality(modality), modality) for modality in MAKEABLE]
    assert read_three(reply_of(*(media[at] for at in chosen))) == {}


@pytest.mark.parametrize(
    ("inputs", "outputs", "names"),
    [
        ((), (), []),
        (("points",), ("image",), ["questions about points", "yes or no", "comparing two media"]),
        (("image",), ("image",), ["questions about image", "yes or no", "comparing two media", "two changes at once"]),
        ((), MAKEABLE, ["three media at once", "refusing what is unknown"]),
    ],
)
def test_skills_are_those_that_a_stack_can_have(inputs, outputs, names):
    assert list(skills(inputs, outputs)) == names


def test_all_skills_of_a_stack_that_has_everything():
    assert len(skills(SHOWABLE, MAKEABLE)) == 4 + 5
