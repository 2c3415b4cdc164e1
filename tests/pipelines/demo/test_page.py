"""The page in a real browser, over the untrained stack, and over a backend that plays a script."""

from __future__ import annotations

import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anygpt.config.schema import ServiceLimits
from anygpt.errors import MissingExtraError, RequestError
from anygpt.media import encode_png
from pipelines.assistant import AnyGPT
from pipelines.demo.backends import LocalBackend
from pipelines.demo.page import serve_page
from tests.pipelines.demo.scripted_backend import ScriptedBackend
from tests.pipelines.demo.visitor import WAIT_MS, Visitor

MANY_STEPS = 200


@pytest.fixture(scope="module")
def address(model: AnyGPT, free_port: Callable[[], int]) -> Iterator[str]:
    with serve_page(LocalBackend(model), port=free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def scripted_page(free_port: Callable[[], int]) -> Iterator[tuple[str, ScriptedBackend]]:
    backend = ScriptedBackend()
    with serve_page(backend, port=free_port()) as url:
        yield url, backend


@pytest.fixture
def scripted(browser: Any, scripted_page: tuple[str, ScriptedBackend]) -> Iterator[tuple[Visitor, ScriptedBackend]]:
    url, backend = scripted_page
    for remembered in (backend.conversations, backend.options, backend.cancelled):
        remembered.clear()
    visitor = Visitor(browser, url)
    yield visitor, backend
    visitor.context.close()


@pytest.fixture
def picture_file(tmp_path: Path, picture: Image.Image) -> Path:
    path = tmp_path / "star.png"
    path.write_bytes(encode_png(picture))
    return path


def test_a_request_brings_the_picture_of_the_same_seed(visitor, model):
    visitor.allow("image")
    visitor.set("Seed", "7")
    visitor.say("Draw it.")
    visitor.wait_until_idle(1)
    expected = model.chat("Draw it.", seed=7, modalities=["image"])
    assert visitor.pictures("bot") == [encode_png(expected.images[0])]
    assert visitor.texts("user") == ["Draw it."]


def test_an_attached_picture_brings_text_and_the_conversation_goes_on(visitor, model, picture, picture_file):
    visitor.allow("text")
    visitor.attach(picture_file)
    visitor.wait_for_attachment()
    visitor.say("What is this?")
    visitor.wait_until_idle(1)
    first = model.chat([picture, "What is this?"], modalities=["text"])
    visitor.say("And <b>now</b>  & *then*?")
    visitor.wait_until_idle(2)
    second = model.chat("And <b>now</b>  & *then*?", history=first.conversation, modalities=["text"])
    assert visitor.texts("bot") == [first.text, second.text]
    assert visitor.texts("user")[-1] == "And <b>now</b>  & *then*?"
    assert visitor.pictures("user") == [encode_png(picture)]


def test_stop_ends_a_reply_and_the_next_one_comes(visitor):
    visitor.allow("image")
    visitor.set("Steps", str(MANY_STEPS))
    visitor.say("Draw it.")
    visitor.wait_for_text(f"of {MANY_STEPS}")
    visitor.press("Stop")
    visitor.wait_for_text("picture 1: stopped")
    visitor.set("Steps", "1")
    visitor.say("Again.")
    visitor.wait_until_idle(2)
    assert len(visitor.pictures("bot")) == 1


def test_retry_answers_again_with_the_settings_of_now_and_clear_empties(visitor, model):
    visitor.allow("image")
    visitor.say("Draw it.")
    visitor.wait_until_idle(1)
    visitor.set("Seed", "3")
    before = visitor.page.locator(".bot-row img").get_attribute("src")
    visitor.press("Retry")
    visitor.page.wait_for_function(f"() => !document.querySelector('.bot-row img[src=\"{before}\"]')")
    visitor.wait_until_idle(1)
    visitor.page.locator(".bot-row img").wait_for()
    assert visitor.pictures("bot") == [encode_png(model.chat("Draw it.", seed=3, modalities=["image"]).images[0])]
    visitor.press("Clear")
    visitor.page.locator(".bot-row").first.wait_for(state="detached")
    assert visitor.texts("user") == []


def test_two_people_stay_apart(meet, model):
    one, other = meet(), meet()
    for person, text in ((one, "Hello"), (other, "Draw it.")):
        person.allow("text")
        person.say(text)
    for person, text in ((one, "Hello"), (other, "Draw it.")):
        person.wait_until_idle(1)
        assert person.texts("user") == [text]
        assert person.texts("bot") == [model.chat(text, modalities=["text"]).text]


def test_without_a_seed_every_reply_and_retry_draws_one_and_shows_it(scripted):
    visitor, backend = scripted
    for replies, text in enumerate(("One", "Two"), 1):
        visitor.say(text)
        visitor.wait_until_idle(replies)
        visitor.page.locator(".bot-row small").nth(replies - 1).wait_for()
    seeds = visitor.seeds()
    visitor.press("Retry")
    visitor.page.locator(".bot-row small").get_by_text(str(seeds[1])).wait_for(state="detached")
    visitor.page.locator(".bot-row small").nth(1).wait_for()
    assert visitor.seeds()[0] == seeds[0]
    assert len({*seeds, *visitor.seeds()}) == 3
    assert all("seed" not in options for options in backend.options)


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_a_seed_that_is_typed_is_used_as_it_is(scripted, seed):
    visitor, backend = scripted
    visitor.set("Seed", str(seed))
    visitor.say("Draw")
    visitor.wait_until_idle(1)
    visitor.page.locator(".bot-row small").wait_for()
    assert visitor.seeds() == [seed]
    assert [options["seed"] for options in backend.options] == [seed]


def test_newlines_tabs_quotes_and_emoji_arrive_as_they_were_typed(scripted):
    visitor, backend = scripted
    box = visitor.page.get_by_placeholder("Message")
    typed = "\tDraw “it” – ‘now’,\nplease…  🎨👩‍🚀 é\u0301 ‏שלום <b>&amp;</b>\n"
    box.click()
    for at, line in enumerate(typed.split("\n")):
        if at:
            visitor.page.keyboard.press("Shift+Enter")
        visitor.page.keyboard.insert_text(line)
    visitor.page.keyboard.press("Enter")
    visitor.wait_until_idle(1)
    assert [message.text for message in backend.conversations[-1]] == [typed]
    assert visitor.texts("user") == [typed]


def test_a_broken_file_is_named_and_the_chat_goes_on(visitor, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(encode_png(Image.new("RGB", (64, 64)))[:60])
    visitor.allow("text")
    visitor.attach(broken)
    visitor.wait_for_attachment()
    visitor.say("What is this?")
    visitor.wait_for_text("⚠ image 'broken.png': ")
    assert visitor.page.get_by_placeholder("Message").input_value() == "What is this?"
    visitor.say("Hello")
    visitor.wait_until_idle(2)
    assert visitor.texts("user") == ["Hello"]


def test_only_what_the_stack_makes_may_be_allowed_and_set(visitor):
    assert visitor.allowed() == ["text", "image"]
    labels = ("Steps", "Guidance", "Frames", "Seconds")
    assert [visitor.page.get_by_label(label, exact=True).count() for label in labels] == [1, 1, 0, 0]
    assert visitor.page.get_by_label("Record audio").count() == 0


def test_impossible_settings_are_refused_in_the_chat(visitor):
    visitor.allow()
    visitor.say("Hello")
    visitor.wait_for_text("⚠ modalities: nothing given, expected some of text")
    visitor.allow("text")
    visitor.set("Seed", "-1")
    visitor.say("Hello")
    visitor.wait_for_text("⚠ seed: -1 given, expected a whole number from 0")


def test_a_lost_picture_costs_its_own_place(scripted):
    visitor, _ = scripted
    visitor.say("Draw")
    visitor.wait_until_idle(1)
    assert visitor.texts("bot") == ["Here:", "⚠ picture 1 is lost: generators.image: out of memory", "Sorry."]


def wait_until_cancelled(visitor, backend):
    """The backend hears of it a moment after the page has shown it."""
    give_up_at = time.monotonic() + WAIT_MS / 1000
    while not backend.cancelled and time.monotonic() < give_up_at:
        visitor.page.wait_for_timeout(50)


def test_stop_cancels_at_once_and_what_was_written_stays_in_the_conversation(scripted):
    visitor, backend = scripted
    visitor.say("wait")
    visitor.wait_for_text("picture 1: step 3 of 12")
    visitor.press("Stop")
    visitor.wait_for_text("picture 1: stopped")
    wait_until_cancelled(visitor, backend)
    assert backend.cancelled == ["wait"]
    assert visitor.texts("bot") == ["Here:", "picture 1: stopped", "stopped"]
    visitor.say("And?")
    visitor.wait_until_idle(2)
    assert [message.text for message in backend.conversations[-1]] == ["wait", "Here:", "And?"]


def test_leaving_the_page_cancels_the_reply_at_its_next_step(scripted):
    visitor, backend = scripted
    visitor.say("slow")
    visitor.wait_for_text("picture 1: step 3 of 12")
    visitor.page.goto("about:blank")
    wait_until_cancelled(visitor, backend)
    assert backend.cancelled == ["slow"]


def test_a_mistake_of_ours_is_shown_and_the_chat_goes_on(scripted):
    visitor, backend = scripted
    visitor.say("fail")
    visitor.wait_for_text("⚠ ValueError: a mistake (a bug)")
    visitor.say("Draw")
    visitor.wait_until_idle(2)
    assert [message.text for message in backend.conversations[-1]] == ["Draw"]


def test_a_file_over_the_limit_is_refused_and_the_chat_goes_on(scripted, tmp_path):
    visitor, _ = scripted
    large = tmp_path / "large.png"
    large.write_bytes(bytes(3000))
    visitor.attach(large)
    visitor.page.get_by_text("exceed").first.wait_for()
    visitor.say("Draw")
    visitor.wait_until_idle(1)
    assert visitor.texts("bot")[-1] == "Sorry."


def test_a_file_of_another_kind_is_refused_in_one_line_and_the_chat_goes_on(scripted, tmp_path):
    visitor, _ = scripted
    page = tmp_path / "page.png"
    page.write_bytes(b"<html><script>")
    visitor.attach(page)
    notice = visitor.wait_for_notice("page.png")
    assert notice.endswith("'page.png': not stored, not a picture but a web page; send a picture")
    visitor.say("Draw")
    visitor.wait_until_idle(1)
    assert visitor.texts("bot")[-1] == "Sorry."


def test_files_over_the_limit_of_a_person_are_refused_in_one_line_until_clear_is_pressed(
    browser, free_port, tmp_path, picture
):
    backend = ScriptedBackend()
    backend.service = ServiceLimits(max_upload_bytes_per_person=3 * len(encode_png(picture)) // 2)
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file in files:
        file.write_bytes(encode_png(picture))
    with serve_page(backend, port=free_port()) as url:
        visitor = Visitor(browser, url)
        visitor.attach(files[0])
        visitor.wait_for_attachment()
        visitor.say("Draw")
        visitor.wait_until_idle(1)
        visitor.attach(files[1])
        notice = visitor.wait_for_notice("1.png")
        assert "'1.png': not stored, your files would be more than service.max_upload_bytes_per_person=" in notice
        assert notice.endswith(" bytes; press Clear to remove those of the conversation")
        visitor.press("Clear")
        visitor.page.locator(".bot-row").first.wait_for(state="detached")
        visitor.attach(files[2])
        visitor.wait_for_attachment()
        visitor.context.close()


def test_an_example_fills_the_box(visitor):
    visitor.page.get_by_text("Paint a large green triangle.").click()
    visitor.page.wait_for_function("() => document.querySelector('textarea').value == 'Paint a large green triangle.'")


def test_nothing_is_fetched_from_elsewhere(visitor, address):
    visitor.allow("text")
    visitor.say("Hello")
    visitor.wait_until_idle(1)
    assert [url for url in visitor.requests if not url.startswith((address, "data:", "blob:"))] == []


def test_only_the_pages_own_files_are_served(address):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{address}gradio_api/file={Path(__file__).resolve()}", timeout=10)
    assert caught.value.code == 403
    caught.value.close()


def test_a_taken_port_is_refused(address, model):
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(RequestError, match=f"--port: 127.0.0.1:{port} cannot be listened on .*; give another port"):
        serve_page(LocalBackend(model), port=port).__enter__()


def test_a_page_leaves_nothing_behind(free_port):
    threads, environment = set(threading.enumerate()), dict(os.environ)
    with serve_page(ScriptedBackend(), port=free_port()):
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert list(folder.rglob("*.png"))
        assert set(threading.enumerate()) > threads
    assert not folder.exists()
    assert set(threading.enumerate()) <= threads
    assert dict(os.environ) == environment


def test_closing_the_page_cancels_a_reply_at_once(browser, free_port, capfd):
    threads, backend = set(threading.enumerate()), ScriptedBackend()
    with serve_page(backend, port=free_port()) as url:
        visitor = Visitor(browser, url)
        visitor.say("wait")
        visitor.wait_for_text("picture 1: step 3 of 12")
    assert backend.cancelled == ["wait"]
    assert set(threading.enumerate()) <= threads
    assert "Traceback" not in capfd.readouterr().err
    visitor.context.close()


def test_a_stack_of_text_alone_has_a_page(free_port):
    backend = ScriptedBackend()
    backend.input_modalities = backend.output_modalities = ()
    with serve_page(backend, port=free_port()) as url, urllib.request.urlopen(url, timeout=60) as page:
        assert page.status == 200


def test_without_gradio_the_extra_is_named(monkeypatch, free_port):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingExtraError, match=r"the page needs gradio: pip install 'anygpt\[demo\]'"):
        serve_page(ScriptedBackend(), port=free_port()).__enter__()
