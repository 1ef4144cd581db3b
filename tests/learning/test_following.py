"""Rows of the labels that were learned from follow their photos; all else in the file stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Gallery, later, write_catalog
from notes import tag
from reviews import without_csv

import cartag
from cartag.errors import LabelsError
from cartag.learning import following
from cartag.learning.learned import load_learned
from cartag.reviewing import Decision, Session
from cartag.state.place import place_of
from cartag.tagging import tagging

CARS = "cars: [Red Racer, Phantom]\nother_cars: [Orange Other]\nno_car: [a photo of green grass.]\n"
ROWS = [
    "red-0.jpg,Red Racer,first",
    "phantom-0.jpg,Phantom,",
    'green.jpg,none,"a, b"',
    "elsewhere.jpg,Phantom,not here",
]


@pytest.fixture
def learned(gallery: Gallery, tmp_path: Path) -> Gallery:
    """Red, silver and green photos, learned from three rows."""
    gallery.catalog = write_catalog(tmp_path, CARS)
    for i in range(2):
        gallery.paint(f"red-{i}.jpg", "red", mark=i)
        gallery.paint(f"phantom-{i}.jpg", "silver", mark=4 + i)
    gallery.paint("green.jpg", "green")
    gallery.tag()
    csv(gallery).write_bytes(b"\xef\xbb\xbffile,label,note\r\n" + "".join(f"{row}\r\n" for row in ROWS).encode())
    assert cartag.learn(gallery.path, csv(gallery)).kept
    gallery.tag()
    return gallery


def csv(gallery: Gallery) -> Path:
    return gallery.path / "labels.csv"


def rows(gallery: Gallery) -> list[str]:
    data = csv(gallery).read_bytes()
    assert data.startswith(b"\xef\xbb\xbffile,label,note\r\n")
    assert data.count(b"\n") == data.count(b"\r\n")
    return data.decode("utf-8-sig").split("\r\n")[1:-1]


def swap(gallery: Gallery, one: str, two: str) -> None:
    (gallery.path / one).rename(gallery.path / "swap")
    (gallery.path / two).rename(gallery.path / one)
    (gallery.path / "swap").rename(gallery.path / two)


SWAPPED = ["phantom-0.jpg,Red Racer,first", "red-0.jpg,Phantom,", *ROWS[2:]]


def test_rows_follow_photos_that_swap_their_names(learned: Gallery) -> None:
    swap(learned, "red-0.jpg", "phantom-0.jpg")
    said = tag(learned)
    assert f"{csv(learned)}: its rows follow 2 photos, e.g. phantom-0.jpg is red-0.jpg now" in said
    assert rows(learned) == SWAPPED
    assert learned.find("phantom") == ["phantom-1.jpg", "red-0.jpg"]
    before = csv(learned).read_bytes()
    assert tag(learned) == []
    assert csv(learned).read_bytes() == before


@pytest.mark.parametrize("mark", [";", "\t"])
def test_rows_that_follow_keep_what_parts_the_columns(learned: Gallery, mark: str) -> None:
    text = '\ufefffile;label;note\r\nred-0.jpg;Red Racer;"first"\r\nphantom-0.jpg;Phantom;a, b\r\n'
    csv(learned).write_bytes(text.replace(";", mark).encode())
    cartag.learn(learned.path, csv(learned))
    learned.tag()
    (learned.path / "phantom-0.jpg").rename(learned.path / "p;1.jpg")
    tag(learned)
    after = text.replace(";", mark).replace("phantom-0.jpg", "p;1.jpg" if mark != ";" else '"p;1.jpg"')
    assert csv(learned).read_bytes() == after.encode()


def test_rows_of_photos_that_are_renamed_or_lose_their_name(learned: Gallery) -> None:
    lost = learned.record("red-0.jpg")["sha256"][:12]
    (learned.path / "green.jpg").rename(learned.path / "red-0.jpg")
    (learned.path / "day").mkdir()
    (learned.path / "phantom-0.jpg").rename(learned.path / "day/p.jpg")
    tag(learned)
    assert rows(learned) == [
        f"red-0.jpg (gone {lost}),Red Racer,first",
        "day/p.jpg,Phantom,",
        'red-0.jpg,none,"a, b"',
        ROWS[3],
    ]
    learned.paint("back.jpg", "red", mark=0)
    tag(learned)
    assert rows(learned)[0] == "back.jpg,Red Racer,first"


def test_rows_that_lead_into_the_gallery_are_written_as_they_were(learned: Gallery) -> None:
    data = csv(learned).read_bytes()
    csv(learned).write_bytes(data.replace(b"red-0.jpg", os.fsencode(learned.path / "red-0.jpg")))
    tag(learned)
    (learned.path / "red-0.jpg").rename(learned.path / "r.jpg")
    tag(learned)
    assert rows(learned)[0] == f"{learned.path}/r.jpg,Red Racer,first"


def test_an_edited_or_deleted_photo_leaves_its_row(learned: Gallery) -> None:
    later(learned.paint("red-0.jpg", "red", mark=9))
    (learned.path / "phantom-0.jpg").unlink()
    tag(learned)
    assert rows(learned) == ROWS


def test_a_csv_that_cannot_be_written_is_owed_and_not_learned_from(
    learned: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = load_learned(place_of(learned.path)).facts  # type: ignore[union-attr]
    swap(learned, "red-0.jpg", "phantom-0.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(following, "replace_file", without_csv)
        for _ in range(2):
            said = tag(learned)
            assert [note for note in said if "labels.csv: cannot be written (No space left on device)" in note]
            assert rows(learned) == ROWS
            assert load_learned(place_of(learned.path)).facts == facts  # type: ignore[union-attr]
        with pytest.raises(LabelsError, match=r"as they were called before, e\.g\. phantom-0\.jpg; make it writable"):
            cartag.learn(learned.path, csv(learned))
        swap(learned, "red-0.jpg", "red-1.jpg")
        tag(learned)
    tag(learned)
    assert rows(learned) == ["phantom-0.jpg,Red Racer,first", "red-1.jpg,Phantom,", *ROWS[2:]]
    assert learned.find("phantom") == ["phantom-1.jpg", "red-1.jpg"]
    assert not following.owes_rows(place_of(learned.path))


@pytest.mark.parametrize("point", ["before the index", "after the index", "after the rows"])
def test_a_run_that_dies_mixes_nothing_up(learned: Gallery, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    class Killed(BaseException):
        pass

    def die(*args: object) -> None:
        raise Killed

    where = {
        "before the index": ("cartag.tagging.saving.write_index", die),
        "after the index": ("cartag.learning.following.LabelRows.write", die),
        "after the rows": ("cartag.state.journal.Journal.remove", die),
    }[point]
    swap(learned, "red-0.jpg", "phantom-0.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(*where)
        with pytest.raises(Killed):
            learned.tag()
    tag(learned)
    assert rows(learned) == SWAPPED
    assert learned.find("phantom") == ["phantom-1.jpg", "red-0.jpg"]


def test_rows_that_a_person_wrote_since_are_hers(learned: Gallery) -> None:
    """She swapped the names and mended the file by hand, before cartag saw either."""
    swap(learned, "red-0.jpg", "phantom-0.jpg")
    data = csv(learned).read_bytes().replace(b"red-0.jpg,Red Racer", b"red-0.jpg,Phantom")
    csv(learned).write_bytes(data.replace(b"phantom-0.jpg,Phantom", b"phantom-0.jpg,Red Racer"))
    said = tag(learned)
    assert [note for note in said if "2 photos that it names came to hold others, e.g. phantom-0.jpg" in note]
    assert rows(learned)[:2] == ["red-0.jpg,Phantom,first", "phantom-0.jpg,Red Racer,"]
    assert [note for note in tag(learned) if "learned again" in note]
    assert learned.find("phantom") == ["phantom-1.jpg", "red-0.jpg"]


def test_rows_that_a_review_wrote_since_follow(learned: Gallery) -> None:
    session = Session(learned.path, place_of(learned.path), csv(learned))
    session.decide([Decision(path="red-1.jpg", truth="car", cars=("red-racer",))])
    session.decide([Decision(path="green.jpg", truth="unknown")])
    (learned.path / "red-1.jpg").rename(learned.path / "r.jpg")
    swap(learned, "green.jpg", "phantom-1.jpg")
    tag(learned)
    assert rows(learned) == [*ROWS[:2], 'phantom-1.jpg,unknown,"a, b"', ROWS[3], "r.jpg,Red Racer,"]
    assert learned.record("r.jpg")["confirmed"]
    assert learned.record("phantom-1.jpg")["outcome"] == "unknown"


def test_rows_that_cannot_follow_are_said(learned: Gallery) -> None:
    """Once the row is mended, the others would be learned from, of whatever photo has the name by then."""
    mended = csv(learned).read_bytes()
    for i, row in enumerate((b"x.jpg,Blorgh Fantastico\r\n", b"x.jpg,none|Phantom\r\n")):
        csv(learned).write_bytes(mended + row)
        swap(learned, "red-0.jpg", "phantom-0.jpg")
        (said, *_) = tag(learned)
        assert "look whether the" in said, i
        assert rows(learned)[:-1] == ROWS


def test_a_csv_that_nobody_edited_is_trusted_whatever_a_killed_run_left_undone(
    learned: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    (learned.path / "green.jpg").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(tagging, "_refitted", lambda *_: False)  # killed when the index was written
        learned.tag()
    swap(learned, "red-0.jpg", "phantom-0.jpg")
    tag(learned)
    assert rows(learned) == SWAPPED


def test_labels_that_cartag_did_not_learn_from_are_left_alone(gallery: Gallery) -> None:
    for name, colour in (("1.jpg", "red"), ("2.jpg", "blue")):
        gallery.paint(name, colour)
    gallery.tag()
    csv(gallery).write_text("file,label\n1.jpg,Red Racer\n")
    swap(gallery, "1.jpg", "2.jpg")
    gallery.tag()
    assert csv(gallery).read_text() == "file,label\n1.jpg,Red Racer\n"
