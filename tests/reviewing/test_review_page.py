"""The review page as a person uses it, in a real browser: keys, clicks, many at once, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browsers import BROWSER, settle, until, wait, watched
from conftest import Gallery
from reviews import Served, in_doubt, without_csv

from cartag.state import locks
from cartag.state.index import place_of

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (Debian: chromium)")

Says = Callable[[str], tuple[str, list[str], bool]]


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    for i, (name, colour) in enumerate(
        {"a.jpg": "red", "b.jpg": "red", "c.jpg": "blue", "d.jpg": "orange", "e <b>.jpg": "green"}.items()
    ):
        gallery.paint(name, colour, mark=i + 1, size=(300, 200))
    gallery.tag()
    return gallery


@pytest.fixture
def page(browser: Any, review: Served) -> Iterator[Any]:
    """The page, ordered by name."""
    with watched(browser) as found:
        found.goto(review.address + "#order=&state=todo")
        found.wait_for_selector("#grid li")
        yield found


@pytest.fixture
def says(tagged: Gallery) -> Says:
    def of(name: str) -> tuple[str, list[str], bool]:
        record = tagged.record(name)
        return record["outcome"], [tag["car"] for tag in record["tags"]], record.get("confirmed", False)

    return of


def tiles(page: Any) -> list[str]:
    return [tile.get_attribute("title") for tile in page.query_selector_all("#grid .tile")]


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
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")  # d: passed over
    page.keyboard.press("u")
    page.keyboard.press("Enter")  # e: another car; it is the last
    settle(page, 4)
    assert says("a.jpg") == ("tagged", ["red-racer"], True)
    assert says("b.jpg") == ("no-car", [], True)
    assert says("c.jpg") == ("tagged", ["yellow-yeti"], True)
    assert says("d.jpg") == ("unknown", [], False)
    assert says("e <b>.jpg") == ("unknown", [], True)
    wait(page, 'document.querySelectorAll("#grid .tile").length === 1')
    assert tiles(page) == ["d.jpg"]
    assert page.evaluate("document.activeElement.title") == "d.jpg"


def test_a_wrong_tag_becomes_the_right_one(page: Any, says: Says, tagged: Gallery) -> None:
    in_doubt(tagged)
    page.reload()
    page.click("[title='c.jpg']")
    assert page.is_checked("#answers label:has-text('Blue Bolt') input")
    page.click("#answers label:has-text('Blue Bolt')")
    assert page.is_checked("#answers label:has-text('Not in the catalog') input"), (
        "no car of the list is none of the catalog"
    )
    page.click("#answers label:has-text('Yellow Yeti')")
    assert not page.is_checked("#answers label:has-text('Not in the catalog') input")
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
    page.keyboard.press("x")
    settle(page, 3)
    page.click("#undo")
    settle(page, 0)
    assert tagged.raw()["photos"] == before
    assert page.is_disabled("#undo")
    assert len(tiles(page)) == 5


def test_a_word_is_taken_back(page: Any, says: Says) -> None:
    page.click("[title='a.jpg']")
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
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    wait(page, '!document.getElementById("trouble").hidden')
    assert "Not saved: " in page.text_content("#trouble")
    assert "expected the columns" in page.text_content("#trouble")
    settle(page, 0)
    (tagged.path / "labels.csv").unlink()
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    settle(page, 1)
    assert page.is_hidden("#trouble")
    review.end()
    page.click("[title='b.jpg']")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    wait(page, '!document.getElementById("trouble").hidden')
    assert "it has ended" in page.text_content("#trouble")
    page.may_fail = True


def test_what_others_changed_is_loaded_again(page: Any, tagged: Gallery) -> None:
    tagged.paint("new.jpg", "yellow")
    tagged.tag()
    page.click("[title='a.jpg']")
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


def held(tagged: Gallery) -> Any:
    """As while a `tag` writes: until it is left, nothing can be saved."""
    return locks.replacing(place_of(tagged.path))


def test_what_is_said_is_said_of_the_photo_that_is_shown(page: Any, says: Says, tagged: Gallery) -> None:
    with held(tagged):
        page.locator("#grid .choose").nth(0).click()
        page.locator("#grid .choose").nth(1).click()
        page.click("[data-bulk=none]")
        page.click("[title='c.jpg']")
    settle(page, 2)
    assert page.text_content("#what") == "c.jpg"
    page.keyboard.press("Enter")
    settle(page, 3)
    assert says("c.jpg") == ("tagged", ["blue-bolt"], True)
    assert page.text_content("#what") == "d.jpg"
    with held(tagged):
        page.keyboard.press("n")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        page.click("[title='e <b>.jpg']")
    settle(page, 4)
    assert page.text_content("#what") == "e <b>.jpg"
    page.keyboard.press("u")
    page.keyboard.press("Enter")
    settle(page, 5)
    assert says("d.jpg") == ("no-car", [], True)
    assert says("e <b>.jpg") == ("unknown", [], True)


def test_what_is_ticked_outlasts_a_save_and_another_edition(page: Any, says: Says, tagged: Gallery) -> None:
    with held(tagged):
        page.click("[title='a.jpg']")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("n")
    settle(page, 1)
    assert page.is_checked("#answers label:has-text('No car') input")
    tagged.paint("0.jpg", "yellow")
    tagged.tag()
    page.keyboard.press("Enter")  # a: no car; the answer to it brings the other edition
    page.keyboard.press("ArrowRight")
    assert page.text_content("#what") == "c.jpg"
    page.keyboard.press("u")
    wait(page, 'document.getElementById("summary").textContent.startsWith("1 of 6")')
    assert page.text_content("#what") == "c.jpg"
    assert page.is_checked("#answers label:has-text('Not in the catalog') input")
    page.keyboard.press("Enter")
    settle(page, 2)
    assert says("c.jpg") == ("unknown", [], True)
    assert says("a.jpg") == ("no-car", [], True)


def test_a_key_held_down_confirms_nothing_unseen(page: Any, says: Says) -> None:
    page.locator("#grid .tile").first.focus()
    for _ in range(5):
        page.keyboard.down("Enter")  # without an up: repeats
    assert page.text_content("#what") == "a.jpg"
    page.keyboard.up("Enter")
    page.keyboard.press("n")
    for _ in range(4):
        page.keyboard.down("Enter")
    settle(page, 1)
    assert page.text_content("#what") == "b.jpg"
    assert says("a.jpg") == ("no-car", [], True)


def test_a_number_is_the_car_and_with_shift_one_more(page: Any, says: Says, tagged: Gallery) -> None:
    in_doubt(tagged)
    page.reload()
    page.click("[title='a.jpg']")
    offered = [text.strip() for text in page.locator("#answers .said span:nth-of-type(1)").all_text_contents()]
    assert offered[0] == "Red Racer"
    page.keyboard.press("Digit2")
    assert page.text_content("#confirm").startswith("Confirm E")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Digit2")
    assert page.text_content("#confirm").startswith("Confirm 2 cars")
    page.keyboard.press("Enter")
    settle(page, 2)
    other = {"Yellow Yeti": "yellow-yeti", "Blue Bolt": "blue-bolt"}[offered[1]]
    assert says("a.jpg") == ("tagged", [other], True)
    assert says("b.jpg") == ("tagged", ["red-racer", other], True)


def test_what_is_not_saved_is_named_until_it_is(page: Any, says: Says, tagged: Gallery) -> None:
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    asked: list[str] = []
    (tagged.path / "labels.csv").write_text("nonsense\n")
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    wait(page, 'document.getElementById("state").textContent.startsWith("Not saved: a.jpg")')
    (tagged.path / "labels.csv").unlink()
    page.keyboard.press("Enter")  # b is saved
    settle(page, 1)
    page.keyboard.press("Escape")
    assert "Not saved: a.jpg: " in page.text_content("#trouble")
    assert "b.jpg" not in page.text_content("#trouble")
    page.click("#done")
    assert asked
    assert "a.jpg" in asked[0]
    page.locator("#grid .choose").nth(0).click()
    page.click("[data-bulk=confirm]")
    settle(page, 2)
    assert page.is_hidden("#trouble")
    assert says("a.jpg") == ("tagged", ["red-racer"], True)
    page.may_fail = True


def test_a_choice_comes_back_if_it_cannot_be_saved_and_goes_with_a_filter(page: Any, tagged: Gallery) -> None:
    (tagged.path / "labels.csv").write_text("nonsense\n")
    page.locator("#grid .choose").nth(0).click()
    page.locator("#grid .choose").nth(2).click()
    page.click("[data-bulk=none]")
    wait(page, '!document.getElementById("trouble").hidden')
    wait(page, 'document.getElementById("chosen").textContent === "2 photos"')
    page.fill("#search", "a.jpg")
    wait(page, 'document.getElementById("chosen").textContent === "1 photo"')
    page.locator("#grid .tile").first.focus()
    page.keyboard.press("Escape")
    assert page.is_hidden("#bar")
    page.may_fail = True


def test_leaving_with_something_unsaved_is_asked_about(page: Any, tagged: Gallery) -> None:
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    with held(tagged):
        page.click("[title='a.jpg']")
        page.keyboard.press("Enter")
        page.goto("about:blank")
    assert asked == ["beforeunload"]


def test_many_are_confirmed_as_tagged_or_as_labelled(page: Any, says: Says, tagged: Gallery) -> None:
    (tagged.path / "labels.csv").write_text("file,label\na.jpg,Blue Bolt\nb.jpg,none\n")
    page.reload()
    page.wait_for_selector("#grid li")
    assert page.text_content("[title='a.jpg'] .line") == "label: Blue Bolt"
    assert page.is_hidden("[data-bulk=labels]")
    page.locator("#grid .choose").nth(0).click()
    assert page.is_visible("[data-bulk=labels]")
    page.click("[data-bulk=confirm]")
    settle(page, 1)
    assert says("a.jpg") == ("tagged", ["red-racer"], True)
    page.locator("#grid .choose").nth(0).click()
    page.click("[data-bulk=labels]")
    settle(page, 2)
    assert says("b.jpg") == ("no-car", [], True)


def test_undo_shows_the_photo_again(page: Any, says: Says) -> None:
    page.click("[title='b.jpg']")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    settle(page, 1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    wait(page, 'document.getElementById("what").textContent === "b.jpg"')
    wait(page, 'document.getElementById("state").textContent === "Undone: b.jpg."')
    assert page.is_checked("#answers label:has-text('Red Racer') input")
    assert says("b.jpg") == ("tagged", ["red-racer"], False)


def test_another_window_s_word_stands(page: Any, browser: Any, review: Served, says: Says) -> None:
    review.decide(("a.jpg", "none"))
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    wait(page, 'document.getElementById("state").textContent.includes("Somebody said something else meanwhile")')
    assert says("a.jpg") == ("no-car", [], True)
    page.keyboard.press("ArrowLeft")
    assert page.text_content("#where").startswith("By hand: no car")


def test_undo_does_not_take_her_from_the_photo_that_she_went_on_to(page: Any, says: Says, tagged: Gallery) -> None:
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    settle(page, 1)
    with held(tagged):
        page.keyboard.press("x")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("n")
    wait(page, 'document.getElementById("state").textContent === "Undone: a.jpg."')
    assert page.text_content("#what") == "d.jpg"
    page.keyboard.press("Enter")
    settle(page, 1)
    assert says("d.jpg") == ("no-car", [], True)
    assert says("a.jpg") == ("tagged", ["red-racer"], False)


def test_a_photo_that_is_gone_stays_open_and_takes_no_answer(page: Any, says: Says, tagged: Gallery) -> None:
    page.may_fail = True  # its picture is gone too
    (tagged.path / "b.jpg").unlink()
    tagged.tag()
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")  # the answer brings the other edition
    page.keyboard.press("n")
    wait(page, 'document.getElementById("state").textContent.includes("not in the index any more")')
    assert page.text_content("#what") == "b.jpg"
    for key in ("n", "Enter", "u", "Enter"):
        page.keyboard.press(key)
    assert page.text_content("#what") == "b.jpg"
    page.keyboard.press("ArrowRight")
    assert page.text_content("#what") == "c.jpg"
    page.keyboard.press("Enter")
    settle(page, 2)
    assert says("c.jpg") == ("tagged", ["blue-bolt"], True)


def test_what_somebody_else_said_is_seen_before_it_can_be_changed(page: Any, says: Says, tagged: Gallery) -> None:
    page.click("[title='a.jpg']")
    with held(tagged):
        page.keyboard.press("u")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("u")
        tagged.edit_photo("a.jpg", outcome="no-car", tags=[], confirmed=True)
    wait(page, 'document.getElementById("where").textContent.startsWith("By hand: no car")')
    assert "Somebody said something else meanwhile, and that stays: a.jpg" in page.text_content("#state")
    page.keyboard.press("ArrowRight")
    assert "a.jpg" in page.text_content("#state"), "until it is dealt with"
    page.keyboard.press("ArrowLeft")
    assert page.is_checked("#answers label:has-text('No car') input"), "her answer to what she had seen is void"
    page.keyboard.press("u")
    page.keyboard.press("Enter")
    until(page, lambda: says("a.jpg") == ("unknown", [], True))
    assert page.is_hidden("#state")


def test_her_own_second_word_is_not_somebody_s(page: Any, says: Says, tagged: Gallery) -> None:
    page.click("[title='a.jpg']")
    with held(tagged):
        for key in ("n", "Enter", "ArrowLeft", "u", "Enter", "ArrowLeft", "Digit1", "Enter"):
            page.keyboard.press(key)
    until(page, lambda: says("a.jpg") == ("tagged", ["red-racer"], True))  # the last of the three
    assert page.is_hidden("#state")


def test_a_save_does_not_take_the_keyboard_away(page: Any, says: Says, tagged: Gallery) -> None:
    page.click("[title='b.jpg']")
    with held(tagged):
        page.keyboard.press("u")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        page.click("#search")
        page.keyboard.type("j")
    settle(page, 1)
    page.keyboard.type("z")
    assert page.input_value("#search") == "jz"
    assert says("b.jpg") == ("unknown", [], True)


def test_undo_after_a_failure_gives_up_that_and_nothing_else(page: Any, says: Says, tagged: Gallery) -> None:
    page.may_fail = True
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    settle(page, 1)
    (tagged.path / "labels.csv").write_text("nonsense\n")
    page.keyboard.press("Enter")
    wait(page, 'document.getElementById("state").textContent.startsWith("Not saved: b.jpg")')
    page.keyboard.press("x")
    assert page.text_content("#state") == "Given up."
    assert says("a.jpg") == ("tagged", ["red-racer"], True)


def test_undo_is_of_what_was_decided_here(page: Any, review: Served, says: Says) -> None:
    page.may_fail = True
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    settle(page, 1)
    review.decide(("c.jpg", "none"))  # in another window
    page.keyboard.press("x")
    settle(page, 2)
    assert says("a.jpg") == ("tagged", ["red-racer"], True)
    assert says("c.jpg") == ("no-car", [], True)


def test_labels_that_lack_something_are_said_to_the_end(
    page: Any, tagged: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartag.reviewing.session.replace_file", without_csv)
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    settle(page, 1)
    page.keyboard.press("ArrowRight")
    assert "The labels' file cannot be written; it lacks 1" in page.text_content("#state")
    page.keyboard.press("Escape")
    page.click("#done")
    page.wait_for_selector("text=the labels' file lacks 1")


def test_nothing_is_asked_of_a_cartag_that_has_ended(page: Any) -> None:
    """What waited for a pause, as the pictures that are most like one and a search do, does not come after the end."""
    page.click("[title='a.jpg']")
    page.keyboard.press("Escape")
    page.fill("#search", "b")
    page.click("#done")
    page.wait_for_selector("text=All is saved")
    page.wait_for_timeout(500)


def test_a_reload_that_fails_does_not_mean_that_nothing_was_saved(page: Any, says: Says, tagged: Gallery) -> None:
    page.may_fail = True
    page.route("**/data", lambda route: route.abort())
    tagged.paint("new.jpg", "yellow")
    tagged.tag()
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    wait(page, 'document.getElementById("state").textContent.startsWith("Saved, but the page is out of date")')
    assert says("a.jpg") == ("tagged", ["red-racer"], True)


def test_orders(page: Any, tagged: Gallery) -> None:
    likely = {"a.jpg": 0.95, "b.jpg": 0.55, "c.jpg": 0.7, "d.jpg": 0.3, "e <b>.jpg": 0.01}

    def score(raw: dict[str, Any]) -> None:
        for photo in raw["photos"]:
            photo["tags"], photo["candidates"] = [], [{"car": "red-racer", "score": likely[photo["path"]]}]

    tagged.edit(score)
    page.reload()
    page.wait_for_selector("#grid li")
    wanted = {
        "": sorted(likely),
        "sure": sorted(likely, key=lambda name: -likely[name]),
        "doubt": sorted(likely, key=lambda name: abs(likely[name] - 0.5)),
        "chance": sorted(likely, key=lambda name: tagged.record(name)["sha256"]),
    }
    for order, names in wanted.items():
        page.select_option("#order", order)
        wait(page, f'document.querySelector("#grid .tile").title === "{names[0]}"')
        assert tiles(page) == names
    page.click("[title='c.jpg']")
    keys = page.locator("#answers label").first.text_content()
    assert "Red Racer" in keys
    assert "70 %" in keys


def test_a_picture_that_fails_late_hides_no_other_photo(page: Any, tagged: Gallery) -> None:
    page.may_fail = True
    failing: list[Any] = []
    page.route("**/picture/*/0/*", lambda route: failing.append(route))  # a.jpg: neither answered nor refused yet
    page.reload()
    page.wait_for_selector("#grid li")
    page.click("[title='a.jpg']")
    until(page, lambda: len(failing) >= 2)
    page.keyboard.press("ArrowRight")
    for route in failing:
        route.abort()
    page.wait_for_timeout(200)
    assert page.text_content("#what") == "b.jpg"
    assert page.locator("#frame img").count() == 1
    assert page.locator("#frame .nothing").count() == 0


def test_boxes_are_drawn(page: Any, tagged: Gallery) -> None:
    tag = {"car": "red-racer", "score": 0.9, "source": "model", "box": [0.25, 0.5, 0.5, 0.25]}
    tagged.edit_photo("a.jpg", tags=[tag])
    page.reload()
    page.wait_for_selector("#grid li")
    page.click("[title='a.jpg']")
    frame, box = (page.locator(name).bounding_box() for name in ("#frame", "#frame .box"))
    assert box["x"] - frame["x"] == pytest.approx(frame["width"] / 4, abs=3)
    assert box["height"] == pytest.approx(frame["height"] / 4, abs=5)


def test_filters_know_what_became_of_the_photos(page: Any) -> None:
    page.click("[data-state=all]")
    page.keyboard.press("Control+a")
    page.click("[data-bulk=none]")
    settle(page, 5)
    assert page.locator("#car option").all_text_contents() == ["Every car"]
    assert page.locator("#outcome option").all_text_contents() == ["Every outcome", "No car"]


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
    page.may_fail = True


@pytest.mark.parametrize("width", [390, 640])
def test_a_telephone_shows_all_of_it(browser: Any, review: Served, tagged: Gallery, width: int) -> None:
    (tagged.path / "labels.csv").write_text("file,label\na.jpg,Blue Bolt\n")
    size = {"width": width, "height": 780}
    with watched(browser, viewport=size, color_scheme="dark", has_touch=True, is_mobile=True) as page:
        page.goto(review.address)
        page.wait_for_selector("#grid li")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.tap("#grid .choose >> nth=0")
        for button in ("#none", "[data-bulk=confirm]", "#all"):
            box = page.locator(button).bounding_box()
            assert box["y"] + box["height"] <= 780
        page.tap("#none")
        page.tap("#grid .tile >> nth=0")
        box = page.locator("#confirm").bounding_box()
        assert box["y"] + box["height"] <= 780, "in reach without scrolling"
        page.tap("#confirm")
        settle(page, 1)
