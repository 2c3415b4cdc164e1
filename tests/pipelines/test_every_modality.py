"""Every modality through the whole pipeline, in every use, on an untrained stack."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from anygpt import Audio, Video
from anygpt.errors import RequestError
from anygpt.events import Done, Failed
from anygpt.media.kinds import KINDS
from anygpt.messages import MediumRef, modality_of
from pipelines.assistant import make_request
from pipelines.cli import main as cli
from pipelines.media_decoding.pool import DecoderPool
from pipelines.media_json import JSON_FORMS, medium_from_json, medium_json
from pipelines.serving.app import create_app
from pipelines.serving.bodies import parse_body
from pipelines.serving.requests import chat_request, media_bytes
from pipelines.serving.schema import ChatBody
from pipelines.tiny.world.rendering import RENDERERS, render
from pipelines.tiny.world.scenes import Scene
from pipelines.training.json_lines import JsonLinesSource
from pipelines.training.trainer import load_training_config, train
from tests.pipelines.every_modality import SIGNAL_TOKENS

STAR = Scene("star", "red")
INPUTS = tuple(RENDERERS)
OUTPUTS = tuple(SIGNAL_TOKENS)


def shown(modality: str) -> Any:
    return render(STAR.in_modality(modality), modality)


@pytest.fixture
def client(everything) -> Iterator[TestClient]:
    with TestClient(create_app(everything.pipeline, everything.config)) as client:
        yield client


def same(one: Any, other: Any) -> bool:
    arrays = [
        (m.waveform if isinstance(m, Audio) else m.frames if isinstance(m, Video) else np.asarray(m))
        for m in (one, other)
    ]
    return type(one) is type(other) and np.array_equal(*arrays)


@pytest.mark.parametrize("modality", INPUTS)
def test_every_input_is_taken_in_and_matters(everything, modality):
    circle = render(Scene("circle", "blue").in_modality(modality), modality)
    replies = [everything.chat([medium, "Hello"], modalities=["image"]) for medium in (shown(modality), circle)]
    assert not same(*(reply.images[0] for reply in replies))
    assert replies[0].timings[f"encoders.{modality}"] > 0


@pytest.mark.parametrize("modality", OUTPUTS)
def test_every_output_comes_and_its_seed_decides(everything, modality):
    replies = [everything.chat("Hello", modalities=[modality], seed=seed) for seed in (3, 3, 4)]
    media = [part for reply in replies for part in reply.parts]
    assert [modality_of(medium) for medium in media] == [modality] * 3
    assert same(media[0], media[1])
    assert not same(media[0], media[2])


def test_frames_and_seconds_may_be_asked_for(everything):
    video = everything.chat("Hello", modalities=["video"], frames=3).videos[0]
    assert len(video.frames) == 3
    sound = everything.chat("Hello", modalities=["audio"], duration_s=0.1).audios[0]
    assert sound.duration_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 65}, "frames: 65 given, expected at most max_frames=64"),
        ({"duration_s": 60.5}, "duration_s: 60.5 given, expected at most max_duration_s=60"),
    ],
)
@pytest.mark.parametrize("modalities", [None, ["video"], ["audio"]])
def test_too_many_frames_or_seconds_are_refused_before_the_reply(everything, options, message, modalities):
    with pytest.raises(RequestError, match=message):
        everything.chat("Hello", modalities=modalities, **options)


def test_all_inputs_in_one_message_and_replies_in_the_next(everything):
    reply = everything.chat([*map(shown, INPUTS), "What are these?"], modalities=["audio"])
    assert len(reply.audios) == 1
    again = everything.chat("And now?", history=reply.conversation, modalities=["video"])
    assert len(again.videos) == 1


def test_requests_of_all_sorts_are_answered_side_by_side(everything):
    requests = [make_request([shown(m), "Hello"], modalities=[o]) for m in INPUTS for o in ("text", *OUTPUTS)]
    ended = [event for event in everything.run(requests) if isinstance(event, (Done, Failed))]
    assert sorted(event.request for event in ended) == list(range(len(requests)))
    assert {type(event) for event in ended} == {Done}


@pytest.mark.parametrize(
    "options",
    [
        {"width_px": 33},
        {"width_px": 33, "modalities": ["audio"]},
        {"width_px": 100_000, "height_px": 100_000},
        {"steps": 999},
    ],
)
def test_options_that_no_generator_can_follow_are_refused(everything, options):
    name, value = next(iter(options.items()))
    with pytest.raises(RequestError, match=f"{name}[:=] ?{value}"):
        everything.chat("Hello", **options)


def test_options_that_one_generator_can_follow_are_taken(everything):
    assert everything.chat("Hello", width_px=64, frames=3, duration_s=0.1, modalities=["audio"]).parts


@pytest.mark.parametrize("modality", INPUTS)
def test_generate_takes_files(everything_file, modality, tmp_path, capsys, monkeypatch):
    file = tmp_path / f"file{KINDS[modality].suffix}"
    KINDS[modality].save(shown(modality), file)
    arguments = [
        "generate",
        "Hello",
        f"--{modality}",
        str(file),
        "--modalities",
        "text",
        "-c",
        str(everything_file),
        "--json",
    ]
    monkeypatch.setattr("sys.argv", ["anygpt", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0, capsys.readouterr().err
    assert f"encoders.{modality}" in json.loads(capsys.readouterr().out)["timings"]


@pytest.mark.parametrize("modality", OUTPUTS)
def test_generate_saves_media(everything_file, modality, tmp_path, capsys, monkeypatch):
    arguments = ["generate", "Hello", "--modalities", modality, "-c", str(everything_file), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["anygpt", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    path = tmp_path / f"reply-1{KINDS[modality].suffix}"
    assert captured.out == f"{path}\n"
    assert isinstance(KINDS[modality].load(path), KINDS[modality].value)


def test_generate_makes_so_many_frames_and_seconds(everything_file, tmp_path, capsys, monkeypatch):
    asked = {"video": ["--frames", "3"], "audio": ["--duration", "0.1"]}
    for modality, option in asked.items():
        arguments = ["generate", "Hello", "--modalities", modality, *option, "-c", str(everything_file)]
        monkeypatch.setattr("sys.argv", ["anygpt", *arguments, "--out", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0, capsys.readouterr().err
    assert len(KINDS["video"].load(tmp_path / "reply-1.mp4").frames) == 3
    assert KINDS["audio"].load(tmp_path / "reply-2.wav").duration_s == pytest.approx(0.1)


@pytest.mark.parametrize("modality", INPUTS)
def test_http_takes_media(client, modality):
    content = [medium_json(modality, shown(modality)), {"type": "text", "text": "Hello"}]
    answer = client.post("/v1/chat/completions", json=chat(content, ["text"]))
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]


def test_http_takes_openais_input_audio(client):
    data = base64.b64encode(KINDS["audio"].encode(shown("audio"))).decode()
    content = [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]
    assert client.post("/v1/chat/completions", json=chat(content, ["text"])).status_code == 200


@pytest.mark.parametrize("modality", OUTPUTS)
def test_http_gives_media_and_takes_them_back(client, modality):
    message = client.post("/v1/chat/completions", json=chat("Hello", [modality])).json()["choices"][0]["message"]
    (item,) = message[JSON_FORMS[modality].listed]
    assert isinstance(medium_from_json(item), KINDS[modality].value)
    if modality == "audio":
        assert base64.b64decode(message["audio"]["data"])[:4] == b"RIFF"
    earlier = [{"role": "user", "content": "Hello"}, message, {"role": "user", "content": "And now?"}]
    answer = client.post("/v1/chat/completions", json={**chat("", ["text"]), "messages": earlier})
    assert answer.status_code == 200, answer.text


def test_http_makes_so_many_frames_and_seconds(client):
    for modality, option in (("video", {"frames": 3}), ("audio", {"duration_s": 0.1})):
        answer = client.post("/v1/chat/completions", json={**chat("Hello", [modality]), **option}).json()
        (item,) = answer["choices"][0]["message"][JSON_FORMS[modality].listed]
        made = medium_from_json(item)
        assert (len(made.frames) == 3) if modality == "video" else made.duration_s == pytest.approx(0.1)
    too_many = client.post("/v1/chat/completions", json={**chat("Hello", ["video"]), "frames": 65})
    assert too_many.status_code == 400
    assert "frames: 65 given, expected at most max_frames=64" in too_many.json()["error"]["message"]


@pytest.mark.parametrize("modality", INPUTS)
def test_http_refuses_broken_media_and_addresses(client, modality):
    kind = JSON_FORMS[modality].type
    for url, status in ((f"data:{KINDS[modality].mime};base64,AAAA", 400), ("http://169.254.169.254/x", 400)):
        answer = client.post("/v1/chat/completions", json=chat([{"type": kind, kind: {"url": url}}], ["text"]))
        assert (answer.status_code, len(answer.json()["error"]["message"].splitlines())) == (status, 1)


def test_http_keeps_the_place_of_a_lost_medium(everything):
    lost = {"type": "audio", "index": 1, "text_offset": 6, "stage": "generators.audio", "message": "no sound"}
    earlier = {"role": "assistant", "content": "Here: as you wished", "errors": [lost, {**lost, "type": "smell"}]}
    messages = [{"role": "user", "content": "Play"}, earlier, {"role": "user", "content": "Again"}]
    body = parse_body(ChatBody, json.dumps({**chat("", ["text"]), "messages": messages}).encode(), 1000)
    request = asyncio.run(chat_request(body, everything.config, DecoderPool(20.0)))
    assert media_bytes(request) == 0
    assert request.conversation[1].parts == ("Here: ", MediumRef("audio"), "as you wished")


def chat(content: Any, modalities: list[str]) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"model": "everything", "messages": messages, "modalities": modalities, "seed": 1}


@pytest.mark.parametrize("objective", ["align-input", "align-output", "instruct"])
def test_every_modality_is_trained(everything_file, objective, tmp_path):
    lines = []
    for modality in INPUTS:
        KINDS[modality].save(shown(modality), tmp_path / f"in{KINDS[modality].suffix}")
        see = {"type": modality, "path": f"in{KINDS[modality].suffix}"}
        lines.append([{"role": "user", "content": [see]}, {"role": "assistant", "content": "A red star."}])
    for modality in OUTPUTS:
        show = {"type": modality, "caption": "a red star", "path": f"in{KINDS[modality].suffix}"}
        lines.append([{"role": "user", "content": "Show it."}, {"role": "assistant", "content": [show]}])
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(json.dumps({"conversation": turns}) for turns in lines))
    assert len(JsonLinesSource(data).records) == len(lines)
    options = [f"stack={everything_file}", f"data={data}", f"batch_size={len(lines)}", "loop.steps=2", "precision=fp32"]
    logged: list[dict[str, float]] = []
    config = load_training_config(f"training/{objective}", [*options, "loop.log_every=1"])
    assert train(config, tmp_path / "run", logged.append) is not None
    assert {f"embedding_{modality}" for modality in OUTPUTS} <= logged[0].keys()
