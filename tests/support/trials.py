"""Runs of the real command in processes of their own, for tests that kill, stop and race them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import Gallery, check_index, human_tags

import cartag
from cartag.state.journal import Journal
from cartag.state.place import Place, place_of

ROOT = Path(cartag.__file__).parent.parent
FAULTS = Path(__file__).with_name("faults.py")
COLOURS = ["red", "blue", "yellow", "green", "orange", "black", "white"]
BATCH = 16
PAUSES = "pause:0.003"
BOX = [0.1, 0.35, 0.8, 0.55]
_LONG = 280  # seconds: a busy machine is no failure


def start(
    gallery: Gallery, fault: str = "", *options: str, log: Path | None = None, batch: int = BATCH
) -> subprocess.Popen[str]:
    """`cartag tag` in a process of its own, with a fault of `faults.py`."""
    command = [sys.executable, str(FAULTS), "tag", str(gallery.path), "--catalog", str(gallery.catalog)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CARTAG_")} | {
        "PYTHONPATH": str(ROOT),
        "FAULT": fault,
        "FAULT_LOG": str(log or ""),
        "CARTAG_BATCH_SIZE": str(batch),
        "CARTAG_DTYPE": "float32",
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.Popen(
        [*command, *(() if "--model" in options else ("--model", "fake")), *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    pid, status = os.waitpid(process.pid, os.WUNTRACED)
    assert pid == process.pid
    assert os.WIFSTOPPED(status), "the run ended before it came to the point"


# --- a gallery that a person tagged in, and its runs -------------------------------------------------------------


@dataclass
class Trial:
    """A gallery with an old index, what an uninterrupted run makes of both, and what happened so far."""

    gallery: Gallery
    model: str
    detector: str = ""
    """Of regions; "" looks at photos as the model does by itself."""
    old: bytes = b""
    """The index before: of the first photos only, with a person's words in it."""
    wanted: dict[str, Any] = field(default_factory=dict)
    """The index of an uninterrupted run, but for its date."""
    seconds: float = 0.0
    """How long that run took, with pauses."""
    kills: int = 0
    in_index: int = 0
    """Kills that came while the new index was being written beside the old one."""
    in_journal: int = 0
    """Kills that left half a line in the journal."""

    @property
    def place(self) -> Place:
        return place_of(self.gallery.path)

    @property
    def log(self) -> Path:
        return self.gallery.path.parent / "embedded.log"

    @property
    def embedded(self) -> int:
        """Photos that went into the model since the last `reset`, over all runs."""
        return sum(map(int, self.log.read_text().split())) if self.log.exists() else 0

    @property
    def photos_to_embed(self) -> int:
        return len(self.wanted["photos"]) - self.old.count(b'"path"')

    def start(self, fault: str = "", *options: str) -> subprocess.Popen[str]:
        looked = ("--detector", self.detector) if self.detector else ()
        return start(self.gallery, fault, "--model", self.model, *looked, *options, log=self.log)

    def run(self, fault: str = "", *options: str) -> subprocess.CompletedProcess[str]:
        process = self.start(fault, *options)
        out, err = process.communicate(timeout=_LONG)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def reset(self) -> None:
        """The old index, and no run ever since."""
        shutil.rmtree(self.place.state, ignore_errors=True)
        self.gallery.index_file.write_bytes(self.old)
        self.log.unlink(missing_ok=True)

    def finish(self) -> None:
        """Runs to the end, and holds the index against the one of an uninterrupted run."""
        if self.model == "fake":  # a process of its own would tell no more, and take a second
            looked = {"detector": self.detector} if self.detector else {}
            report = self.gallery.tag(batch_size=BATCH, **looked)
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"{report.embedded}\n")
        else:
            done = self.run()
            assert done.returncode == 0, done.stderr
        assert without_date(self.gallery.index_file) == self.wanted
        assert not self.place.journal.exists()
        assert not leftovers(self.gallery)

    # --- what holds after every kill

    def check(self) -> None:
        """The index is the old or the new one; what is cached and journaled lacks one batch at most."""
        check_index(self.gallery.index_file)
        check_words(self.gallery)
        data = self.gallery.index_file.read_bytes()
        assert data == self.old or without_date(self.gallery.index_file) == self.wanted
        hashes, journal = stored(self.place), Journal(self.place.journal)
        journaled = {fact.sha256 for fact in journal.read()}
        assert journaled <= hashes, "a journal line has its embeddings stored"
        if self.place.journal.exists():
            assert len(hashes - journaled) <= BATCH

    def kill_after(self, seconds: float) -> bool:
        """Starts a run and kills it after some time; False: it was faster."""
        before, in_store = self.embedded, len(stored(self.place))
        process = self.start(PAUSES)
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        else:
            assert process.returncode == 0
            return False
        self.kills += 1
        self.in_index += bool(leftovers(self.gallery))
        self.in_journal += self.place.journal.exists() and not self.place.journal.read_bytes().endswith(b"\n")
        self.check()
        lost = self.embedded - before - (len(stored(self.place)) - in_store)
        assert 0 <= lost <= BATCH, "a kill costs one batch at most"
        return True


def stored(place: Place) -> set[str]:
    """Hashes of all photos in the cache, opened as the next run would, so that half a transaction is undone."""
    if not (place.state / "embeddings.sqlite").exists():
        return set()
    with closing(sqlite3.connect(place.state / "embeddings.sqlite")) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")} & {"photo", "region"}
        found = [db.execute(f"SELECT sha256 FROM {table}").fetchall() for table in sorted(tables)]
        return {row[0].hex() for rows in found for row in rows}


def leftovers(gallery: Gallery) -> list[Path]:
    return [*gallery.path.glob(".cartag.json.*"), *(gallery.path / ".cartag").glob(".cartag.json.*")]


def without_date(index: Path) -> dict[str, Any]:
    return {key: value for key, value in json.loads(index.read_bytes()).items() if key != "updated"}


def check_words(gallery: Gallery) -> None:
    """What a person said in `make_trial` is there to the letter."""
    assert human_tags(gallery.record("0/00000.jpg")) == [
        {"car": "blue-bolt", "score": 1.0, "source": "human", "box": BOX, "who": "Linh"}
    ]
    settled = gallery.record("0/00010.jpg")
    assert (settled["confirmed"], settled["outcome"], settled["tags"]) == (True, "no-car", [])


def paint_many(gallery: Gallery, numbers: range) -> None:
    for i in numbers:
        photo = gallery.paint(f"{i % 10}/{i:05d}.jpg", COLOURS[i % 7], mark=i % 4096, size=(60 + i // 4096, 40))
        os.utime(photo, ns=(0, 10**9 * (i + 1)))


def make_trial(gallery: Gallery, photos: int, model: str = "fake", detector: str = "") -> Trial:
    """Tags the first tenth, lets a person have their say, and measures an uninterrupted run over the rest."""
    trial = Trial(gallery, model, detector)
    paint_many(gallery, range(photos // 10))
    first = trial.run()
    assert first.returncode == 0, first.stderr
    gallery.tag_by_hand("0/00000.jpg", "blue-bolt", box=BOX, who="Linh")
    gallery.edit_photo("0/00010.jpg", confirmed=True, outcome="no-car", tags=[])
    trial.old = gallery.index_file.read_bytes()
    paint_many(gallery, range(photos // 10, photos))
    trial.reset()
    began = time.monotonic()
    assert trial.run(PAUSES).returncode == 0
    trial.seconds = time.monotonic() - began
    trial.wanted = without_date(gallery.index_file)
    assert len(trial.wanted["photos"]) == photos
    assert trial.embedded == trial.photos_to_embed
    check_words(gallery)
    trial.reset()
    return trial
