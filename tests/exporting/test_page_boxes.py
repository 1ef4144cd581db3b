"""Boxes on the gallery page: every region's, with its name, in the grid, in the large view, and where no script runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsers import BROWSER, wait, watched
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


def place_in(inner: dict[str, float], outer: dict[str, float]) -> list[float]:
    """Where an element stands, in fractions of another."""
    return [
        (inner["x"] - outer["x"]) / outer["width"],
        (inner["y"] - outer["y"]) / outer["height"],
        inner["width"] / outer["width"],
        inner["height"] / outer["height"],
    ]


@needs_browser
def test_boxes_grow_with_the_picture_and_say_their_names(browser: Any, tagged: Gallery, tmp_path: Path) -> None:
    exported(tagged, tmp_path / "page")
    with watched(browser) as page:
        page.goto((tmp_path / "page" / "index.html").as_uri())
        page.click("[title='four.jpg']")
        for width, height in ((1200, 800), (500, 700)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(100)
            frame = page.locator("#frame").bounding_box()
            for i, box in enumerate(BOXES):
                place = place_in(page.locator("#frame .box").nth(i).bounding_box(), frame)
                assert place == pytest.approx(box, abs=0.01)
        assert page.locator("#frame .box span").all_text_contents() == NAMES
        seen = []
        for _ in range(6):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.ariaLabel"))
        assert [text for text in seen if text and text.startswith("Box")] == [
            "Box 1 of 4: Red Racer, 90 %",
            "Box 2 of 4: Blue Bolt, 70 %",
            "Box 3 of 4: unknown",
            "Box 4 of 4: Ferrari F430?",
        ]
        page.keyboard.press("b")
        assert page.locator("#frame .box:visible").count() == 0
        page.keyboard.press("Escape")


@needs_browser
def test_a_tile_shows_names_on_hover_and_focus_at_their_places(browser: Any, tagged: Gallery, tmp_path: Path) -> None:
    exported(tagged, tmp_path / "page")
    with watched(browser) as page:
        page.goto((tmp_path / "page" / "index.html").as_uri())
        page.wait_for_selector("#grid li")
        opacity = "getComputedStyle(document.querySelector(\"[title='four.jpg'] .box span\")).opacity"
        assert page.evaluate(opacity) == "0"
        page.hover("[title='four.jpg']")
        wait(page, f"{opacity} === '1'")
        page.mouse.move(0, 0)
        wait(page, f"{opacity} === '0'")
        page.locator("#grid .tile").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("document.activeElement.title") == "four.jpg"
        wait(page, f"{opacity} === '1'")
        assert page.locator("[title='plain.jpg'] .box").count() == 0
        # Of a picture that fills its frame two sides are cut off: the red car's box is where the red car is.
        for name, ratio in (("four.jpg", 1.5), ("high.jpg", 1 / 3), ("wide.jpg", 4.5)):
            tile = page.locator(f"[title='{name}']")
            frame, box = (tile.locator(what).first.bounding_box() for what in (".picture", ".box"))
            width = max(frame["width"], frame["height"] * ratio)
            height = width / ratio
            whole = {
                "x": frame["x"] + (frame["width"] - width) / 2,
                "y": frame["y"] + (frame["height"] - height) / 2,
                "width": width,
                "height": height,
            }
            assert place_in(box, whole) == pytest.approx(BOXES[0], abs=0.02), name


@needs_browser
def test_without_a_script_the_boxes_are_there(browser: Any, tagged: Gallery, tmp_path: Path) -> None:
    exported(tagged, tmp_path / "page")
    with watched(browser, java_script_enabled=False) as page:
        page.goto((tmp_path / "page" / "index.html").as_uri())
        assert page.locator("figure").count() == 3, "one without regions is not among them"
        figure = page.locator("figure").first
        assert [figure.get_by_role("img", name=name, exact=True).count() for name in NAMES] == [1] * 4
        picture = figure.locator("img").bounding_box()
        for i, box in enumerate(BOXES):
            place = place_in(figure.locator("rect").nth(i).bounding_box(), picture)
            assert place == pytest.approx(box, abs=0.02)
