"""The review page as a person uses it, in a real browser: keys, clicks, many at once, and what goes wrong."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browsers import (
    BROWSER,
    becomes,
    bottom,
    expect,
    focuses,
    listed,
    saved,
    settle,
    shows,
    stands_in,
    starts,
    ticked,
    tiles,
    until,
    watched,
    with_scrollbars,
)
from conftest import Gallery
from PIL import Image
from reviews import Served, in_doubt, without_csv

from cartag.state import locks
from cartag.state.place import place_of

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (Debian: chromium)")

Says = Callable[..., None]


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
def says(page: Any, tagged: Gallery) -> Says:
    """Waits until the index says of a photo: its outcome, its cars, whether a person confirmed it."""

    def of(name: str) -> tuple[str, list[str], bool]:
        record = tagged.record(name)
        return record["outcome"], sorted(tag["car"] for tag in record["tags"]), record.get("confirmed", False)

    return lambda name, *said: becomes(page, lambda: of(name), said, name)


@pytest.mark.parametrize("height", [800, 300], ids=["all in sight", "scrolled"])
@pytest.mark.parametrize("key", ["Enter", "g"])
def test_a_full_screen_view_is_dark_to_its_edge_beside_classic_scrollbars(
    browser: Any, review: Served, key: str, height: int
) -> None:
    size = {"width": 1200, "height": height}
    with with_scrollbars(browser) as other, watched(other, viewport=size, color_scheme="light") as page:
        page.goto(review.address + "#order=&state=todo")
        page.wait_for_selector("#grid li")
        tile, width = page.locator("#grid .tile").nth(1), page.evaluate("document.documentElement.clientWidth")
        assert width < 1200, "scrollbars take room"
        tile.focus()  # below, it scrolls
        before = tile.bounding_box()
        page.keyboard.press(key)
        page.wait_for_selector("dialog[open] :is(#frame img, .member)")
        shot = Image.open(io.BytesIO(page.screenshot())).convert("L")
        strip = shot.crop((width, 0, 1200, height))
        assert strip.getextrema()[1] < 64, f"a light strip of {1200 - width} pixels"
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
        assert page.evaluate("document.documentElement.clientWidth") == width
        assert {**tile.bounding_box(), "y": 0} == {**before, "y": 0}, "as wide as it was, in the same column"


def test_it_is_done_with_the_keyboard_alone(page: Any, says: Says) -> None:
    listed(page, ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e <b>.jpg"])
    page.locator("#grid .tile").first.focus()
    page.keyboard.press("Enter")
    shows(page, "#what", "a.jpg")
    expect(page.locator("#where")).to_contain_text("The model says: Red Racer")
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
    says("a.jpg", "tagged", ["red-racer"], True)
    says("b.jpg", "no-car", [], True)
    says("c.jpg", "tagged", ["yellow-yeti"], True)
    says("d.jpg", "unknown", [], False)
    says("e <b>.jpg", "unknown", [], True)
    expect(page.locator("#grid .tile")).to_have_count(1)
    listed(page, ["d.jpg"])
    focuses(page, "d.jpg")


def test_a_wrong_tag_becomes_the_right_one(page: Any, says: Says, tagged: Gallery) -> None:
    in_doubt(tagged)
    page.reload()
    page.click("[title='c.jpg']")
    ticked(page, "Blue Bolt")
    page.click("#answers label:has-text('Blue Bolt')")
    ticked(page, "Not in the catalog")  # no car of the list is none of the catalog
    page.click("#answers label:has-text('Yellow Yeti')")
    ticked(page, "Not in the catalog", False)
    page.click("#answers label:has-text('Red Racer')")
    page.click("#confirm")
    settle(page, 1)
    says("c.jpg", "tagged", ["red-racer", "yellow-yeti"], True)


def test_many_are_settled_at_once_and_undone(page: Any, says: Says, tagged: Gallery) -> None:
    before = tagged.raw()["photos"]
    page.locator("#grid .choose").nth(0).click()
    page.locator("#grid .choose").nth(2).click(modifiers=["Shift"])
    shows(page, "#chosen", "3 photos")
    page.fill("#bulk", "scuderia")
    page.keyboard.press("Enter")
    settle(page, 3)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        says(name, "tagged", ["red-racer"], True)
    listed(page, ["d.jpg", "e <b>.jpg"])
    page.keyboard.press("Control+a")
    page.click("text=Right as they are")
    settle(page, 5)
    expect(page.locator("text=Every photo is settled.")).to_be_visible()
    until(page, lambda: "Red Racer" in (tagged.path / "labels.csv").read_text())
    page.keyboard.press("x")
    settle(page, 3)
    page.click("#undo")
    settle(page, 0)
    becomes(page, lambda: tagged.raw()["photos"], before)
    expect(page.locator("#undo")).to_be_disabled()
    expect(page.locator("#grid .tile")).to_have_count(5)


def test_a_word_is_taken_back(page: Any, says: Says) -> None:
    page.click("[title='a.jpg']")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    starts(page, "#where", "By hand: no car")
    page.click("#back")
    starts(page, "#where", "The model says: Red Racer")
    says("a.jpg", "tagged", ["red-racer"], False)


def test_labels_that_say_otherwise_are_shown_and_proposed(page: Any, says: Says, tagged: Gallery) -> None:
    (tagged.path / "labels.csv").write_text("file,label\nc.jpg,Yellow Yeti\na.jpg,Red Racer\n")
    page.reload()
    page.wait_for_selector("#grid li")
    page.click("text=Label says otherwise")
    listed(page, ["c.jpg"])
    page.click("#grid .tile")
    shows(page, "#said", "Your label: Yellow Yeti")
    page.keyboard.press("Enter")
    settle(page, 1)
    says("c.jpg", "tagged", ["yellow-yeti"], True)


def test_what_cannot_be_saved_is_said_and_not_shown_as_done(page: Any, review: Served, tagged: Gallery) -> None:
    (tagged.path / "labels.csv").write_text("nonsense\n")
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#trouble")).to_be_visible()
    expect(page.locator("#trouble")).to_contain_text("Not saved: ")
    expect(page.locator("#trouble")).to_contain_text("expected the columns")
    settle(page, 0)
    (tagged.path / "labels.csv").unlink()
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    settle(page, 1)
    expect(page.locator("#trouble")).to_be_hidden()
    review.end()
    page.click("[title='b.jpg']")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#trouble")).to_be_visible()
    expect(page.locator("#trouble")).to_contain_text("it has ended")
    page.may_fail = True


def test_what_others_changed_is_loaded_again(page: Any, tagged: Gallery) -> None:
    tagged.paint("new.jpg", "yellow")
    tagged.tag()
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    starts(page, "#summary", "1 of 6")


def test_filters_stay_in_the_address(page: Any, browser: Any) -> None:
    page.fill("#search", "RED")
    expect(page.locator("#grid .tile")).to_have_count(2)
    page.select_option("#outcome", "tagged")
    until(page, lambda: "outcome=tagged" in page.url)
    page.reload()
    page.wait_for_selector("#grid li")
    listed(page, ["a.jpg", "b.jpg"])
    expect(page.locator("#search")).to_have_value("RED")
    expect(page.locator("#outcome")).to_have_value("tagged")
    page.select_option("#car", "c:red-racer")
    page.select_option("#order", "chance")
    until(page, lambda: "order=chance" in page.url)
    becomes(page, lambda: sorted(tiles(page)), ["a.jpg", "b.jpg"])


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
    shows(page, "#what", "c.jpg")
    page.keyboard.press("Enter")
    settle(page, 3)
    says("c.jpg", "tagged", ["blue-bolt"], True)
    shows(page, "#what", "d.jpg")
    with held(tagged):
        page.keyboard.press("n")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        page.click("[title='e <b>.jpg']")
    settle(page, 4)
    shows(page, "#what", "e <b>.jpg")
    page.keyboard.press("u")
    page.keyboard.press("Enter")
    settle(page, 5)
    says("d.jpg", "no-car", [], True)
    says("e <b>.jpg", "unknown", [], True)


def test_what_is_ticked_outlasts_a_save_and_another_edition(page: Any, says: Says, tagged: Gallery) -> None:
    with held(tagged):
        page.click("[title='a.jpg']")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("n")
    settle(page, 1)
    ticked(page, "No car")
    tagged.paint("0.jpg", "yellow")
    tagged.tag()
    page.keyboard.press("Enter")  # a: no car; the answer to it brings the other edition
    page.keyboard.press("ArrowRight")
    shows(page, "#what", "c.jpg")
    page.keyboard.press("u")
    starts(page, "#summary", "1 of 6")
    shows(page, "#what", "c.jpg")
    ticked(page, "Not in the catalog")
    page.keyboard.press("Enter")
    settle(page, 2)
    says("c.jpg", "unknown", [], True)
    says("a.jpg", "no-car", [], True)


def test_a_key_held_down_confirms_nothing_unseen(page: Any, says: Says) -> None:
    page.locator("#grid .tile").first.focus()
    for _ in range(5):
        page.keyboard.down("Enter")  # without an up: repeats
    shows(page, "#what", "a.jpg")
    page.keyboard.up("Enter")
    page.keyboard.press("n")
    for _ in range(4):
        page.keyboard.down("Enter")
    settle(page, 1)
    shows(page, "#what", "b.jpg")
    says("a.jpg", "no-car", [], True)


def test_a_number_is_the_car_and_with_shift_one_more(page: Any, says: Says, tagged: Gallery) -> None:
    in_doubt(tagged)
    page.reload()
    page.click("[title='a.jpg']")
    names = page.locator("#answers .said span:first-child")
    expect(names.first).to_have_text("Red Racer")
    offered = names.all_text_contents()
    page.keyboard.press("Digit2")
    starts(page, "#confirm", "Confirm E")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Digit2")
    starts(page, "#confirm", "Confirm 2 cars")
    page.keyboard.press("Enter")
    settle(page, 2)
    other = {"Yellow Yeti": "yellow-yeti", "Blue Bolt": "blue-bolt"}[offered[1]]
    says("a.jpg", "tagged", [other], True)
    says("b.jpg", "tagged", ["red-racer", other], True)


def test_what_is_not_saved_is_named_until_it_is(page: Any, says: Says, tagged: Gallery) -> None:
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    asked: list[str] = []
    (tagged.path / "labels.csv").write_text("nonsense\n")
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    starts(page, "#state", "Not saved: a.jpg")
    (tagged.path / "labels.csv").unlink()
    page.keyboard.press("Enter")  # b is saved
    settle(page, 1)
    page.keyboard.press("Escape")
    expect(page.locator("#trouble")).to_contain_text("Not saved: a.jpg: ")
    expect(page.locator("#trouble")).not_to_contain_text("b.jpg")
    page.click("#done")
    until(page, lambda: bool(asked) and "a.jpg" in asked[0])
    page.locator("#grid .choose").nth(0).click()
    page.click("[data-bulk=confirm]")
    settle(page, 2)
    expect(page.locator("#trouble")).to_be_hidden()
    says("a.jpg", "tagged", ["red-racer"], True)
    page.may_fail = True


def test_a_choice_comes_back_if_it_cannot_be_saved_and_goes_with_a_filter(page: Any, tagged: Gallery) -> None:
    (tagged.path / "labels.csv").write_text("nonsense\n")
    page.locator("#grid .choose").nth(0).click()
    page.locator("#grid .choose").nth(2).click()
    page.click("[data-bulk=none]")
    expect(page.locator("#trouble")).to_be_visible()
    shows(page, "#chosen", "2 photos")
    page.fill("#search", "a.jpg")
    shows(page, "#chosen", "1 photo")
    page.locator("#grid .tile").first.focus()
    page.keyboard.press("Escape")
    expect(page.locator("#bar")).to_be_hidden()
    page.may_fail = True


def test_leaving_with_something_unsaved_is_asked_about(page: Any, tagged: Gallery) -> None:
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    with held(tagged):
        page.click("[title='a.jpg']")
        page.keyboard.press("Enter")
        page.goto("about:blank")
    becomes(page, lambda: asked, ["beforeunload"])


def test_many_are_confirmed_as_tagged_or_as_labelled(page: Any, says: Says, tagged: Gallery) -> None:
    (tagged.path / "labels.csv").write_text("file,label\na.jpg,Blue Bolt\nb.jpg,none\n")
    page.reload()
    page.wait_for_selector("#grid li")
    shows(page, "[title='a.jpg'] .line", "label: Blue Bolt")
    expect(page.locator("[data-bulk=labels]")).to_be_hidden()
    page.locator("#grid .choose").nth(0).click()
    expect(page.locator("[data-bulk=labels]")).to_be_visible()
    page.click("[data-bulk=confirm]")
    settle(page, 1)
    says("a.jpg", "tagged", ["red-racer"], True)
    page.locator("#grid .choose").nth(0).click()
    page.click("[data-bulk=labels]")
    settle(page, 2)
    says("b.jpg", "no-car", [], True)


def test_undo_shows_the_photo_again(page: Any, says: Says) -> None:
    page.click("[title='b.jpg']")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    settle(page, 1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    shows(page, "#what", "b.jpg")
    shows(page, "#state", "Undone: b.jpg.")
    ticked(page, "Red Racer")
    says("b.jpg", "tagged", ["red-racer"], False)


def test_another_window_s_word_stands(page: Any, browser: Any, review: Served, says: Says) -> None:
    review.decide(("a.jpg", "none"))
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_contain_text("Somebody said something else meanwhile")
    says("a.jpg", "no-car", [], True)
    page.keyboard.press("ArrowLeft")
    starts(page, "#where", "By hand: no car")


def test_undo_does_not_take_her_from_the_photo_that_she_went_on_to(page: Any, says: Says, tagged: Gallery) -> None:
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    settle(page, 1)
    with held(tagged):
        page.keyboard.press("x")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("n")
    shows(page, "#state", "Undone: a.jpg.")
    shows(page, "#what", "d.jpg")
    page.keyboard.press("Enter")
    settle(page, 1)
    says("d.jpg", "no-car", [], True)
    says("a.jpg", "tagged", ["red-racer"], False)


def test_a_photo_that_is_gone_stays_open_and_takes_no_answer(page: Any, says: Says, tagged: Gallery) -> None:
    page.may_fail = True  # its picture is gone too
    (tagged.path / "b.jpg").unlink()
    tagged.tag()
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")  # the answer brings the other edition
    page.keyboard.press("n")
    expect(page.locator("#state")).to_contain_text("not in the index any more")
    shows(page, "#what", "b.jpg")
    for key in ("n", "Enter", "u", "Enter"):
        page.keyboard.press(key)
    shows(page, "#what", "b.jpg")
    page.keyboard.press("ArrowRight")
    shows(page, "#what", "c.jpg")
    page.keyboard.press("Enter")
    settle(page, 2)
    says("c.jpg", "tagged", ["blue-bolt"], True)


def test_what_somebody_else_said_is_seen_before_it_can_be_changed(page: Any, says: Says, tagged: Gallery) -> None:
    page.click("[title='a.jpg']")
    with held(tagged):
        page.keyboard.press("u")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("u")
        tagged.edit_photo("a.jpg", outcome="no-car", tags=[], confirmed=True)
    starts(page, "#where", "By hand: no car")
    expect(page.locator("#state")).to_contain_text("Somebody said something else meanwhile, and that stays: a.jpg")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#state"), "until it is dealt with").to_contain_text("a.jpg")
    page.keyboard.press("ArrowLeft")
    ticked(page, "No car")  # "her answer to what she had seen is void"
    page.keyboard.press("u")
    page.keyboard.press("Enter")
    says("a.jpg", "unknown", [], True)
    expect(page.locator("#state")).to_be_hidden()


def test_her_own_second_word_is_not_somebody_s(page: Any, says: Says, tagged: Gallery) -> None:
    page.click("[title='a.jpg']")
    with held(tagged):
        for key in ("n", "Enter", "ArrowLeft", "u", "Enter", "ArrowLeft", "Digit1", "Enter"):
            page.keyboard.press(key)
    says("a.jpg", "tagged", ["red-racer"], True)  # the last of the three
    saved(page)
    expect(page.locator("#state")).to_be_hidden()


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
    expect(page.locator("#search")).to_have_value("jz")
    says("b.jpg", "unknown", [], True)


def test_undo_after_a_failure_gives_up_that_and_nothing_else(page: Any, says: Says, tagged: Gallery) -> None:
    page.may_fail = True
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    settle(page, 1)
    (tagged.path / "labels.csv").write_text("nonsense\n")
    page.keyboard.press("Enter")
    starts(page, "#state", "Not saved: b.jpg")
    page.keyboard.press("x")
    shows(page, "#state", "Given up.")
    says("a.jpg", "tagged", ["red-racer"], True)


def test_undo_is_of_what_was_decided_here(page: Any, review: Served, says: Says) -> None:
    page.may_fail = True
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    settle(page, 1)
    review.decide(("c.jpg", "none"))  # in another window
    page.keyboard.press("x")
    settle(page, 2)
    says("a.jpg", "tagged", ["red-racer"], True)
    says("c.jpg", "no-car", [], True)


def test_labels_that_lack_something_are_said_to_the_end(
    page: Any, tagged: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartag.reviewing.session.replace_file", without_csv)
    page.click("[title='a.jpg']")
    page.keyboard.press("Enter")
    settle(page, 1)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#state")).to_contain_text("The labels' file cannot be written; it lacks 1")
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
    starts(page, "#state", "Saved, but the page is out of date")
    says("a.jpg", "tagged", ["red-racer"], True)


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
        listed(page, names)
    page.click("[title='c.jpg']")
    expect(page.locator("#answers label").first).to_have_text("1Red Racer70 %")


def test_a_picture_that_fails_late_hides_no_other_photo(page: Any, tagged: Gallery) -> None:
    page.may_fail = True
    failing: list[Any] = []
    failed: list[Any] = []
    page.route("**/picture/*/0/*", lambda route: failing.append(route))  # a.jpg: neither answered nor refused yet
    page.reload()
    page.wait_for_selector("#grid li")
    page.click("[title='a.jpg']")
    until(page, lambda: len(failing) >= 2)
    page.on("requestfailed", lambda request: failed.append(request))
    page.keyboard.press("ArrowRight")
    for route in failing:
        route.abort()
    until(page, lambda: len(failed) >= len(failing))
    page.wait_for_timeout(200)  # time for it to do wrong
    shows(page, "#what", "b.jpg")
    expect(page.locator("#frame img")).to_have_count(1)
    expect(page.locator("#frame .nothing")).to_have_count(0)


def test_boxes_are_drawn(page: Any, tagged: Gallery) -> None:
    box = [0.25, 0.5, 0.5, 0.25]
    tag = {"car": "red-racer", "score": 0.9, "source": "model", "box": box}
    tagged.edit_photo("a.jpg", tags=[tag])
    page.reload()
    page.wait_for_selector("#grid li")
    page.click("[title='a.jpg']")
    stands_in(page, "#frame .box", "#frame", box)


def test_filters_know_what_became_of_the_photos(page: Any) -> None:
    page.click("[data-state=all]")
    page.keyboard.press("Control+a")
    page.click("[data-bulk=none]")
    settle(page, 5)
    expect(page.locator("#car option")).to_have_text(["Every car"])
    expect(page.locator("#outcome option")).to_have_text(["Every outcome", "No car"])


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
    shows(page, "#count", "1,000 photos")
    until(page, lambda: 0 < len(tiles(page)) < 60)
    page.locator("#grid .tile").first.focus()
    page.keyboard.press("End")
    focuses(page, "00999.jpg")
    page.may_fail = True


@pytest.mark.parametrize("width", [390, 640])
def test_a_telephone_shows_all_of_it(browser: Any, review: Served, tagged: Gallery, width: int) -> None:
    (tagged.path / "labels.csv").write_text("file,label\na.jpg,Blue Bolt\n")
    size = {"width": width, "height": 780}
    with watched(browser, viewport=size, color_scheme="dark", has_touch=True, is_mobile=True) as page:
        page.goto(review.address)
        page.wait_for_selector("#grid li")
        until(page, lambda: page.evaluate("document.documentElement.scrollWidth") <= width)
        page.tap("#grid .choose >> nth=0")
        for button in ("#none", "[data-bulk=confirm]", "#all"):
            until(page, lambda button=button: bottom(page, button) <= 780, button)
        page.tap("#none")
        page.tap("#grid .tile >> nth=0")
        until(page, lambda: bottom(page, "#confirm") <= 780, "in reach without scrolling")
        page.tap("#confirm")
        settle(page, 1)
