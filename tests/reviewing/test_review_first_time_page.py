"""The review page as somebody meets it for the first time, in a real browser: nothing is lost or said in silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsers import (
    BROWSER,
    becomes,
    bottom,
    expect,
    focuses,
    listed,
    place,
    press,
    settle,
    shows,
    stands_in,
    starts,
    ticked,
    until,
    watched,
)
from conftest import Gallery
from reviews import Served

from cartag.state import locks
from cartag.state.place import place_of

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (Debian: chromium)")
SIZE = {"width": 1385, "height": 757}
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


# --- what is ticked in a photo and not saved ----------------------------------------------------------------------


def test_a_tick_is_there_on_return_and_is_saved_by_enter_alone(page: Any, tagged: Gallery) -> None:
    page.click("[title='a.jpg']")
    press(page, "n", "ArrowRight")
    shows(page, "#what", "b.jpg")
    shows(page, "#state", "a.jpg: ticked, not saved; Enter saves it.")
    press(page, "ArrowLeft")
    ticked(page, "No car")
    expect(page.locator("#state"), "it is before her eyes").to_be_hidden()
    press(page, "Escape")
    shows(page, "#news", "a.jpg: ticked, not saved; Enter saves it.")
    expect(page.locator("#trouble")).to_be_hidden()
    assert tagged.record("a.jpg").get("confirmed") is None, "the page has said that it is not saved"
    press(page, "Enter", "Enter")
    settle(page, 1)
    becomes(page, lambda: tagged.record("a.jpg")["outcome"], "no-car")
    press(page, "Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    shows(page, "#news", "")


def test_the_end_asks_for_ticks_that_are_not_saved(page: Any) -> None:
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.click("[title='a.jpg']")
    press(page, "n", "Escape")
    page.click("#done")
    becomes(page, lambda: asked, ["Not saved: a.jpg. End without them?"])


def test_the_keys_say_where_a_number_only_ticks(page: Any) -> None:
    press(page, "?")
    places = page.locator("#keys section")
    expect(places.nth(1)).to_contain_text("tick that car; Enter saves")
    expect(places.nth(2)).to_contain_text("all are that car")
    expect(page.locator("#helptitle")).to_be_focused()
    becomes(page, lambda: page.evaluate("document.getElementById('help').scrollTop"), 0)


# --- groups, to their end -----------------------------------------------------------------------------------------


def grouped(page: Any) -> None:
    press(page, "g")
    page.wait_for_selector("#group[open] .member")


def test_the_end_of_the_groups_is_said_calmly_with_what_is_left(page: Any) -> None:
    grouped(page)
    shows(page, "#groupwhere", "1 more group · 0 of 6 settled")
    press(page, "u")
    shows(page, "#groupwhere", "the last group · 3 of 6 settled")
    shows(page, "#groupdone", "3 photos: not in the catalog. X undoes it.")
    press(page, "n")
    shows(page, "#news", "Groups done: 5 of 6 settled, 1 left.")
    expect(page.locator("#news")).to_have_attribute("role", "status")
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page.locator("#group")).to_be_hidden()
    shows(page, "#count", "1 of 6 photos")
    shows(page, "[data-state=todo] span", "1")
    focuses(page, "f.jpg")
    press(page, "g")
    shows(page, "#news", "Nothing that is left to do looks alike: 5 of 6 settled, 1 left.")


def test_what_was_taken_out_comes_again_and_not_by_the_name_that_it_has_not(page: Any, tagged: Gallery) -> None:
    grouped(page)
    starts(page, "#nameall", "All 3: Red Racer")
    press(page, "Space", "ArrowRight", "Space", "Enter")  # one is a Red Racer, two are not
    shows(page, "#grouptitle", "2 that look alike")
    press(page, "Enter")
    shows(page, "#groupdone", "2 photos: Blue Bolt. X undoes it. What was taken out comes now.")
    until(page, lambda: sorted(page.locator(".member .path").all_text_contents()) != ["d.jpg", "e.jpg"])
    starts(page, "#nameall", "All 2: not in the catalog")
    cars = page.locator("#choices .said span:first-child")
    until(page, lambda: "Red Racer" not in cars.all_text_contents()[:-3], "last among the cars")
    press(page, "u")
    shows(page, "#news", "Groups done: 5 of 6 settled, 1 left.")
    press(page, "x")
    settle(page, 3)


def test_a_group_of_an_earlier_round_that_is_undone_comes_back(page: Any) -> None:
    grouped(page)
    press(page, "Space", "ArrowRight", "Space", "Enter", "Enter")
    expect(page.locator("#groupdone")).to_contain_text("What was taken out comes now")
    settle(page, 3)
    press(page, "x")
    shows(page, "#groupdone", "Undone.")
    expect(page.locator(".member .path")).to_have_text(["d.jpg", "e.jpg"])
    press(page, "x")
    expect(page.locator(".member")).to_have_count(3)
    starts(page, "#nameall", "All 3: Red Racer")  # "nothing is rejected any more"
    settle(page, 0)


def test_what_is_passed_over_does_not_come_again(page: Any) -> None:
    grouped(page)
    press(page, "Space", "Enter", "s")  # one of three is left over, and a group is skipped
    shows(page, "#grouptitle", "One that you took out")
    press(page, "s")
    shows(page, "#news", "Groups done: 2 of 6 settled, 4 left.")


def test_few_members_are_large_and_z_shows_the_whole_photo(page: Any, tagged: Gallery) -> None:
    grouped(page)
    until(page, lambda: place(page, ".member .crop")["width"] > 380)
    stands_in(page, ".member .crop img", ".member .crop", [0, 0, 1, 1])
    press(page, "ArrowRight", "z")
    expect(page.locator("#closer img")).to_be_visible()
    starts(page, "#closername", "b.jpg")
    press(page, "ArrowRight")
    starts(page, "#closername", "c.jpg")
    press(page, "Escape")
    expect(page.locator("#closer")).to_be_hidden()
    expect(page.locator("#group")).to_be_visible()
    page.dblclick(".member >> nth=0")
    expect(page.locator("#closer img")).to_be_visible()
    press(page, "z")
    expect(page.locator("#closer")).to_be_hidden()
    expect(page.locator(".member[aria-pressed=false]"), "and took nothing out").to_have_count(0)
    press(page, "End")
    focuses(page, "c.jpg")
    press(page, "Home")
    focuses(page, "a.jpg")


def test_the_whole_photo_has_the_box_outlined(page: Any) -> None:
    grouped(page)
    page.evaluate("members[0][0].regions = [{ box: [0.25, 0.25, 0.5, 0.5], outcome: 'unknown', tags: [] }]")
    press(page, "z")
    stands_in(page, "#closerframe .box", "#closerframe", [0.25, 0.25, 0.5, 0.5])


def test_what_is_typed_dims_what_enter_would_say(page: Any) -> None:
    grouped(page)
    nameall = page.locator("#nameall")
    bright, dim = "rgb(243, 241, 236)", "rgba(0, 0, 0, 0)"
    expect(nameall).to_have_css("background-color", bright)
    shows(page, "#group .picker kbd", "C")
    press(page, "c")
    expect(nameall).to_have_css("background-color", dim)
    press(page, "Escape")
    expect(nameall).to_have_css("background-color", bright)


def test_what_is_needed_is_in_view_without_scrolling(page: Any) -> None:
    page.evaluate("document.documentElement.style.fontSize = '125%'")
    grouped(page)
    press(page, "n")
    starts(page, "#groupdone", "3 photos")
    for name in ("#groupdone", "#skip", "#groupundo", "#groupclose"):
        until(page, lambda name=name: bottom(page, name) <= SIZE["height"], name)
    press(page, "Escape")
    page.click("#grid .tile >> nth=0")
    for name in ("#confirm", "#photoundo"):
        until(page, lambda name=name: bottom(page, name) <= SIZE["height"], name)
    page.click("#photoundo")
    starts(page, "#state", "Undone: ")


def test_a_car_that_was_picked_lately_is_offered_after_the_likely_ones(page: Any) -> None:
    page.evaluate(
        "for (const photo of photos) photo.model.scores = [{ car: 'red-racer', score: 0.6 }, { car: 'blue-bolt', score: 0.004 }]"
    )
    page.click("[title='a.jpg']")
    offers = page.locator("#answers .said")
    others = ["Not in the catalog", "No car"]
    expect(offers, "no car of less than a hundredth").to_have_text(["Red Racer60 %", *others])
    press(page, "c", *"bolt", "Enter", "Enter")
    shows(page, "#what", "b.jpg")
    expect(offers).to_have_text(["Red Racer60 %", "Blue Bolt0.4 % · lately", *others])


# --- the list -----------------------------------------------------------------------------------------------------


def test_the_keyboard_begins_at_the_first_card_and_stays_in_the_list(page: Any, tagged: Gallery) -> None:
    becomes(page, lambda: page.evaluate("document.activeElement.tagName"), "BODY")
    in_the_list = page.locator("#grid .tile:focus")
    press(page, "ArrowRight")
    focuses(page, "a.jpg")
    press(page, "Space", "ArrowRight", "Space")
    expect(page.locator("#bar kbd")).to_have_text(["Enter", "C", "U", "N", "A"])
    press(page, "ArrowRight")
    focuses(page, "c.jpg")
    chosen, there = (page.locator(f"[title='{name}']") for name in ("a.jpg", "c.jpg"))
    expect(chosen).to_have_css("outline-style", "none")
    expect(there).to_have_css("outline-style", "solid")
    colour = "one => getComputedStyle(one).backgroundColor"
    until(page, lambda: chosen.evaluate(colour) != there.evaluate(colour))
    press(page, "u")
    shows(page, "#news", "2 photos: not in the catalog. X undoes it.")
    expect(page.locator("#grid .tile")).to_have_count(4)
    expect(in_the_list).to_have_count(1)
    press(page, "x")
    shows(page, "#news", "Undone: a.jpg, b.jpg.")
    expect(in_the_list).to_have_count(1)
    settle(page, 0)
    press(page, "Home", "Space", "Enter")
    shows(page, "#news", "1 photo: right as they are. X undoes it.")
    becomes(page, lambda: tagged.record("a.jpg")["tags"][0]["car"], "red-racer")
    press(page, "Space", "c", *"bolt", "Enter")
    settle(page, 2)
    expect(page.locator("#viewer")).to_be_hidden()
    expect(in_the_list).to_have_count(1)


def test_a_key_right_after_escape_finds_the_list_as_it_is(page: Any) -> None:
    """Before the next frame, which brings the browser's own event that a dialog is closed."""
    escape = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))"
    found = f"[{escape}, document.activeElement.title, document.getElementById('news').textContent].slice(1)"
    page.click("[title='a.jpg']")
    press(page, "n", "ArrowRight", "ArrowRight")
    shows(page, "#what", "c.jpg")
    assert page.evaluate(found) == ["c.jpg", "a.jpg: ticked, not saved; Enter saves it."]
    press(page, "ArrowRight")
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    focuses(page, "d.jpg")
    grouped(page)
    assert page.evaluate(found)[0] == "a.jpg"


def test_a_save_does_not_take_her_back_from_the_photo_that_she_went_on_to(page: Any, tagged: Gallery) -> None:
    page.click("[title='a.jpg']")
    with locks.replacing(place_of(tagged.path)):  # as while a `tag` writes
        press(page, "n", "Enter", "Escape", "ArrowRight")
        focuses(page, "c.jpg")
    listed(page, ["b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"])
    focuses(page, "c.jpg")
    with locks.replacing(place_of(tagged.path)):
        press(page, "Space", "u", "ArrowRight", "ArrowRight")
        focuses(page, "e.jpg")
    listed(page, ["b.jpg", "d.jpg", "e.jpg", "f.jpg"])
    focuses(page, "e.jpg")


def test_space_begins_at_the_first_card_too(page: Any) -> None:
    press(page, "Space")
    shows(page, "#chosen", "1 photo")
    focuses(page, "a.jpg")


def test_a_box_that_she_confirmed_is_green_in_the_list_too(page: Any, tagged: Gallery) -> None:
    other = {"name": "Tesla", "make": "Tesla", "score": 0.5}
    said = {"outcome": "unknown", "tags": [], "source": "human", "found": 0.9}
    boxes = [
        {"box": [0.1, 0.1, 0.3, 0.3], **said, "other": other},
        {"box": [0.5, 0.5, 0.3, 0.3], **said, "source": "model"},
    ]
    tagged.edit_photo("a.jpg", regions=boxes)
    tagged.edit_photo("f.jpg", outcome="unknown", tags=[], regions=boxes[:1])
    page.reload()
    page.wait_for_selector("#grid .box")
    colours = "[...document.querySelectorAll('#grid .box')].map(one => getComputedStyle(one).borderTopColor)"
    becomes(page, lambda: page.evaluate(colours)[:2], ["rgb(127, 211, 161)", "rgb(255, 213, 74)"])
    boxes = page.locator("[title='a.jpg'] .box")
    expect(boxes).to_have_text(["✓ not in the catalog (Tesla?)", "not in the catalog"])
    shows(page, "[title='f.jpg'] .name", "not in the catalog (Tesla?)")
