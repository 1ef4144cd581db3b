"""Runs that end early: killed, interrupted, with a damaged journal or cache."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CountingEncoder, Gallery, Seen, later

import cartag
import cartag.encoder
from cartag.errors import IndexFileError
from cartag.state.place import place_of

COLOURS = ["red", "blue", "yellow", "green", "orange"]
KILLED = """
import os, signal, sys
import cartag
from cartag.encoder.fake import FakeEncoder
from cartag.settings import Settings

embed, batches = FakeEncoder.embed_images, []

def dying(self, pixels):
    batches.append(len(pixels))
    if len(batches) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return embed(self, pixels)

FakeEncoder.embed_images = dying
cartag.tag(sys.argv[1], catalog=sys.argv[2], model="fake", settings=Settings(batch_size=2))
"""


def kill_at(gallery: Gallery, batch: int) -> None:
    """A run in a process of its own that is killed when it has ``batch`` - 1 batches embedded."""
    root = str(Path(cartag.__file__).parent.parent)
    command = [sys.executable, "-c", KILLED, str(gallery.path), str(gallery.catalog), str(batch)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def paint_ten(gallery: Gallery) -> None:
    for i in range(10):
        gallery.paint(f"{i}.jpg", COLOURS[i % 5], mark=i)
        os.utime(gallery.path / f"{i}.jpg", ns=(0, 10**9 * (i + 1)))


def without_date(gallery: Gallery) -> dict[str, Any]:
    return {key: value for key, value in gallery.raw().items() if key != "updated"}


class Interrupted(CountingEncoder):
    """Ctrl-C comes while it embeds the given batch, or its first texts."""

    def __init__(self, seen: Seen, batch: int | None) -> None:
        super().__init__(seen)
        self._batch = batch

    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        if len(self.seen.batches) + 1 == self._batch:
            raise KeyboardInterrupt
        return super().embed_images(pixels)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        if self._batch is None:
            raise KeyboardInterrupt
        return super().embed_texts(texts)


def interrupt(gallery: Gallery, monkeypatch: pytest.MonkeyPatch, batch: int | None, **options: Any) -> Seen:
    seen = Seen()
    with monkeypatch.context() as patch:
        patch.setattr(cartag.encoder, "load", lambda *args, **kwargs: Interrupted(seen, batch))
        with pytest.raises(KeyboardInterrupt):
            gallery.tag(batch_size=2, **options)
    return seen


# --- killed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_a_killed_run_goes_on_where_it_stopped(gallery: Gallery, seen: Seen, batch: int) -> None:
    paint_ten(gallery)
    kill_at(gallery, batch)
    assert not gallery.index_file.exists()
    report = gallery.tag(batch_size=2)
    assert seen.photos == report.embedded == 10 - 2 * (batch - 1), "at most the batch of the kill is embedded again"
    assert report.scored == 2 * (batch - 1)
    resumed = without_date(gallery)
    gallery.tag(retag=True)
    assert without_date(gallery) == resumed
    assert not place_of(gallery.path).journal.exists()


def test_a_killed_run_over_an_older_index_leaves_it_whole(gallery: Gallery) -> None:
    paint_ten(gallery)
    gallery.tag()
    before = gallery.index_file.read_bytes()
    for i in range(10, 16):
        gallery.paint(f"{i}.jpg", "blue", mark=i)
    kill_at(gallery, 2)
    assert gallery.index_file.read_bytes() == before
    assert gallery.tag().embedded == 4


def test_a_changed_photo_is_not_given_its_old_answer_when_a_killed_run_goes_on(gallery: Gallery) -> None:
    paint_ten(gallery)
    gallery.tag()
    for name in ("0.jpg", "5.jpg", "8.jpg", "9.jpg"):
        gallery.paint(name, "blue", mark=77)
        later(gallery.path / name)
    gallery.paint("8.jpg", "blue", mark=78)
    kill_at(gallery, 2)
    gallery.tag()
    assert gallery.find("blue bolt") == ["0.jpg", "1.jpg", "5.jpg", "6.jpg", "8.jpg", "9.jpg"]
    resumed = without_date(gallery)
    gallery.tag(retag=True)
    assert without_date(gallery) == resumed


def test_a_run_is_killed_twice_and_still_ends_well(gallery: Gallery, seen: Seen) -> None:
    paint_ten(gallery)
    kill_at(gallery, 2)
    kill_at(gallery, 2)
    assert gallery.tag(batch_size=2).embedded == 6
    assert len(gallery.outcomes()) == 10


def test_a_killed_run_with_another_catalog_after_it_scores_for_that_one(gallery: Gallery, tmp_path: Path) -> None:
    paint_ten(gallery)
    kill_at(gallery, 3)
    citrus = tmp_path / "citrus.yaml"
    citrus.write_text("cars: [Orange Otter]\nother_cars: [Red Racer]\n", encoding="utf-8")
    assert gallery.tag(catalog=citrus).scored == 4
    assert gallery.find("otter") == ["4.jpg", "9.jpg"]


# --- interrupted ------------------------------------------------------------------------------------------------


def test_ctrl_c_saves_what_was_done(gallery: Gallery, monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    paint_ten(gallery)
    interrupt(gallery, monkeypatch, batch=3)
    assert list(gallery.outcomes()) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    report = gallery.tag()
    assert (report.unchanged, report.embedded) == (4, 6)
    resumed = without_date(gallery)
    gallery.tag(retag=True)
    assert without_date(gallery) == resumed


def test_ctrl_c_while_texts_are_embedded_makes_no_photo_an_error(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint_ten(gallery)
    interrupt(gallery, monkeypatch, batch=None)
    if gallery.index_file.exists():
        assert "error" not in gallery.outcomes().values()
    gallery.tag()
    assert "error" not in gallery.outcomes().values()


def test_ctrl_c_in_a_resumed_run_makes_no_photo_an_error(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    paint_ten(gallery)
    kill_at(gallery, 3)
    gallery.catalog.write_text("cars: [Orange Otter]\nother_cars: []\n", encoding="utf-8")
    interrupt(gallery, monkeypatch, batch=None)
    if gallery.index_file.exists():
        assert "error" not in gallery.outcomes().values()
    assert gallery.tag().outcomes["error"] == 0


def test_ctrl_c_while_the_catalog_changes_leaves_the_old_index(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint_ten(gallery)
    gallery.tag()
    before = gallery.index_file.read_bytes()
    gallery.paint("new.jpg", "red", mark=99)
    gallery.catalog.write_text("cars: [Orange Otter]\nother_cars: []\n", encoding="utf-8")
    interrupt(gallery, monkeypatch, batch=1)
    assert gallery.index_file.read_bytes() == before
    assert gallery.tag().outcomes["error"] == 0


def test_ctrl_c_in_a_retag_keeps_the_records_not_reached_yet(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    paint_ten(gallery)
    gallery.tag()
    before = gallery.raw()["photos"]
    interrupt(gallery, monkeypatch, batch=2, retag=True)
    assert gallery.raw()["photos"] == before


def test_a_failing_model_ends_the_run_and_loses_nothing(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    paint_ten(gallery)

    class Failing(CountingEncoder):
        def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
            if len(self.seen.batches) == 2:
                raise MemoryError("no room")
            return super().embed_images(pixels)

    with monkeypatch.context() as patch:
        patch.setattr(cartag.encoder, "load", lambda *args, **kwargs: Failing(Seen()))
        with pytest.raises(MemoryError):
            gallery.tag(batch_size=2)
    assert gallery.tag().embedded == 6


# --- damaged state ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail",
    [
        b'[{"path":"4.jpg","size":12,"mti',
        b'[{"path":"4.jpg"}]',
        b"\0" * 512,
        b'[{"path":"\xff\xfe.jpg","size":1,"mtime_ns":1}]',
        b'[{"path":"4.jpg","size":1,"mtime_ns":1,"sha256":"no hash"}]\n',
    ],
    ids=["half a line", "fields missing", "zeros", "not UTF-8", "no hash"],
)
def test_a_damaged_journal_line_costs_no_more_than_itself(
    gallery: Gallery, seen: Seen, tail: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    paint_ten(gallery)
    kill_at(gallery, 3)
    with place_of(gallery.path).journal.open("ab") as f:
        f.write(tail)
    with caplog.at_level(logging.WARNING):
        assert gallery.tag(batch_size=2).embedded == 6
    assert len(gallery.outcomes()) == 10
    assert gallery.tag().unchanged == 10


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut", "pages", "end"])
def test_a_damaged_cache_is_set_aside_and_the_run_goes_on(gallery: Gallery, damage: str) -> None:
    for i in range(120):
        gallery.paint(f"{i}.jpg", COLOURS[i % 5], mark=i, size=(16, 16))
    gallery.tag()
    before = without_date(gallery)
    (cache,) = place_of(gallery.path).state.glob("*.sqlite")
    data = cache.read_bytes()
    damaged = {
        "garbage": b"this is no database" * 300,
        "empty": b"",
        "cut": data[: len(data) // 2],
        "pages": data[:8192] + b"\xa5" * (len(data) - 8192),
        "end": data[:-8192] + b"\xa5" * 8192,
    }[damage]
    cache.write_bytes(damaged)
    catalog = gallery.catalog.read_text(encoding="utf-8")
    gallery.catalog.write_text("cars: [Orange Otter]\nother_cars: []\n", encoding="utf-8")
    gallery.tag()
    assert len(gallery.find("otter")) == 24
    gallery.catalog.write_text(catalog, encoding="utf-8")
    gallery.tag()
    assert without_date(gallery) == before


def test_a_cache_of_another_version_is_set_aside_and_kept(gallery: Gallery) -> None:
    import sqlite3

    gallery.paint("a.jpg")
    gallery.tag()
    (cache,) = place_of(gallery.path).state.glob("*.sqlite")
    with sqlite3.connect(cache) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert gallery.tag(retag=True).embedded == 1
    assert cache.with_suffix(".damaged").exists()


def test_without_the_state_folder_an_up_to_date_index_stands(gallery: Gallery) -> None:
    import shutil

    paint_ten(gallery)
    gallery.tag()
    before = gallery.index_file.read_bytes()
    shutil.rmtree(place_of(gallery.path).state)
    assert gallery.tag().unchanged == 10
    assert gallery.index_file.read_bytes() == before
    assert json.loads(before)["photos"]


@pytest.mark.parametrize("name", ["embeddings.sqlite", "cartag.journal.jsonl"])
def test_a_folder_in_the_place_of_a_state_file_is_one_clear_line(gallery: Gallery, name: str) -> None:
    gallery.paint("a.jpg")
    (gallery.path / ".cartag" / name).mkdir(parents=True)
    with pytest.raises(IndexFileError, match=r"\.cartag: cannot be used .*; mend that, or move the folder away"):
        gallery.tag()
    assert not gallery.index_file.exists()
