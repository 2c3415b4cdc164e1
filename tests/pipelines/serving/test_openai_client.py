"""The official client against a running service, on both executors."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from anygpt.media import load_image, save_image, to_data_url
from anygpt.media.kinds import KINDS
from anygpt.messages import modality_of
from pipelines.cli.main import main
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.oracle import read_image, read_text
from pipelines.tiny.world.scenes import Scene

STAR = Scene("star", "red", "large", "left")
CIRCLE = Scene("circle", "blue", "small", "top left")
DRAW_CIRCLE = "Draw a small blue circle at the top left."


def pictured(scene: Scene, said: str) -> list[dict[str, Any]]:
    """A user's message with a picture and words."""
    url = to_data_url(render_image(scene, 3))
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": said}]
    return [{"role": "user", "content": parts}]


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def decoded(image: dict[str, Any]) -> bytes:
    """The PNG file of a reply's picture."""
    head, _, data = image["image_url"]["url"].partition(",")
    assert (image["type"], head) == ("image_url", "data:image/png;base64")
    return base64.b64decode(data)


def test_models_are_listed(service):
    (model,) = service.openai.models.list().data
    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "anygpt")
    assert service.openai.models.retrieve("tiny") == model
    with pytest.raises(openai.NotFoundError, match="'gpt-4' given, but this service has: tiny"):
        service.openai.models.retrieve("gpt-4")


def test_chat_draws(service):
    completion = service.openai.chat.completions.create(model="tiny", messages=said(DRAW_CIRCLE), seed=0)
    (choice,) = completion.choices
    assert choice.finish_reason == "stop"
    assert read_text(choice.message.content).matches(CIRCLE)
    (image,) = choice.message.images
    assert (image["index"], image["text_offset"]) == (1, len(choice.message.content))
    assert read_image(Image.open(io.BytesIO(decoded(image)))).matches(CIRCLE)
    usage = completion.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens > 4


def test_chat_takes_a_picture(service):
    completion = service.openai.chat.completions.create(model="tiny", messages=pictured(STAR, "What do you see?"))
    message = completion.choices[0].message
    assert read_text(message.content).matches(STAR)
    assert not hasattr(message, "images")


def test_chat_streams_the_same_reply(service):
    asked = {"model": "tiny", "messages": pictured(STAR, "Now make it green."), "seed": 5}
    whole = service.openai.chat.completions.create(**asked).choices[0].message
    chunks = list(service.openai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.total_tokens > 0
    deltas = [chunk.choices[0].delta for chunk in chunks[:-1]]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == whole.content
    assert len([delta for delta in deltas if delta.content]) > 3  # it does stream
    assert [image for delta in deltas for image in getattr(delta, "images", [])] == whole.images
    steps = [p for delta in deltas for p in getattr(delta, "progress", [])]
    assert [step["step"] for step in steps] == list(range(13))
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_chat_goes_on_over_turns_with_the_reply_given_back(service):
    first = service.openai.chat.completions.create(model="tiny", messages=said(DRAW_CIRCLE), seed=0).choices[0].message
    for given_back in (first.model_dump(), first.model_dump(exclude_none=True)):
        history = [*said(DRAW_CIRCLE), given_back, *said("Where is it?")]
        answer = service.openai.chat.completions.create(model="tiny", messages=history).choices[0].message
        assert read_text(answer.content).position == "top left"


def test_chat_modalities_forbid_and_force(service):
    create = service.openai.chat.completions.create
    text = create(model="tiny", messages=said(DRAW_CIRCLE), modalities=["text"]).choices[0].message
    assert text.content
    assert not hasattr(text, "images")
    image = create(model="tiny", messages=said("Hello"), modalities=["image"]).choices[0].message  # type: ignore[list-item]
    assert image.content is None
    assert len(image.images) == 1


def test_chat_options_rule_the_reply(service):
    create = service.openai.chat.completions.create
    short = create(model="tiny", messages=said("Hello"), max_tokens=3)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 3)
    stopped = create(model="tiny", messages=said("Hello"), stop=["draw"]).choices[0].message.content
    assert stopped == "I "
    extra = {"steps": 2, "guidance": 1.0, "size": "64x64"}
    drawn = create(model="tiny", messages=said(DRAW_CIRCLE), extra_body=extra, stream=True)
    steps = [p["steps"] for chunk in drawn for p in getattr(chunk.choices[0].delta, "progress", [])]
    assert steps == [None, 2, 2]


def test_images_are_made(service):
    made = service.openai.images.generate(
        model="tiny", prompt=DRAW_CIRCLE, n=2, size="64x64", response_format="b64_json", extra_body={"seed": 7}
    )
    pictures = [Image.open(io.BytesIO(base64.b64decode(item.b64_json))) for item in made.data]
    assert len(pictures) == 2
    assert all(read_image(picture).matches(CIRCLE) for picture in pictures)
    assert pictures[0].tobytes() != pictures[1].tobytes()


def test_errors_are_the_clients_own(service):
    create = service.openai.chat.completions.create
    with pytest.raises(openai.NotFoundError) as missing:
        create(model="gpt-4", messages=said("Hi"))
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="max_tokens: -1 given, expected at least 1"):
        create(model="tiny", messages=said("Hi"), max_tokens=-1)
    with pytest.raises(openai.UnprocessableEntityError, match="temperature: 'hot' given, but input should be"):
        create(model="tiny", messages=said("Hi"), temperature="hot")  # type: ignore[arg-type]
    with pytest.raises(openai.AuthenticationError, match="no valid key given"):
        openai.OpenAI(base_url=f"{service.url}/v1", api_key="guess", max_retries=0).models.list()


def given_over_http(service: Any, picture: Image.Image, asked: str, **options: Any) -> list[Any]:
    """A service's reply: its text, and the files of its media in order."""
    url = {"type": "image_url", "image_url": {"url": to_data_url(picture)}}
    messages = [{"role": "user", "content": [url, {"type": "text", "text": asked}]}]
    message = service.openai.chat.completions.create(model="tiny", messages=messages, **options).choices[0].message
    images = [decoded(image) for image in getattr(message, "images", [])]
    audio = [base64.b64decode(message.audio.data)] if message.audio else []
    videos = [base64.b64decode(v["video_url"]["url"].partition(",")[2]) for v in getattr(message, "videos", [])]
    return [message.content, *images, *audio, *videos]


def given_on_the_command_line(picture: Image.Image, asked: str, folder: Path, **options: Any) -> list[Any]:
    """The same of `anygpt generate`."""
    save_image(picture, folder / "asked.png")
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = ["anygpt", "generate", asked, "--image", str(folder / "asked.png"), "--json", "--out", str(folder)]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(said):
        patched.setattr(sys, "argv", [*command, *flags])
        with pytest.raises(SystemExit):
            main()
    reply = json.loads(said.getvalue())
    return [reply["text"], *(Path(medium["path"]).read_bytes() for medium in reply["media"])]


@pytest.mark.parametrize(
    ("asked", "temperature"),
    [("Now make it green.", 0.0), ("Now make it green.", 1.0), ("Play it.", 0.0), ("Film it.", 0.0)],
)
def test_the_same_seed_gives_the_same_reply_in_every_use(
    tiny, local_service, ray_service, tmp_path, asked, temperature
):
    """Python, HTTP on both executors, the command line: text and the files' bytes, greedy and sampled."""
    picture, options = render_image(STAR, 3), {"seed": 11, "temperature": temperature}
    reply = tiny.chat([picture, asked], **options)
    text, medium = reply.parts
    expected = [text, KINDS[modality_of(medium)].encode(medium)]
    assert given_over_http(local_service, picture, asked, **options) == expected
    assert given_over_http(ray_service, picture, asked, **options) == expected
    assert given_on_the_command_line(picture, asked, tmp_path, **options) == expected


def test_a_pictures_data_url_loses_nothing():
    picture = render_image(STAR, 3)
    assert load_image(to_data_url(picture)).tobytes() == picture.tobytes()
