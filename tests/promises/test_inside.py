"""Nothing outside of a gallery is read or written, whatever an index, a journal, labels or links say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

import msgspec
import pytest
from conftest import Gallery, paint, write_catalog
from hypothesis import given, settings, strategies as st
from strategies import any_paths, file_names, paths

import cartag
from cartag import paths as rules
from cartag.errors import CartagError, IndexFileError, PhotoError
from cartag.paths import are_below, is_below, is_below_on_disk, leads_out
from cartag.photos import images
from cartag.reviewing.decisions import Decision
from cartag.reviewing.pictures import Pictures
from cartag.reviewing.session import Session
from cartag.settings import Settings
from cartag.state import index as indexes
from cartag.state.journal import Facts, Journal

OUTSIDE = ["/etc/passwd", "..", "../a.jpg", "a/../../b.jpg", "a/..", "", ".", "./a.jpg", "a//b.jpg", "a/", "a\0b.jpg"]
INSIDE = ["a.jpg", "a/b.jpg", "..a/b..jpg", "...", ".hidden", " ..", "%2e%2e", "back\\slash.jpg", "C:a.jpg", "é/ü.jpg"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leads_out_is_none(path: str) -> None:
    assert not is_below(path)
    assert not is_below_on_disk(quote(path, safe=""))
    assert not are_below(["a.jpg", path, "b.jpg"])
    assert not are_below(["a.jpg"], ["a.jpg", quote(path)])


@pytest.mark.parametrize("path", INSIDE)
def test_any_other_name_is_one(path: str) -> None:
    assert is_below(path)
    assert is_below_on_disk(quote(path))
    assert are_below([path, "a.jpg"], [quote(path)])


@pytest.mark.parametrize(
    "path",
    ["C:a.jpg", "C:/a.jpg", "\\a.jpg", "\\\\server\\share\\a.jpg", "//server/share/a.jpg", "..\\a.jpg", "a\\..\\..\\b"],
)
def test_on_windows_a_drive_and_a_backslash_lead_out_too(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "IS_WINDOWS", True)
    assert not is_below(path)
    assert not are_below(["a.jpg", path])
    assert are_below(["a.jpg", "back\\slash.jpg", "12:30.jpg"])


@given(st.lists(any_paths | paths, max_size=5))
@settings(max_examples=300, derandomize=True)
def test_many_are_below_where_each_is(names: list[str]) -> None:
    assert are_below(names) == all(map(is_below, names))
    assert are_below([], map(quote, names)) == all(is_below_on_disk(quote(name)) for name in names)


@given(any_paths)
@settings(max_examples=300, derandomize=True)
def test_what_is_below_stays_there_when_it_is_joined(name: str) -> None:
    if is_below(name):
        assert os.path.normpath(os.path.join("/gallery", name)).startswith("/gallery/")


@given(file_names)
@settings(max_examples=200, derandomize=True)
def test_every_name_that_a_file_system_takes_is_below(name: bytes) -> None:
    assert is_below_on_disk(quote_from_bytes(name)) == (name not in (b".", b".."))


# --- at birth ---------------------------------------------------------------------------------------------------


@pytest.mark.damaged_index
@pytest.mark.parametrize("field", ["path", "path_on_disk"])
@pytest.mark.parametrize("path", OUTSIDE)
def test_an_index_with_such_a_path_is_refused_as_a_whole_and_left_alone(
    gallery: Gallery, field: str, path: str
) -> None:
    gallery.paint("a.jpg", "red")
    gallery.paint("b.jpg", "red", mark=1)
    gallery.tag()
    gallery.edit_photo("b.jpg", **{field: path if field == "path" else quote(path)})
    before = gallery.index_file.read_bytes()
    for verb in (
        gallery.tag,
        lambda: cartag.load(gallery.path),
        lambda: cartag.find(gallery.path, ["red"]),
        lambda: cartag.show(gallery.path),
        lambda: cartag.export(gallery.path, "xmp"),
        lambda: Session(gallery.path, indexes.place_of(gallery.path)),
    ):
        with pytest.raises(IndexFileError, match=r"photo 2, .* would lie outside of the gallery; .*run tag") as caught:
            verb()
        assert "\n" not in str(caught.value)
        assert str(gallery.index_file) in str(caught.value)
    assert gallery.index_file.read_bytes() == before
    assert sorted(os.listdir(gallery.path.parent)) == ["colours.yaml", "gallery"]


@pytest.mark.damaged_index
def test_the_line_of_such_a_photo_is_named(gallery: Gallery) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        gallery.paint(name)
    gallery.tag()
    lines = gallery.index_file.read_text(encoding="utf-8").replace('"b.jpg"', '"../b.jpg"')
    gallery.index_file.write_text(lines, encoding="utf-8")
    number = next(i for i, line in enumerate(lines.splitlines(), 1) if "../b.jpg" in line)
    with pytest.raises(IndexFileError, match=rf"line {number}: photo 2, '\.\./b\.jpg',"):
        cartag.load(gallery.path)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_journal_line_with_such_a_path_is_a_damaged_one(gallery: Gallery, path: str) -> None:
    place = indexes.place_of(gallery.path)
    place.state.mkdir()
    good = {"path": "a.jpg", "size": 1, "mtime_ns": 1}
    lines = [json.dumps([good]), json.dumps([{**good, "path": path}])]
    place.journal.write_text("\n".join(lines) + "\n", encoding="utf-8")
    journal = Journal(place.journal)
    assert journal.read() == [Facts(**good)]
    assert journal.damaged_lines == 1


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_decision_about_such_a_path_is_none(path: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="outside of the gallery"):
        msgspec.json.decode(json.dumps([{"path": path, "truth": "none"}]), type=list[Decision])


@pytest.mark.parametrize("source", ["../labels.csv", "a/../../labels.csv", "/etc/../etc/passwd", "a\0b", "./x"])
def test_what_was_learned_names_no_labels_elsewhere(gallery: Gallery, source: str) -> None:
    from cartag.learning import learned

    place = indexes.place_of(gallery.path)
    facts = {
        "model": "m",
        "catalog": "c",
        "cars": [],
        "adapted": [],
        "labels": {},
        "precision": 0.95,
        "calibration": {},
        "tensors": "",
        "source": source,
    }
    learned.learned_files(place)[0].write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(IndexFileError, match=r"learned\.json: source: .* run 'cartag learn' again"):
        learned.load_learned(place)


def test_a_label_of_a_file_elsewhere_is_of_no_photo(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg", "red")
    paint(tmp_path / "b.jpg", "red")
    gallery.tag()
    labels = tmp_path / "labels.csv"
    labels.write_text(
        f"file,label\n{gallery.path / 'a.jpg'},Red Racer\n../b.jpg,Red Racer\n{tmp_path / 'b.jpg'},Red Racer\n",
        encoding="utf-8",
    )
    found = cartag.evaluate(gallery.path, labels, report=tmp_path / "report")
    assert len(found.not_in_index) == 2
    assert found.photos == 1


# --- links ------------------------------------------------------------------------------------------------------


@pytest.fixture
def linked(gallery: Gallery, tmp_path: Path) -> Gallery:
    """A gallery whose index names photos behind a folder that has become a link to elsewhere, and one that is a link."""
    gallery.paint("a.jpg", "red")
    gallery.paint("day/b.jpg", "blue")
    paint(tmp_path / "lent" / "c.jpg", "yellow")
    (gallery.path / "c.jpg").symlink_to(tmp_path / "lent" / "c.jpg")
    gallery.tag()
    (gallery.path / "day").rename(tmp_path / "elsewhere")
    (gallery.path / "day").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    return gallery


def test_a_photo_that_is_a_link_is_read_and_one_behind_a_linked_folder_is_not(linked: Gallery) -> None:
    assert images.read_photo(linked.path, "c.jpg")
    with pytest.raises(PhotoError, match="leads out") as caught:
        images.read_photo(linked.path, "day/b.jpg")
    assert caught.value.reason == "unreadable"
    for name in ("../elsewhere/b.jpg", "day/../../elsewhere/b.jpg", str(linked.path.parent / "elsewhere" / "b.jpg")):
        with pytest.raises(PhotoError):
            images.read_photo(linked.path, name)


def test_a_folder_that_is_a_link_within_the_gallery_is_no_way_out(gallery: Gallery) -> None:
    gallery.paint("day/b.jpg")
    (gallery.path / "again").symlink_to("day", target_is_directory=True)
    assert not leads_out(gallery.path, "again/b.jpg")
    assert not leads_out(gallery.path, "again/b.jpg.xmp", to_write=True)
    link = gallery.path.parent / "called-otherwise"
    link.symlink_to(gallery.path, target_is_directory=True)
    assert not leads_out(link, "day/b.jpg")
    assert not leads_out(link, "day/not/there/yet.jpg", to_write=True)


def test_sidecars_are_written_beside_links_and_never_behind_them(linked: Gallery, tmp_path: Path) -> None:
    victim = tmp_path / "victim.xmp"
    victim.write_text('<x:xmpmeta xmlns:x="adobe:ns:meta/"/>', encoding="utf-8")
    (linked.path / "a.jpg.xmp").symlink_to(victim)
    report = cartag.export(linked.path, "xmp")
    assert {remark.message.split(": ")[0] for remark in report.remarks} == {
        str(linked.path / name) for name in ("a.jpg.xmp", "day/b.jpg.xmp")
    }
    assert report.failures == 2
    assert (linked.path / "c.jpg.xmp").is_file()
    assert victim.read_text(encoding="utf-8") == '<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    assert os.listdir(tmp_path / "elsewhere") == ["b.jpg"]
    assert os.listdir(tmp_path / "lent") == ["c.jpg"]


def test_pages_show_no_photo_behind_such_a_link(linked: Gallery, tmp_path: Path) -> None:
    report = cartag.export(linked.path, "html", to=tmp_path / "page")
    assert len(list((tmp_path / "page" / "thumbs").iterdir())) == 2
    assert any("day/b.jpg" in remark.message for remark in report.remarks)
    place = indexes.place_of(linked.path)
    pictures, records = Pictures(linked.path, place, Settings()), indexes.read_index(linked.path).photos
    assert pictures.picture(records["c.jpg"], "small").data
    with pytest.raises(PhotoError, match="leads out"):
        pictures.picture(records["day/b.jpg"], "large")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nday/b.jpg,Red Racer\nc.jpg,Blue Bolt\n", encoding="utf-8")
    cartag.evaluate(linked.path, labels, report=tmp_path / "report")
    assert "leads out" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_small_pictures_are_not_kept_where_a_link_leads(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    place = indexes.place_of(gallery.path)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / f"{'0' * 64}.jpg").write_bytes(b"hers")
    (place.state / "thumbs").symlink_to(tmp_path / "foreign", target_is_directory=True)
    index = indexes.read_index(gallery.path)
    pictures = Pictures(gallery.path, place, Settings())
    pictures.forget_others(index)
    assert pictures.picture(index.photos["a.jpg"], "small").data
    assert os.listdir(tmp_path / "foreign") == [f"{'0' * 64}.jpg"]


# --- whatever an index holds ------------------------------------------------------------------------------------


def _touched(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder but for the gallery and what was named with --to."""
    found = {}
    for path in folder.rglob("*"):
        if path.relative_to(folder).parts[0] not in ("gallery", "to", "report"):
            stat = path.lstat()
            found[str(path)] = (stat.st_size, stat.st_mtime_ns)
    return found


def _verbs(gallery: Path, to: Path) -> Iterator[Callable[[], Any]]:
    place = indexes.place_of(gallery)
    yield lambda: cartag.export(gallery, "xmp")
    yield lambda: cartag.export(gallery, "xmp", naming="stem")
    yield lambda: cartag.export(gallery, "xmp", to=to / "sidecars")
    yield lambda: cartag.export(gallery, "html", to=to / "page")
    yield lambda: cartag.export(gallery, "html", to=to / "copies", settings=Settings(html_photos="copy"))
    yield lambda: cartag.export(gallery, "csv", to=to / "tables")
    yield lambda: cartag.export(gallery, "imagefolder", to=gallery)
    yield lambda: cartag.evaluate(gallery, gallery / "labels.csv", report=to.parent / "report")

    def review() -> None:
        session = Session(gallery, place, gallery / "said.csv")
        pictures = Pictures(gallery, place, Settings())
        for photo in session.snapshot().photos:
            with suppress(PhotoError):
                pictures.picture(photo.record, "small")
            session.decide([Decision(path=photo.record.path, truth="none")])

    yield review


@st.composite
def _records(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(any_paths | st.sampled_from(["a.jpg", "link/b.jpg", "inner/b.jpg"]), max_size=4, unique=True))
    return [
        {
            "path": name,
            "size": 1,
            "mtime_ns": 1,
            "outcome": "tagged",
            "sha256": f"{i:064x}",
            "tags": [{"car": "red-racer", "score": 0.9}],
            **({"path_on_disk": quote(draw(any_paths))} if draw(st.booleans()) else {}),
        }
        for i, name in enumerate(names)
    ]


@pytest.mark.timeout(280)
def test_whatever_an_index_holds_nothing_outside_is_read_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    read = images.read_bytes
    monkeypatch.setattr(
        images, "read_bytes", lambda path, *a: (opened.append(os.path.realpath(path)), read(path, *a))[1]
    )
    world = tmp_path / "world"
    gallery = Gallery(world / "gallery", write_catalog(tmp_path))
    paint(world / "b.jpg", "blue")
    paint(world / "elsewhere" / "b.jpg", "blue")
    gallery.paint("a.jpg")
    gallery.paint("inner/b.jpg")
    (gallery.path / "link").symlink_to(world / "elsewhere", target_is_directory=True)
    gallery.tag()
    header, labels = gallery.raw(), "file,label\na.jpg,Red Racer\nlink/b.jpg,Blue Bolt\n../b.jpg,none\n"
    (gallery.path / "labels.csv").write_text(labels, encoding="utf-8")
    before = _touched(world)

    @given(_records())
    @settings(max_examples=60, deadline=None, derandomize=True)
    def check(photos: list[dict[str, Any]]) -> None:
        gallery.index_file.write_text(json.dumps({**header, "photos": photos}), encoding="utf-8")
        for verb in _verbs(gallery.path, world / "to"):
            with suppress(CartagError):
                verb()
        assert _touched(world) == before
        assert all(path.startswith(f"{gallery.path}{os.sep}") for path in opened)

    check()
    assert opened
    gallery.index_file.write_text(json.dumps(header), encoding="utf-8")
