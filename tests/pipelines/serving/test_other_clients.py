"""LangChain and LiteLLM against a running service, each in a program of its own, as a user would have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from anygpt.media import to_data_url
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.oracle import read_text
from pipelines.tiny.world.scenes import Scene
from tests.pipelines.serving.conftest import KEY, Running

STAR = Scene("star", "red", "large", "left")
DRAW_CIRCLE = "Draw a small blue circle at the top left."

LANGCHAIN = """
import json, sys
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI

url, key, picture, request = sys.argv[1:]
model = ChatOpenAI(model="tiny", base_url=url, api_key=key, max_retries=0)
seen = model.invoke([HumanMessage([
    {"type": "text", "text": "What do you see?"}, {"type": "image_url", "image_url": {"url": picture}},
])])
drawn = model.invoke([HumanMessage(request)])
place = model.invoke([HumanMessage(request), drawn, HumanMessage("Where is it?")])
streamed = "".join(chunk.content for chunk in model.stream([HumanMessage("Hello")]))
refusal = ""
try:
    model.bind_tools([{"type": "function", "function": {"name": "f", "parameters": {}}}]).invoke("Hello")
except Exception as error:
    refusal = str(error)
print(json.dumps({"seen": seen.content, "drawn": drawn.content, "place": place.content, "streamed": streamed,
                  "refusal": refusal}))
"""

LITELLM = """
import json, sys
import litellm

url, key, picture, request = sys.argv[1:]
litellm.suppress_debug_info = True

def ask(messages, **options):
    return litellm.completion(model="openai/tiny", api_base=url, api_key=key, messages=messages, **options)

def content(answer):
    return answer.choices[0].message.content

user = {"role": "user", "content": request}
seen = content(ask([{"role": "user", "content": [
    {"type": "text", "text": "What do you see?"}, {"type": "image_url", "image_url": {"url": picture}},
]}]))
reply = ask([user])
place = content(ask([user, reply.choices[0].message.model_dump(), {"role": "user", "content": "Where is it?"}]))
chunks = ask([{"role": "user", "content": "Hello"}], stream=True, stream_options={"include_usage": True})
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
refusal = ""
try:
    ask([user], tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
except litellm.BadRequestError as error:
    refusal = str(error)
print(json.dumps({"seen": seen, "drawn": content(reply), "place": place, "streamed": streamed, "refusal": refusal}))
"""


def run(script: str, service: Running) -> dict[str, Any]:
    """What the script prints; it gets the service, a picture and a request."""
    arguments = [f"{service.url}/v1", KEY, to_data_url(render_image(STAR, 3)), DRAW_CIRCLE]
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGCHAIN_TRACING_V2": "false", "NO_PROXY": "*"}
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **offline},
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def check(told: dict[str, Any]) -> None:
    assert read_text(told["seen"]).matches(STAR)
    words, _, picture = told["drawn"].partition("![picture](")
    assert read_text(words).position == "top left"
    assert picture.startswith("data:image/png;base64,")
    assert read_text(told["place"]).position == "top left"
    assert told["streamed"]
    assert "tools: " in told["refusal"]
    assert "this service has no tools" in told["refusal"]


def test_langchain(open_service):
    check(run(LANGCHAIN, open_service))


def test_litellm(open_service):
    check(run(LITELLM, open_service))
