"""The walk: which files count as photos, and what each is called."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from conftest import Gallery, paint
from hypothesis import given, settings
from strategies import file_names

import cartag
from cartag.errors import GalleryError
from cartag.paths import disk_path, name_on_disk
from cartag.photos.walking import RawPairs, walk
from cartag.values import PhotoFile

FRAME = "Mille Miglia 2013 Cuộc diễu hành xa hoa 1.jpg"
NFC, NFD = unicodedata.normalize("NFC", FRAME), unicodedata.normalize("NFD", FRAME)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def paths(folder: Path) -> list[str]:
    return [photo.path for photo in walk(folder).photos]


def test_photos_come_sorted_by_path_through_all_subfolders(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a/z.jpg", "a/b/c.png", "B.jpg", "a.jpg")
    assert paths(tmp_path) == sorted(["b.jpg", "a/z.jpg", "a/b/c.png", "B.jpg", "a.jpg"])


def test_extensions_count_in_any_case_and_others_do_not(tmp_path: Path) -> None:
    touch(tmp_path, "a.JPG", "b.Jpeg", "c.WEBP", "d.txt", "e.json", "jpg", "f.jpg.part", "g.mp4")
    assert paths(tmp_path) == ["a.JPG", "b.Jpeg", "c.WEBP"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, ".a.jpg", "._a.jpg", ".cartag/thumb.jpg", ".git/x.png", "a.jpg")
    assert paths(tmp_path) == ["a.jpg"]


def test_raw_files_are_counted_not_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.CR2", "b.nef", "c.jpg")
    found = walk(tmp_path)
    assert [photo.path for photo in found.photos] == ["c.jpg"]
    assert found.raw_files == 2


def test_a_raw_file_and_its_jpeg_are_one_photo_or_two(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "IMG_1.CR3",
        "img_1.jpg",
        "IMG_2.NEF",
        "IMG_3.HIF",
        "IMG_3.RAF",
        "IMG_4.jpg",
        "IMG_4.png",
        "a/IMG_4.dng",
    )

    def found(pairs: RawPairs | None) -> tuple[list[str], int, int]:
        walked = walk(tmp_path, pairs)
        return [photo.path for photo in walked.photos], walked.raw_files, walked.raw_pairs

    alone = ["IMG_4.jpg", "IMG_4.png"]
    assert found(None) == (sorted(["img_1.jpg", "IMG_3.HIF", *alone]), 2, 2)
    assert found("jpeg") == (sorted(["img_1.jpg", "IMG_2.NEF", "IMG_3.HIF", "a/IMG_4.dng", *alone]), 0, 2)
    assert found("raw") == (sorted(["IMG_1.CR3", "IMG_2.NEF", "IMG_3.RAF", "a/IMG_4.dng", *alone]), 0, 2)
    both = ["IMG_1.CR3", "img_1.jpg", "IMG_2.NEF", "IMG_3.HIF", "IMG_3.RAF", "a/IMG_4.dng", *alone]
    assert found("both") == (sorted(both), 0, 0)


def test_the_same_name_in_two_folders_is_two_photos(tmp_path: Path) -> None:
    touch(tmp_path, "day-1/IMG_1.jpg", "day-2/IMG_1.jpg", "IMG_1.jpg")
    assert paths(tmp_path) == ["IMG_1.jpg", "day-1/IMG_1.jpg", "day-2/IMG_1.jpg"]


def test_symlinked_folders_are_not_followed_and_symlinked_files_are(tmp_path: Path) -> None:
    touch(tmp_path, "gallery/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "gallery/loop").symlink_to(tmp_path / "gallery", target_is_directory=True)
    (tmp_path / "gallery/out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "gallery/c.jpg").symlink_to(tmp_path / "elsewhere/b.jpg")
    assert paths(tmp_path / "gallery") == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize("target", ["nowhere.jpg", "link.jpg"])
def test_a_link_that_leads_nowhere_is_listed_rather_than_passed_over(tmp_path: Path, target: str) -> None:
    (tmp_path / "link.jpg").symlink_to(target)
    assert paths(tmp_path) == ["link.jpg"]


def test_a_folder_with_the_name_of_a_photo_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg/b.jpg")
    assert paths(tmp_path) == ["a.jpg/b.jpg"]


def test_size_and_mtime_are_those_of_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(5, 1369000000123456789))
    (photo,) = walk(tmp_path).photos
    assert (photo.size, photo.mtime_ns) == (1, 1369000000123456789)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "locked/a.jpg", "b.jpg")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = walk(tmp_path)
    assert [photo.path for photo in found.photos] == ["b.jpg"]
    assert found.unreadable_folders == ["locked"]


def test_a_gallery_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match=r"nowhere: no such folder"):
        walk(tmp_path / "nowhere")


def test_a_gallery_that_is_a_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(GalleryError, match=r"a\.jpg: not a folder"):
        walk(tmp_path / "a.jpg")


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_disk", [NFC, NFD], ids=["NFC", "NFD"])
def test_a_vietnamese_name_has_one_identity_in_both_normal_forms(gallery: Gallery, on_disk: str) -> None:
    gallery.paint(on_disk)
    gallery.tag()
    (hit,) = cartag.find(gallery.path, ["red racer"])
    assert hit.path == NFC
    assert Path(hit.file).read_bytes()


def test_both_normal_forms_in_one_folder_are_two_photos(gallery: Gallery) -> None:
    assert NFC != NFD
    gallery.paint(NFC, "red")
    gallery.paint(NFD, "blue")
    if len(os.listdir(gallery.path)) == 1:
        pytest.skip("this file system holds the two names for one")
    gallery.tag()
    (red,), (blue,) = cartag.find(gallery.path, ["red racer"]), cartag.find(gallery.path, ["blue bolt"])
    assert (red.path, blue.path) == (NFC, NFD)
    assert Path(red.file).read_bytes() != Path(blue.file).read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        b"two words.jpg",
        b" leading and trailing .jpg",
        b"line\nbreak.jpg",
        b"tab\tand\rreturn.jpg",
        b"-rf.jpg",
        b"--help.jpg",
        b"quote\"'`$HOME;*?.jpg",
        b"back\\slash.jpg",
        b"100%25.jpg",
        b"latin-1 \xe9t\xe9.jpg",
        b"\xff\xfe.jpg",
        "красный 🏎️.jpg".encode(),
    ],
)
def test_a_photo_of_any_name_is_tagged_found_and_opens(gallery: Gallery, name: bytes) -> None:
    data = paint(os.fsencode(gallery.path) + b"/day 1/" + name, "red")
    gallery.paint("other.jpg", "blue")
    gallery.tag()
    (hit,) = cartag.find(gallery.path, ["red racer"])
    with open(hit.file, "rb") as f:
        assert f.read() == data
    hit.path.encode("utf-8")  # the index is valid Unicode, whatever the disk says
    assert gallery.tag().unchanged == 2


def test_a_name_with_a_leading_dash_is_no_option_to_the_next_command(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.paint("-rf.jpg")
    gallery.tag()
    monkeypatch.chdir(gallery.path)
    (hit,) = cartag.find(".", ["red racer"])
    assert not hit.file.startswith("-")
    assert Path(hit.file).read_bytes()


def test_a_name_that_looks_like_another_ones_escaped_bytes_stays_a_photo_of_its_own(gallery: Gallery) -> None:
    paint(os.fsencode(gallery.path) + b"/\xff.jpg", "red")
    paint(os.fsencode(gallery.path) + b"/\\xff.jpg", "blue")
    report = gallery.tag()
    assert len(report.index) == 2
    (red,), (blue,) = cartag.find(gallery.path, ["red racer"]), cartag.find(gallery.path, ["blue bolt"])
    assert os.fsencode(red.file).endswith(b"/\xff.jpg")
    assert os.fsencode(blue.file).endswith(b"/\\xff.jpg")


@given(file_names)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_every_name_on_disk_can_be_opened_again_from_its_record(name: bytes) -> None:
    on_disk = os.fsdecode(name)
    printable = name.decode("utf-8", errors="backslashreplace")
    photo = PhotoFile(unicodedata.normalize("NFC", printable), on_disk, 1, 1)
    assert os.fsencode(disk_path(photo.path, name_on_disk(photo))) == name
