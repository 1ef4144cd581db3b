"""Boxes on the review page, in a real browser: Tab, draw, move, size, delete, undo; a server that is killed; nothing lost."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browsers import BROWSER, becomes, expect, place, saved, shows, until, watched
from conftest import Gallery
from processes import ROOT
from regions import BOXES, four_regions, paint_four, put_regions, region
from reviews import Served

from cartag.state import locks
from cartag.state.place import place_of

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (Debian: chromium)")

RED, BLUE, YELLOW, ORANGE = BOXES
Boxes = Callable[[], dict[tuple[float, ...], tuple[str, str]]]


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    paint_four(gallery)
    gallery.paint("one.jpg", "red", mark=1, size=(300, 200))
    gallery.paint("plain.jpg", "blue", mark=2, size=(300, 200))
    gallery.tag()
    put_regions(gallery, "four.jpg", four_regions())
    put_regions(gallery, "one.jpg", [region([0.1, 0.1, 0.8, 0.8], "red-racer")])
    return gallery


@pytest.fixture
def page(browser: Any, review: Served) -> Iterator[Any]:
    """The page with the photo of four cars open."""
    with watched(browser) as found:
        opened(found, review.address)
        yield found


def opened(page: Any, address: str, name: str = "four.jpg") -> None:
    page.goto(address + "#order=&state=all")
    page.wait_for_selector("#grid li")
    page.click(f"[title='{name}']")
    expect(page.locator("#frame img")).to_be_visible()


@pytest.fixture
def boxes(tagged: Gallery) -> Boxes:
    return lambda: boxes_of(tagged)


def boxes_of(gallery: Gallery, name: str = "four.jpg") -> dict[tuple[float, ...], tuple[str, str]]:
    """What the index says of every box that is not deleted: the car or the outcome, and who says so."""
    found = {}
    for one in gallery.record(name).get("regions", []):
        source = one.get("source", "model")
        if (source, one["outcome"]) != ("human", "no-car"):
            cars = [tag["car"] for tag in one.get("tags", [])]
            found[tuple(one["box"])] = (cars[0] if cars else one["outcome"], source)
    return found


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.ariaLabel || document.activeElement.id")


def speaks_of(page: Any, label: str) -> None:
    """Waits until the box that is spoken of is called so, to begin with."""
    box = page.locator("#frame .box[aria-pressed=true]")
    expect(box).to_have_attribute("aria-label", re.compile("^" + re.escape(label)))


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse, from and to places in fractions of the photo."""
    frame = place(page, "#frame")
    (x, y), (to_x, to_y) = (
        (frame["x"] + at[0] * frame["width"], frame["y"] + at[1] * frame["height"]) for at in (start, end)
    )
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + to_x) / 2, (y + to_y) / 2)
    page.mouse.move(to_x, to_y)
    page.mouse.up()


def drawn(page: Any, boxes: Boxes, where: tuple[float, ...]) -> tuple[float, ...]:
    """Waits until the index has one box that was not found, about there: a mouse is no more exact than a pixel."""
    becomes(page, lambda: [box for box in boxes() if list(box) not in BOXES], [pytest.approx(where, abs=0.006)])
    (new,) = [box for box in boxes() if list(box) not in BOXES]
    return new


def test_tab_goes_through_four_cars_and_then_to_the_photo(page: Any) -> None:
    stops = [
        "Box 1 of 4: Red Racer, 90 %, to be confirmed",
        "Box 2 of 4: Blue Bolt, 70 %, to be confirmed",
        "Box 3 of 4: not in the catalog, to be confirmed",
        "Box 4 of 4: not in the catalog (Ferrari F430?), to be confirmed",
    ]
    for stop in stops:
        becomes(page, lambda: focused(page), stop)
        page.keyboard.press("Tab")
    becomes(page, lambda: focused(page), "whole")
    shows(page, "#about", "What does it show?")
    expect(page.locator("#whole")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Shift+Tab")
    speaks_of(page, stops[3])
    shows(page, "#about", "What is in this box?")
    expect(page.locator("#where")).to_contain_text("perhaps Ferrari F430 60 %")


def test_four_boxes_are_confirmed_or_corrected_with_the_keyboard_alone(
    page: Any, boxes: Boxes, tagged: Gallery
) -> None:
    page.keyboard.press("Enter")  # red: right as it is
    speaks_of(page, "Box 2")
    for key in ("c", "y", "e", "t", "Enter", "Enter"):  # blue: any car, typed
        page.keyboard.press(key)
    page.keyboard.press("u")
    page.keyboard.press("Enter")  # yellow: another car
    speaks_of(page, "Box 4")
    page.keyboard.press("n")
    page.keyboard.press("Enter")  # orange: no car
    shows(page, "#what", "one.jpg")
    saved(page)
    said = {
        tuple(RED): ("red-racer", "human"),
        tuple(BLUE): ("yellow-yeti", "human"),
        tuple(YELLOW): ("unknown", "human"),
    }
    becomes(page, boxes, said)
    record = tagged.record("four.jpg")
    assert (record["confirmed"], {tag["car"] for tag in record["tags"]}) == (True, {"red-racer", "yellow-yeti"})
    becomes(page, lambda: len((tagged.path / "labels.csv").read_text().splitlines()), 4)
    page.keyboard.press("Enter")  # a photo of one box: as ever
    shows(page, "#what", "plain.jpg")
    saved(page)
    becomes(page, lambda: boxes_of(tagged, "one.jpg"), {(0.1, 0.1, 0.8, 0.8): ("red-racer", "human")})


def test_a_click_speaks_of_a_box_and_another_of_the_photo(page: Any, boxes: Boxes) -> None:
    before = boxes()
    drag(page, (0.65, 0.5), (0.65, 0.5))
    speaks_of(page, "Box 2")
    drag(page, (0.5, 0.95), (0.5, 0.95))
    expect(page.locator("#frame .box[aria-pressed=true]")).to_have_count(0)
    expect(page.locator("#viewer")).to_be_visible()
    saved(page)
    assert boxes() == before, "a click moves nothing"


def test_a_missed_car_is_drawn_and_named(page: Any, boxes: Boxes) -> None:
    page.keyboard.press("b")
    expect(page.locator("#hint")).to_contain_text("Drawing")
    drag(page, (0.6, 0.3), (0.3, 0.1))
    saved(page)
    new = drawn(page, boxes, (0.3, 0.1, 0.3, 0.2))
    becomes(page, lambda: boxes()[new], ("unknown", "human"))
    speaks_of(page, "Box 3 of 5: not in the catalog")
    shows(page, "#hint", "")
    for key in ("c", "y", "e", "t", "Enter", "Enter"):
        page.keyboard.press(key)
    saved(page)
    becomes(page, lambda: boxes()[new], ("yellow-yeti", "human"))
    page.keyboard.press("b")
    drag(page, (0.3, 0.9), (0.301, 0.9))
    saved(page)
    assert len(boxes()) == 5, "a twitch is no box"
    page.keyboard.press("Escape")
    shows(page, "#hint", "")
    expect(page.locator("#viewer"), "that ended the drawing").to_be_visible()


def test_a_box_is_put_moved_and_sized_with_the_keyboard_alone(page: Any, boxes: Boxes) -> None:
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("r")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    saved(page)
    becomes(page, lambda: boxes().get((0.3, 0.35, 0.32, 0.29)), ("unknown", "human"))
    shows(page, "#what", "four.jpg")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()


def test_arrow_keys_that_rest_are_saved(page: Any, boxes: Boxes) -> None:
    page.keyboard.press("m")
    page.keyboard.press("ArrowDown")
    becomes(page, lambda: boxes().get((0.05, 0.46, 0.4, 0.4)), ("red-racer", "human"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    page.keyboard.press("ArrowRight")  # turns on again
    shows(page, "#what", "one.jpg")
    saved(page)
    becomes(page, lambda: boxes().get((0.05, 0.47, 0.4, 0.4)), ("red-racer", "human"))


def test_a_box_is_dragged_by_its_middle_and_by_a_corner(page: Any, boxes: Boxes) -> None:
    drag(page, (0.25, 0.65), (0.3, 0.7))
    saved(page)
    drawn(page, boxes, (0.1, 0.5, 0.4, 0.4))
    drag(page, (0.5, 0.9), (0.6, 0.95))
    saved(page)
    drawn(page, boxes, (0.1, 0.5, 0.5, 0.45))
    drag(page, (0.3, 0.7), (1.5, 0.7))
    saved(page)
    at_edge = drawn(page, boxes, (0.5, 0.5, 0.5, 0.45))  # no box leaves the photo
    becomes(page, lambda: boxes()[at_edge], ("red-racer", "human"))


def test_boxes_are_deleted_and_undone(page: Any, boxes: Boxes, tagged: Gallery) -> None:
    before = tagged.record("four.jpg")
    page.keyboard.press("Delete")
    speaks_of(page, "Box 1 of 3: Blue Bolt")
    page.keyboard.press("Backspace")
    saved(page)
    becomes(page, lambda: set(boxes()), {tuple(YELLOW), tuple(ORANGE)})
    page.keyboard.press("x")
    becomes(page, lambda: len(boxes()), 3)
    page.keyboard.press("x")
    becomes(page, lambda: tagged.record("four.jpg"), before)
    expect(page.locator("#frame .box")).to_have_count(4)


def test_a_word_on_a_box_is_taken_back(page: Any, boxes: Boxes) -> None:
    page.keyboard.press("n")
    page.keyboard.press("u")
    page.keyboard.press("Enter")
    saved(page)
    page.keyboard.press("Shift+Tab")
    speaks_of(page, "Box 1 of 4: not in the catalog, confirmed")
    page.click("#back")
    saved(page)
    becomes(page, lambda: boxes()[tuple(RED)], ("red-racer", "model"))
    expect(page.locator("#back")).to_be_hidden()


def test_what_is_said_quickly_is_all_saved_in_order(page: Any, boxes: Boxes, tagged: Gallery) -> None:
    with locks.replacing(place_of(tagged.path)):  # as while a `tag` writes
        page.keyboard.press("Enter")
        page.keyboard.press("Delete")
        page.keyboard.press("b")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        expect(page.locator("#frame .box").first).to_have_attribute("aria-label", re.compile("being saved"))
        assert len(boxes()) == 4
    saved(page)
    said = {
        tuple(RED): ("red-racer", "human"),
        (0.35, 0.34, 0.3, 0.3): ("red-racer", "human"),
        tuple(YELLOW): ("unknown", "model"),
        tuple(ORANGE): ("unknown", "model"),
    }
    becomes(page, boxes, said)
    expect(page.locator("#state")).to_be_hidden()


def test_another_window_s_word_on_a_box_stands(page: Any, boxes: Boxes, review: Served) -> None:
    review.decide(("four.jpg", "none"))
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_contain_text("Somebody said something else meanwhile")
    becomes(page, boxes, {})
    expect(page.locator("#frame .box")).to_have_count(0)


def test_a_box_is_drawn_by_touch(browser: Any, review: Served, boxes: Boxes) -> None:
    with watched(browser, viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True) as page:
        opened(page, review.address)
        page.tap("#draw")
        expect(page.locator("#hint")).to_contain_text("Drawing")
        frame = place(page, "#frame")
        touches = page.context.new_cdp_session(page)

        def touch(kind: str, *at: tuple[float, float]) -> None:
            points = [{"x": frame["x"] + x * frame["width"], "y": frame["y"] + y * frame["height"]} for x, y in at]
            touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", (0.3, 0.1))
        for share in (0.4, 0.5, 0.6):
            touch("touchMove", (share, share / 2))
        touch("touchEnd")
        saved(page)
        drawn(page, boxes, (0.3, 0.1, 0.3, 0.2))
        expect(page.locator("#delete")).to_be_visible()
        until(page, lambda: page.evaluate("document.documentElement.scrollWidth") <= 390)


# --- the server is killed in between ------------------------------------------------------------------------------


class Killable:
    """`cartag review` as a program."""

    def __init__(self, gallery: Gallery) -> None:
        command = [sys.executable, "-m", "cartag", "review", str(gallery.path), "--no-browser"]
        labels = ["--labels", str(gallery.path / "labels.csv")]
        self._process = subprocess.Popen([*command, *labels], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split()[-1]

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_server_loses_nothing_that_was_said(browser: Any, tagged: Gallery) -> None:
    server = Killable(tagged)
    with watched(browser) as page:
        opened(page, server.address)
        page.keyboard.press("Enter")  # red is confirmed
        page.keyboard.press("b")
        drag(page, (0.3, 0.1), (0.6, 0.3))
        page.keyboard.press("m")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("m")
        saved(page)
        said = boxes_of(tagged)
        assert [source for _, source in said.values()].count("human") == 2
        server.kill()
        page.may_fail = True
        assert boxes_of(tagged) == said
        page.keyboard.press("Delete")
        expect(page.locator("#state")).to_be_visible()
        expect(page.locator("#state")).to_contain_text("Not saved: four.jpg")
        expect(page.locator("#frame .box"), "it is not shown as done").to_have_count(5)
        assert boxes_of(tagged) == said

        server = Killable(tagged)
        try:
            opened(page, server.address)
            expect(page.locator("#frame .box")).to_have_count(5)
            expect(page.locator("#frame .box.hers")).to_have_count(2)
            for _ in range(3):  # what is left: blue, yellow, orange
                page.keyboard.press("Enter")
            shows(page, "#what", "one.jpg")
            saved(page)
            page.reload()
            page.wait_for_selector("#grid li")
            becomes(page, lambda: set(boxes_of(tagged)), set(said))
            becomes(page, lambda: {source for _, source in boxes_of(tagged).values()}, {"human"})
            assert tagged.record("four.jpg")["confirmed"] is True
            becomes(page, lambda: len((tagged.path / "labels.csv").read_text().splitlines()), 6)
        finally:
            server.kill()
