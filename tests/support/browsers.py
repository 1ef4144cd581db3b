"""A real browser, as the pages' tests drive it.

A page needs its moment: whatever a test claims of one is waited for, by playwright's own ``expect`` or, where that has no
word for it, by ``until`` and ``becomes``. That nothing happens is claimed after something that comes later has happened.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright import sync_api
from playwright.sync_api import expect

PATIENCE = 15  # seconds
expect.set_options(timeout=1000 * PATIENCE)
SLOWER = float(os.environ.get("SLOW_BROWSER", "1"))  # times that the browser is slower than it could be
LATENCY = 100  # milliseconds until a slow browser hears an answer
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def launched() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@contextmanager
def with_scrollbars(browser: Any) -> Iterator[Any]:
    """Another browser of that kind, whose scrollbars take room as on most desktops; as a rule one shows none."""
    found = browser.browser_type.launch(
        executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"], ignore_default_args=["--hide-scrollbars"]
    )
    yield found
    found.close()


@contextmanager
def watched(browser: Any, **options: Any) -> Iterator[Any]:
    """A page in a context of its own: whatever it complains of until the end fails the test.

    A test that has requests refused says so by ``page.may_fail``: the browser itself writes those to its console.
    """
    with browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | options) as context:
        page = context.new_page()
        if SLOWER > 1:
            slow(page)
        page.complaints = []
        page.may_fail = False
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
        yield page
    complaints = [text for text in page.complaints if not (page.may_fail and "Failed to load resource" in text)]
    assert not complaints, complaints


def slow(page: Any) -> None:
    """As on an old machine, far away: what only a quick page gets right in time fails."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    network = {"offline": False, "latency": LATENCY, "downloadThroughput": -1, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", network)


def wait(page: Any, condition: str) -> None:
    """Asks from outside: the page's own policy does not let it evaluate a string."""
    until(page, lambda: page.evaluate(condition), f"never true: {condition}")


def until(page: Any, condition: Callable[[], bool], otherwise: str = "") -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, otherwise
        page.wait_for_timeout(30)


def becomes(page: Any, look: Callable[[], Any], wanted: Any, otherwise: str = "") -> None:
    """Looks until what it sees is ``wanted``; says what it was instead."""
    end = time.monotonic() + PATIENCE
    while (seen := look()) != wanted:
        assert time.monotonic() < end, f"{seen!r}, not {wanted!r}; {otherwise}"
        page.wait_for_timeout(30)


def shows(page: Any, where: str, text: str) -> None:
    expect(page.locator(where)).to_have_text(text)


def starts(page: Any, where: str, text: str) -> None:
    expect(page.locator(where)).to_have_text(re.compile("^" + re.escape(text)))


def focuses(page: Any, title: str) -> None:
    expect(page.locator(":focus")).to_have_attribute("title", title)


def listed(page: Any, names: list[str]) -> None:
    """Waits until the photos of the list are these, in this order."""
    becomes(page, lambda: tiles(page), names)


def tiles(page: Any) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('#grid .tile')].map(tile => tile.title)")


def ticked(page: Any, answer: str, is_it: bool = True) -> None:
    """Waits until an answer to the photo that is open is ticked, or is not."""
    expect(page.locator("#answers label", has_text=answer).locator("input")).to_be_checked(checked=is_it)


def place(page: Any, name: str) -> dict[str, float]:
    """Where the first of these stands, in pixels; nowhere, while it is hidden."""
    return page.locator(name).first.bounding_box() or dict.fromkeys(("x", "y", "width", "height"), math.nan)


def bottom(page: Any, name: str) -> float:
    box = place(page, name)
    return box["y"] + box["height"]


def place_in(inner: dict[str, float], outer: dict[str, float]) -> list[float]:
    """Where an element stands, in fractions of another."""
    return [
        (inner["x"] - outer["x"]) / outer["width"],
        (inner["y"] - outer["y"]) / outer["height"],
        inner["width"] / outer["width"],
        inner["height"] / outer["height"],
    ]


def stands_in(page: Any, inner: str, outer: str, wanted: list[float]) -> None:
    """Waits until an element is there within another, in fractions of it."""
    becomes(page, lambda: place_in(place(page, inner), place(page, outer)), pytest.approx(wanted, abs=0.01), inner)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def saved(page: Any) -> None:
    """Waits until the review page has heard of all that it said."""
    wait(page, "pending === 0")


def settle(page: Any, n: int) -> None:
    """Waits until the review page says that ``n`` photos are settled."""
    starts(page, "#summary", f"{n} of ")
