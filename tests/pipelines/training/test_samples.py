from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anygpt.errors import ConfigError
from anygpt.messages import MediumRef, Message
from anygpt.world.dialogues import dialogue
from anygpt.world.images import render_image
from anygpt.world.oracle import read_image, read_text
from anygpt.world.scenes import UNSEEN_PAIRS, Scene
from pipelines.training.samples import WORLD_CURRICULA, JsonLinesSource, Sample, WorldSource, world_sample

# The world


def dialogues(objective: str, count: int) -> list[list[Any]]:
    kinds, turns = WORLD_CURRICULA[objective]
    rng = random.Random(f"test/{objective}")
    return [dialogue(rng, turns=turns, kinds=kinds) for _ in range(count)]


def said_pairs(text: str) -> set[tuple[str | None, str | None]]:
    """(colour, shape) of every thing that a text names; a sentence with two things holds "and" between them."""
    readings = [read_text(part) for part in re.split(r"\band\b|\.", text)]
    return {(reading.colour, reading.shape) for reading in readings}


@pytest.mark.parametrize("objective", WORLD_CURRICULA)
def test_world_dialogues_hold_seen_pairs_only_in_every_part(objective):
    pairs = set()
    for turns in dialogues(objective, 3000):
        for part in (part for turn in turns for part in (*turn.user, *turn.reply)):
            said = said_pairs(part) if isinstance(part, str) else {(part.scene.colour, part.scene.shape)}
            assert not said & UNSEEN_PAIRS, part
            pairs |= said
    assert len({pair for pair in pairs if None not in pair}) == 20  # all 24 but the unseen ones


def test_said_pairs_finds_what_is_forbidden():
    assert said_pairs("Paint a red star and then a small circle in cyan at the top.") & UNSEEN_PAIRS
    assert not said_pairs("a cyan star and a red circle") & UNSEEN_PAIRS


@pytest.mark.parametrize(("objective", "most_turns"), [("align-input", 1), ("align-output", 2), ("instruct", 4)])
def test_world_curricula_have_what_their_objective_trains(objective, most_turns):
    samples = WorldSource(objective).batch(seed=0, step=0, size=200)
    assert {len(sample.conversation) for sample in samples} == {2 * turns for turns in range(1, most_turns + 1)}
    with_input = [any(message.role == "user" and message.media("image") for message in s.conversation) for s in samples]
    assert all(with_input) if objective == "align-input" else any(with_input)
    assert any(sample.targets for sample in samples) == (objective != "align-input")


def test_world_batches_depend_on_seed_and_step_alone():
    source = WorldSource("instruct")

    def spelled(seed: int, step: int) -> list[Any]:
        return [
            [part.tobytes() if isinstance(part, Image.Image) else part for m in sample.conversation for part in m.parts]
            for sample in source.batch(seed, step, 8)
        ]

    first = spelled(1, 2)
    spelled(1, 3)
    assert spelled(1, 2) == first
    assert spelled(1, 3) != first
    assert spelled(2, 2) != first


def test_world_samples_draw_what_they_say():
    for sample in WorldSource("align-output").batch(seed=3, step=0, size=60):
        captions = []
        for message in sample.conversation:
            if message.role == "assistant" and message.media("image"):
                captions.append(message.text.removeprefix("Here is ").rstrip("."))
        assert captions == [target.caption for target in sample.targets]
        for target in sample.targets:
            assert read_image(target.medium) == read_text(target.caption)


def test_world_sample_puts_a_reference_where_a_reply_draws():
    rng = random.Random(0)
    samples = [world_sample(dialogue(rng), rng) for _ in range(50)]
    parts = [part for sample in samples for m in sample.conversation if m.role == "assistant" for part in m.parts]
    assert sum(part == MediumRef("image") for part in parts) == sum(len(sample.targets) for sample in samples) > 0
    assert not any(isinstance(part, Image.Image) for part in parts)


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
