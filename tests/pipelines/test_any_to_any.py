"""The pipeline over the real stack with untrained weights."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from anygpt.config.schema import Limits
from anygpt.errors import AnyGPTError, MediaError, RequestError, StageError
from anygpt.events import Done, Event, Failed, MediaFailed, MediaProgress, MediaReady, MediaStarted, TextDelta
from anygpt.media import ImageLimits
from anygpt.messages import MediumRef, Message
from anygpt.options import RequestOptions, SamplingOptions
from pipelines.any_to_any import AnyToAny, Request
from pipelines.assistant import AnyGPT
from pipelines.executors.local import LocalExecutor

WAIT_S = 60
IMAGE, TEXT = SamplingOptions(modalities=("image",)), SamplingOptions(modalities=("text",))


def ask(*parts: Any, sampling: SamplingOptions = TEXT, **options: Any) -> Request:
    return Request([Message("user", parts)], RequestOptions(sampling=sampling, **options))


def answer(
    model: AnyGPT,
    requests: Sequence[Request],
    limits: Limits | None = None,
    react: Callable[[Event], None] = lambda event: None,
) -> list[list[Event]]:
    """Events by request; `react` sees each as it comes."""

    async def collect() -> list[list[Event]]:
        events: list[list[Event]] = [[] for _ in requests]
        async for event in AnyToAny(model.executor, limits).run(requests):
            events[event.request].append(event)
            react(event)
        return events

    return asyncio.run(asyncio.wait_for(collect(), WAIT_S))


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def kinds(events: Sequence[Event]) -> list[str]:
    """Names of the events' classes, repetitions left out."""
    names = [type(event).__name__ for event in events]
    return [name for at, name in enumerate(names) if not at or names[at - 1] != name]


def failure(model: AnyGPT, request: Request, limits: Limits | None = None) -> AnyGPTError:
    (events,) = answer(model, [request], limits)
    assert kinds(events) == ["Failed"]
    assert len(str(events[0].error).splitlines()) == 1
    return events[0].error


# Order


def test_run_text_alone_comes_as_deltas_and_done(model):
    (events,) = answer(model, [ask("Hello")])
    assert kinds(events) == ["TextDelta", "Done"]
    assert text_of(events)
    assert events[-1].finish_reason == "length"
    assert events[-1].usage.completion_tokens == 12
    assert set(events[-1].timings) == {"backbone", "total"}


def test_run_forced_picture_comes_with_progress_and_hidden_text(model):
    (events,) = answer(model, [ask("Hello", sampling=IMAGE)])
    assert kinds(events) == ["TextDelta", "MediaStarted", "MediaProgress", "MediaReady", "Done"]
    assert all(event.hidden for event in events if isinstance(event, TextDelta))
    assert [(e.step, e.steps) for e in events if isinstance(e, MediaProgress)] == [(1, 2), (2, 2)]
    (ready,) = (event for event in events if isinstance(event, MediaReady))
    assert (ready.index, ready.modality, ready.medium.size) == (0, "image", (64, 64))
    assert set(events[-1].timings) == {"backbone", "generators.image", "total"}


def test_run_medium_stands_where_it_was_written(model, first_word_is_a_picture):
    (events,) = answer(model, [ask("Hello", sampling=SamplingOptions())])
    started = next(at for at, event in enumerate(events) if isinstance(event, MediaStarted))
    assert started == 0
    assert len(text_of(events)) > 0


def test_run_generator_starts_while_the_text_goes_on(model, first_word_is_a_picture, monkeypatch):
    generator, backbone = model.executor.stack.generators["image"], model.executor.stack.backbone.backbone
    generate, step, generating, steps = generator.generate, backbone.step, threading.Event(), []

    def noted_generate(*arguments: Any, **options: Any) -> Any:
        generating.set()
        return generate(*arguments, **options)

    def patient_step(*arguments: Any, **options: Any) -> Any:
        steps.append(1)
        if len(steps) == 4:  # the prompt, the signal block, one word, and here the next one
            assert generating.wait(WAIT_S), "the generator waits for the text to end"
        return step(*arguments, **options)

    monkeypatch.setattr(generator, "generate", noted_generate)
    monkeypatch.setattr(backbone, "step", patient_step)
    (events,) = answer(model, [ask("Hello", sampling=SamplingOptions())])
    assert len(steps) > 4
    assert kinds(events)[-1] == "Done"


def test_run_encodes_media_of_users_and_not_of_replies(model, picture, monkeypatch):
    encoder, seen = model.executor.stack.encoders["image"], []
    preprocess = encoder.preprocess
    monkeypatch.setattr(encoder, "preprocess", lambda media: seen.extend(media) or preprocess(media))
    conversation = [
        Message("user", [picture, "What?"]),
        Message("assistant", ["This.", picture]),
        Message("user", ["And", picture]),
    ]
    (events,) = answer(model, [Request(conversation, RequestOptions(sampling=TEXT))])
    assert kinds(events) == ["TextDelta", "Done"]
    assert len(seen) == 2
    assert "encoders.image" in events[-1].timings


def test_run_no_requests_gives_no_events(model):
    assert answer(model, []) == []


# Failures


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (RuntimeError("out of memory\nsecond line"), "RuntimeError: out of memory"),
        (MemoryError(), "MemoryError"),
        (StageError("generators.image", "withheld"), "withheld"),
    ],
)
def test_run_failing_generator_costs_its_own_medium_and_the_text_comes(
    model, first_word_is_a_picture, monkeypatch, raised, message
):
    def generate(*arguments: Any, **options: Any) -> Any:
        raise raised

    monkeypatch.setattr(model.executor.stack.generators["image"], "generate", generate)
    (events,) = answer(model, [ask("Hello", sampling=SamplingOptions())])
    assert [event for event in events if isinstance(event, MediaFailed)] == [
        MediaFailed(0, 0, "image", "generators.image", message)
    ]
    assert text_of(events)
    assert isinstance(events[-1], Done)


def test_run_withheld_medium_is_lost_alone(model, monkeypatch):
    generator = model.executor.stack.generators["image"]
    withheld = StageError("generators.image", "withheld")
    monkeypatch.setattr(generator, "generate", lambda *arguments, **options: [withheld])
    (events,) = answer(model, [ask("Hello", sampling=IMAGE)])
    assert kinds(events) == ["TextDelta", "MediaStarted", "MediaFailed", "Done"]


def test_run_failing_encoder_fails_the_request(model, picture, monkeypatch):
    def encode(batch: Any) -> Any:
        raise RuntimeError("encoder broke")

    monkeypatch.setattr(model.executor.stack.encoders["image"], "encode", encode)
    error = failure(model, ask(picture, "What?"))
    assert isinstance(error, StageError)
    assert "encoder broke" in str(error)


def test_run_failing_language_model_fails_the_request_and_the_next_one_is_answered(model, monkeypatch):
    def step(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("backbone broke")

    with monkeypatch.context() as patched:
        patched.setattr(model.executor.stack.backbone.backbone, "step", step)
        assert "backbone broke" in str(failure(model, ask("Hello")))
    assert kinds(answer(model, [ask("Hello")])[0]) == ["TextDelta", "Done"]


# Limits


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request([]), "no message given, expected at least one from the user"),
        (Request([Message("user", "a"), Message("assistant", "b")]), "the last message is the assistant's"),
        (ask("  ", ""), "the last message is empty, expected text or a medium"),
        (ask("x" * 51), "51 characters given, expected at most 50"),
        (ask(*[Image.new("RGB", (2, 2))] * 3), "3 media given, expected at most 2"),
        (ask(MediumRef("audio"), "x"), "audio given, but this stack only takes in: text, image"),
        (ask("x", sampling=SamplingOptions(modalities=("audio",))), "audio given, but this stack only produces: text"),
        (ask("x", sampling=IMAGE, steps=100_000), "steps: 100000 given, expected at most max_steps=200"),
        (ask("x", sampling=IMAGE, width_px=33), "width_px: 33 given, expected a multiple of 16"),
        (ask("x", frames=4), "frames: 4 given for video, but this stack only produces: text, image"),
        (ask("x", duration_s=2.5), "duration_s: 2.5 given for audio, but this stack only produces: text, image"),
    ],
)
def test_run_refuses_what_is_over_a_limit(model, request_, message):
    error = failure(model, request_, Limits(max_text_chars=50, max_media=2))
    assert isinstance(error, RequestError)
    assert message in str(error)


def test_run_refuses_pictures_over_the_configured_limits(model, picture):
    error = failure(model, ask(picture), Limits(image=ImageLimits(max_side_px=63)))
    assert isinstance(error, MediaError)
    assert "64 x 64 pixels given, expected sides of at most 63" in str(error)


def test_run_refuses_a_prompt_over_the_context(model):
    error = failure(model, ask("word " * 2000))
    assert isinstance(error, RequestError)
    assert "tokens given, the context holds 1024; shorten it" in str(error)


def test_run_leaves_aside_picture_options_where_no_picture_may_come_unless_none_could_follow_them(model):
    assert kinds(answer(model, [ask("x", sampling=TEXT, steps=3, width_px=64)])[0]) == ["TextDelta", "Done"]
    for options in ({"steps": 100_000}, {"width_px": 63}):
        assert isinstance(failure(model, ask("x", sampling=TEXT, **options)), RequestError)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16"])
def test_run_takes_pictures_of_any_mode(model, mode):
    (events,) = answer(model, [ask(Image.new(mode, (20, 10)), "What?")])
    assert kinds(events) == ["TextDelta", "Done"]


# Cancellation


def test_run_cancelled_from_a_thread_ends_early(model):
    request = ask("Hello", sampling=SamplingOptions(modalities=("text",), max_tokens=900))
    threads = []

    def cancel_soon(event: Event) -> None:
        if isinstance(event, TextDelta) and not threads:
            threads.append(threading.Thread(target=request.cancel.set))
            threads[0].start()

    (events,) = answer(model, [request], react=cancel_soon)
    assert isinstance(events[-1], Done)
    assert events[-1].finish_reason == "cancelled"
    assert events[-1].usage.completion_tokens < 900


def test_run_cancelled_while_drawing_loses_the_medium(model):
    request = ask("Hello", sampling=IMAGE, steps=200)

    def cancel(event: Event) -> None:
        if isinstance(event, MediaProgress):
            request.cancel.set()

    (events,) = answer(model, [request], react=cancel)
    assert [event.message for event in events if isinstance(event, MediaFailed)] == ["cancelled"]
    assert sum(isinstance(event, MediaProgress) for event in events) < 200
    assert isinstance(events[-1], Done)


def test_run_leaving_the_iteration_early_cancels_every_request(model):
    requests = [ask(text, sampling=SamplingOptions(modalities=("text",), max_tokens=900)) for text in ("Hello", "Hi")]

    async def leave() -> int:
        events = AnyToAny(model.executor).run(requests)
        async for _ in events:
            break
        await events.aclose()
        return len(asyncio.all_tasks())

    assert asyncio.run(leave()) == 1
    assert all(request.cancel.is_set() for request in requests)
    assert kinds(answer(model, [ask("Hello")])[0]) == ["TextDelta", "Done"]


def test_run_over_the_time_limit_fails(model):
    request = ask("Hello", sampling=SamplingOptions(modalities=("text",), max_tokens=900))
    (events,) = answer(model, [request], Limits(timeout_s=0.02))
    assert isinstance(events[-1], Failed)
    assert str(events[-1].error) == "stage 'pipeline': no reply within limits.timeout_s=0.02 seconds"


# Side by side


def test_run_mixed_requests_are_answered_as_they_are_alone(model, picture):
    def requests() -> list[Request]:
        return [
            ask("Hello there"),
            ask(picture, "What is this?"),
            ask("Draw it", sampling=IMAGE, seed=3),
            ask("Tell me", picture, picture, sampling=SamplingOptions(modalities=("text",), max_tokens=4)),
            ask("Sing", sampling=SamplingOptions(modalities=("text",), temperature=1.0), seed=5),
        ]

    together = answer(model, requests())
    for events, request in zip(together, requests(), strict=True):
        (alone,) = answer(model, [request])
        assert kinds(events) == kinds(alone)
        assert text_of(events) == text_of(alone)
        assert events[-1].usage == alone[-1].usage


def test_run_media_of_one_reply_have_seeds_of_their_own(model, monkeypatch):
    rows = model.executor.stack.backbone.backbone.signal_tokens
    monkeypatch.setattr(rows, "logits", lambda hidden_BTH: hidden_BTH.new_full((*hidden_BTH.shape[:2], 1), 1e9))
    generator, seeds = model.executor.stack.generators["image"], []
    generate = generator.generate

    def noted(conditioning: Any, options: Any, *arguments: Any, **more: Any) -> Any:
        seeds.extend(option.seed for option in options)
        return generate(conditioning, options, *arguments, **more)

    monkeypatch.setattr(generator, "generate", noted)
    (events,) = answer(model, [ask("x", sampling=SamplingOptions(max_tokens=2), seed=7)])
    assert sorted(seeds) == [7, 8, 9, 10]
    assert sorted(event.index for event in events if isinstance(event, MediaReady)) == [0, 1, 2, 3]


def broken_picture() -> Image.Image:
    """A picture whose pixels cannot be decoded, which shows only when they are needed."""
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(file, "PNG")
    return Image.open(io.BytesIO(file.getvalue()[:2000]))


@pytest.mark.parametrize(
    "bad",
    [
        lambda: ask("word " * 2000),
        lambda: ask(""),
        lambda: ask(broken_picture(), "What?"),
        lambda: ask("x", sampling=SamplingOptions(modalities=("video",))),
        lambda: ask("x", sampling=IMAGE, steps=100_000),
    ],
    ids=["too long", "empty", "broken picture", "unknown modality", "too many steps"],
)
def test_run_a_bad_request_does_not_cost_its_neighbours(model, picture, bad):
    good, failed, other = answer(model, [ask(picture, "What?"), bad(), ask("Hello", sampling=IMAGE)])
    assert kinds(good) == ["TextDelta", "Done"]
    assert kinds(failed) == ["Failed"]
    assert kinds(other)[-2:] == ["MediaReady", "Done"]


def test_run_a_picture_that_the_encoder_refuses_does_not_cost_its_neighbours(model, picture, monkeypatch):
    encoder = model.executor.stack.encoders["image"]
    preprocess = encoder.preprocess

    def picky(media: list[Any]) -> Any:
        if any(medium.size == (3, 3) for medium in media):
            raise MediaError("too small")
        return preprocess(media)

    monkeypatch.setattr(encoder, "preprocess", picky)
    good, failed = answer(model, [ask(picture, "What?"), ask(Image.new("RGB", (3, 3)), "What?")])
    assert kinds(good) == ["TextDelta", "Done"]
    assert str(failed[0].error) == "too small"


def test_run_a_full_queue_refuses_and_says_so(model):
    stack = model.executor.stack
    config = dataclasses.replace(
        stack.config, placement={"backbone": dataclasses.replace(stack.config.placed("backbone"), max_queue=1)}
    )
    executor = LocalExecutor(dataclasses.replace(stack, config=config))
    backbone, step, may_go_on = stack.backbone.backbone, stack.backbone.backbone.step, threading.Event()
    try:
        backbone.step = lambda *arguments, **options: may_go_on.wait(WAIT_S) and step(*arguments, **options)

        async def collect() -> list[Event]:
            last: list[Event] = []
            async for event in AnyToAny(executor).run([ask("Hello") for _ in range(4)]):
                may_go_on.set()  # the first to end is one that was refused
                last += [event] if isinstance(event, (Done, Failed)) else []
            return last

        ended = asyncio.run(asyncio.wait_for(collect(), WAIT_S))
    finally:
        del backbone.step
        executor.close()
    refused = [str(event.error) for event in ended if isinstance(event, Failed)]
    assert "stage 'backbone': 1 jobs are waiting, which is the limit; try again later" in refused
    assert any(isinstance(event, Done) for event in ended)
