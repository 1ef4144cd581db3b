"""What lies among a person's photos and is none of hers is left out, counted, and said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Gallery, human_tags, image_bytes, paint, picture
from hypothesis import given, settings, strategies as st

import cartag
from cartag.errors import SettingsError
from cartag.photos.leave_out import LeaveOut
from cartag.photos.walking import PHOTO_EXTENSIONS, RAW_EXTENSIONS, UNREADABLE_EXTENSIONS, walk
from cartag.settings import NOT_HERS, load_settings

FOREIGN = [
    "@eaDir/01.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "day/@EADIR/a.jpg",
    "#recycle/deleted.jpg",
    "#snapshot/GMT+01/a.jpg",
    "$RECYCLE.BIN/S-1-5/$R0AB.jpg",
    "$Recycle.Bin/$R0AB.jpg",
    "@Recycle/a.jpg",
    "@Recently-Snapshot/a.jpg",
    ".@__thumb/a.jpg",
    ".Trash-1000/files/a.jpg",
    ".Trashes/501/a.jpg",
    "System Volume Information/a.jpg",
    "lost+found/a.jpg",
    "__MACOSX/day/a.jpg",
    "day/._a.jpg",
    "My Catalog Previews.lrdata/0/00/a.jpg",
    "My Catalog Smart Previews.lrdata/a.dng",
    "Lightroom Library.lrlibrary/f00d/previews/a.jpg",
    "day/CaptureOne/Cache/Thumbnails/a.jpg",
    "Mine.cocatalog/Cache/a.jpg",
    "Photos Library.photoslibrary/resources/derivatives/a.jpeg",
    "Photos Library.photoslibrary/resources/renders/a.jpeg",
    "Photos Library.photoslibrary/scopes/cloudsharing/a.jpg",
    "iPhoto Library.photolibrary/Thumbnails/2013/a.jpg",
    "Aperture Library.aplibrary/Previews/a.jpg",
    "iPhoto Library/Data/2008/a.jpg",
    ".picasaoriginals/a.jpg",
]
HERS = [
    "a.jpg",
    "@eaDir.jpg",
    "eaDir/a.jpg",
    "recycle/a.jpg",
    "Trash/a.jpg",
    "resources/a.jpg",
    "Thumbnails/a.jpg",
    "Cache/a.jpg",
    "CaptureOne/a.jpg",
    "my library/Previews/a.jpg",
    "2013.07 photos of the library/Data/a.jpg",
    "previews/a.jpg",
    "Photos Library.photoslibrary/originals/0/a.jpeg",
    "Photos Library.photoslibrary/Masters/2016/a.jpeg",
    "iPhoto Library/Originals/a.jpg",
    "Lightroom Library.lrlibrary/f00d/originals/a.jpg",
    "Masters/a.jpg",
]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def paths(folder: Path, patterns: tuple[str, ...] = NOT_HERS) -> list[str]:
    return [photo.path for photo in walk(folder, "both", patterns).photos]


@pytest.mark.parametrize("name", FOREIGN)
def test_what_systems_and_programs_put_there_is_left_out(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name, "mine.jpg")
    assert paths(tmp_path) == ["mine.jpg"]


@pytest.mark.parametrize("name", HERS)
def test_what_is_hers_is_not(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert paths(tmp_path) == [name]


def test_the_gallery_s_own_name_counts_as_a_folder_above_and_is_never_left_out_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "Mine.photoslibrary"
    touch(library, "resources/derivatives/a.jpg", "originals/b.jpg")
    assert paths(library) == ["originals/b.jpg"]
    monkeypatch.chdir(library)
    assert paths(Path(".")) == ["originals/b.jpg"]
    touch(tmp_path / "#recycle", "a.jpg")
    assert paths(tmp_path / "#recycle") == ["a.jpg"]


def test_folders_left_out_are_counted_and_never_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "@eaDir/a.jpg", "day/@eaDir/a.jpg", "#recycle/b/c/d.jpg", "x_thumb.jpg", "day/mine.jpg")
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(Path(path).name), scandir(path))[1])
    found = walk(tmp_path, leave_out=(*NOT_HERS, "*_thumb.*"))
    assert [photo.path for photo in found.photos] == ["day/mine.jpg"]
    assert found.left_out == {"@eaDir/": 2, "#recycle/": 1, "*_thumb.*": 1}
    assert listed == [tmp_path.name, "day"]


def test_nothing_is_left_out_where_the_list_is_empty(tmp_path: Path) -> None:
    touch(tmp_path, "@eaDir/a.jpg", "#recycle/b.jpg", ".hidden/c.jpg")
    assert paths(tmp_path, ()) == ["#recycle/b.jpg", "@eaDir/a.jpg"]
    assert walk(tmp_path).left_out == {}


_names = st.text(st.sampled_from("abAB.é_#@$+[] "), min_size=1, max_size=6).filter(lambda n: n not in (".", ".."))


@given(st.lists(_names, min_size=1, max_size=3), st.data())
@settings(max_examples=200, derandomize=True)
def test_a_name_is_left_out_by_itself_in_any_case_and_so_by_its_path(names: list[str], data: st.DataObject) -> None:
    def literal(name: str) -> str:
        return name.replace("[", "[[]")

    path, last = "/".join(names), names[-1]
    for pattern in (literal(last), literal(last.upper()) + "/", "*", "/".join(map(literal, names))):
        assert LeaveOut([pattern]).folder(path) == pattern
        assert (LeaveOut([pattern]).file(path) is None) == pattern.endswith("/")
    other = data.draw(_names.filter(lambda n: n.lower() != last.lower()))
    assert LeaveOut([literal(other)]).folder(path) is None
    assert LeaveOut([f"no-such/{literal(last)}"]).folder(path) is None


# --- settings ---------------------------------------------------------------------------------------------------


def test_a_person_may_name_her_own_list_add_to_it_or_have_none(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"

    def of(text: str, **environment: str) -> tuple[str, ...]:
        file.write_text(text, encoding="utf-8")
        return load_settings(file=file, environment=environment).not_hers

    assert of("") == NOT_HERS
    assert of("leave_out: []") == ()
    assert of("leave_out: [a, 'b/']") == ("a", "b/")
    assert of("leave_out_also: ['*_thumb.jpg']") == (*NOT_HERS, "*_thumb.jpg")
    assert of("leave_out: [a]", CARTAG_LEAVE_OUT="b/, c") == ("b/", "c")
    assert of("leave_out:") == NOT_HERS
    assert of("leave_out: [037]") == ("037",), "as it is written"
    for text in ("leave_out: {a: b}", "leave_out: ['']", "leave_out: ['/']", "leave_out_also: [[a]]"):
        with pytest.raises(SettingsError, match=r"settings\.yaml: leave_out.*expected a list of texts"):
            of(text)


# --- in a gallery -----------------------------------------------------------------------------------------------


def test_records_of_what_is_left_out_now_go_and_a_person_s_word_stays(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    gallery.paint("@eaDir/b.jpg", "blue", mark=1)
    gallery.paint("#recycle/c.jpg", "yellow", mark=2)
    assert len(gallery.tag(leave_out=[]).index) == 3
    said = gallery.tag_by_hand("#recycle/c.jpg", "blue-bolt")
    report = gallery.tag()
    assert report.left_out == {"@eaDir/": 1, "#recycle/": 1}
    assert report.gone == 2
    assert sorted(report.index.photos) == ["#recycle/c.jpg", "a.jpg"]
    record = gallery.record("#recycle/c.jpg")
    assert record["missing"] is True
    assert human_tags(record) == [said]
    assert gallery.find("blue bolt") == []
    gallery.tag(leave_out=[])
    assert gallery.find("blue bolt") == ["#recycle/c.jpg", "@eaDir/b.jpg"]


def test_folders_of_labels_are_looked_at_with_the_same_eyes(gallery: Gallery) -> None:
    gallery.paint("Red Racer/a.jpg", "red")
    paint(gallery.path / "#recycle" / "Blue Bolt" / "Red Racer" / "a.jpg", "red")
    paint(gallery.path / "#recycle" / "Blue Bolt" / "a.jpg", "red")
    gallery.tag()
    found = cartag.evaluate(gallery.path, gallery.path)
    assert (found.photos, found.not_in_index) == (1, ())


def run(gallery: Gallery, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(cartag.__file__).parent.parent), "CARTAG_MODEL": "fake"}
    command = [sys.executable, "-m", "cartag", *words, "--catalog", str(gallery.catalog)]
    return subprocess.run(command, cwd=gallery.path, env=environment, capture_output=True, text=True, check=True)


def test_what_is_left_out_and_what_cannot_be_read_is_said_once_each(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    touch(gallery.path, "@eaDir/a.jpg", "b/@eaDir/a.jpg", "#recycle/a.jxl")
    touch(gallery.path, *(f"{i}.JXL" for i in range(9)), "b/a.psd", "b.psd", "c.psd", "d.heics", "notes.txt", "v.mp4")
    done = run(gallery, "tag", ".", "--format", "json")
    assert done.stderr.splitlines() == [
        "cartag: 3 folder(s) or file(s) left out that are no photos of yours: 2 @eaDir/, 1 #recycle/ "
        "(settings: leave_out)",
        "cartag: 13 file(s) left out that look like photos and cannot be read: 9 .jxl, 3 .psd, 1 .heics; export them "
        "as JPEG or TIFF to have them tagged",
    ]
    data = json.loads(done.stdout)
    assert data["left_out"] == {"@eaDir/": 2, "#recycle/": 1}
    assert data["unreadable_kinds"] == {".jxl": 9, ".psd": 3, ".heics": 1}
    assert (data["photos"], data["unreadable"]) == (1, 0)


def test_no_extension_is_of_two_kinds() -> None:
    kinds = (PHOTO_EXTENSIONS, RAW_EXTENSIONS, UNREADABLE_EXTENSIONS)
    assert len(frozenset().union(*kinds)) == sum(map(len, kinds))


@pytest.mark.parametrize(
    ("extension", "kind"),
    [(".mpo", "MPO"), (".jif", "JPEG"), (".jfi", "JPEG"), (".apng", "PNG"), (".j2c", "JPEG2000"), (".avifs", "AVIF")],
)
def test_rarer_names_of_kinds_that_can_be_read_are_photos(gallery: Gallery, extension: str, kind: str) -> None:
    frames = {"save_all": True, "append_images": [picture("green")]} if kind in ("MPO", "AVIF") else {}
    (gallery.path / f"a{extension}").write_bytes(image_bytes(picture("red"), kind, **frames))
    gallery.tag()
    assert gallery.outcomes() == {f"a{extension}": "tagged"}
