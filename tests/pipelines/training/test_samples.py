from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anygpt.errors import ConfigError
from anygpt.media.values import Audio, PointCloud, Video
from anygpt.messages import MediumRef, Message, modality_of
from pipelines.tiny.samples import WORLD_CURRICULA, WorldSource, world_sample
from pipelines.tiny.world.dialogues import dialogue
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.oracle import READERS, read_image, read_text
from pipelines.tiny.world.replies import ANNOUNCED, NOT_ALLOWED
from pipelines.tiny.world.scenes import CARRIED, UNSEEN_PAIRS, Scene
from pipelines.tiny.world.turns import MAKEABLE, SHOWABLE
from pipelines.training.json_lines import JsonLinesSource
from pipelines.training.objectives import LossWeights
from pipelines.training.samples import Sample
from pipelines.training.trainer import TrainingConfig, sample_source

# Media as bytes, to be compared.
CONTENT: dict[type, Callable[[Any], bytes]] = {
    Image.Image: lambda picture: picture.tobytes(),
    Audio: lambda sound: sound.waveform.tobytes(),
    Video: lambda video: video.frames.tobytes(),
    PointCloud: lambda cloud: cloud.xyz.tobytes(),
}

# The world


def dialogues(objective: str, count: int) -> list[list[Any]]:
    kinds, turns = WORLD_CURRICULA[objective]
    rng = random.Random(f"test/{objective}")
    return [dialogue(rng, turns=turns, kinds=kinds) for _ in range(count)]


def said_pairs(text: str) -> set[tuple[str | None, str | None]]:
    """(colour, shape) of every thing that a text names; a sentence with two things holds "and" between them."""
    readings = [read_text(part) for part in re.split(r"\band\b|\.", text.lower())]
    return {(reading.colour, reading.shape) for reading in readings}


@pytest.mark.parametrize("objective", WORLD_CURRICULA)
def test_world_dialogues_hold_seen_pairs_only_in_every_part(objective):
    pairs = set()
    for turns in dialogues(objective, 1500):
        for part in (part for turn in turns for part in (*turn.user, *turn.reply)):
            said = said_pairs(part) if isinstance(part, str) else {(part.scene.colour, part.scene.shape)}
            assert not said & UNSEEN_PAIRS, part
            pairs |= said
    assert len({pair for pair in pairs if None not in pair}) == 20  # all 24 but the unseen ones


def test_said_pairs_finds_what_is_forbidden():
    assert said_pairs("Paint a red star and then a small circle in cyan at the top.") & UNSEEN_PAIRS
    assert not said_pairs("a cyan star and a red circle") & UNSEEN_PAIRS


def modalities(sample: Sample, role: str) -> set[str]:
    """The modalities of the media in what one side says."""
    parts = [part for message in sample.conversation if message.role == role for part in message.parts]
    return {modality_of(part) for part in parts} - {"text"}


@pytest.mark.parametrize(("objective", "most_turns"), [("align-input", 1), ("align-output", 2), ("instruct", 4)])
def test_world_curricula_have_what_their_objective_trains(objective, most_turns):
    samples = WorldSource(objective, SHOWABLE, MAKEABLE).batch(seed=0, step=0, size=150)
    assert {len(sample.conversation) for sample in samples} == {2 * turns for turns in range(1, most_turns + 1)}
    shown = [modalities(sample, "user") for sample in samples]
    made = [modalities(sample, "assistant") for sample in samples]
    assert set.union(*shown) == set(SHOWABLE)
    assert set.union(*made) == (set() if objective == "align-input" else set(MAKEABLE))
    if objective == "align-input":
        assert all(shown)
    if objective == "align-output":
        assert sum(map(bool, made)) > 0.7 * len(samples)


@pytest.mark.parametrize("objective", WORLD_CURRICULA)
@pytest.mark.parametrize(
    ("inputs", "outputs"), [(("image",), ("image",)), (("audio", "points"), ("video",)), ((), ("audio",))]
)
def test_world_samples_keep_to_what_the_stack_perceives_and_makes(objective, inputs, outputs):
    samples = WorldSource(objective, inputs, outputs).batch(seed=0, step=0, size=60)
    assert set.union(*(modalities(sample, "user") for sample in samples)) == set(inputs)
    made = set.union(*(modalities(sample, "assistant") for sample in samples))
    assert made == (set() if objective == "align-input" else set(outputs))


def test_world_of_a_run_is_that_of_its_stack(random_config):
    source = sample_source(TrainingConfig(objective="instruct"), random_config)
    assert isinstance(source, WorldSource)
    assert (source.inputs, source.outputs) == (tuple(random_config.encoders), tuple(random_config.generators))


@pytest.mark.parametrize("data", ["world", "lines"])
def test_media_of_replies_are_made_for_the_denoising_loss_alone(random_config, folder, data):
    drawn = {"type": "image", "caption": "a star", "path": "star.png"}
    lines = written(folder, conversation(SAID, {"role": "assistant", "content": [drawn]}))
    texts = []
    for weight in (0.0, 0.1):
        config = TrainingConfig(
            objective="align-output",
            data="world" if data == "world" else str(lines),
            loss=LossWeights(denoising=weight),
        )
        samples = sample_source(config, random_config).batch(seed=0, step=0, size=12)
        targets = [target for sample in samples for target in sample.targets]
        assert {target.medium is not None for target in targets} == {weight > 0}
        texts.append([message.text for sample in samples for message in sample.conversation])
    assert texts[0] == texts[1]


def test_world_batches_depend_on_seed_and_step_alone():
    source = WorldSource("instruct", SHOWABLE, MAKEABLE)

    def spelled(seed: int, step: int) -> list[Any]:
        parts = [part for sample in source.batch(seed, step, 8) for m in sample.conversation for part in m.parts]
        return [CONTENT.get(type(part), lambda same: same)(part) for part in parts]

    first = spelled(1, 2)
    spelled(1, 3)
    assert spelled(1, 2) == first
    assert spelled(1, 3) != first
    assert spelled(2, 2) != first


def test_world_samples_make_what_they_say():
    made = set()
    for sample in WorldSource("align-output", SHOWABLE, MAKEABLE).batch(seed=3, step=0, size=60):
        said = [
            (before.strip().removesuffix("."), part.modality)
            for message in sample.conversation
            if message.role == "assistant"
            for before, part in itertools.pairwise(message.parts)
            if isinstance(part, MediumRef)
        ]
        assert said == [
            (f"{ANNOUNCED[target.modality]} {target.caption}", target.modality) for target in sample.targets
        ]
        for target in sample.targets:
            read, told = READERS[target.modality](target.medium), read_text(target.caption, target.modality)
            assert None not in (told.get(name) for name in CARRIED[target.modality])
            assert all(read.get(name) == told.get(name) for name in CARRIED[target.modality])
            made.add(target.modality)
    assert made == set(MAKEABLE)


def test_world_sample_puts_a_reference_where_a_reply_makes_a_medium():
    rng = random.Random(0)
    samples = [world_sample(dialogue(rng), rng) for _ in range(50)]
    parts = [part for sample in samples for m in sample.conversation if m.role == "assistant" for part in m.parts]
    targets = [target.modality for sample in samples for target in sample.targets]
    assert {type(part) for part in parts} == {str, MediumRef}
    assert [part.modality for part in parts if isinstance(part, MediumRef)] == targets
    assert set(targets) == set(MAKEABLE)


def test_world_forbids_now_and_then_and_replies_say_so_where_the_medium_would_stand():
    samples = WorldSource("instruct", SHOWABLE, MAKEABLE).batch(seed=5, step=0, size=300)
    forbidding = [sample for sample in samples if sample.forbidden]
    assert 0 < len(forbidding) < 0.3 * len(samples)
    assert frozenset.union(*(sample.forbidden for sample in forbidding)) == set(MAKEABLE)
    refused = set()
    for sample in samples:
        assert not sample.forbidden & {target.modality for target in sample.targets}
        assert not sample.forbidden & modalities(sample, "assistant")
        said = " ".join(message.text for message in sample.conversation if message.role == "assistant")
        for modality in MAKEABLE:
            announced, forbidden = said.count(ANNOUNCED[modality]), modality in sample.forbidden
            assert said.count(NOT_ALLOWED[modality]) == (announced if forbidden else 0)
            refused |= {modality} if forbidden and announced else set()
    assert refused == set(MAKEABLE)


@pytest.mark.parametrize("objective", ["align-input", "align-output"])
def test_world_of_other_objectives_forbids_nothing(objective):
    samples = WorldSource(objective, SHOWABLE, MAKEABLE).batch(seed=5, step=0, size=100)
    assert not any(sample.forbidden for sample in samples)


# JSON lines

SAID = {"role": "user", "content": "Draw a dog."}
DRAWN = {"role": "assistant", "content": [{"type": "text", "text": "Here:"}, {"type": "image", "caption": "a dog"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    render_image(Scene("star", "red")).save(tmp_path / "star.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "star.png").read_bytes()[:60])
    return tmp_path


def written(folder: Path, *lines: Any) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "data.jsonl").write_text("\n".join(texts), encoding="utf-8", newline="\n")
    return folder / "data.jsonl"


def conversation(*turns: Any) -> dict[str, Any]:
    return {"conversation": list(turns)}


def one(path: Path) -> Sample:
    (sample,) = JsonLinesSource(path).batch(seed=0, step=0, size=1)
    return sample


def test_json_lines_become_conversations_and_targets(folder):
    shown = {"type": "image", "path": "star.png"}
    sample = one(
        written(
            folder,
            conversation(
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": [shown, {"type": "text", "text": "What?"}]},
                {"role": "assistant", "content": "A star."},
                SAID,
                {"role": "assistant", "content": [*DRAWN["content"], {**shown, "caption": "a star"}]},
            ),
        )
    )
    assert [message.role for message in sample.conversation] == ["system", "user", "assistant", "user", "assistant"]
    picture, words = sample.conversation[1].parts
    assert words == "What?"
    assert read_image(picture).shape == "star"
    assert sample.conversation[2] == Message("assistant", "A star.")
    assert sample.conversation[4].parts == ("Here:", MediumRef("image"), MediumRef("image"))
    assert [(t.modality, t.caption, t.medium is None) for t in sample.targets] == [
        ("image", "a dog", True),
        ("image", "a star", False),
    ]
    assert np.array_equal(sample.targets[1].medium, picture)


def test_json_lines_every_epoch_is_a_shuffle_of_all(folder):
    path = written(folder, *(conversation({"role": "user", "content": str(n)}, DRAWN) for n in range(10)), "", "  ")

    def said(seed: int, steps: range) -> list[str]:
        source = JsonLinesSource(path)
        return [s.conversation[0].text for step in steps for s in source.batch(seed, step, size=4)]

    everything = sorted(map(str, range(10)))
    first = said(0, range(5))
    assert sorted(first[:10]) == sorted(first[10:]) == everything
    assert first[:10] != first[10:] != everything
    assert said(0, range(3, 5)) == first[12:]
    assert said(1, range(5)) != first


def test_json_lines_are_cut_at_line_feeds_alone(folder):
    text = "one\u2028two\x85three\x0bfour"
    line = json.dumps(conversation({"role": "user", "content": text}, DRAWN), ensure_ascii=False)
    assert "\u2028" in line
    assert one(written(folder, line + "\r")).conversation[0].text == text


GOOD = json.dumps(conversation(SAID, DRAWN))
MALFORMED = {
    "no JSON": ("{", "Expecting property name"),
    "a list": ([1], "the line is a list, expected a dict"),
    "a number": ("5", "the line is a int, expected a dict"),
    "null": ("null", "the line is a NoneType, expected a dict"),
    "other key": ({"messages": []}, "no 'conversation' given, only 'messages'"),
    "no key": ({}, "no 'conversation' given, only nothing"),
    "conversation is text": ({"conversation": "hi"}, "conversation is a str, expected a list"),
    "empty": (conversation(), "the last message is not the assistant's"),
    "no reply": (conversation(SAID), "the last message is not the assistant's"),
    "reply first": (conversation(DRAWN), "the first message is the assistant's, expected the user's"),
    "reply of blanks": (
        conversation(SAID, {"role": "assistant", "content": [{"type": "text", "text": " "}]}),
        "a reply is empty",
    ),
    "no user": (
        conversation({"role": "system", "content": "x"}, DRAWN),
        "the first message is the assistant's, expected the user's",
    ),
    "empty reply": (conversation(SAID, {"role": "assistant", "content": ""}), "a reply is empty"),
    "type is a list": (
        conversation({"role": "user", "content": [{"type": ["image"]}]}, DRAWN),
        "type is a list, expected a str",
    ),
    "caption of blanks": (
        conversation(SAID, {"role": "assistant", "content": [{"type": "image", "caption": "  "}]}),
        "a picture in a reply has no caption",
    ),
    "half a character in a caption": (
        conversation(SAID, {"role": "assistant", "content": [{"type": "image", "caption": "\ud800"}]}),
        "text with half a character",
    ),
    "message is text": (conversation("hi", DRAWN), "message is a str, expected a dict"),
    "no role": (conversation({"content": "x"}, DRAWN), "no 'role' given, only 'content'"),
    "unknown role": (conversation({"role": "robot", "content": "x"}, DRAWN), "message role: 'robot' given, expected"),
    "no content": (conversation({"role": "user"}, DRAWN), "no 'content' given, only 'role'"),
    "content is a number": (conversation({"role": "user", "content": 5}, DRAWN), "content is a int, expected a list"),
    "part is text": (conversation({"role": "user", "content": ["x"]}, DRAWN), "part is a str, expected a dict"),
    "part without type": (conversation({"role": "user", "content": [{}]}, DRAWN), "no 'type' given, only nothing"),
    "unknown type": (
        conversation({"role": "user", "content": [{"type": "smell"}]}, DRAWN),
        "part type 'smell' given, expected text, image, audio, video, points",
    ),
    "text is a number": (
        conversation({"role": "user", "content": [{"type": "text", "text": 5}]}, DRAWN),
        "text is a int, expected a str",
    ),
    "picture without path": (
        conversation({"role": "user", "content": [{"type": "image"}]}, DRAWN),
        "no 'path' given, only 'type'",
    ),
    "path is a number": (
        conversation({"role": "user", "content": [{"type": "image", "path": 5}]}, DRAWN),
        "path is a int, expected a str",
    ),
    "picture is missing": (
        conversation({"role": "user", "content": [{"type": "image", "path": "no\nfile"}]}, DRAWN),
        "no file 'no\\nfile'",
    ),
    "picture is a folder": (conversation({"role": "user", "content": [{"type": "image", "path": "."}]}, DRAWN), "no f"),
    "reply's picture without caption": (
        conversation(SAID, {"role": "assistant", "content": [{"type": "image", "path": "star.png"}]}),
        "a picture in a reply has no caption",
    ),
    "caption is a number": (
        conversation(SAID, {"role": "assistant", "content": [{"type": "image", "caption": 5}]}),
        "caption is a int, expected a str",
    ),
    "reply's picture is missing": (
        conversation(SAID, {"role": "assistant", "content": [{"type": "image", "caption": "a", "path": "no"}]}),
        "no file 'no'",
    ),
    "half a character": ('{"conversation": [{"role": "user", "content": "\\ud800"}]}', "text with half a character"),
    "bottomless": ("[" * 100_000, "recursion"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_json_lines_malformed_line_is_one_line_that_names_it(folder, case):
    line, message = MALFORMED[case]
    path = written(folder, GOOD, "", line, GOOD)
    with pytest.raises(ConfigError) as caught:
        JsonLinesSource(path)
    assert str(caught.value).startswith(f"data: {path}, line 3: ")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"\x00\x01\x02", b'{"conversation": "\xe9"}'])
def test_json_lines_that_are_no_text_are_refused(folder, content):
    (folder / "data.jsonl").write_bytes(content)
    with pytest.raises(ConfigError, match=r"data: .*data\.jsonl, line 1: ") as caught:
        JsonLinesSource(folder / "data.jsonl")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["broken.png", "data.jsonl"])
def test_json_lines_broken_picture_names_the_line_when_it_is_needed(folder, name):
    path = written(folder, conversation({"role": "user", "content": [{"type": "image", "path": name}]}, DRAWN))
    with pytest.raises(ConfigError, match=rf"data: {path}, line 1: image '.*{name}': ") as caught:
        one(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("path", ["missing.jsonl", ".", "x" * 5000, ""])
def test_json_lines_without_a_file_are_refused(folder, path):
    with pytest.raises(ConfigError, match=r"data: no file '.*'; give a JSON lines file of conversations"):
        JsonLinesSource(folder / path)


def test_json_lines_without_a_conversation_are_refused(folder):
    with pytest.raises(ConfigError, match="holds no conversation, expected one JSON object a line"):
        JsonLinesSource(written(folder, "", "  "))
