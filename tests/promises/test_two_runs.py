"""Several cartags at once, and people who edit the index meanwhile: one writes, all see a whole index, no word is lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import Gallery, human_tags
from trials import start, wait_until_stopped

from cartag.errors import IndexFileError
from cartag.progress import Silent
from cartag.reviewing.decisions import Decision
from cartag.reviewing.session import Session
from cartag.state import index as indexes
from cartag.state.place import place_of

fcntl = pytest.importorskip("fcntl", reason="locks of POSIX")


@pytest.fixture
def gallery(gallery: Gallery) -> Gallery:
    """Four photos, tagged, and four new ones."""
    for i, colour in enumerate(["red", "blue", "yellow", "green"]):
        gallery.paint(f"{i}.jpg", colour, mark=i)
    gallery.tag()
    for i, colour in enumerate(["red", "blue", "yellow", "green"], start=4):
        gallery.paint(f"{i}.jpg", colour, mark=i)
    return gallery


@contextmanager
def standing(gallery: Gallery, point: str) -> Iterator[subprocess.Popen[str]]:
    """A run in another process that stands still at a point, and goes on afterwards."""
    process = start(gallery, f"stop:{point}", batch=2)
    try:
        wait_until_stopped(process)
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr of a run that goes on to its end."""
    _, err = process.communicate(timeout=280)
    return process.returncode, err


# --- two writers ------------------------------------------------------------------------------------------------


def test_a_second_run_says_so_and_the_first_one_ends_as_if_alone(gallery: Gallery) -> None:
    with standing(gallery, "batch stored") as first:
        code, err = ended(start(gallery))
        assert (code, err.count("\n")) == (1, 1)
        assert "another cartag is writing it; wait for it to end, or stop it" in err
    assert ended(first)[0] == 0
    assert len(gallery.outcomes()) == 8


def test_the_lock_of_a_killed_run_is_free_though_its_file_is_still_there(gallery: Gallery) -> None:
    with standing(gallery, "batch stored") as first:
        first.kill()
        first.wait()
        assert place_of(gallery.path).lock.exists()
        report = gallery.tag()
    assert (report.unchanged, report.embedded) == (4, 2), "and what it had embedded is used"


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks_is_refused_rather_than_trusted(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    before = gallery.index_file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        with pytest.raises(IndexFileError, match=r"no locks.*--index FILE"):
            gallery.tag()
    assert gallery.index_file.read_bytes() == before
    assert gallery.tag().embedded == 4, "nothing was left behind that locks"


# --- readers beside a writer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["half of the index", "index written", "index replaced"])
def test_find_sees_a_whole_index_while_another_one_is_written(gallery: Gallery, point: str) -> None:
    with standing(gallery, point) as writer:
        assert gallery.find("red racer") == (["0.jpg", "4.jpg"] if point == "index replaced" else ["0.jpg"])
    assert ended(writer)[0] == 0
    assert gallery.find("red racer") == ["0.jpg", "4.jpg"]


def test_readers_never_see_half_an_index_however_often_it_is_replaced(gallery: Gallery) -> None:
    gallery.tag()
    whole = indexes.read_index(gallery.path)
    halves = indexes.Index(whole.header, dict(list(whole.photos.items())[:3]), whole.path)
    stop, seen, reads = threading.Event(), set(), 0

    def write() -> None:
        while not stop.is_set():
            for index in (halves, whole):
                indexes.write_index(index)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while reads < 600 or len(seen) < 2:
            seen |= {len(indexes.read_tags(gallery.path).photos), len(indexes.read_index(gallery.path))}
            reads += 2
    finally:
        stop.set()
        writer.join()
        indexes.write_index(whole)
    assert seen == {3, 8}


# --- people beside a run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["0.jpg", "4.jpg"])
def test_a_tag_that_a_person_gives_while_a_run_is_under_way_is_kept(gallery: Gallery, name: str) -> None:
    with standing(gallery, "batch stored") as run:
        if name == "4.jpg":  # a photo that this run is about to add
            record = {**gallery.record("0.jpg"), "path": name, "tags": [], "candidates": [], "outcome": "unknown"}
            gallery.edit(lambda raw: raw["photos"].append(record))
        said = gallery.tag_by_hand(name, "blue-bolt", who="Linh")
        gallery.edit(lambda raw: raw.update({"x-tool": 1}))
    code, err = ended(run)
    assert code == 0
    assert "changed by others during this run; their changes are kept" in err
    assert human_tags(gallery.record(name)) == [said]
    assert gallery.raw()["x-tool"] == 1
    assert len(gallery.outcomes()) == 8
    assert gallery.tag().unchanged == 8


def test_a_tag_that_a_person_takes_back_while_a_run_is_under_way_stays_away(gallery: Gallery) -> None:
    gallery.tag_by_hand("0.jpg", "blue-bolt")
    with standing(gallery, "batch stored") as run:
        gallery.edit_photo("0.jpg", tags=[], outcome="unknown")
    assert ended(run)[0] == 0
    assert human_tags(gallery.record("0.jpg")) == []


class _Meanwhile(Silent):
    """Does something once, when the first photos of a run are done."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._acts = [act]

    def advance(self, steps: int = 1) -> None:
        while self._acts:
            self._acts.pop()()


@pytest.mark.parametrize("name", [None, "0.jpg"])
def test_a_car_added_while_a_run_is_under_way_is_scored_by_the_next(gallery: Gallery, name: str | None) -> None:
    def add() -> None:
        session = Session(gallery.path, place_of(gallery.path))
        session.add_car("Lada Niva", [])
        if name is not None:
            session.decide([Decision(path=name, truth="car", cars=("lada-niva",))])

    gallery.tag(catalog="sports-cars")
    gallery.paint("new.jpg", "red", mark=9)
    gallery.tag(catalog=None, progress=_Meanwhile(add))
    catalog = gallery.raw()["catalog"]
    assert catalog["source"] == str(gallery.path / "cartag.catalog.yaml")
    assert [car["id"] for car in catalog["former"]] == ["lada-niva"], "a review offers it"
    assert gallery.tag(catalog=None).scored
    catalog = gallery.raw()["catalog"]
    assert catalog["cars"][-1]["id"] == "lada-niva"
    assert "former" not in catalog


def test_a_car_added_while_a_run_with_another_catalog_is_under_way_changes_not_what_was_asked_for(
    gallery: Gallery,
) -> None:
    def add() -> None:
        Session(gallery.path, place_of(gallery.path)).add_car("Lada Niva", [])

    gallery.tag(catalog="sports-cars")
    gallery.paint("new.jpg", "red", mark=9)
    gallery.tag(progress=_Meanwhile(add))
    assert gallery.raw()["catalog"]["source"] == str(gallery.catalog)
    assert [car["id"] for car in gallery.raw()["catalog"]["former"]] == ["lada-niva"]


def test_an_index_damaged_while_a_run_is_under_way_is_left_alone_and_the_run_is_not_lost(gallery: Gallery) -> None:
    before = gallery.index_file.read_bytes()
    with standing(gallery, "batch stored") as run:
        gallery.index_file.write_bytes(before[:-20])
    code, err = ended(run)
    assert (code, err.count("\n")) == (1, 1)
    assert "damaged index" in err
    assert gallery.index_file.read_bytes() == before[:-20]
    gallery.index_file.write_bytes(before)
    assert gallery.tag().embedded == 0


def test_an_index_taken_away_while_a_run_is_under_way_is_written_anew(gallery: Gallery) -> None:
    said = gallery.tag_by_hand("0.jpg", "blue-bolt")
    with standing(gallery, "batch stored") as run:
        gallery.index_file.unlink()
    assert ended(run)[0] == 0
    assert len(json.loads(gallery.index_file.read_bytes())["photos"]) == 8
    assert human_tags(gallery.record("0.jpg")) == [said]
