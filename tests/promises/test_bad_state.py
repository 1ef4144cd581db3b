"""State and files that are not as they should be: damaged, edited, changing, gone, forbidden, endless, or no files."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bound import run_bound
from conftest import Gallery, Seen, counts, human_tags, picture
from trials import COLOURS

import cartag
from cartag.errors import IndexFileError
from cartag.photos import images
from cartag.photos.walking import walk
from cartag.progress import Silent
from cartag.state.journal import Facts, Journal
from cartag.state.place import place_of

FAR = 4_102_444_800 * 10**9  # the year 2100


class AtTheStart(Silent):
    """Does something when the photos begin to be read."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def start(self, what: str, total: int | None) -> None:
        self._act()


# --- the catalog, the cache, the journal, the index ---------------------------------------------------------------


def test_a_catalog_edited_while_a_run_is_under_way_counts_from_the_next_run_on(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "orange")
    gallery.paint("b.jpg", "red")
    before = gallery.catalog.read_text(encoding="utf-8")
    edited = before.replace("cars:\n", "cars:\n  - Orange Otter\n", 1)
    gallery.tag(progress=AtTheStart(lambda: gallery.catalog.write_text(edited, encoding="utf-8")))
    first = gallery.raw()
    assert gallery.outcomes() == {"a.jpg": "unknown", "b.jpg": "tagged"}
    assert "orange-otter" not in {car["id"] for car in first["catalog"]["cars"]}
    assert counts(gallery.tag()) == (0, 2, 0, 0)
    assert gallery.find("otter") == ["a.jpg"]
    gallery.catalog.write_text(before, encoding="utf-8")
    gallery.tag()
    assert gallery.raw()["photos"] == first["photos"]


@pytest.mark.parametrize("damage", [np.nan, np.inf, 1e30, 0.0], ids=str)
@pytest.mark.parametrize("table", ["photo", "text"])
def test_a_number_damaged_in_the_cache_reaches_no_score(
    gallery: Gallery, seen: Seen, table: str, damage: float, caplog: pytest.LogCaptureFixture
) -> None:
    for i, colour in enumerate(COLOURS):
        gallery.paint(f"{i}.jpg", colour, mark=i)
    gallery.tag(text_cache="off")
    before, (photos, texts) = gallery.raw()["photos"], (seen.photos, seen.texts)
    column = {"photo": "vector", "text": "vectors"}[table]
    with closing(sqlite3.connect(place_of(gallery.path).state / "embeddings.sqlite")) as db:
        blob = db.execute(f"SELECT {column} FROM {table}").fetchone()[0]
        wrong = np.frombuffer(blob, np.float32).copy()
        wrong[:] = wrong if damage else 0
        wrong[3] = damage
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (wrong.tobytes(), blob))
        db.commit()
    gallery.tag(threshold=0.9, text_cache="off")
    gallery.tag(text_cache="off")
    assert gallery.raw()["photos"] == before
    assert (seen.photos - photos, seen.texts - texts) == ((1, 0) if table == "photo" else (0, 1))


@pytest.mark.parametrize("change", [{"width": 0}, {"height": -3}, {"sha256": "no hash"}, {"size": -1}])
def test_a_journal_line_that_would_make_a_wrong_index_is_a_damaged_one(
    gallery: Gallery, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    photo = gallery.paint("a.jpg")
    found = photo.stat()
    facts = {"path": "a.jpg", "size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": "0" * 64}
    place = place_of(gallery.path)
    place.state.mkdir()
    place.journal.write_text(json.dumps([{**facts, **change}]) + "\n", encoding="utf-8")
    journal = Journal(place.journal)
    assert (journal.read(), journal.damaged_lines) == ([], 1)
    gallery.tag()
    assert "cartag.journal.jsonl: 1 damaged line(s) skipped" in caplog.text
    assert (gallery.record("a.jpg")["width"], gallery.outcomes()) == (64, {"a.jpg": "tagged"})
    place.journal.write_text(json.dumps([facts]) + "\n", encoding="utf-8")
    assert Journal(place.journal).read() == [Facts(**facts)]
    place.journal.unlink()


@pytest.mark.damaged_index
@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda text: text.replace('"outcome":"tagged"', '"outcome":"perhaps"'), "b.jpg"),
        (lambda text: text.replace('"width":64', '"width":"64"', 2).replace('"width":"64"', '"width":64', 1), "b.jpg"),
        (lambda text: text.replace('"path":"c.jpg",', '"path":"c.jpg";'), "c.jpg"),
        (lambda text: text.replace('"catalog": {', '"catalog": [{'), '"scoring"'),
    ],
    ids=["a word", "a type", "a comma", "a bracket"],
)
def test_a_mistake_made_by_hand_is_named_with_its_line(
    gallery: Gallery, damage: Callable[[str], str], line: str
) -> None:
    for name, colour in (("a.jpg", "black"), ("b.jpg", "red"), ("c.jpg", "white")):
        gallery.paint(name, colour)
    gallery.tag()
    edited = damage(gallery.index_file.read_text(encoding="utf-8"))
    gallery.index_file.write_text(edited, encoding="utf-8")
    with pytest.raises(IndexFileError, match=r"damaged index, line \d+: ") as caught:
        cartag.load(gallery.path)
    number = int(str(caught.value).split("line ")[1].split(":")[0])
    around = edited.splitlines()[max(0, number - 3) : number]
    assert any(line in text for text in around)
    if line.endswith(".jpg"):
        assert line in around[-1]


# --- files that change --------------------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_read_again_by_the_next_run(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = gallery.paint("a.jpg", "red")
    gallery.paint("b.jpg", "blue")
    whole, read = photo.read_bytes(), images.read_bytes

    def torn(path: Path, *arguments: Any) -> bytes:
        data = read(path, *arguments)
        if path == photo:  # somebody saves it anew just then
            photo.write_bytes(whole + b"\0")
            return data[: len(data) // 2]
        return data

    with monkeypatch.context() as patch:
        patch.setattr(images, "read_bytes", torn)
        gallery.tag()
    assert gallery.record("a.jpg")["error"]["reason"] == "truncated"
    assert counts(gallery.tag()) == (1, 0, 1, 0)
    assert gallery.find("red racer") == ["a.jpg"]


def test_photos_that_come_go_and_change_all_the_while_end_no_run(gallery: Gallery) -> None:
    for i in range(40):
        gallery.paint(f"{i:02d}.jpg", COLOURS[i % 7], mark=i)
    stop = threading.Event()

    def churn() -> None:
        step = 0
        while not stop.is_set():
            step += 1
            photo = gallery.path / f"{step % 40:02d}.jpg"
            if step % 3:
                gallery.paint(f"{step % 40:02d}.jpg", COLOURS[step % 7], mark=step % 4096)
            else:
                photo.unlink(missing_ok=True)

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        for _ in range(5):
            report = gallery.tag(batch_size=4)
            assert sum(counts(report)) == len(report.index)
            reasons = {photo["error"]["reason"] for photo in gallery.raw()["photos"] if "error" in photo}
            assert reasons <= {"vanished", "empty", "truncated", "not-an-image", "corrupt"}
    finally:
        stop.set()
        churning.join()
    for i in range(40):
        os.utime(gallery.paint(f"{i:02d}.jpg", "red", mark=i), ns=(i, 10**9 * i))
    gallery.tag()
    assert len(gallery.find("red racer")) == 40


# --- files that are none ------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_pipes_sockets_and_devices_are_never_opened(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.paint("a.jpg", "red")
    os.mkfifo(gallery.path / "fifo.jpg")
    (gallery.path / "link-to-fifo.jpg").symlink_to("fifo.jpg")
    (gallery.path / "link-to-device.jpg").symlink_to("/dev/zero")
    (gallery.path / "link-to-folder.jpg").symlink_to("/")
    (gallery.path / "link-to-itself.jpg").symlink_to("link-to-itself.jpg")
    with suppress(OSError):  # devices are made by root, and not in every container
        os.mknod(gallery.path / "device.jpg", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    monkeypatch.chdir(gallery.path)  # a socket's path must be short
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind("socket.jpg")
        began = time.monotonic()
        gallery.tag()
        gallery.tag(retag=True)
    assert time.monotonic() - began < 60
    reasons = {photo["path"]: photo.get("error", {}).get("reason") for photo in gallery.raw()["photos"]}
    reason_of_loop = reasons.pop("link-to-itself.jpg")
    assert reason_of_loop in ("vanished", "unreadable")
    assert reasons == {"a.jpg": None, "link-to-fifo.jpg": "vanished", "link-to-device.jpg": "vanished"}


# --- what is forbidden --------------------------------------------------------------------------------------------


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode & 0o777
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def test_what_may_not_be_read_is_named_and_ends_no_run(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    forbidden = gallery.paint("b.jpg", "blue")
    gallery.paint("listed/c.jpg", "yellow")
    gallery.paint("closed/d.jpg", "yellow")
    with mode(forbidden, 0o000), mode(gallery.path / "listed", 0o444), mode(gallery.path / "closed", 0o000):
        done = run_bound(gallery, "tag", "gallery", "--catalog", "colours.yaml")
        assert done.returncode == 0, done.stderr
        assert "gallery/closed: this folder cannot be listed" in done.stderr
        assert "2 photo(s) could not be read" in done.stderr
    reasons = {photo["path"]: photo.get("error", {}).get("reason") for photo in gallery.raw()["photos"]}
    assert reasons == {"a.jpg": None, "b.jpg": "unreadable", "listed/c.jpg": "unreadable"}
    assert counts(gallery.tag()) == (1, 0, 3, 0)
    assert gallery.find("yellow yeti") == ["closed/d.jpg", "listed/c.jpg"]


def test_a_read_only_gallery_is_one_line_with_a_remedy_that_works(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg", "red")
    with mode(gallery.path, 0o555):
        refused = run_bound(gallery, "tag", "gallery", "--catalog", "colours.yaml")
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
        assert "cannot be written" in refused.stderr
        assert "--index FILE" in refused.stderr
        assert os.listdir(gallery.path) == ["a.jpg"]
        done = run_bound(gallery, "tag", "gallery", "--catalog", "colours.yaml", "--index", "elsewhere.json")
        assert done.returncode == 0, done.stderr
        found = run_bound(gallery, "find", "gallery", "red", "--index", "elsewhere.json")
        assert (found.returncode, found.stdout) == (0, "gallery/a.jpg\n")
        assert os.listdir(gallery.path) == ["a.jpg"]


def test_a_gallery_that_became_read_only_is_found_in_and_its_tags_stay(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    said = gallery.tag_by_hand("a.jpg", "blue-bolt")
    before = gallery.index_file.read_bytes()
    with mode(gallery.path, 0o555), mode(place_of(gallery.path).state, 0o555):
        assert run_bound(gallery, "find", "gallery", "blue").stdout == "gallery/a.jpg\n"
        gallery.paint("a.jpg", "yellow", mark=1)
        refused = run_bound(gallery, "tag", "gallery", "--catalog", "colours.yaml")
    assert refused.returncode == 1, refused.stdout
    assert refused.stderr.count("\n") == 1
    assert gallery.index_file.read_bytes() == before
    gallery.tag()
    assert human_tags(gallery.record("a.jpg")) == [said]


# --- what is endless ----------------------------------------------------------------------------------------------


def test_paths_of_nearly_4000_bytes_are_tagged_and_longer_ones_are_named(gallery: Gallery) -> None:
    room = os.pathconf(gallery.path, "PC_PATH_MAX") - len(os.fsencode(gallery.path)) - 1
    deep = "/".join(["d" * 100] * (room // 101 - 1))
    left = room - len(deep) - 1 - 1  # a slash, and the zero byte that ends a path
    names = {left: "fits", left + 1: "does not"}
    data = (gallery.paint("a.jpg", "red")).read_bytes()
    (gallery.path / deep).mkdir(parents=True)
    handle = os.open(gallery.path / deep, os.O_RDONLY)
    try:
        for length in names:
            photo = os.open("p" * (length - 4) + ".jpg", os.O_WRONLY | os.O_CREAT, dir_fd=handle)
            os.write(photo, data)
            os.close(photo)
        gallery.tag()
        outcomes = {len(path) - len(deep) - 1: outcome for path, outcome in gallery.outcomes().items()}
        assert (outcomes[left], outcomes[left + 1]) == ("tagged", "error")
        (error,) = [photo["error"] for photo in gallery.raw()["photos"] if "error" in photo]
        assert error == {"reason": "unreadable", "detail": os.strerror(36)}
        assert gallery.tag().unreadable == 1
        assert max(len(hit) for hit in gallery.find("red racer")) > 3800
    finally:
        for length in names:
            os.unlink("p" * (length - 4) + ".jpg", dir_fd=handle)
        os.close(handle)


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_a_folder_of_200_000_entries(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    data = gallery.paint("000000.jpg", "red").read_bytes()
    for i in range(1, 200_000):
        if i % 2:
            (gallery.path / f"{i:06d}.txt").touch()
        else:
            (gallery.path / f"{i:06d}.jpg").write_bytes(data)
    began = time.monotonic()
    assert len(walk(gallery.path).photos) == 100_000
    listed = time.monotonic() - began
    report = gallery.tag()
    assert report.scored + report.embedded == 100_000  # equal files: few go through the model
    first = time.monotonic() - began - listed
    assert gallery.tag().unchanged == 100_000
    again = time.monotonic() - began - listed - first
    with capsys.disabled():
        print(
            f"\n200,000 entries, 100,000 photos: listed in {listed:.1f} s, tagged in {first:.0f} s, again {again:.1f} s"
        )


# --- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [-(10**18), 0, FAR], ids=["1938", "1970", "2100"])
def test_no_time_of_a_file_is_wrong(gallery: Gallery, moment: int) -> None:
    photo = gallery.paint("a.jpg", "red")
    os.utime(photo, ns=(moment, moment))
    gallery.tag()
    assert gallery.record("a.jpg")["mtime_ns"] == photo.stat().st_mtime_ns
    assert gallery.tag().unchanged == 1


def test_a_clock_that_jumps_back_hides_no_change(gallery: Gallery) -> None:
    photo = gallery.paint("a.jpg", "red")
    gallery.tag()
    gallery.edit(lambda raw: raw.update(updated="2100-01-01T00:00:00Z"))
    assert cartag.show(gallery.path).updated == "2100-01-01T00:00:00Z"
    picture("blue").save(photo, quality=95)
    os.utime(photo, ns=(0, photo.stat().st_mtime_ns - 10**15))  # saved before it was taken
    assert gallery.tag().embedded == 1
    assert gallery.find("blue bolt") == ["a.jpg"]
    assert gallery.raw()["updated"] < "2100"
