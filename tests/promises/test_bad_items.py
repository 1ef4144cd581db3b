"""One bad item costs itself: reports, learning and reviews go on past it, name it, count it, and say so at the end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Gallery
from reviews import served
from typer.testing import CliRunner

import cartag
from cartag.cli import app


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    for i in range(4):
        gallery.paint(f"red-{i}.jpg", "red", mark=i, size=(200, 150))
        gallery.paint(f"blue-{i}.jpg", "blue", mark=i, size=(200, 150))
    gallery.tag()
    return gallery


def labels(gallery: Gallery, *, wrong: bool = False) -> Path:
    """A row for every photo, and one for a photo that nobody has."""
    path = gallery.path.parent / "labels.csv"
    cars = ("Blue Bolt", "Red Racer") if wrong else ("Red Racer", "Blue Bolt")
    rows = [f"{kind}-{i}.jpg,{car}\n" for kind, car in zip(("red", "blue"), cars, strict=True) for i in range(4)]
    path.write_text("file,label\n" + "".join(rows) + "never.jpg,Red Racer\n", encoding="utf-8")
    return path


def vanish(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def damage(path: Path) -> None:
    path.write_bytes(b"no picture")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


BAD: dict[str, Callable[[Path], Any]] = {
    "vanished": vanish,
    "truncated": cut,
    "damaged": damage,
    "empty": empty,
    "a folder": become_a_folder,
    "a loop of links": loop,
}


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# --- eval --report ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BAD)
def test_a_report_goes_on_past_a_photo_that_cannot_be_shown(kind: str, tagged: Gallery, tmp_path: Path) -> None:
    BAD[kind](tagged.path / "red-1.jpg")
    result = cartag.evaluate(tagged.path, labels(tagged, wrong=True), report=tmp_path / "r")
    assert set(result.without_picture) == {"red-1.jpg"}
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 7
    assert "1 photo below could not be read" in page
    assert result.photos == 8, "figures are of the index, not of the pictures"
    assert result.not_in_index == ("never.jpg",)


def test_a_photo_that_may_not_be_read_is_one_of_them(
    tagged: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "red-1.jpg":
            raise PermissionError(13, "Permission denied", str(self))
        return really(self, *arguments, **options)

    really = Path.open
    monkeypatch.setattr(Path, "open", forbidden)
    result = cartag.evaluate(tagged.path, labels(tagged, wrong=True), report=tmp_path / "r")
    assert result.without_picture == {"red-1.jpg": "unreadable: Permission denied"}


def test_the_command_names_the_photos_without_a_picture_and_ends_with_1(tagged: Gallery, tmp_path: Path) -> None:
    assert run("eval", tagged.path, labels(tagged, wrong=True), "--report", tmp_path / "r").exit_code == 0
    (tagged.path / "red-1.jpg").unlink()
    done = run("eval", tagged.path, labels(tagged, wrong=True), "--report", tmp_path / "r")
    assert done.exit_code == 1
    assert "red-1.jpg: no picture of it in the report (vanished" in done.output
    assert "exactly right" in done.output
    raw = json.loads((tmp_path / "r" / "metrics.json").read_bytes())
    assert "without_picture" not in raw, "the figures are the same, whatever could be shown"
    assert run("eval", tagged.path, labels(tagged)).exit_code == 0, "without a report no photo is asked for"


# --- learn ------------------------------------------------------------------------------------------------------


def spoil(gallery: Gallery, name: str, how: Callable[[np.ndarray], bytes | None]) -> None:
    """Changes or removes the embedding of one photo."""
    key = bytes.fromhex(gallery.record(name)["sha256"])
    with sqlite3.connect(gallery.path / ".cartag" / "embeddings.sqlite") as db:
        (vector,) = db.execute("SELECT vector FROM photo WHERE sha256 = ?", (key,)).fetchone()
        new = how(np.frombuffer(vector, np.float32).copy())
        if new is None:
            db.execute("DELETE FROM photo WHERE sha256 = ?", (key,))
        else:
            db.execute("UPDATE photo SET vector = ? WHERE sha256 = ?", (new, key))
    db.close()


SPOILT: dict[str, Callable[[np.ndarray], bytes | None]] = {
    "missing": lambda vector: None,
    "NaN": lambda vector: np.full_like(vector, np.nan).tobytes(),
    "one NaN": lambda vector: np.where(np.arange(len(vector)) == 1, np.nan, vector).astype(np.float32).tobytes(),
    "infinite": lambda vector: np.full_like(vector, np.inf).tobytes(),
    "zero": lambda vector: np.zeros_like(vector).tobytes(),
    "cut": lambda vector: vector[:-3].tobytes(),
    "odd": lambda vector: vector.tobytes()[:-1],
    "nothing": lambda vector: b"",
}


@pytest.mark.parametrize("kind", SPOILT)
def test_learning_goes_on_past_a_damaged_embedding(kind: str, tagged: Gallery) -> None:
    whole = cartag.learn(tagged.path, labels(tagged))
    assert (whole.photos, whole.left_out) == (8, ())
    spoil(tagged, "red-1.jpg", SPOILT[kind])
    report = cartag.learn(tagged.path, labels(tagged))
    assert (report.photos, report.not_embedded, report.left_out) == (7, 1, ("red-1.jpg",))
    assert all(value is None or value == value for value in (*report.after.values(), report.temperature))
    assert cartag.find(tagged.path, text="a red car"), "nor does a query by text meet it"
    done = run("learn", tagged.path, labels(tagged))
    assert done.exit_code == 1
    assert "not learned from: red-1.jpg" in done.output
    assert "--retag" in done.output
    tagged.tag(retag=True)
    assert run("learn", tagged.path, labels(tagged)).exit_code == 0


def test_learning_goes_on_past_a_photo_that_could_not_be_read(tagged: Gallery) -> None:
    damage(tagged.path / "red-1.jpg")
    tagged.tag()
    report = cartag.learn(tagged.path, labels(tagged))
    assert (report.photos, report.not_embedded, report.left_out) == (7, 0, ("red-1.jpg",))
    done = run("learn", tagged.path, labels(tagged), "--format", "json")
    assert done.exit_code == 1
    assert f"could not be read; 'cartag show {tagged.path}' says which" in done.output


def test_learning_asks_for_no_photo(tagged: Gallery) -> None:
    for photo in tagged.path.glob("*.jpg"):
        photo.unlink()
    assert cartag.learn(tagged.path, labels(tagged)).left_out == ()


# --- review -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BAD)
def test_a_review_shows_the_others(kind: str, tagged: Gallery) -> None:
    BAD[kind](tagged.path / "red-1.jpg")
    with served(tagged.path) as review:
        for photo in review.data()["photos"]:
            for size in ("small", "large"):
                answer = review.ask(f"picture/{size}/{photo['number']}/{photo.get('content', '-')}")
                assert answer.status == (404 if photo["path"] == "red-1.jpg" else 200)
                if answer.status == 404:
                    assert ": " in answer.json()["error"], "a reason"
        assert review.decide(("red-2.jpg", "car", "red-racer")).status == 200
    assert tagged.record("red-2.jpg")["confirmed"] is True


def test_a_small_picture_that_cannot_be_removed_keeps_no_other(
    tagged: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tagged.path) as review:
        for photo in review.data()["photos"]:
            review.ask(f"picture/small/{photo['number']}/{photo['content']}")
    thumbs = tagged.path / ".cartag" / "thumbs"
    kept = sorted(thumbs.glob("*.jpg"))
    assert len(kept) == 8
    for i in range(4):
        (tagged.path / f"red-{i}.jpg").unlink()
    tagged.tag()
    gone = [path for path in kept if path.stem not in {photo["sha256"] for photo in tagged.raw()["photos"]}]
    (thumbs / gone[0].name).unlink()
    (thumbs / gone[0].name).mkdir()  # a folder cannot be unlinked
    with served(tagged.path):
        pass
    assert [path for path in gone[1:] if path.exists()] == []
