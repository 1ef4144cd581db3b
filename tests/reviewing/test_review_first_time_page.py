"""The review page as somebody meets it for the first time, in a real browser: nothing is lost or said in silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsers import BROWSER, launched, until, wait
from conftest import Gallery
from reviews import Served, served

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (Debian: chromium)")
SIZE = {"width": 1385, "height": 757}
COLOURS = {"a.jpg": "red", "b.jpg": "red", "c.jpg": "red", "d.jpg": "blue", "e.jpg": "blue", "f.jpg": "orange"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    for i, (name, colour) in enumerate(COLOURS.items()):
        gallery.paint(name, colour, mark=i + 1, size=(300, 200))
    gallery.tag()
    return gallery


@pytest.fixture
def review(tagged: Gallery) -> Iterator[Served]:
    with served(tagged.path, labels=tagged.path / "labels.csv") as found:
        yield found


@pytest.fixture
def page(browser: Any, review: Served) -> Iterator[Any]:
    """The page, ordered by name; whatever its script complains of fails the test."""
    context = browser.new_context(viewport=SIZE)
    found = context.new_page()
    complaints: list[str] = []
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.goto(review.address + "#order=&state=todo")
    found.wait_for_selector("#grid li")
    yield found
    context.close()
    assert not complaints


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def settle(page: Any, n: int) -> None:
    wait(page, f'document.getElementById("summary").textContent.startsWith("{n} of ")')


def text(page: Any, name: str, wanted: str) -> None:
    until(page, lambda: page.text_content(name) == wanted, f"{name}: {page.text_content(name)!r}, not {wanted!r}")


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.title || document.activeElement.id || document.activeElement.tagName")


# --- what is ticked in a photo and not saved ----------------------------------------------------------------------


def test_a_tick_is_there_on_return_and_is_saved_by_enter_alone(page: Any, tagged: Gallery) -> None:
    page.click("[title='a.jpg']")
    press(page, "n", "ArrowRight")
    assert page.text_content("#what") == "b.jpg"
    assert page.text_content("#state") == "a.jpg: ticked, not saved; Enter saves it."
    press(page, "ArrowLeft")
    assert page.is_checked("#answers label:has-text('No car') input")
    assert page.is_hidden("#state"), "it is before her eyes"
    press(page, "Escape")
    assert page.text_content("#news") == "a.jpg: ticked, not saved; Enter saves it."
    assert page.is_hidden("#trouble")
    assert tagged.record("a.jpg").get("confirmed") is None
    press(page, "Enter", "Enter")
    settle(page, 1)
    assert tagged.record("a.jpg")["outcome"] == "no-car"
    press(page, "Escape")
    assert page.text_content("#news") == ""


def test_the_end_asks_for_ticks_that_are_not_saved(page: Any) -> None:
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.click("[title='a.jpg']")
    press(page, "n", "Escape")
    page.click("#done")
    assert asked == ["Not saved: a.jpg. End without them?"]


def test_the_keys_say_where_a_number_only_ticks(page: Any) -> None:
    press(page, "?")
    lines = page.locator("#keys section").all_text_contents()
    assert "tick that car; Enter saves" in lines[1]
    assert "all are that car" in lines[2]
    assert page.evaluate("document.getElementById('help').scrollTop") == 0
