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


def wait(page: Any, condition: str) -> None:
    """Asks from outside: the page's own policy does not let it evaluate a string."""
    until(page, lambda: page.evaluate(condition), f"never true: {condition}")


def until(page: Any, condition: Callable[[], bool], otherwise: str = "") -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, otherwise
        page.wait_for_timeout(30)
