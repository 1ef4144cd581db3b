"""Exports other than XMP: every format of the table, tables, exiftool's JSON, training metadata, the gallery page."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from conftest import Gallery, later, needs_exiftool, paint, picture, snapshot
from PIL import Image

import cartag
from cartag.cli.export import ExportFormat
from cartag.errors import IndexFileError, UsageError
from cartag.exporting import FORMATS
from cartag.settings import Settings

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NASTY = "</script><script>alert(1)</script> & \"'.jpg".replace("/", "\u2215")
# A slash cannot be in a name, but the page's data must not be ended by a car's name either.
HOSTILE_CAR = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    """A tagged gallery with odd names, a box, a person's tag and a photo that cannot be read."""
    names = ["a b.jpg", "sub/é.jpg", "two\nlines.jpg", NASTY]
    for i, name in enumerate(names):
        gallery.paint(name, ("red", "yellow", "blue", "red")[i], mark=i)
    paint(os.path.join(os.fsencode(gallery.path), b"latin-\xe9.jpg"), "red", mark=5)
    gallery.paint("green.jpg", "green", mark=6)
    (gallery.path / "bad.jpg").write_bytes(b"no picture")
    gallery.tag()
    gallery.edit_photo(
        "a b.jpg", tags=[{"car": "red-racer", "score": 0.9, "source": "human", "box": [0, 0.25, 0.5, 0.5]}]
    )
    return gallery


def document(gallery: Gallery, as_: str, **settings: Any) -> bytes:
    report = cartag.export(gallery.path, as_, settings=Settings().overridden(settings))
    assert report.document is not None
    assert not report.files
    return report.document


# --- the table --------------------------------------------------------------------------------------------------


def test_the_table_of_formats_is_complete() -> None:
    assert [format.value for format in ExportFormat] == list(FORMATS)
    for name, format in FORMATS.items():
        assert (format.document is None) != (format.files is None), name
        assert bool(format.file_name) == (format.document is not None), name


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_the_same_twice_and_leaves_the_photos_alone(
    name: str, tagged: Gallery, tmp_path: Path
) -> None:
    before = snapshot(tagged.path)
    to = tagged.path if name == "imagefolder" else tmp_path / "out"
    dry = cartag.export(tagged.path, name, to=to, dry_run=True)
    assert snapshot(tagged.path) == before
    assert not (tmp_path / "out").exists()
    first = cartag.export(tagged.path, name, to=to)
    assert first.counts["created"] == dry.counts["created"] > 0
    written = snapshot(to)
    second = cartag.export(tagged.path, name, to=to)
    assert second.counts["unchanged"] == len(second.files) == len(first.files)
    assert snapshot(to) == written
    after = snapshot(tagged.path)
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_an_empty_gallery(name: str, gallery: Gallery, tmp_path: Path) -> None:
    gallery.tag()
    cartag.export(gallery.path, name, to=gallery.path if name == "imagefolder" else tmp_path / "out")


def test_wrong_calls_are_said(tagged: Gallery, tmp_path: Path) -> None:
    for arguments, words in (
        ({"as_": "pdf"}, "no such format"),
        ({"as_": "xmp", "naming": "both"}, "--naming"),
        ({"as_": "html"}, "--to DIR"),
        ({"as_": "html", "to": tagged.path / "page"}, "lies in the gallery"),
        ({"as_": "imagefolder", "to": tmp_path}, "beside the photos"),
    ):
        with pytest.raises(UsageError, match=words):
            cartag.export(tagged.path, **arguments)  # type: ignore[arg-type]
    with pytest.raises(IndexFileError, match="no index there"):
        cartag.export(tmp_path / "gallery", "csv", index=tmp_path / "nowhere.json")
    cartag.export(tagged.path, "html", to=tagged.path / ".page")  # hidden: no walk comes there


# --- tables -----------------------------------------------------------------------------------------------------


def test_csv_has_a_row_a_tag(tagged: Gallery) -> None:
    rows = list(csv.DictReader(io.StringIO(document(tagged, "csv").decode(), newline="")))
    assert {row["path"] for row in rows} == set(tagged.outcomes())
    by_path = {row["path"]: row for row in rows}
    assert by_path["a b.jpg"]["name"] == "Red Racer"
    assert by_path["a b.jpg"]["source"] == "human"
    assert [by_path["a b.jpg"][f"box_{k}"] for k in ("x", "y", "width", "height")] == ["0.0", "0.25", "0.5", "0.5"]
    assert by_path["two\nlines.jpg"]["car"] == "blue-bolt"
    assert (by_path["green.jpg"]["outcome"], by_path["green.jpg"]["car"]) == ("no-car", "")
    assert by_path["bad.jpg"]["error"] == "not-an-image"
    assert unquote_to_bytes(by_path["latin-\\xe9.jpg"]["path_on_disk"]) == b"latin-\xe9.jpg"


def test_json_lines_have_a_line_a_photo(tagged: Gallery) -> None:
    rows = {row["path"]: row for row in map(json.loads, document(tagged, "jsonl").splitlines())}
    assert {path: row["outcome"] for path, row in rows.items()} == tagged.outcomes()
    (tag,) = rows["a b.jpg"]["tags"]
    assert tag == {"car": "red-racer", "name": "Red Racer", "make": "Rossi", "score": 0.9, "source": "human", "box": [0, 0.25, 0.5, 0.5]}  # fmt: skip
    assert all(c["name"] for row in rows.values() for c in row["candidates"])


def test_training_metadata_names_files_that_open(tagged: Gallery) -> None:
    rows = {row["file_name"]: row for row in map(json.loads, document(tagged, "imagefolder").splitlines())}
    assert all((tagged.path / name).is_file() for name in rows)
    assert "bad.jpg" not in rows
    assert not any("latin" in name for name in rows), "a name that is not UTF-8 cannot stand in this file"
    assert len({tuple(row) for row in rows.values()}) == 1, "every line has the same fields"
    assert (rows["a b.jpg"]["label"], rows["green.jpg"]["label"]) == ("red-racer", "no-car")
    assert rows["a b.jpg"]["objects"] == {"bbox": [[0, 12, 32, 24]], "categories": ["red-racer"]}


# --- exiftool ---------------------------------------------------------------------------------------------------


def test_exiftool_keys_are_flat_or_grouped(tagged: Gallery) -> None:
    flat = {row["SourceFile"]: row for row in json.loads(document(tagged, "exiftool"))}
    row = flat[str(tagged.path / "a b.jpg")]
    assert (row["Subject"], row["TagsList"]) == (["Red Racer"], ["Cars/Rossi/Red Racer"])
    assert row["ImageRegion"][0]["RegionBoundary"]["RbW"] == 0.5
    assert str(tagged.path / "green.jpg") not in flat
    grouped = json.loads(document(tagged, "exiftool", exiftool_keys="grouped"))
    assert {key for row in grouped for key in row} == {"SourceFile", "XMP:Subject", "XMP:HierarchicalSubject", "XMP:TagsList", "XMP:ImageRegion"}  # fmt: skip


@needs_exiftool
@pytest.mark.parametrize("keys", ["flat", "grouped"])
def test_exiftool_imports_the_file(keys: str, tagged: Gallery, tmp_path: Path) -> None:
    """Into photos of its own: cartag itself never writes to one."""
    copy = Gallery(tmp_path / "copy", tagged.catalog)
    shutil.copytree(tagged.path, copy.path)
    cartag.export(copy.path, "exiftool", to=tmp_path, settings=Settings(exiftool_keys=keys))
    imported = [
        "exiftool",
        "-q",
        f"-json={tmp_path / 'cartag.exiftool.json'}",
        "-overwrite_original",
        "-r",
        str(copy.path),
    ]
    subprocess.run(imported, check=False, capture_output=True)  # photos that the file does not name make it complain
    read = ["exiftool", "-json", "-struct", "-Subject", "-HierarchicalSubject", "-TagsList", "-ImageRegion"]
    out = subprocess.run(
        [*read, str(copy.path / "a b.jpg"), str(copy.path / "sub/é.jpg")], check=True, capture_output=True
    )
    first, second = json.loads(out.stdout)
    assert first["Subject"] in ("Red Racer", ["Red Racer"])
    assert first["ImageRegion"][0]["Name"] == "Red Racer"
    assert second["HierarchicalSubject"] in ("Cars|Rossi|Yellow Yeti", ["Cars|Rossi|Yellow Yeti"])


# --- the page ---------------------------------------------------------------------------------------------------


def export_page(gallery: Gallery, to: Path, **settings: Any) -> dict[str, Any]:
    """Exports the page and returns the data in it."""
    report = cartag.export(gallery.path, "html", to=to, settings=Settings().overridden(settings))
    assert not report.remarks
    data = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', (to / "index.html").read_text(), re.DOTALL
    )
    assert data is not None
    return json.loads(data[1])


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Elements()
    parser.feed(page.read_text())
    return parser.found


def test_the_page_shows_every_photo_and_links_to_it(tagged: Gallery, tmp_path: Path) -> None:
    to = tmp_path / "page"
    data = export_page(tagged, to)
    assert len(data["photos"]) == len(tagged.outcomes())
    for photo in data["photos"]:
        linked = os.path.join(os.fsencode(to), unquote_to_bytes(photo["photo"]))
        assert os.path.exists(linked), photo["path"]
        assert ("thumb" in photo) is (photo["outcome"] != "error")
        if "thumb" in photo:
            with Image.open(to / photo["thumb"]) as thumb:
                assert thumb.format == "JPEG"
                assert not thumb.getexif()
    assert sorted(p.name for p in to.iterdir()) == [".cartag-made.json", "index.html", "thumbs"]


def test_thumbnails_are_upright_small_and_not_enlarged(gallery: Gallery, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "A camera"
    picture("red", size=(1200, 800)).save(gallery.path / "turned.jpg", exif=exif.tobytes())
    picture("red", size=(90, 60)).save(gallery.path / "small.png")
    gallery.tag()
    data = export_page(gallery, tmp_path / "page", html_photos="copy")
    sizes = {}
    for photo in data["photos"]:
        for kind in ("thumb", "photo"):
            with Image.open(tmp_path / "page" / photo[kind]) as image:
                sizes[photo["path"], kind] = image.size
                assert not image.getexif()
    assert sizes == {
        ("turned.jpg", "thumb"): (267, 400),
        ("turned.jpg", "photo"): (800, 1200),
        ("small.png", "thumb"): (90, 60),
        ("small.png", "photo"): (90, 60),
    }


def test_pictures_that_no_photo_has_any_more_go(tagged: Gallery, tmp_path: Path) -> None:
    to = tmp_path / "page"
    export_page(tagged, to, html_photos="copy")
    (to / "thumbs" / "mine.jpg").write_bytes(b"another's")
    (tagged.path / "green.jpg").unlink()
    paint(tagged.path / "a b.jpg", "red", mark=77)
    later(tagged.path / "a b.jpg")
    tagged.tag()
    data = export_page(tagged, to, html_photos="none")
    assert {p.name for p in (to / "thumbs").iterdir()} == {Path(p["thumb"]).name for p in data["photos"] if "thumb" in p} | {"mine.jpg"}  # fmt: skip
    assert not list((to / "photos").iterdir())
    assert not any("photo" in photo for photo in data["photos"])


def test_photos_that_cannot_be_read_now_are_said(tagged: Gallery, tmp_path: Path) -> None:
    (tagged.path / "green.jpg").unlink()
    report = cartag.export(tagged.path, "html", to=tmp_path / "page")
    (remark,) = report.remarks
    assert remark.is_failure
    assert "green.jpg" in remark.message


def test_the_page_never_keeps_a_picture_of_another_photo(gallery: Gallery, tmp_path: Path) -> None:
    red, blue = gallery.paint("1.jpg", "red"), gallery.paint("2.jpg", "blue", size=(80, 48))
    gallery.tag()
    for old, new in ((red, "aside"), (blue, "1.jpg"), (gallery.path / "aside", "2.jpg")):  # and no `tag` yet
        old.rename(gallery.path / new)
    report = cartag.export(gallery.path, "html", to=tmp_path / "page", settings=Settings(html_photos="copy"))
    assert not list((tmp_path / "page").rglob("*.jpg"))
    (remark,) = report.remarks
    assert remark.is_failure
    assert (remark.count, "\n" in remark.message) == (4, False)
    assert f"1.jpg (changed since it was tagged; run 'cartag tag {gallery.path}'" in remark.message
    gallery.tag()
    for photo in export_page(gallery, tmp_path / "page", html_photos="copy")["photos"]:
        with Image.open(gallery.path / photo["path"]) as image:
            size = image.size
        for kind in ("thumb", "photo"):
            with Image.open(tmp_path / "page" / photo[kind]) as made:
                assert made.size == size, photo["path"]


def test_no_name_becomes_markup_or_code(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint(NASTY, "red")
    gallery.path.rename(tmp_path / "<b>gallery & co")
    gallery = Gallery(tmp_path / "<b>gallery & co", gallery.catalog)
    gallery.tag()
    plain = tmp_path / "plain"
    export_page(gallery, plain)
    expected = [tag for tag, _ in elements(plain / "index.html")]

    def rename(raw: dict[str, Any]) -> None:
        for car in raw["catalog"]["cars"]:
            car |= {"name": HOSTILE_CAR, "make": HOSTILE_CAR + "\u2028"}

    gallery.edit(rename)
    data = export_page(gallery, tmp_path / "page")
    assert data["cars"][0]["name"] == HOSTILE_CAR
    assert data["photos"][0]["path"] == NASTY
    assert [tag for tag, _ in elements(tmp_path / "page" / "index.html")] == expected
    assert f"<title>{html.escape('<b>gallery & co')}</title>" in (tmp_path / "page" / "index.html").read_text()


def test_the_page_may_load_nothing_but_its_pictures(tagged: Gallery, tmp_path: Path) -> None:
    export_page(tagged, tmp_path / "page")
    page = tmp_path / "page" / "index.html"
    text = page.read_text()
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    found = elements(page)
    assert not [attributes for _, attributes in found if "src" in attributes or "onclick" in attributes]
    policy = next(a["content"] for _, a in found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src 'self' file:;")
    for kind in ("style", "script"):
        body = re.search(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed (Debian: chromium)")


def dom(page: Path, query: str = "") -> str:
    """The page as a browser has it after its script has run."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    options += [
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={page.parent / 'profile'}",
    ]
    command = [
        str(BROWSER),
        *options,
        "--virtual-time-budget=2000",
        "--window-size=1000,700",
        "--dump-dom",
        page.as_uri() + query,
    ]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=100).stdout


@needs_browser
def test_a_browser_shows_the_page(tagged: Gallery, tmp_path: Path) -> None:
    export_page(tagged, tmp_path / "page")
    page = tmp_path / "page" / "index.html"
    everything, some = dom(page), dom(page, "#q=YETI&outcome=tagged")
    assert everything.count('class="tile"') == len(tagged.outcomes())
    assert some.count('class="tile"') == 1
    assert f"1 of {len(tagged.outcomes())} photos" in some
    assert "sub/é.jpg" in some


_KEYS = """
setTimeout(() => {
  const seen = [], press = key => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
  const focused = () => document.activeElement.title;
  document.querySelector("#grid button").focus();
  seen.push(focused()); press("ArrowRight"); seen.push(focused()); press("End"); seen.push(focused()); press("Home"); seen.push(focused());
  document.activeElement.click();
  seen.push($("viewer").open, $("place").textContent, $("frame").querySelector(".box").hidden);
  press("b"); seen.push($("frame").querySelector(".box").hidden);
  press("ArrowRight"); seen.push($("place").textContent);
  $("close").click();
  seen.push($("viewer").open, focused());
  document.title = JSON.stringify(seen);
}, 100);
"""


@needs_browser
def test_the_page_is_used_by_the_keyboard(gallery: Gallery, tmp_path: Path) -> None:
    for i, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        gallery.paint(name, "red", mark=i)
    gallery.tag()
    gallery.edit_photo("a.jpg", tags=[{"car": "red-racer", "score": 0.9, "box": [0, 0.25, 0.5, 0.5]}])
    export_page(gallery, tmp_path / "page")
    page = tmp_path / "page" / "index.html"
    # The page's own policy would not run what the test adds to it.
    text = re.sub(r"<meta http-equiv=[^>]*>", "", page.read_text())
    page.write_text(text.replace("</body>", f"<script>{_KEYS}</script></body>"))
    found = re.search(r"<title>(.*?)</title>", dom(page), re.DOTALL)
    assert found is not None
    moves, viewer = ["a.jpg", "b.jpg", "c.jpg", "a.jpg"], [True, "1 of 3", False, True, "2 of 3"]
    assert json.loads(html.unescape(found[1])) == [*moves, *viewer, False, "b.jpg"]
