from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anygpt.config.schema import StackConfig
from anygpt.errors import CheckpointError, ConfigError, RequestError, StageError
from anygpt.events import Done, MediaFailed, TextDelta
from anygpt.messages import MediumRef, Message
from pipelines.assistant import AnyGPT, Reply, make_request, request_options
from pipelines.executors.ray import RayExecutor

WAIT_S = 60


@pytest.fixture
def own_model(random_config: StackConfig) -> Iterator[AnyGPT]:
    """One that the test may close or change."""
    torch.manual_seed(1)
    with AnyGPT.from_config(random_config) as assistant:
        yield assistant


def same(one: Reply, other: Reply) -> bool:
    """True where all parts are equal, pictures pixel by pixel."""
    pairs = zip(one.parts, other.parts, strict=True)
    return all(a == b if isinstance(a, str) else np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


# Chat


def test_chat_answers_in_words(model):
    reply = model.chat("Hello")
    assert reply.parts == (reply.text,)
    assert reply.text
    assert (reply.images, reply.errors, reply.finish_reason) == ([], (), "length")
    assert reply.usage.completion_tokens == 12
    assert reply.timings["total"] > 0


def test_chat_forced_picture_hides_the_text_from_the_reply_and_keeps_it_in_the_conversation(model):
    reply = model.chat("Hello", modalities=["image"])
    assert reply.text == ""
    assert [image.size for image in reply.images] == [(64, 64)]
    assert reply.parts == tuple(reply.images)
    user, assistant = reply.conversation
    assert user == Message("user", "Hello")
    assert assistant.text == model.chat("Hello", modalities=["text"]).text
    assert assistant.media("image") == reply.images


def test_chat_takes_one_modality_as_a_string(model):
    one, listed = (model.chat("Hello", modalities=given, seed=0) for given in ("image", ["image"]))
    assert same(one, listed)


def test_chat_without_a_seed_differs_and_says_which_seed_gives_it_again(model):
    first, second = (model.chat("Hello", modalities="image") for _ in range(2))
    assert not same(first, second)
    assert first.seed != second.seed
    assert same(model.chat("Hello", modalities="image", seed=first.seed), first)
    assert model.chat("Hello", modalities="image", seed=None).seed not in (first.seed, second.seed)


def test_chat_is_the_same_for_the_same_seed_alone(model):
    options = {"modalities": ["image"], "temperature": 1.0}
    replies = [model.chat("Hello", seed=seed, **options) for seed in (3, 3, 4)]
    assert same(replies[0], replies[1])
    assert not same(replies[0], replies[2])


def test_chat_history_grows_over_turns(model, picture):
    first = model.chat([picture, "What is this?"], system="Be kind.", modalities=["text"])
    second = model.chat("Draw it", history=first.conversation, modalities=["image"])
    third = model.chat("And now?", history=second.conversation, modalities=["text"])
    assert [message.role for message in third.conversation] == ["system", *["user", "assistant"] * 3]
    assert third.conversation[:5] == second.conversation
    assert third.conversation[:3] == first.conversation
    assert third.usage.prompt_tokens > second.usage.prompt_tokens > first.usage.prompt_tokens


def test_chat_history_counts(model):
    first = model.chat("Hello there", modalities=["text"])
    prompts = []
    with_history = model.chat("What?", history=first.conversation, modalities=["text"])
    for reply in (model.chat("What?", modalities=["text"]), with_history):
        prompts.append(reply.usage.prompt_tokens)
    assert prompts[1] > prompts[0] + first.usage.completion_tokens


def test_chat_lost_medium_is_an_error_of_the_reply(model, monkeypatch):
    def generate(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(model.executor.stack.generators["image"], "generate", generate)
    reply = model.chat("Hello", modalities=["image"])
    assert reply.parts == ()
    assert reply.errors == (MediaFailed(0, 0, "image", "generators.image", "RuntimeError: broken"),)
    assert reply.conversation[-1].media("image") == [MediumRef("image")]
    assert model.chat("And?", history=reply.conversation, modalities=["text"]).text


def test_chat_batch_gives_replies_in_order(model, picture):
    messages = ["Hello", [picture, "What?"], "Draw it"]
    replies = model.chat_batch(messages, seeds=[1, 2, 3], modalities=["text"])
    for message, seed, reply in zip(messages, (1, 2, 3), replies, strict=True):
        assert same(reply, model.chat(message, seed=seed, modalities=["text"]))
    assert model.chat_batch([]) == []


def test_chat_batch_takes_histories(model):
    history = model.chat("Hello", modalities=["text"]).conversation
    fresh, later = model.chat_batch(["What?", "What?"], histories=[(), history], modalities=["text"])
    assert (len(fresh.conversation), len(later.conversation)) == (2, 4)


@pytest.mark.parametrize("name", ["seeds", "histories"])
def test_chat_batch_refuses_lists_of_another_length(model, name):
    with pytest.raises(RequestError, match=f"{name}: 1 given for 2 messages, expected one for each"):
        model.chat_batch(["a", "b"], **{name: [()] if name == "histories" else [1]})


def test_chat_from_several_threads_at_once_answers_each(model, picture):
    messages = ["Hello", [picture, "What?"], "Draw it", "a b c", ["And this?", picture], "One more"]
    replies: dict[int, Reply] = {}
    threads = [
        threading.Thread(target=lambda at=at: replies.update({at: model.chat(messages[at], modalities=["text"])}))
        for at in range(len(messages))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    for at, message in enumerate(messages):
        assert replies[at].text == model.chat(message, modalities=["text"]).text


def test_stream_closed_early_cancels_the_reply(model):
    events = model.stream("Hello", modalities=["text"], max_tokens=900)
    assert isinstance(next(events), TextDelta)
    events.close()
    started = time.monotonic()
    assert model.chat("Hello", max_tokens=1).usage.completion_tokens == 1
    assert time.monotonic() - started < WAIT_S


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"temprature": 1.0},
            "options: no option is called 'temprature'; there are: seed, modalities, stop, max_tokens",
        ),
        ({"seed": -1}, "seed: -1 given, expected a whole number from 0 to"),
        ({"seed": 2**63}, f"seed: {2**63} given, expected a whole number from 0 to {2**63 - 1}"),
        ({"seed": 1.0}, "seed: 1.0 given"),
        ({"seed": True}, "seed: True given"),
        ({"temperature": float("nan")}, "temperature: nan given, expected 0 to 10"),
        ({"temperature": "hot"}, "temperature: 'hot' given, expected 0 to 10"),
        ({"guidance": float("inf")}, "guidance: inf given, expected 0 to 100"),
        ({"steps": 0}, "steps: 0 given, expected at least 1"),
        ({"modalities": ["smell"]}, "modalities: 'smell' given, expected some of text, image, audio, video"),
        ({"modalities": []}, "modalities: nothing given"),
        ({"modalities": 5}, "modalities: a int given, expected a list"),
        ({"stop": ""}, "stop: '' given, expected strings of at least one character"),
        ({"stop": 5}, "stop: a int given, expected a list"),
        ({"history": "Hello"}, "history: a str given, expected messages; give reply.conversation"),
        ({"history": ["Hello"]}, "history: a str given, expected messages"),
        ({"history": [Message("system", "a")], "system": "b"}, "system: given, but the history has a system prompt"),
    ],
)
def test_chat_refuses_impossible_options_by_name(model, options, message):
    with pytest.raises(RequestError) as caught:
        model.chat("Hello", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("message", ["", "   ", [], [""]])
def test_chat_refuses_an_empty_message(model, message):
    with pytest.raises(RequestError, match="the last message is empty, expected text or a medium"):
        model.chat(message)


@pytest.mark.parametrize("message", [None, b"bytes", 5, ["text", None], {"role": "user"}])
def test_chat_refuses_what_is_no_part(model, message):
    with pytest.raises(RequestError, match=r"message part: a .* given, expected str or one of Image, "):
        model.chat(message)


def test_chat_passes_on_a_reply_as_history_only_by_its_conversation(model):
    with pytest.raises(RequestError, match="history: a Reply given, expected a list"):
        model.chat("Hello", history=model.chat("Hello"))


def test_request_options_fill_in_what_is_not_given():
    options = request_options(seed=0, stop="end", modalities=["text", "image"], width_px=64)
    assert (options.seed, options.width_px, options.steps) == (0, 64, None)
    assert (options.sampling.stop, options.sampling.modalities) == (("end",), ("text", "image"))
    assert request_options(seed=1, stop=None, modalities=None) == request_options(seed=1)


def test_make_request_begins_with_the_system_prompt_and_ends_with_the_message():
    history = [Message("user", "a"), Message("assistant", "b")]
    request = make_request("c", history=history, system="s", seed=4)
    assert request.conversation == [Message("system", "s"), *history, Message("user", "c")]
    assert request.options.seed == 4


# Saving and loading


def test_save_and_load_give_the_same_replies(own_model, tmp_path, picture):
    backbone = own_model.executor.stack.backbone.backbone
    with torch.no_grad():  # LoRA starts without effect, so it is moved to be of some
        for parameter in backbone.trainable_parameters(signal_rows=True, lora=True).values():
            parameter.copy_((parameter + 0.05 * torch.randn_like(parameter)).float())
    backbone.fold()
    own_model.save_pretrained(tmp_path / "bundle")
    torch.manual_seed(2)
    with AnyGPT.from_pretrained(tmp_path / "bundle", allow_outside=True) as loaded:
        assert loaded.config == dataclasses.replace(own_model.config, adapters=str(tmp_path / "bundle"))
        for message in ("Hello", [picture, "What is this?"]):
            for modality in ("text", "image"):
                options = {"modalities": [modality], "seed": 5}
                assert same(loaded.chat(message, **options), own_model.chat(message, **options))


@pytest.mark.parametrize("name", ["null", "${y}", "[c: d] #"])
def test_load_takes_folders_of_any_name(own_model, tmp_path, name, monkeypatch):
    own_model.save_pretrained(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with AnyGPT.from_pretrained(name, ["backbone.max_tokens=3"], allow_outside=True) as loaded:
        assert loaded.config.adapters == name
        assert loaded.config.backbone["max_tokens"] == 3


def test_load_refuses_what_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="adapter bundle '/no/such/folder': no such folder"):
        AnyGPT.from_pretrained("/no/such/folder")
    with pytest.raises(ConfigError, match=r"config: no config\.yaml in folder .*, so it is no adapter bundle"):
        AnyGPT.from_pretrained(tmp_path)


def test_load_refuses_a_device_that_is_not_there(random_config):
    placed = {"backbone": dataclasses.replace(random_config.placed("backbone"), device="warp:9")}
    with pytest.raises(ConfigError, match=r"placement\.backbone\.device: 'warp:9' given, which cannot be used"):
        AnyGPT.from_config(dataclasses.replace(random_config, placement=placed))


def test_save_needs_the_stages_here(model):
    elsewhere = object.__new__(AnyGPT)
    elsewhere.executor = object.__new__(RayExecutor)
    with pytest.raises(RequestError, match="the stages run on Ray; load the stack with the local executor"):
        elsewhere.save_pretrained(Path("nowhere"))


# Closing


def test_close_leaves_no_thread_and_may_come_twice(random_config, picture):
    before = set(threading.enumerate())
    model = AnyGPT.from_config(random_config)
    model.chat([picture, "Hello"], modalities=["image"])
    assert set(threading.enumerate()) > before
    model.close()
    model.close()
    assert set(threading.enumerate()) == before
    with pytest.raises(StageError, match="the assistant is closed"):
        model.chat("Hello")


def test_close_cancels_what_is_running(random_config):
    model = AnyGPT.from_config(random_config)
    events = model.stream("Hello", modalities=["text"], max_tokens=900)
    assert isinstance(next(events), TextDelta)
    model.close()
    *_, last = events
    assert isinstance(last, Done)
    assert last.finish_reason == "cancelled"


def test_close_fails_what_waits(random_config):
    model = AnyGPT.from_config(
        dataclasses.replace(
            random_config,
            placement={"backbone": dataclasses.replace(random_config.placed("backbone"), max_batch_size=1)},
        )
    )
    backbone = model.executor.stack.backbone.backbone
    step, stepping = backbone.step, threading.Event()

    def noted_step(*arguments: Any, **options: Any) -> Any:
        stepping.set()
        return step(*arguments, **options)

    backbone.step = noted_step
    failures = []

    def ask() -> None:
        try:
            model.chat("Hello", modalities=["text"], max_tokens=900)
        except StageError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert stepping.wait(WAIT_S)
    model.close()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert len(failures) >= 1
    assert all("closed" in failure for failure in failures)
