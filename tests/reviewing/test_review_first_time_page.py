"""The review page as somebody meets it for the first time, in a real browser: nothing is lost or said in silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsers import BROWSER, press, settle, until, watched
from conftest import Gallery
from reviews import Served

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


# --- groups, to their end -----------------------------------------------------------------------------------------


def grouped(page: Any) -> None:
    press(page, "g")
    page.wait_for_selector("#group[open] .member")


def test_the_end_of_the_groups_is_said_calmly_with_what_is_left(page: Any) -> None:
    grouped(page)
    assert page.text_content("#groupwhere") == "1 more group · 0 of 6 settled"
    press(page, "u")
    text(page, "#groupwhere", "the last group · 3 of 6 settled")
    assert page.text_content("#groupdone") == "3 photos: not in the catalog. X undoes it."
    press(page, "n")
    text(page, "#news", "Groups done: 5 of 6 settled, 1 left.")
    assert page.get_attribute("#news", "role") == "status"
    assert page.is_hidden("#trouble")
    assert page.is_hidden("#group")
    assert page.text_content("#count") == "1 of 6 photos"
    assert page.text_content("[data-state=todo] span") == "1"
    assert focused(page) == "f.jpg"
    grouped_none = "Nothing that is left to do looks alike: 5 of 6 settled, 1 left."
    press(page, "g")
    text(page, "#news", grouped_none)


def test_what_was_taken_out_comes_again_and_not_by_the_name_that_it_has_not(page: Any, tagged: Gallery) -> None:
    grouped(page)
    assert page.text_content("#nameall").startswith("All 3: Red Racer")
    press(page, "Space", "ArrowRight", "Space", "Enter")  # one is a Red Racer, two are not
    until(page, lambda: page.text_content("#grouptitle") == "2 that look alike")
    press(page, "Enter")
    text(page, "#groupdone", "2 photos: Blue Bolt. X undoes it. What was taken out comes now.")
    assert sorted(page.locator(".member .path").all_text_contents()) != ["d.jpg", "e.jpg"]
    assert page.text_content("#nameall").startswith("All 2: not in the catalog")
    cars = page.locator("#choices .said span:first-child").all_text_contents()
    assert "Red Racer" not in cars[:-3], "last among the cars"
    press(page, "u")
    text(page, "#news", "Groups done: 5 of 6 settled, 1 left.")
    press(page, "x")
    settle(page, 3)


def test_a_group_of_an_earlier_round_that_is_undone_comes_back(page: Any) -> None:
    grouped(page)
    press(page, "Space", "ArrowRight", "Space", "Enter", "Enter")
    until(page, lambda: "What was taken out comes now" in page.text_content("#groupdone"))
    settle(page, 3)
    press(page, "x")
    text(page, "#groupdone", "Undone.")
    assert page.locator(".member .path").all_text_contents() == ["d.jpg", "e.jpg"]
    press(page, "x")
    until(page, lambda: page.locator(".member").count() == 3)
    assert page.text_content("#nameall").startswith("All 3: Red Racer"), "nothing is rejected any more"
    settle(page, 0)


def test_what_is_passed_over_does_not_come_again(page: Any) -> None:
    grouped(page)
    press(page, "Space", "Enter", "s")  # one of three is left over, and a group is skipped
    text(page, "#news", "Groups done: 2 of 6 settled, 4 left.")


def test_few_members_are_large_and_z_shows_the_whole_photo(page: Any, tagged: Gallery) -> None:
    grouped(page)
    crop, image = (page.locator(name).first.bounding_box() for name in (".member .crop", ".member .crop img"))
    assert crop["width"] > 380
    assert image == pytest.approx(crop), "it fills its tile"
    press(page, "ArrowRight", "z")
    assert page.is_visible("#closer img")
    assert page.text_content("#closername").startswith("b.jpg")
    press(page, "ArrowRight")
    assert page.text_content("#closername").startswith("c.jpg")
    press(page, "Escape")
    assert page.is_hidden("#closer")
    assert page.is_visible("#group")
    page.dblclick(".member >> nth=0")
    assert page.is_visible("#closer img")
    press(page, "z")
    assert page.is_hidden("#closer")
    assert page.locator(".member[aria-pressed=false]").count() == 0, "and took nothing out"
    press(page, "End")
    assert focused(page) == "c.jpg"
    press(page, "Home")
    assert focused(page) == "a.jpg"


def test_the_whole_photo_has_the_box_outlined(page: Any) -> None:
    grouped(page)
    page.evaluate("members[0][0].regions = [{ box: [0.25, 0.25, 0.5, 0.5], outcome: 'unknown', tags: [] }]")
    press(page, "z")
    frame, drawn = (page.locator(name).bounding_box() for name in ("#closerframe", "#closerframe .box"))
    assert drawn["x"] - frame["x"] == pytest.approx(frame["width"] / 4, abs=3)
    assert drawn["height"] == pytest.approx(frame["height"] / 2, abs=5)


def test_what_is_typed_dims_what_enter_would_say(page: Any) -> None:
    grouped(page)
    opacity = "getComputedStyle(document.getElementById('nameall')).opacity"
    assert page.evaluate(opacity) == "1"
    assert page.text_content("#group .picker kbd") == "C"
    press(page, "c")
    assert float(page.evaluate(opacity)) < 0.6
    press(page, "Escape")
    assert page.evaluate(opacity) == "1"


def test_what_is_needed_is_in_view_without_scrolling(page: Any) -> None:
    page.evaluate("document.documentElement.style.fontSize = '125%'")
    grouped(page)
    press(page, "n")
    until(page, lambda: page.text_content("#groupdone").startswith("3 photos"))
    names = ("#groupdone", "#skip", "#groupundo", "#groupclose")
    for name in names:
        box = page.locator(name).bounding_box()
        assert box["y"] + box["height"] <= SIZE["height"], name
    press(page, "Escape")
    page.click("#grid .tile >> nth=0")
    for name in ("#confirm", "#photoundo"):
        box = page.locator(name).bounding_box()
        assert box["y"] + box["height"] <= SIZE["height"], name
    page.click("#photoundo")
    until(page, lambda: page.text_content("#state").startswith("Undone: "))


def test_a_car_that_was_picked_lately_is_offered_after_the_likely_ones(page: Any) -> None:
    page.evaluate(
        "for (const photo of photos) photo.model.scores = [{ car: 'red-racer', score: 0.6 }, { car: 'blue-bolt', score: 0.004 }]"
    )
    page.click("[title='a.jpg']")
    offers = page.locator("#answers .said")
    assert offers.all_text_contents()[:-2] == ["Red Racer60 %"], "no car of less than a hundredth"
    press(page, "c", *"bolt", "Enter", "Enter")
    until(page, lambda: page.text_content("#what") == "b.jpg")
    until(page, lambda: offers.all_text_contents()[:-2] == ["Red Racer60 %", "Blue Bolt0.4 % · lately"])


# --- the list -----------------------------------------------------------------------------------------------------


def test_the_keyboard_begins_at_the_first_card_and_stays_in_the_list(page: Any, tagged: Gallery) -> None:
    assert focused(page) == "BODY"
    press(page, "ArrowRight")
    assert focused(page) == "a.jpg"
    press(page, "Space", "ArrowRight", "Space")
    assert page.locator("#bar kbd").all_text_contents() == ["Enter", "C", "U", "N", "A"]
    press(page, "ArrowRight")
    look = "name => { const one = getComputedStyle(document.querySelector(`[title='${name}']`)); return [one.outlineStyle, one.backgroundColor]; }"
    chosen, there = (page.evaluate(look, name) for name in ("a.jpg", "c.jpg"))
    assert (chosen[0], there[0]) == ("none", "solid")
    assert chosen[1] != there[1]
    press(page, "u")
    text(page, "#news", "2 photos: not in the catalog. X undoes it.")
    assert page.locator("#grid .tile").count() == 4
    assert focused(page) != "BODY"
    press(page, "x")
    text(page, "#news", "Undone: a.jpg, b.jpg.")
    assert focused(page) != "BODY"
    settle(page, 0)
    press(page, "Home", "Space", "Enter")
    text(page, "#news", "1 photo: right as they are. X undoes it.")
    assert tagged.record("a.jpg")["tags"][0]["car"] == "red-racer"
    press(page, "Space", "c", *"bolt", "Enter")
    settle(page, 2)
    assert page.is_hidden("#viewer")
    assert focused(page).endswith(".jpg")


def test_space_begins_at_the_first_card_too(page: Any) -> None:
    press(page, "Space")
    assert page.text_content("#chosen") == "1 photo"
    assert focused(page) == "a.jpg"


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
    assert page.evaluate(colours)[:2] == ["rgb(127, 211, 161)", "rgb(255, 213, 74)"]
    assert page.locator("#grid .box").all_text_contents()[:2] == ["✓ not in the catalog (Tesla?)", "not in the catalog"]
    assert page.text_content("[title='f.jpg'] .name") == "not in the catalog (Tesla?)"
