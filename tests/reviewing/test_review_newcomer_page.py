"""What a newcomer with the keyboard alone stumbled over, in a real browser: what is out of sight, and what a message says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsers import BROWSER, becomes, expect, focuses, place, press, settle, shows, starts, until, watched
from conftest import Gallery
from reviews import Served, give_two_cars, served

from cartag.state import locks, place_of

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
        press(page, "PageDown")  # a low window does not show all three
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


# --- large groups, and photos of several cars ---------------------------------------------------------------------

MANY = 41


def with_a_large_group(page: Any) -> None:
    """All photos of the page, again and again: a group that no window holds."""
    page.route(
        "**/groups",
        lambda route: route.fulfill(json={"groups": [[[f"{i:02}.jpg", None] for i in range(MANY)]], "pooled": []}),
    )
    page.evaluate(
        f"for (let i = 0; i < {MANY}; i++) {{ const photo = {{ ...photos[0], path: `${{String(i).padStart(2, '0')}}.jpg` }}; photos.push(enrich(photo)); byPath.set(photo.path, photo); }}"
    )


def others(page: Any) -> int:
    return int(page.locator("#nameall").inner_text().split()[3])


@pytest.mark.parametrize("key", ["Enter", "u", "n", "Digit1", "c"])
def test_no_key_names_what_was_not_shown(page: Any, key: str) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.url.endswith("/decide") else None)
    with_a_large_group(page)
    page.evaluate("remember('blue-bolt')")  # there is a number
    grouped(page)
    shows(page, "#grouptitle", f"{MANY} that look alike")
    starts(page, "#nameall", "See the other ")
    rest = others(page)
    shows(page, "#more", f"{MANY - rest} of {MANY} shown, more below: Enter or Page Down")
    first = page.locator(".member").nth(MANY - rest)
    assert page.locator(".member .crop").nth(MANY - 1).evaluate("one => one.getBoundingClientRect().top > innerHeight")
    press(page, key)
    expect(first).to_be_focused()
    expect(first).to_be_in_viewport(ratio=1)
    starts(page, "#groupdone", "Nothing is named yet.")
    pressed = 1
    while page.locator("#more").is_visible():
        press(page, key)
        pressed += 1
        assert pressed < MANY
    starts(page, "#nameall", f"All {MANY}: ")
    shows(page, "#groupdone", "Nothing is named yet. Now all were shown.")
    expect(page.locator(".member").last).to_be_in_viewport()
    assert pressed > 1, "by screenfuls"
    assert not sent
    page.may_fail = True  # cartag knows nothing of photos that the page alone has
    press(page, key)
    if key == "c":
        expect(page.locator("#grouppick")).to_be_focused()
    else:
        becomes(page, lambda: len(sent), 1)


def test_what_she_scrolled_past_was_shown_and_what_a_key_leapt_over_was_not(page: Any) -> None:
    with_a_large_group(page)
    grouped(page)
    starts(page, "#nameall", "See the other ")
    rest = others(page)
    press(page, "End")
    until(page, lambda: others(page) < rest, "the last are in sight")
    expect(page.locator("#more")).to_contain_text("more above")
    press(page, "PageDown")
    expect(page.locator(".member").nth(MANY - rest)).to_be_focused()
    while page.locator("#more").is_visible():
        page.mouse.move(300, 300)
        page.mouse.wheel(0, 150)
    starts(page, "#nameall", f"All {MANY}: ")


def test_a_car_that_was_typed_too_early_has_a_number_afterwards(page: Any) -> None:
    with_a_large_group(page)
    grouped(page)
    page.click("#grouppick")
    page.keyboard.type("yeti")
    press(page, "Enter")
    starts(page, "#groupdone", "Nothing is named yet.")
    expect(page.locator("#offers .said span:first-child")).to_contain_text(["Yellow Yeti"])


def test_what_is_named_and_what_is_settled_is_said_in_the_same_moment(browser: Any, tagged: Gallery) -> None:
    give_two_cars(tagged, "a.jpg", "b.jpg")
    with served(tagged.path) as review, watched(browser, viewport=SIZE) as page:
        page.goto(review.address + "#order=&state=todo")
        page.wait_for_selector("#grid li")
        grouped(page)
        shows(page, "#grouptitle", "5 that look alike")
        with locks.replacing(place_of(tagged.path)):  # as while a `tag` writes
            press(page, "Space", "Enter")
            said = "4 cars in 3 photos: Red Racer; 2 photos settled, 1 has another car open. X undoes it."
            shows(page, "#groupdone", said)
            shows(page, "#groupwhere", "the last group · 2 of 6 settled")
            settle(page, 0)
        settle(page, 2)
        shows(page, "#groupwhere", "the last group · 2 of 6 settled")
        press(page, "x")
        shows(page, "#groupwhere", "1 more group · 0 of 6 settled")


# --- the list, after many were answered ---------------------------------------------------------------------------


def test_after_an_answer_to_many_the_next_photo_has_the_keyboard(page: Any) -> None:
    press(page, "Home", "Space", "ArrowRight", "ArrowRight", "Space", "ArrowLeft", "u")  # a and c, from b
    settle(page, 2)
    focuses(page, "d.jpg")
    press(page, "ArrowRight", "Space", "ArrowRight", "Space", "n")  # e and f, the last
    settle(page, 4)
    focuses(page, "d.jpg")
    page.click("[data-state=all]")
    page.locator("#grid .tile").first.focus()
    press(page, "Space", "ArrowRight", "Space", "u")
    settle(page, 5)
    focuses(page, "c.jpg")


@pytest.mark.parametrize("size", [(1280, 420), (820, 500), (390, 500)])
def test_what_came_of_it_is_said_where_she_is(page: Any, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.locator("#grid .tile").first.focus()
    press(page, "End", "Space", "u")
    shows(page, "#news", "1 photo: not in the catalog. X undoes it.")
    focuses(page, "e.jpg")
    assert page.evaluate("scrollY") > 0, "the top is out of sight"
    expect(page.locator("#news")).to_be_in_viewport(ratio=1)
    becomes(page, lambda: page.evaluate(IN_SIGHT, "#news"), True)


# --- words --------------------------------------------------------------------------------------------------------


def test_of_a_group_without_cars_it_does_not_say_that_cars_look_alike(page: Any) -> None:
    page.evaluate("for (const photo of photos.slice(0, 2)) Object.assign(photo, { outcome: 'no-car', tags: [] })")
    grouped(page)
    shows(page, "#grouptitle", "3 that probably show no car")
    starts(page, "#nameall", "All 3: no car")
    press(page, "n")
    shows(page, "#grouptitle", "2 that look alike")


def test_the_keys_say_it_in_words_that_a_newcomer_knows(page: Any) -> None:
    press(page, "?")
    for words in (
        "one more car in the same photo: then its number",
        "compare: beside it a sure photo of the ticked car; again: another one",
        "leave drawing, moving or the pixels; else close the photo",
        "the next ones, where not all are shown",
    ):
        expect(page.locator("#keys dd", has_text=words)).to_have_count(1)


def test_after_enter_the_photo_view_says_what_was_saved(page: Any) -> None:
    page.click("[title='a.jpg']")
    shows(page, "#saved", "")
    press(page, "Enter")
    shows(page, "#what", "b.jpg")
    shows(page, "#saved", "Saved: Red Racer · 1 of 6 settled")
    press(page, "u", "Enter")
    shows(page, "#saved", "Saved: not in the catalog · 2 of 6 settled")
    press(page, "x")
    starts(page, "#state", "Undone: ")
    shows(page, "#saved", "")


def test_take_back_says_what(page: Any) -> None:
    page.click("[title='a.jpg']")
    expect(page.locator("#back")).to_be_hidden()
    press(page, "u", "Enter")
    settle(page, 1)
    press(page, "ArrowLeft")
    shows(page, "#back", "Take back “not in the catalog”")
    press(page, "Escape")
    page.click("[data-state=all]")
    page.locator("#grid .tile").first.focus()
    press(page, "Space")
    shows(page, "[data-bulk=back]", "Take back answers")


def test_a_box_is_called_by_the_car_that_is_ticked(page: Any, tagged: Gallery) -> None:
    box = {"box": [0.1, 0.1, 0.4, 0.4], "outcome": "unknown", "tags": [], "found": 0.9}
    tagged.edit_photo("a.jpg", regions=[box])
    tagged.edit_photo("b.jpg", regions=[box, {**box, "box": [0.5, 0.5, 0.4, 0.4]}])
    page.reload()
    page.wait_for_selector("#grid .box")
    page.click("[title='a.jpg']")
    label = page.locator("#frame .box > span")
    expect(label).to_have_text(["not in the catalog"])
    press(page, "c", *"yeti", "Enter")
    expect(label).to_have_text(["Yellow Yeti"])
    expect(page.locator("#frame .box")).to_have_attribute("aria-label", "Box 1 of 1: Yellow Yeti, ticked, not saved")
    press(page, "Enter")
    shows(page, "#what", "b.jpg")
    expect(label, "the first box is spoken of").to_have_text(["not in the catalog"] * 2)
    press(page, "c", *"bolt", "Enter")
    expect(label).to_have_text(["Blue Bolt", "not in the catalog"])
    press(page, "ArrowLeft")
    expect(label).to_have_text(["✓ Yellow Yeti"])
