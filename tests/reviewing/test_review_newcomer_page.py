"""What a newcomer with the keyboard alone stumbled over, in a real browser: what is out of sight, and what a message says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsers import BROWSER, becomes, expect, place, press, settle, shows, starts, until, watched
from conftest import Gallery
from reviews import Served

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (Debian: chromium)")
SIZE = {"width": 1280, "height": 860}
COLOURS = {"a.jpg": "red", "b.jpg": "red", "c.jpg": "red", "d.jpg": "blue", "e.jpg": "blue", "f.jpg": "orange"}


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    for i, (name, colour) in enumerate(COLOURS.items()):
        gallery.paint(name, colour, mark=i + 1, size=(300, 200))
    gallery.tag()
    return gallery


@pytest.fixture
def page(browser: Any, review: Served) -> Iterator[Any]:
    """The page, ordered by name."""
    with watched(browser, viewport=SIZE) as found:
        found.goto(review.address + "#order=&state=todo")
        found.wait_for_selector("#grid li")
        yield found


def grouped(page: Any) -> None:
    press(page, "g")
    page.wait_for_selector("#group[open] .member")


# --- what was taken out -------------------------------------------------------------------------------------------


def test_what_was_taken_out_and_looks_like_nothing_else_comes_by_itself(page: Any, tagged: Gallery) -> None:
    grouped(page)
    expect(page.locator("#how")).to_contain_text("comes back after the groups")
    press(page, "Space", "Enter", "Space", "Enter")  # a out of three, d out of two
    shows(page, "#grouptitle", "One that you took out")
    shows(page, "#groupwhere", "1 more photo · 3 of 6 settled")
    shows(page, "#groupdone", "1 photo: Blue Bolt. X undoes it. What was taken out comes now, one by one.")
    expect(page.locator(".member .path")).to_have_text(["a.jpg"])
    starts(page, "#nameall", "This: not in the catalog")
    press(page, "c", *"yeti", "Enter")
    expect(page.locator(".member .path")).to_have_text(["d.jpg"])
    shows(page, "#groupwhere", "the last photo · 4 of 6 settled")
    press(page, "x")
    expect(page.locator(".member .path")).to_have_text(["a.jpg"])
    press(page, "u", "n")
    shows(page, "#news", "Groups done: 5 of 6 settled, 1 left.")
    assert [tagged.record(name)["outcome"] for name in ("a.jpg", "d.jpg")] == ["unknown", "no-car"]


def test_what_was_taken_out_is_still_there_after_the_groups_were_closed(page: Any) -> None:
    grouped(page)
    press(page, "Space", "Enter", "Escape")
    settle(page, 2)
    grouped(page)
    press(page, "u")
    expect(page.locator(".member .path")).to_have_text(["a.jpg"])
    press(page, "s")
    shows(page, "#news", "Groups done: 4 of 6 settled, 2 left.")
    press(page, "g")
    expect(page.locator(".member .path"), "what was passed over, when she begins anew").to_have_text(["a.jpg"])


# --- any car, by typing -------------------------------------------------------------------------------------------

CARS = 120
FIELDS = {"#grouppick": ["g"], "#pick": ["Enter"], "#bulk": ["Space"]}
OVER = """of => { const list = document.getElementById(of), box = list.getBoundingClientRect();
  return [[box.left + 9, box.top + 9], [box.left + 9, box.bottom - 9]].every(([x, y]) => list.contains(document.elementFromPoint(x, y))); }"""


def with_many_cars(page: Any) -> None:
    """The page with a catalog that no window holds."""
    page.evaluate(
        f"for (let i = 0; i < {CARS}; i++) cars.set('x' + i, {{ ...cars.get('red-racer'), id: 'x' + i, name: `Zebra with a name of several words, number ${{i}}`, text: 'zebra ' + i }})"
    )


def are_apart(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether one stands above the other."""
    return one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]


@pytest.mark.parametrize("size", [(1280, 860), (1280, 500), (820, 1180), (390, 780)])
@pytest.mark.parametrize("field", FIELDS)
def test_c_lists_all_cars_where_there_is_room(page: Any, field: str, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    with_many_cars(page)
    n = page.evaluate("cars.size")
    page.locator("#grid .tile").first.focus()
    press(page, *FIELDS[field])
    if field == "#grouppick":
        page.wait_for_selector("#group[open] .member")
    press(page, "c")
    expect(page.locator(f"{field}-list")).to_be_visible()
    expect(page.locator(f"{field}-list li")).to_have_count(n)
    box = place(page, f"{field}-list")
    assert box["height"] >= 160
    assert 0 <= box["x"] <= box["x"] + box["width"] <= size[0]
    assert 0 <= box["y"] <= box["y"] + box["height"] <= size[1]
    becomes(page, lambda: page.evaluate(OVER, f"{field[1:]}-list"), True, "nothing lies over it")
    until(page, lambda: are_apart(place(page, field), place(page, f"{field}-list")), "it hides no field")
    press(page, "Enter")
    expect(page.locator(field), "nothing was picked").to_be_focused()
    press(page, "ArrowUp")
    last = page.locator(f"{field}-list li").last
    expect(last).to_have_attribute("aria-selected", "true")
    expect(last).to_be_in_viewport()
    page.keyboard.type("zebra 11")
    expect(page.locator(f"{field}-list li")).to_have_count(11)
    press(page, "Escape")
    expect(page.locator(f"{field}-list")).to_be_hidden()
    settle(page, 0)


IN_SIGHT = """selector => { const box = document.querySelector(selector).getBoundingClientRect();
  return [box.top + 3, box.bottom - 3].every(y => document.querySelector(selector).contains(document.elementFromPoint(box.left + box.width / 2, y))); }"""


@pytest.mark.parametrize("size", [(1280, 860), (1385, 757), (820, 1180)])
def test_with_many_suggestions_the_field_and_no_car_stay_in_sight(page: Any, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    with_many_cars(page)
    page.evaluate(
        "for (const photo of photos) photo.model.scores = [0, 1, 2, 3, 4].map(i => ({ car: 'x' + i, score: 0.1 }))"
    )
    page.evaluate("for (const i of [7, 8, 9]) remember('x' + i)")
    grouped(page)
    expect(page.locator("#choices .choice")).to_have_count(10)
    for name in ("#grouppick", "#apart .choice:last-child", "#skip", "#groupclose"):
        becomes(page, lambda name=name: page.evaluate(IN_SIGHT, name), True, name)
    page.locator("#offers .choice").last.scroll_into_view_if_needed()
    becomes(page, lambda: page.evaluate(IN_SIGHT, "#offers .choice:last-child"), True)
