"""The review page as a person uses it, in a real browser: keys, clicks, many at once, and what goes wrong."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery
from reviews import Served, served

sync_api = pytest.importorskip("playwright.sync_api")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (Debian: chromium)")

Says = Callable[[str], tuple[str, list[str], bool]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    for i, (name, colour) in enumerate(
        {"a.jpg": "red", "b.jpg": "red", "c.jpg": "blue", "d.jpg": "orange", "e <b>.jpg": "green"}.items()
    ):
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
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    found = context.new_page()
    complaints: list[str] = []
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    found.complaints = complaints
    found.goto(review.address + "#order=&state=todo")
    found.wait_for_selector("#grid li")
    yield found
    context.close()
    assert not complaints


@pytest.fixture
def says(tagged: Gallery) -> Says:
    def of(name: str) -> tuple[str, list[str], bool]:
        record = tagged.record(name)
        return record["outcome"], [tag["car"] for tag in record["tags"]], record.get("confirmed", False)

    return of


def tiles(page: Any) -> list[str]:
    return [tile.get_attribute("title") for tile in page.query_selector_all("#grid .tile")]


def wait(page: Any, condition: str) -> None:
    """Asks from outside: the page's own policy does not let it evaluate a string."""
    until = time.monotonic() + 15
    while not page.evaluate(condition):
        assert time.monotonic() < until, f"never true: {condition}"
        page.wait_for_timeout(30)


def settle(page: Any, n: int) -> None:
    wait(page, f'document.getElementById("summary").textContent.startsWith("{n} of ")')


def test_it_is_done_with_the_keyboard_alone(page: Any, says: Says) -> None:
    assert tiles(page) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e <b>.jpg"]
    page.locator("#grid .tile").first.focus()
    page.keyboard.press("Enter")
    assert page.text_content("#what") == "a.jpg"
    assert "The model says: Red Racer" in page.text_content("#where")
    page.keyboard.press("Enter")  # a: right as it is
    page.keyboard.press("n")
    page.keyboard.press("Enter")  # b: no car
    for key in ("c", "y", "e", "t", "Enter"):  # c: any car, typed
        page.keyboard.press(key)
    page.keyboard.press("1")  # and not the first one
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")  # d: passed over
    page.keyboard.press("u")
    page.keyboard.press("Enter")  # e: another car; it is the last
    settle(page, 4)
    assert says("a.jpg") == ("tagged", ["red-racer"], True)
    assert says("b.jpg") == ("no-car", [], True)
    assert says("c.jpg")[2] is True
    assert says("d.jpg") == ("unknown", [], False)
    assert says("e <b>.jpg") == ("unknown", [], True)
    wait(page, 'document.querySelectorAll("#grid .tile").length === 1')
    assert tiles(page) == ["d.jpg"]
    assert page.evaluate("document.activeElement.title") == "d.jpg"


def test_a_wrong_tag_becomes_the_right_one(page: Any, says: Says) -> None:
    page.click("text=c.jpg")
    assert page.is_checked("#answers label:has-text('Blue Bolt') input")
    page.click("#answers label:has-text('Blue Bolt')")
    assert page.is_checked("#answers label:has-text('Another car') input"), "no car of the list is another car"
    page.click("#answers label:has-text('Yellow Yeti')")
    assert not page.is_checked("#answers label:has-text('Another car') input")
    page.click("#answers label:has-text('Red Racer')")
    page.click("#confirm")
    settle(page, 1)
    assert (says("c.jpg")[0], sorted(says("c.jpg")[1])) == ("tagged", ["red-racer", "yellow-yeti"])


def test_many_are_settled_at_once_and_undone(page: Any, says: Says, tagged: Gallery) -> None:
    before = tagged.raw()["photos"]
    page.locator("#grid .choose").nth(0).click()
    page.locator("#grid .choose").nth(2).click(modifiers=["Shift"])
    assert page.text_content("#chosen") == "3 photos"
    page.fill("#bulk", "scuderia")
    page.keyboard.press("Enter")
    settle(page, 3)
    assert [says(name) for name in ("a.jpg", "b.jpg", "c.jpg")] == [("tagged", ["red-racer"], True)] * 3
    assert tiles(page) == ["d.jpg", "e <b>.jpg"]
    page.keyboard.press("Control+a")
    page.click("text=Right as they are")
    settle(page, 5)
    assert page.is_visible("text=Every photo is settled.")
    assert "Red Racer" in (tagged.path / "labels.csv").read_text()
    page.keyboard.press("z")
    settle(page, 3)
    page.click("#undo")
    settle(page, 0)
    assert tagged.raw()["photos"] == before
    assert page.is_disabled("#undo")
    assert len(tiles(page)) == 5


def test_a_word_is_taken_back(page: Any, says: Says) -> None:
    page.click("text=a.jpg")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    wait(page, 'document.getElementById("where").textContent.startsWith("By hand: no car")')
    page.click("#back")
    wait(page, 'document.getElementById("where").textContent.startsWith("The model says: Red Racer")')
    assert says("a.jpg") == ("tagged", ["red-racer"], False)


def test_labels_that_say_otherwise_are_shown_and_proposed(page: Any, says: Says, tagged: Gallery) -> None:
    (tagged.path / "labels.csv").write_text("file,label\nc.jpg,Yellow Yeti\na.jpg,Red Racer\n")
    page.reload()
    page.wait_for_selector("#grid li")
    page.click("text=Label says otherwise")
    assert tiles(page) == ["c.jpg"]
    page.click("#grid .tile")
    assert page.text_content("#said") == "Your label: Yellow Yeti"
    page.keyboard.press("Enter")
    settle(page, 1)
    assert says("c.jpg") == ("tagged", ["yellow-yeti"], True)


def test_what_cannot_be_saved_is_said_and_not_shown_as_done(page: Any, review: Served, tagged: Gallery) -> None:
    (tagged.path / "labels.csv").write_text("nonsense\n")
    page.click("text=a.jpg")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    wait(page, '!document.getElementById("trouble").hidden')
    assert "Not saved: " in page.text_content("#trouble")
    assert "expected the columns" in page.text_content("#trouble")
    settle(page, 0)
    (tagged.path / "labels.csv").unlink()
    page.click("text=a.jpg")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    settle(page, 1)
    assert page.is_hidden("#trouble")
    review.end()
    page.click("text=b.jpg")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    wait(page, '!document.getElementById("trouble").hidden')
    assert "it has ended" in page.text_content("#trouble")
    # The browser itself writes refused requests to its console.
    page.complaints[:] = [text for text in page.complaints if "Failed to load resource" not in text]


def test_what_others_changed_is_loaded_again(page: Any, tagged: Gallery) -> None:
    tagged.paint("new.jpg", "yellow")
    tagged.tag()
    page.click("text=a.jpg")
    page.keyboard.press("Enter")
    wait(page, 'document.getElementById("summary").textContent.startsWith("1 of 6")')


def test_filters_stay_in_the_address(page: Any, browser: Any) -> None:
    page.fill("#search", "RED")
    wait(page, 'document.querySelectorAll("#grid .tile").length === 2')
    page.select_option("#outcome", "tagged")
    page.reload()
    page.wait_for_selector("#grid li")
    assert tiles(page) == ["a.jpg", "b.jpg"]
    assert page.input_value("#search") == "RED"
    page.select_option("#car", "c:red-racer")
    page.select_option("#order", "chance")
    assert sorted(tiles(page)) == ["a.jpg", "b.jpg"]


def test_done_ends_it(page: Any, review: Served) -> None:
    page.click("#done")
    page.wait_for_selector("text=All is saved")
    assert review.end().to_do == 5


def test_a_thousand_photos_are_shown_by_the_rows_in_view(page: Any, tagged: Gallery) -> None:
    def many(raw: dict[str, Any]) -> None:
        first = raw["photos"][0]
        raw["photos"] = [first | {"path": f"{i:05}.jpg"} for i in range(1000)]

    tagged.edit(many)
    page.reload()
    page.wait_for_selector("#grid li")
    assert page.text_content("#count") == "1,000 photos"
    assert len(tiles(page)) < 60
    page.locator("#grid .tile").first.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.title") == "00999.jpg"
    page.complaints[:] = [text for text in page.complaints if "Failed to load resource" not in text]


def test_the_page_is_the_same_size_as_a_telephone(browser: Any, review: Served, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 780}, color_scheme="dark", has_touch=True)
    page = context.new_page()
    page.goto(review.address)
    page.wait_for_selector("#grid li")
    page.tap("#grid .tile >> nth=0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#confirm").bounding_box()
    assert box["y"] + box["height"] <= 780, "in reach without scrolling"
    page.tap("#confirm")
    settle(page, 1)
    context.close()
