"""The report: one page that fetches nothing, whatever the names in it are."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import Gallery, image_bytes, picture, snapshot, write_catalog
from PIL import Image
from typer.testing import CliRunner

import cartag
from cartag.cli import app
from cartag.errors import UsageError
from cartag.photos import images

EVIL = '<img src=x onerror=alert(1)>&"'
CATALOG = f"""
name: colours
cars:
  - {{name: 'Red {EVIL}', id: red, make: Rossi}}
  - {{name: Blue Bolt, make: Volt}}
other_cars: [Orange Other]
no_car: [a photo of green grass.]
"""


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.fixture
def reported(gallery: Gallery, tmp_path: Path) -> Path:
    gallery.catalog = write_catalog(tmp_path, CATALOG, "evil.yaml")
    gallery.paint('a<b>"&.jpg', "red", size=(900, 600))
    gallery.paint("b.jpg", "blue")
    gallery.paint("c.jpg", "orange")
    gallery.paint("gone.jpg", "red")
    gallery.paint("swapped.jpg", "red", mark=3)
    gallery.tag()
    labels = tmp_path / "labels.csv"
    labels.write_text(
        'file,label\n"a<b>""&.jpg",Blue Bolt\nb.jpg,Blue Bolt\nc.jpg,unknown\ngone.jpg,Blue Bolt\nswapped.jpg,Blue Bolt\n'
    )
    (gallery.path / "gone.jpg").unlink()
    gallery.paint("swapped.jpg", "yellow")
    before = snapshot(gallery.path)
    cartag.evaluate(gallery.path, labels, report=tmp_path / "report", against=gallery.index_file)
    assert snapshot(gallery.path) == before
    return tmp_path / "report"


def test_the_page_fetches_nothing_and_runs_nothing(reported: Path) -> None:
    page = (reported / "index.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert {tag for tag, _ in tags.seen}.isdisjoint({"script", "link", "iframe", "object", "embed", "a", "form"})
    for tag, attributes in tags.seen:
        assert not any(name.startswith("on") for name in attributes), tag
        assert not {"href", "xlink:href", "srcset"} & set(attributes)
        assert (attributes.get("src") or "data:").startswith("data:"), tag
    assert "url(" not in page
    assert "@import" not in page


def test_names_are_text_in_it(reported: Path) -> None:
    page = (reported / "index.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "a<b>" not in page
    assert "a&lt;b&gt;&quot;&amp;.jpg" in page
    assert "Red &lt;img src=x" in page


def test_mistakes_have_their_thumbnails_and_photos_that_are_gone_their_reason(reported: Path) -> None:
    page = (reported / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 1
    assert "vanished" in page
    assert "<div class=nothing>unreadable: changed since it was tagged</div>" in page, "not the picture of another one"


def test_the_figures_are_those_of_the_evaluation(reported: Path) -> None:
    raw = json.loads((reported / "metrics.json").read_bytes())
    assert raw["photos"] == 5
    assert raw["mistakes"][0]["kind"] == "wrong tag"
    assert raw["against"]["differences"]["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_every_chart_is_there(reported: Path) -> None:
    page = (reported / "index.html").read_text(encoding="utf-8")
    found = re.findall(r'aria-label="([^"]+)"', page)
    assert found == ["confusion matrix", "share right by mean score", "share right by share of photos answered"]


def test_a_place_that_cannot_be_written_is_said(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\na.jpg,red racer\n")
    with pytest.raises(UsageError, match="--report"):
        cartag.evaluate(gallery.path, labels, report=labels / "report")


def test_the_command_says_where_the_report_is(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\na.jpg,red racer\n")
    done = CliRunner().invoke(app, ["eval", str(gallery.path), str(labels), "--report", str(tmp_path / "r")])
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "r" / "index.html") in done.output


@pytest.mark.parametrize(("size", "wanted"), [((900, 600), (300, 200)), ((600, 900), (200, 300)), ((30, 20), (30, 20))])
def test_a_thumbnail_keeps_the_shape_of_the_photo(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(images.small_jpeg(image_bytes(picture("red", size=size)), 300))) as image:
        assert image.size == wanted
        assert all(abs(a - b) < 12 for a, b in zip(image.getpixel((5, 5)), (220, 20, 30), strict=True))
        assert not image.getexif()


def test_each_bar_shows_its_interval(reported: Path) -> None:
    page = (reported / "index.html").read_text(encoding="utf-8")
    raw = json.loads((reported / "metrics.json").read_bytes())
    (low, high) = next((c["recall_interval"]["low"], c["recall_interval"]["high"]) for c in raw["cars"] if c["photos"])
    assert f"left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%" in page
