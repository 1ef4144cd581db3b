"""Boxes on the gallery page: every region's, with its name, in the grid, in the large view, and where no script runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsers import (
    BROWSER,
    becomes,
    expect,
    focuses,
    listed,
    place,
    place_in,
    press,
    shows,
    stands_in,
    until,
    watched,
)
from conftest import Gallery
from regions import BOXES, four_regions, paint_four, put_regions, region

import cartag
from cartag.exporting import page as gallery_page

NAMES = ["Red Racer", "Blue Bolt", "unknown", "Ferrari F430?"]
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (Debian: chromium)")


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    """Photos of four cars, upright and wide, and one without regions."""
    paint_four(gallery)
    paint_four(gallery, "high.jpg", (200, 600))
    paint_four(gallery, "wide.jpg", (900, 200))
    gallery.paint("plain.jpg", "blue", mark=1, size=(300, 200))
    gallery.tag()
    for name in ("four.jpg", "high.jpg", "wide.jpg"):
        put_regions(gallery, name, four_regions())
    return gallery


def exported(gallery: Gallery, to: Path) -> str:
    cartag.export(gallery.path, "html", to=to)
    return (to / "index.html").read_text(encoding="utf-8")


def shown(gallery: Gallery, to: Path) -> dict[str, Any]:
    found = gallery_page._DATA.search(exported(gallery, to))
    assert found is not None
    photos = gallery_page.msgspec.json.decode(found[1])["photos"]
    return {photo["path"]: photo.get("regions") for photo in photos}


def test_every_box_has_a_name_but_those_that_a_person_deleted(tagged: Gallery, tmp_path: Path) -> None:
    regions = four_regions()
    regions[1] |= {"source": "human", "outcome": "no-car", "tags": []}
    regions[2] |= {"source": "human", "outcome": "tagged"}
    regions[2]["tags"] = [{"car": "yellow-yeti", "score": 1.0, "source": "human"}]
    put_regions(tagged, "four.jpg", regions)
    data = shown(tagged, tmp_path / "page")
    assert data["four.jpg"] == [
        {"box": BOXES[0], "name": "Red Racer", "score": 0.9},
        {"box": BOXES[2], "name": "Yellow Yeti", "human": True},
        {"box": BOXES[3], "name": "Ferrari F430?"},
    ]
    assert data["plain.jpg"] is None


def test_a_box_is_not_called_by_what_the_photo_does_not_show(tagged: Gallery, tmp_path: Path) -> None:
    tags = [{"car": "blue-bolt", "score": 1.0, "source": "human"}]
    tagged.edit_photo("four.jpg", tags=tags, confirmed=True)
    names = [found["name"] for found in shown(tagged, tmp_path / "page")["four.jpg"]]
    assert names == ["unknown", "Blue Bolt", "unknown", "Ferrari F430?"]


def test_a_page_with_boxes_is_known_as_ours_and_one_that_was_edited_is_not(tagged: Gallery, tmp_path: Path) -> None:
    text = exported(tagged, tmp_path / "page")
    assert gallery_page.is_page(text.encode())
    assert not gallery_page.is_page(text.replace("<title>Blue Bolt</title>", "<title>Mine</title>", 1).encode())
    broken = text.replace('"regions":[{"box":[0.05,', '"regions":[{"box":["a",', 1)
    assert broken != text
    assert not gallery_page.is_page(broken.encode())


def test_no_name_becomes_markup_where_no_script_runs(tagged: Gallery, tmp_path: Path) -> None:
    evil = '</noscript><script>alert("1")</script>'
    put_regions(tagged, "four.jpg", [region(BOXES[0], other=evil)])
    text = exported(tagged, tmp_path / "page")
    assert "</noscript><script>alert" not in text
    assert "&lt;/noscript&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;?" in text
    assert gallery_page.is_page(text.encode())


@needs_browser
def test_boxes_grow_with_the_picture_and_say_their_names(browser: Any, tagged: Gallery, tmp_path: Path) -> None:
    exported(tagged, tmp_path / "page")
    with watched(browser) as page:
        page.goto((tmp_path / "page" / "index.html").as_uri())
        page.click("[title='four.jpg']")
        for width, height in ((1200, 800), (500, 700)):
            page.set_viewport_size({"width": width, "height": height})
            until(page, lambda width=width: width / 2 < place(page, "#frame")["width"] <= width)
            for i, box in enumerate(BOXES):
                stands_in(page, f"#frame .box >> nth={i}", "#frame", box)
        expect(page.locator("#frame .box span")).to_have_text(NAMES)
        press(page, "Tab")
        expect(page.locator("#after")).to_be_focused()
        press(page, "Tab")
        for i, name in enumerate(("Red Racer, 90 %", "Blue Bolt, 70 %", "unknown", "Ferrari F430?")):
            expect(page.locator(":focus")).to_have_attribute("aria-label", f"Box {i + 1} of 4: {name}")
            press(page, "Tab")
        page.keyboard.press("b")
        expect(page.locator("#frame .box:visible")).to_have_count(0)
        page.keyboard.press("Escape")


def place_in_photo(page: Any, name: str, ratio: float) -> list[float]:
    """Of a tile's first box, in fractions of the whole photo: of a picture that fills its frame two sides are cut off."""
    frame = place(page, f"[title='{name}'] .picture")
    width = max(frame["width"], frame["height"] * ratio)
    height = width / ratio
    whole = {
        "x": frame["x"] + (frame["width"] - width) / 2,
        "y": frame["y"] + (frame["height"] - height) / 2,
        "width": width,
        "height": height,
    }
    return place_in(place(page, f"[title='{name}'] .box"), whole)


@needs_browser
def test_a_tile_shows_names_on_hover_and_focus_at_their_places(browser: Any, tagged: Gallery, tmp_path: Path) -> None:
    exported(tagged, tmp_path / "page")
    with watched(browser) as page:
        page.goto((tmp_path / "page" / "index.html").as_uri())
        page.wait_for_selector("#grid li")
        name = page.locator("[title='four.jpg'] .box span").first
        expect(name).to_have_css("opacity", "0")
        page.hover("[title='four.jpg']")
        expect(name).to_have_css("opacity", "1")
        page.mouse.move(0, 0)
        expect(name).to_have_css("opacity", "0")
        page.locator("#grid .tile").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        focuses(page, "four.jpg")
        expect(name).to_have_css("opacity", "1")
        expect(page.locator("[title='plain.jpg'] .box")).to_have_count(0)
        for photo, ratio in (("four.jpg", 1.5), ("high.jpg", 1 / 3), ("wide.jpg", 4.5)):
            wanted = pytest.approx(BOXES[0], abs=0.02)  # where the red car is
            becomes(page, lambda photo=photo, ratio=ratio: place_in_photo(page, photo, ratio), wanted, photo)


@needs_browser
def test_where_a_path_has_no_room_the_name_of_the_file_is_what_stays(
    browser: Any, gallery: Gallery, tmp_path: Path
) -> None:
    file = f"{'the start in Brescia, ' * 4}in the rain/IMG_4711.jpg"
    long = f"a/{'long-' * 20}.jpg"
    gallery.paint(file, "red")
    gallery.paint(long, "blue")
    gallery.tag()
    exported(gallery, tmp_path / "page")
    room = "e => [e.scrollWidth <= e.clientWidth, e.getBoundingClientRect().right <= e.closest('.tile').getBoundingClientRect().right]"
    with watched(browser) as page:
        page.goto((tmp_path / "page" / "index.html").as_uri())
        listed(page, [long, file])
        tile = page.locator(f"[title='{file}']")
        expect(tile.locator(".path")).to_have_text(file)
        assert tile.locator(".file").evaluate(room) == [True, True]
        assert tile.locator(".folder").evaluate(room) == [False, True], "cut with three dots"
        assert page.locator(f"[title='{long}'] .file").evaluate(room) == [False, True], (
            "cut where there is no room at all"
        )


@needs_browser
def test_a_key_right_after_escape_finds_the_list_as_it_is(browser: Any, tagged: Gallery, tmp_path: Path) -> None:
    """Before the next frame, which brings the browser's own event that a dialog is closed."""
    exported(tagged, tmp_path / "page")
    key = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: '%s', bubbles: true }))"
    focused = "document.activeElement.title"
    with watched(browser) as page:
        page.goto((tmp_path / "page" / "index.html").as_uri())
        listed(page, ["four.jpg", "high.jpg", "plain.jpg", "wide.jpg"])
        page.click("[title='four.jpg']")
        press(page, "ArrowRight")
        shows(page, "#place", "2 of 4")
        at_once = page.evaluate(f"[{key % 'Escape'}, {focused}, {key % 'ArrowRight'}, {focused}]")
        assert at_once[1::2] == ["high.jpg", "plain.jpg"]
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        focuses(page, "plain.jpg")
        press(page, "Enter")
        shows(page, "#place", "3 of 4")
        press(page, "Escape", "ArrowRight")
        focuses(page, "wide.jpg")
        expect(page.locator("#viewer")).to_be_hidden()


@needs_browser
def test_the_large_view_goes_through_the_photos_that_were_listed(browser: Any, tagged: Gallery, tmp_path: Path) -> None:
    """What was typed last reaches the list a moment later, when a photo may be open."""
    exported(tagged, tmp_path / "page")
    with watched(browser) as page:
        page.goto((tmp_path / "page" / "index.html").as_uri())
        page.click("[title='wide.jpg']")
        shows(page, "#place", "4 of 4")
        page.evaluate("location.hash = 'q=plain'")
        listed(page, ["plain.jpg"])
        press(page, "ArrowLeft")
        shows(page, "#place", "3 of 4")
        press(page, "ArrowLeft", "Escape")
        focuses(page, "plain.jpg")


@needs_browser
def test_without_a_script_the_boxes_are_there(browser: Any, tagged: Gallery, tmp_path: Path) -> None:
    exported(tagged, tmp_path / "page")
    with watched(browser, java_script_enabled=False) as page:
        page.goto((tmp_path / "page" / "index.html").as_uri())
        expect(page.locator("figure"), "one without regions is not among them").to_have_count(3)
        figure = page.locator("figure").first
        for i, (name, box) in enumerate(zip(NAMES, BOXES, strict=True)):
            expect(figure.get_by_role("img", name=name, exact=True)).to_have_count(1)
            stands_in(page, f"rect >> nth={i}", "figure img", box)
