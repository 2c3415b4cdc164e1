"""What clients send by habit: taken where it asks for nothing, named where unknown, refused where it is not there."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import httpx
import pytest
from PIL import Image

from anygpt.config.schema import ServiceLimits
from anygpt.errors import ConfigError
from anygpt.media import encode_wav, to_data_url
from pipelines.serving.app import create_app
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.oracle import read_image, read_text
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene
from tests.pipelines.serving.conftest import Running, reconfigured, running

CHAT, IMAGES = "/v1/chat/completions", "/v1/images/generations"
SAID = {"role": "user", "content": "Hello"}
ANSWERED = {"role": "assistant", "content": "Hi"}
CIRCLE = "Draw a small blue circle at the top left."


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": list(messages) or [SAID], "max_tokens": 2, **fields}


IDLE = [
    {"tools": None},
    {"tools": []},
    {"tool_choice": "none"},
    {"tool_choice": "auto", "tools": None, "parallel_tool_calls": True},
    {"functions": [], "function_call": None},
    {"logit_bias": {}},
    {"logit_bias": None, "logprobs": False, "top_logprobs": 0},
    {"top_logprobs": None, "logprobs": None, "n": None},
    {"n": 1, "frequency_penalty": 0.0, "presence_penalty": 0, "repetition_penalty": 1.0},
    {"reasoning_effort": None, "verbosity": "medium", "service_tier": "auto"},
    {"response_format": {"type": "text"}},
    {"prompt_cache_key": "k", "safety_identifier": "u", "user": "x", "store": False, "metadata": {}},
    {"stop": None},
    {"stop": [], "modalities": []},
    {"stop": "", "size": ""},
    {"stream_options": None, "seed": None, "temperature": None, "top_p": None, "max_completion_tokens": 2},
    {"messages": [SAID, {**ANSWERED, "tool_calls": [], "function_call": None, "refusal": None}, SAID]},
    {"messages": [SAID, {**ANSWERED, "reasoning_content": None, "annotations": [], "audio": None}, SAID]},
    {"messages": [SAID, {"role": "assistant", "content": None, "refusal": "No."}, SAID]},
    {"messages": [{"role": "user", "name": "Ann", "content": [{"type": "text", "text": "Hello"}]}]},
]


@pytest.mark.parametrize("fields", IDLE, ids=range(len(IDLE)))
def test_what_asks_for_nothing_is_taken(local_service, fields):
    with local_service.http as http:
        answer = http.post(CHAT, json={**chat(), **fields})
    assert answer.status_code == 200, answer.text
    assert "x-anygpt-ignored" not in answer.headers


ASKING = [
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "has no tools"),
    ({"tool_choice": "required"}, "tool_choice", "has no tools"),
    ({"messages": [SAID, {**ANSWERED, "tool_calls": [{"id": "1"}]}, SAID]}, "messages.1.tool_calls", "has no tools"),
    ({"messages": [SAID, {"role": "function", "name": "f", "content": "1"}, SAID]}, "messages.1.role", "has no tools"),
    ({"logit_bias": {"5": 1}}, "logit_bias", "no bias on tokens"),
    ({"logprobs": True}, "logprobs", "no log probabilities"),
    ({"frequency_penalty": 0.5}, "frequency_penalty", "no penalties"),
    ({"response_format": {"type": "json_object"}}, "response_format", "no replies in a fixed form"),
    ({"web_search_options": {}}, "web_search_options", "no web search"),
    ({"reasoning_effort": "high"}, "reasoning_effort", "no reasoning"),
]


@pytest.mark.parametrize(("fields", "param", "reason"), ASKING, ids=[param for _, param, _ in ASKING])
def test_what_asks_for_something_that_is_not_there_is_refused_by_name(local_service, fields, param, reason):
    with local_service.http as http:
        answer = http.post(CHAT, json={**chat(), **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert error["message"].startswith(f"{param}: ")
    assert reason in error["message"]


def test_unknown_fields_are_ignored_and_named(local_service):
    parts = [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]
    body = chat({"role": "user", "content": parts}, min_p=0.1, chat_id="é", nothing=None)
    with local_service.http as http:
        whole, streamed = http.post(CHAT, json=body), http.post(CHAT, json={**body, "stream": True})
    for answer in (whole, streamed):
        assert answer.status_code == 200
        assert sorted(answer.headers["x-anygpt-ignored"].split(", ")) == [
            "chat_id",
            "messages.0.content.0.cache_control",
            "min_p",
        ]


def test_strict_refuses_unknown_fields(tiny):
    with running(reconfigured(tiny, strict=True)) as service, service.http as http:
        refused = http.post(CHAT, json=chat(min_p=0.1))
        taken = http.post(CHAT, json=chat(tools=[], unknown=None))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "min_p")
    assert "min_p: given, which this service does not know; leave it out" in refused.text
    assert taken.status_code == 200


@pytest.mark.parametrize("fields", [{"quality": "auto", "background": "auto"}, {"style": None, "moderation": "low"}])
def test_images_take_what_asks_for_nothing(local_service, fields):
    with local_service.http as http:
        answer = http.post(IMAGES, json={"prompt": CIRCLE, "steps": 1, "output_format": "png", **fields})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"quality": "hd"}, "quality"), ({"background": "transparent"}, "background"), ({"stream": True}, "stream")],
)
def test_images_refuse_what_is_not_there(local_service, fields, param):
    with local_service.http as http:
        answer = http.post(IMAGES, json={"prompt": CIRCLE, **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("prompt", ["a photo of an astronaut riding a horse", "the Eiffel tower at night", "a dog"])
def test_images_say_what_cannot_be_drawn(local_service, prompt):
    with local_service.http as http:
        answer = http.post(IMAGES, json={"prompt": prompt})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "no_picture", "prompt")
    assert "prompt: no picture was made of it; the model says: That is outside my small world." in error["message"]


@pytest.mark.parametrize("prompt", ["a red circle", "Please draw a red circle!", "large red circle"])
def test_images_are_drawn_of_captions_and_requests(local_service, prompt):
    with local_service.http as http:
        answer = http.post(IMAGES, json={"prompt": prompt, "seed": 1})
    (made,) = answer.json()["data"]
    picture = Image.open(io.BytesIO(base64.b64decode(made["b64_json"])))
    assert read_image(picture).matches(Scene("circle", "red", "large", "center"))


def test_replies_without_a_seed_differ_and_say_which_seed_gives_them_again(local_service):
    drawing = {"messages": [{"role": "user", "content": CIRCLE}], "model": "tiny", "steps": 2}
    with local_service.http as http:
        first, second = (http.post(CHAT, json=drawing).json() for _ in range(2))
        again = http.post(CHAT, json={**drawing, "seed": first["seed"]}).json()
        zero = [http.post(CHAT, json={**drawing, "seed": 0}).json() for _ in range(2)]
        made = [http.post(IMAGES, json={"prompt": CIRCLE, "steps": 2}).json()["data"][0] for _ in range(2)]
        remade = http.post(IMAGES, json={"prompt": CIRCLE, "steps": 2, "seed": made[0]["seed"]}).json()["data"][0]
        streamed = http.post(CHAT, json={**drawing, "stream": True}).text
    pictures = [reply["choices"][0]["message"]["images"] for reply in (first, second, again)]
    assert pictures[0] != pictures[1]
    assert pictures[0] == pictures[2]
    assert [reply["seed"] for reply in zero] == [0, 0]
    assert zero[0]["choices"] == zero[1]["choices"]
    assert made[0]["b64_json"] != made[1]["b64_json"]
    assert remade == made[0]
    assert '"seed": ' in streamed


def test_sampled_text_without_a_seed_differs(local_service):
    with local_service.http as http:
        body = chat(temperature=2, max_tokens=20, modalities=["text"])
        texts = {http.post(CHAT, json=body).json()["choices"][0]["message"]["content"] for _ in range(3)}
    assert len(texts) == 3


def preflight(service: Running, origin: str) -> httpx.Response:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    return httpx.options(f"{service.url}{CHAT}", headers={"Origin": origin, **asked})


def test_pages_of_allowed_origins_may_ask(open_service):
    origin = {"Origin": "https://chat.example.org"}
    answer = preflight(open_service, origin["Origin"])
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin["Origin"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    with open_service.http as http:
        whole = http.post(CHAT, json=chat(), headers=origin)
        streamed = http.post(CHAT, json=chat(stream=True), headers=origin)
        refused = http.post(CHAT, json={}, headers=origin)
        foreign = http.post(CHAT, json=chat(), headers={"Origin": "https://evil.example"})
    for marked in (whole, streamed, refused):
        assert marked.headers["access-control-allow-origin"] == origin["Origin"]
    assert refused.status_code == 422
    assert "access-control-allow-origin" not in foreign.headers


def test_pages_of_other_origins_may_not_ask(open_service, local_service):
    assert "access-control-allow-origin" not in preflight(open_service, "https://evil.example").headers
    answer = preflight(local_service, "https://chat.example.org")
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "set service.allowed_origins" in answer.text


def test_an_alias_stands_for_the_model(open_service):
    with open_service.http as http:
        answer, unknown = http.post(CHAT, json={**chat(), "model": "gpt-4o"}), http.post(CHAT, json=chat(model="gpt-4"))
        listed = http.get("/v1/models/gpt-4o")
    assert (answer.status_code, answer.json()["model"]) == (200, "tiny")
    assert listed.json()["id"] == "tiny"
    assert unknown.status_code == 404


def test_metrics_may_need_the_key(open_service, local_service):
    assert httpx.get(f"{open_service.url}/metrics").status_code == 401
    with open_service.http as http:
        assert http.get("/metrics").status_code == 200
    assert httpx.get(f"{local_service.url}/metrics").status_code == 200


def test_pictures_come_as_markdown_and_go_back_as_pictures(open_service):
    """A client that knows text alone keeps only `content`, and gives that back."""
    asked = {"role": "user", "content": CIRCLE}
    with open_service.http as http:
        content = http.post(CHAT, json={"model": "tiny", "messages": [asked], "seed": 0}).json()["choices"][0][
            "message"
        ]["content"]
        words, _, url = content.rstrip(")").partition("\n\n![picture](")
        assert read_text(words).position == "top left"
        picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        assert read_image(picture).matches(Scene("circle", "blue", "small", "top left"))
        history = [asked, {"role": "assistant", "content": content}, {"role": "user", "content": "Where is it?"}]
        answer = http.post(CHAT, json={"model": "tiny", "messages": history})
    assert answer.status_code == 200, answer.text[:300]
    assert read_text(answer.json()["choices"][0]["message"]["content"]).position == "top left"


def test_markdown_is_streamed_and_can_be_left_out_by_a_request(open_service):
    body = {"model": "tiny", "messages": [{"role": "user", "content": CIRCLE}], "seed": 0, "steps": 2}
    with open_service.http as http:
        streamed = http.post(CHAT, json={**body, "stream": True}).text
        plain = http.post(CHAT, json={**body, "markdown_media": False}).json()["choices"][0]["message"]
    assert "![picture](data:image/png;base64," in streamed
    assert "![picture]" not in plain["content"]
    assert plain["images"]


# The body that Open WebUI 0.6 sends for a chat with a picture, and for the title of a chat.
OPEN_WEBUI = [
    {
        "stream": True,
        "model": "tiny",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": to_data_url(render_image(Scene("star", "red"), 1))}},
                ],
            }
        ],
        "stream_options": {"include_usage": True},
    },
    {
        "model": "tiny",
        "messages": [{"role": "user", "content": "### Task:\nGenerate a concise, 3-5 word title with an emoji."}],
        "stream": False,
        "max_completion_tokens": 1000,
    },
]


@pytest.mark.parametrize("body", OPEN_WEBUI, ids=["chat", "title"])
def test_bodies_of_open_webui_are_taken(open_service, body):
    with open_service.http as http:
        answer = http.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    assert ("data: [DONE]" in answer.text) == body["stream"]


@pytest.mark.parametrize(
    "text", ["Draw a\nblue star", "Draw\ta blue star", "“Draw a blue star”", "Draw a blue star 🙂"]
)
def test_line_breaks_tabs_quotes_and_emoji_are_text(local_service, text):
    with local_service.http as http:
        answer = http.post(CHAT, json=chat({"role": "user", "content": text}, seed=0, max_tokens=None))
    message = answer.json()["choices"][0]["message"]
    assert "blue star" in message["content"]
    (made,) = message["images"]
    picture = Image.open(io.BytesIO(base64.b64decode(made["image_url"]["url"].partition(",")[2])))
    assert read_image(picture).matches(Scene("star", "blue", "large", "center"))


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/docs", 200), ("/health", 200), ("/ready", 200)])
def test_head_works_where_get_does(local_service, path, status):
    got, headed = httpx.get(local_service.url + path), httpx.head(local_service.url + path)
    assert (got.status_code, headed.status_code, headed.content) == (status, status, b"")


def test_the_root_points_to_the_docs_and_the_docs_need_no_other_server(local_service):
    assert httpx.get(f"{local_service.url}/").json()["docs"] == "/docs"
    page = httpx.get(f"{local_service.url}/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/v1/chat/completions" in page.text
    assert "src=" not in page.text
    assert "<link" not in page.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"allowed_origins": ["chat.example.org"]},
            "allowed_origins: 'chat.example.org' given, expected one like https",
        ),
        ({"allowed_hosts": ["https://a.org"]}, "allowed_hosts: 'https://a.org' given, expected one like media"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ServiceLimits(**settings)


def test_an_alias_of_another_model_is_refused(tiny):
    with pytest.raises(
        ConfigError, match=r"service\.model_aliases\.gpt-4: 'big' given, expected the stack's name: tiny"
    ):
        replace(tiny.config, service=ServiceLimits(model_aliases={"gpt-4": "big"}))


def test_a_key_for_metrics_needs_a_key(tiny):
    model = reconfigured(tiny, metrics_key=True)
    with pytest.raises(ConfigError, match=r"service\.metrics_key: true given without an API key"):
        create_app(model.pipeline, model.config)


@pytest.mark.parametrize("given", ["mp3", "mpeg", "mp4", "x-wav", "anything"])
def test_the_content_of_a_sound_says_what_it_is(local_service, given):
    """Clients name the format by the file's name, or by its media type."""
    sound = base64.b64encode(encode_wav(render(Scene("star", "red").in_modality("audio"), "audio", 0))).decode()
    part = {"type": "input_audio", "input_audio": {"data": sound, "format": given}}
    with local_service.http as http:
        answer = http.post(
            CHAT, json=chat({"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]})
        )
    assert answer.status_code == 200, answer.text
