"""A real browser, as the pages' tests drive it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright import sync_api

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def launched() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@contextmanager
def watched(browser: Any, **options: Any) -> Iterator[Any]:
    """A page in a context of its own: whatever it complains of until the end fails the test.

    A test that has requests refused says so by ``page.may_fail``: the browser itself writes those to its console.
    """
    with browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | options) as context:
        page = context.new_page()
        page.complaints = []
        page.may_fail = False
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
        yield page
    complaints = [text for text in page.complaints if not (page.may_fail and "Failed to load resource" in text)]
    assert not complaints, complaints


def wait(page: Any, condition: str) -> None:
    """Asks from outside: the page's own policy does not let it evaluate a string."""
    until(page, lambda: page.evaluate(condition), f"never true: {condition}")


def until(page: Any, condition: Callable[[], bool], otherwise: str = "") -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, otherwise
        page.wait_for_timeout(30)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def settle(page: Any, n: int) -> None:
    """Waits until the review page says that ``n`` photos are settled."""
    wait(page, f'document.getElementById("summary").textContent.startsWith("{n} of ")')
