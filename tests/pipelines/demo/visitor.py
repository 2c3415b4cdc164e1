"""A person at the page, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WAIT_MS = 120_000
# Ends when the element has been playing; fails if it cannot.
PLAY = """async (media) => {
    media.muted = true
    await media.play()
    while (!media.ended && media.currentTime == 0) await new Promise((done) => setTimeout(done, 20))
}"""
FETCH = "async (media) => [...new Uint8Array(await (await fetch(media.src)).arrayBuffer())]"


class Visitor:
    """One person at the page, in a browser context of their own."""

    def __init__(self, browser: Any, address: str) -> None:
        self.context = browser.new_context()
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.get_by_placeholder("Message").wait_for()

    def allow(self, *modalities: str) -> None:
        for name in self.allowed():
            self.page.get_by_label(name, exact=True).set_checked(name in modalities)

    def allowed(self) -> list[str]:
        """The media that may be allowed, in order."""
        return [label.strip() for label in self.page.locator("fieldset label").all_text_contents()]

    def set(self, name: str, value: str) -> None:
        self.page.get_by_label(name, exact=True).fill(value)

    def attach(self, *files: Path) -> None:
        self.page.get_by_test_id("file-upload").set_input_files([str(file) for file in files])

    def wait_for_attachment(self, files: int = 1) -> None:
        self.page.locator(".thumbnails .thumbnail-item").nth(files - 1).wait_for()

    def say(self, text: str) -> None:
        self.page.get_by_placeholder("Message").fill(text)
        self.page.keyboard.press("Enter")

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).last.click()

    def wait_until_idle(self, replies: int) -> None:
        """Wait for as many replies, and for the last one's end."""
        self.page.locator(".bot-row").nth(replies - 1).wait_for()
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('button')].some(b => b.textContent.trim() == 'Retry' && !b.disabled)"
        )

    def wait_for_text(self, text: str) -> None:
        self.page.locator(".bot-row").get_by_text(text).last.wait_for()

    def texts(self, role: str) -> list[str]:
        """The texts of a role, to the character, without the small print."""
        return [text.text_content() for text in self.page.locator(f".{role}-row .md:not(:has(small))").all()]

    def seeds(self) -> list[int]:
        """The seeds that stand under the replies."""
        return [int(text.removeprefix("seed ")) for text in self.page.locator(".bot-row small").all_text_contents()]

    def wait_for_notice(self, text: str) -> str:
        """Wait for a notice in the corner of the page that holds the text; returns all of it."""
        notice = self.page.locator(".toast-body").get_by_text(text).last
        notice.wait_for()
        return str(notice.text_content()).strip()

    def pictures(self, role: str) -> list[bytes]:
        """The files of the pictures in a role's bubbles."""
        return [self.file(image) for image in self.page.locator(f".{role}-row img").all()]

    def file(self, shown: Any) -> bytes:
        """The file of an element that shows one."""
        return bytes(shown.evaluate(FETCH))

    def played(self, element: str, role: str) -> Any:
        """The `audio` or `video` in a role's bubbles, after a moment of it was played."""
        shown = self.page.locator(f".{role}-row {element}")
        shown.wait_for(state="attached")
        shown.evaluate(PLAY)
        return shown
