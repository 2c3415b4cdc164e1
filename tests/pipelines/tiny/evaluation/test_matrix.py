"""The scorer, shown assistants that are always right and always wrong: it must be able to tell them apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from anygpt.errors import RequestError
from anygpt.events import Usage
from anygpt.messages import Message
from pipelines.assistant import Reply
from pipelines.tiny.evaluation import matrix
from pipelines.tiny.evaluation.matrix import Report, Score, cell_name, read_reply, run_matrix, run_trials, write_report
from pipelines.tiny.evaluation.picture import draw_matrix
from pipelines.tiny.evaluation.skills import COMPARISON, REFUSAL, THREE_MEDIA, VERDICT
from pipelines.tiny.evaluation.trials import CELLS, QUESTIONS, Trial, make_trials
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.oracle import READERS, Reading
from pipelines.tiny.world.phrases import caption
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.replies import OUTSIDE, answer, stated
from pipelines.tiny.world.scenes import CARRIED, VALUES, Scene
from pipelines.tiny.world.turns import MAKEABLE, SHOWABLE

NAMES = [cell_name(*cell) for cell in CELLS] + [f"questions about {source}" for source in QUESTIONS]
SKILLS = ["yes or no", "comparing two media", "two changes at once", "three media at once", "refusing what is unknown"]
NAMES += SKILLS
STATED = {value: stated(attribute, value) for attribute in (*reversed(VALUES),) for value in VALUES[attribute]}
TRIALS = 6
ANY_SCENE = Scene("circle", "red", "large", "center")


def reply_of(*parts: Any, conversation: Sequence[Message] = ()) -> Reply:
    said = (*conversation, Message("assistant", list(parts)))
    return Reply(parts, said, (), "stop", Usage(1, 1), {"total": 0.0}, seed=0)


class Oracle:
    """An assistant that knows the trials: its last reply shows what `wanted` makes of the expected values."""

    def __init__(self, wanted: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
        self.wanted = wanted
        self.trials: list[Trial] = []
        self.config = SimpleNamespace(name="oracle")
        self.executor = SimpleNamespace(input_modalities=SHOWABLE, output_modalities=MAKEABLE)
        self.seeds: list[int] = []

    def chat_batch(self, messages: Any, *, histories: Any, seeds: Any) -> list[Reply]:
        self.seeds += seeds
        return [self._reply(list(m), list(history)) for m, history in zip(messages, histories, strict=True)]

    def _reply(self, message: list[Any], history: list[Message]) -> Reply:
        conversation = [*history, Message("user", message)]
        asked = tuple(turn.parts for turn in conversation if turn.role == "user")
        trial = next(trial for trial in self.trials if trial.messages[: len(asked)] == asked)
        if len(asked) < len(trial.messages):
            return reply_of("Now.", conversation=conversation)
        values = self.wanted(trial.expected)
        if trial.output == COMPARISON:
            first, second = (stated(values["attribute"], values[name]) for name in ("first", "second"))
            alike = f"{'' if values['same'] == 'yes' else 'not '}the same {values['attribute']}"
            return reply_of(f"The first is {first}, the second is {second}: {alike}.", conversation=conversation)
        if trial.output == VERDICT:
            alike = "the same" if values["verdict"] == "yes" else "not the same"
            one, other = STATED[values["asked"]], STATED[values["stated"]]
            said = f"You ask if it is {one}, and it is {other}: {alike}, so {values['verdict']}."
            return reply_of(said, conversation=conversation)
        if trial.output == REFUSAL:
            return reply_of(OUTSIDE if values["refused"] == "yes" else "Here.", conversation=conversation)
        if trial.output == THREE_MEDIA:
            return reply_of("Here.", *(depicted(values, m) for m in MAKEABLE), conversation=conversation)
        scene = Scene(**{"shape": "circle", "colour": "red", "size": None, "position": None, **values})
        if trial.output != "text":
            medium = render(scene.in_modality(trial.output), trial.output)
            return reply_of("Here.", medium, conversation=conversation)
        said = answer(*values, scene) if len(values) == 1 else caption(scene)
        return reply_of(said, conversation=conversation)


def asked_for(output: str, about: str = "text") -> Trial:
    return Trial((("Now?",),), output, {"colour": "red"}, about)


def depicted(values: Mapping[str, str], modality: str) -> Any:
    """One of the three media of a trial: {"image colour": "red"} → a medium."""
    named = {name.split()[1]: value for name, value in values.items() if name.startswith(modality)}
    return render(Scene(**{"size": None, "position": None, **named}).in_modality(modality), modality)


def right(expected: Mapping[str, str]) -> Mapping[str, str]:
    return expected


def wrong(expected: Mapping[str, str]) -> Mapping[str, str]:
    """Another value for everything."""
    compared = VALUES[expected.get("attribute", "shape")]
    names = {"first": compared, "second": compared, "same": ("yes", "no"), "verdict": ("yes", "no"), **VALUES}
    names |= {"asked": tuple(STATED), "stated": tuple(STATED), "attribute": (expected.get("attribute"), "")}
    names |= {f"{modality} {name}": values for modality in MAKEABLE for name, values in VALUES.items()}
    names["refused"] = ("yes", "no")
    return {name: next(v for v in names[name] if v != value) for name, value in expected.items()}


def wrong_in_size(expected: Mapping[str, str]) -> Mapping[str, str]:
    return {name: wrong(expected)[name] if name == "size" else value for name, value in expected.items()}


def measured(model: Oracle, **options: Any) -> Report:
    """Run the matrix on an assistant that is told of every trial."""

    def noted(*arguments: Any) -> list[Trial]:
        model.trials = make_trials(*arguments)
        return model.trials

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(matrix, "make_trials", noted)
        return run_matrix(model, **{"trials": TRIALS, **options})


def pictures_alone(wanted: Callable[[Mapping[str, str]], Mapping[str, str]]) -> Oracle:
    """An assistant that sees and draws, and no more: its matrix has four cells."""
    model = Oracle(wanted)
    model.executor = SimpleNamespace(input_modalities=("image",), output_modalities=("image",))
    return model


@pytest.fixture(scope="module")
def perfect() -> Report:
    return measured(Oracle(right))


@pytest.fixture(scope="module")
def hopeless() -> Report:
    return measured(Oracle(wrong))


@pytest.fixture(scope="module")
def nearly() -> Report:
    """Of an assistant that is wrong in sizes alone."""
    return measured(Oracle(wrong_in_size))


def test_matrix_has_20_cells_questions_about_every_input_and_skills():
    assert len(NAMES) == 20 + 4 + 5


def test_matrix_scores_a_perfect_assistant_1(perfect):
    report = perfect
    assert list(report.seen) == list(report.unseen) == NAMES
    for score in (*report.seen.values(), *report.unseen.values()):
        assert (score.trials, score.passed, score.rate, score.failures) == (TRIALS, TRIALS, 1.0, [])
        assert all(good == asked for good, asked in score.attributes.values())
    assert report.mean() == report.mean(unseen=True) == 1.0


def test_matrix_scores_a_wrong_assistant_0(hopeless):
    report = hopeless
    for score in (*report.seen.values(), *report.unseen.values()):
        assert (score.trials, score.passed, score.rate) == (TRIALS, 0, 0.0)
        assert all(good == 0 < asked for good, asked in score.attributes.values())
        assert len(score.failures) == TRIALS
    assert report.mean() == report.mean(unseen=True) == 0.0


@pytest.mark.parametrize(("source", "target"), CELLS)
def test_matrix_one_wrong_attribute_fails_the_trial_and_is_counted_alone(nearly, source, target):
    """A cloud has no size, so nothing is wrong in what comes from one."""
    for score in (nearly.seen[cell_name(source, target)], nearly.unseen[cell_name(source, target)]):
        right_in_size, asked_for_size = score.attributes.get("size", (0, 0))
        assert right_in_size == 0
        assert score.passed == TRIALS - asked_for_size
        assert all(good == asked for name, (good, asked) in score.attributes.items() if name != "size")
        if (source, target) != ("text", "text"):
            shared = [name for name in CARRIED[source] if name in CARRIED[target]]
            assert {name: asked for name, (_, asked) in score.attributes.items()} == dict.fromkeys(shared, TRIALS)


def test_matrix_counts_the_same_trials_for_the_same_seed_alone():
    failures = [measured(pictures_alone(wrong), seed=seed, trials=2).seen["image→image"].failures for seed in (0, 0, 1)]
    assert failures[0] == failures[1] != failures[2]


def test_matrix_batches_have_seeds_of_their_own():
    model = pictures_alone(right)
    measured(model, trials=20)
    assert sorted(set(model.seeds)) == list(range(20))  # more than one batch holds


@pytest.mark.parametrize(
    ("inputs", "outputs", "names"),
    [
        ((), (), ["text→text"]),
        ((), ("image",), ["text→text", "text→image"]),
        (("image",), (), ["text→text", "image→text", "questions about image", "yes or no", "comparing two media"]),
        (
            ("points",),
            ("audio",),
            [
                "text→text",
                "text→audio",
                "points→text",
                "points→audio",
                "questions about points",
                "yes or no",
                "comparing two media",
            ],
        ),
    ],
)
def test_matrix_leaves_out_what_the_stack_cannot_do(inputs, outputs, names):
    model = Oracle(right)
    model.executor = SimpleNamespace(input_modalities=inputs, output_modalities=outputs)
    report = measured(model, trials=2)
    assert list(report.seen) == list(report.unseen) == names
    assert report.mean() == 1.0


@pytest.mark.parametrize("trials", [0, -1])
def test_matrix_needs_a_trial(trials):
    with pytest.raises(RequestError, match=f"trials: {trials} given, expected at least 1"):
        run_matrix(Oracle(right), trials=trials)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        ("A large red circle at the center.",),
        (render_image(ANY_SCENE), render_image(ANY_SCENE)),
        (Image.new("RGB", (64, 64)),),
        (Image.effect_noise((64, 64), 90).convert("RGB"),),
    ],
    ids=["nothing", "words", "two pictures", "black", "noise"],
)
def test_replies_without_exactly_one_readable_picture_read_as_nothing(parts):
    assert read_reply(reply_of(*parts), asked_for("image")) == Reading()


@pytest.mark.parametrize("modality", MAKEABLE)
def test_replies_are_read_in_the_modality_that_is_asked_for(modality):
    scene = ANY_SCENE.in_modality(modality)
    both = reply_of("a small blue star at the top", render(scene, modality))
    assert read_reply(both, asked_for("text")).matches(Scene("star", "blue", "small", "top"))
    assert read_reply(both, asked_for(modality)).matches(scene)
    for other in MAKEABLE:
        assert other == modality or read_reply(both, asked_for(other)) == Reading()


@pytest.mark.parametrize("modality", MAKEABLE)
def test_replies_with_two_media_of_any_kinds_read_as_nothing(modality):
    medium = render(ANY_SCENE.in_modality(modality), modality)
    for other in MAKEABLE:
        two = reply_of(medium, render(ANY_SCENE.in_modality(other), other))
        assert read_reply(two, asked_for(modality)) == Reading()


def test_every_medium_has_a_reader():
    assert set(READERS) == set(SHOWABLE)


@pytest.mark.parametrize(("about", "motion"), [("video", "still"), ("audio", "still"), ("image", None), ("text", None)])
def test_replies_that_name_no_motion_mean_still_where_something_could_move(about, motion):
    assert read_reply(reply_of("a small blue star"), asked_for("text", about)).motion == motion
    assert read_reply(reply_of("a small blue star moving up"), asked_for("text", about)).motion == "up"


def test_trials_hold_their_conversations_with_the_models_own_replies():
    trial = Trial((("one",), ("two",), ("three",)), "text", {"colour": "red"})
    short = Trial((("alone",),), "text", {"colour": "red"})
    heard: list[list[str]] = []

    class Listener:
        def chat_batch(self, messages: Any, *, histories: Any, seeds: Any) -> list[Reply]:
            heard.append([message[0] for message in messages])
            return [
                reply_of(f"{len(history)} red", conversation=[*history, Message("user", message)])
                for message, history in zip(messages, histories, strict=True)
            ]

    score = run_trials(Listener(), [trial, short])
    assert heard == [["one", "alone"], ["two"], ["three"]]
    assert (score.trials, score.passed) == (2, 2)


def test_score_failures_say_what_went_wrong():
    score = Score()
    picture = render_image(ANY_SCENE)
    score.add(Trial(((picture, "What?"),), "text", {"colour": "red"}), Reading(colour="blue"), reply_of("It is blue."))
    assert score.failures == [
        "<image> What? → 'It is blue.', expected {'colour': 'red'}, read {'colour': 'blue'}",
    ]


def test_report_table_shows_rates_and_wrong_attributes(perfect, nearly):
    lines = str(nearly).splitlines()
    assert lines[0].split() == ["seen", "unseen", "wrong", "attributes", "(seen;", "unseen)"]
    row = next(line for line in lines if line.startswith("image→text"))
    assert row.split()[1:] == ["0.00", "0.00", "size", f"{TRIALS}/{TRIALS};", "size", f"{TRIALS}/{TRIALS}"]
    assert len(lines) == len(NAMES) + 3
    assert lines[-2].split()[:4] == ["mean", "of", "the", "cells"]
    assert lines[-1] == f"stack oracle, {TRIALS} trials a cell, held_out phrasing, seed 0"
    assert str(perfect).count("none; none") == len(NAMES)


def test_report_is_written_as_json_and_picture(nearly, tmp_path):
    report = nearly
    write_report(report, tmp_path / "new" / "folder")
    values = json.loads((tmp_path / "new" / "folder" / "matrix.json").read_text(encoding="utf-8"))
    assert set(values) == {"stack", "trials", "seed", "phrasing", "seen", "unseen", "mean_seen", "mean_unseen"}
    assert (values["stack"], values["trials"], values["mean_seen"]) == ("oracle", TRIALS, report.mean())
    assert list(values["seen"]) == NAMES
    cell = values["unseen"]["image→text"]
    assert set(cell) == {"trials", "passed", "rate", "attributes", "failures"}
    assert (cell["rate"], cell["attributes"]["size"], cell["attributes"]["shape"]) == (
        0.0, [0, TRIALS], [TRIALS, TRIALS],
    )  # fmt: skip
    with Image.open(tmp_path / "new" / "folder" / "matrix.png") as picture:
        assert picture.format == "PNG"


def test_matrix_picture_is_greener_where_rates_are_higher():
    cells = {("text", "text"): (1.0, 0.5), ("text", "image"): (0.4, 0.0)}
    picture = draw_matrix(cells)
    good, bad = picture.getpixel((104, 54)), picture.getpixel((234, 54))
    assert good == (130, 210, 150)
    assert bad == (255, 255, 255)


def test_matrix_runs_on_a_real_stack_of_every_modality(everything):
    report = run_matrix(everything, trials=1)
    assert list(report.seen) == NAMES
    assert all(score.trials == 1 for score in (*report.seen.values(), *report.unseen.values()))
