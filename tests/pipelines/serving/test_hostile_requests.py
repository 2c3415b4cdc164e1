"""Hostile bodies and files over HTTP, generated: each is answered in one line, none costs the service anything."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import psutil
from hypothesis import given

from tests.pipelines.hostile_inputs import MAX_GROWTH_BYTES, MAX_SECONDS, damaged_files, hostile, odd_bodies
from tests.pipelines.serving.conftest import Running

CHAT = "/v1/chat/completions"
STATUSES = {200, 400, 404, 413, 422}


def check(service: Running, body: Any) -> None:
    before, started = psutil.Process().memory_info().rss, time.monotonic()
    with service.http as http:
        answer = http.post(CHAT, content=json.dumps(body), headers={"content-type": "application/json"})
    assert time.monotonic() - started < MAX_SECONDS
    assert psutil.Process().memory_info().rss - before < MAX_GROWTH_BYTES
    assert answer.status_code in STATUSES, answer.text[:500]
    if answer.status_code != 200:
        message = answer.json()["error"]["message"]
        assert message
        assert "\n" not in message
        assert len(message) < 1000


@hostile(120)
@given(odd_bodies())
def test_odd_bodies_are_answered_in_one_line(local_service, body):
    check(local_service, body)


@hostile(120)
@given(damaged_files())
def test_damaged_files_are_answered_in_one_line(local_service, file):
    modality, _, data = file
    kind = {"image": "image_url", "audio": "audio_url", "video": "video_url", "points": "points_url"}[modality]
    mime = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4", "points": "model/ply"}[modality]
    part = {"type": kind, kind: {"url": f"data:{mime};base64,{base64.b64encode(data).decode()}"}}
    content = [part, {"type": "text", "text": "What is it?"}]
    check(local_service, {"model": "tiny", "messages": [{"role": "user", "content": content}], "max_tokens": 1})
