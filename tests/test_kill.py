"""Runs that are killed, stopped, or run out of room: nothing is lost, nothing is half, hardly anything is done twice.

The faults are put around the real command by `faults.py`; kills at random moments come from here, by a seeded chance.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, Seen, check_index, human_tags, write_catalog
from faults import POINTS

import cartag
from cartag.errors import IndexFileError
from cartag.index import Place, place_of
from cartag.journal import Journal

ROOT = Path(cartag.__file__).parent.parent
FAULTS = Path(__file__).with_name("faults.py")
COLOURS = ["red", "blue", "yellow", "green", "orange", "black", "white"]
BATCH = 16
PAUSES = "pause:0.003"
INTERRUPTED = 130
BOX = [0.1, 0.35, 0.8, 0.55]

# --- a gallery that a person tagged in, and its runs -------------------------------------------------------------


@dataclass
class Trial:
    """A gallery with an old index, what an uninterrupted run makes of both, and what happened so far."""

    gallery: Gallery
    model: str
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
        command = [sys.executable, str(FAULTS), "tag", str(self.gallery.path), "--model", self.model]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CARTAG_")} | {
            "PYTHONPATH": str(ROOT),
            "FAULT": fault,
            "FAULT_LOG": str(self.log),
            "CARTAG_BATCH_SIZE": str(BATCH),
            "CARTAG_DTYPE": "float32",
            "HF_HUB_OFFLINE": "1",
        }
        return subprocess.Popen(
            [*command, "--catalog", str(self.gallery.catalog), *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, fault: str = "", *options: str) -> subprocess.CompletedProcess[str]:
        process = self.start(fault, *options)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def reset(self) -> None:
        """The old index, and no run ever since."""
        shutil.rmtree(self.place.state, ignore_errors=True)
        self.gallery.index_file.write_bytes(self.old)
        self.log.unlink(missing_ok=True)

    def finish(self) -> None:
        """Runs to the end, and holds the index against the one of an uninterrupted run."""
        if self.model == "fake":  # a process of its own would tell no more, and take a second
            report = self.gallery.tag(batch_size=BATCH)
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
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return set()
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        return {row[0].hex() for row in db.execute("SELECT sha256 FROM photo")}


def leftovers(gallery: Gallery) -> list[Path]:
    return list(gallery.path.glob(".cartag.json.*"))


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


def make_trial(gallery: Gallery, photos: int, model: str = "fake") -> Trial:
    """Tags the first tenth, lets a person have their say, and measures an uninterrupted run over the rest."""
    trial = Trial(gallery, model)
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    folder = tmp_path_factory.mktemp("kill")
    (folder / "gallery").mkdir()
    return make_trial(Gallery(folder / "gallery", write_catalog(folder)), 200)


@pytest.fixture
def trial(made: Trial) -> Trial:
    """A trial that nothing has happened to yet; making one takes seconds."""
    made.reset()
    return replace(made, kills=0, in_index=0, in_journal=0)


def kill_at_random(trial: Trial, kills: int, chance: random.Random) -> None:
    """Runs and kills until that many kills have hit; whenever a run gets through first, its index is held to it."""
    while trial.kills < kills:
        if not trial.kill_after(chance.uniform(0, trial.seconds)):
            assert without_date(trial.gallery.index_file) == trial.wanted
            assert not leftovers(trial.gallery)
            trial.reset()
    trial.finish()


# --- killed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_at_any_point_leaves_one_whole_index_and_is_made_good_by_the_next(
    trial: Trial, point: str
) -> None:
    killed = trial.run(f"kill:{point}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    trial.check()
    is_new = trial.gallery.index_file.read_bytes() != trial.old
    assert is_new == (point == "index replaced")
    assert bool(leftovers(trial.gallery)) == (point in ("index opened", "half of the index", "index written"))
    trial.finish()
    assert 0 <= trial.embedded - trial.photos_to_embed <= BATCH


def test_kills_at_random_moments(trial: Trial) -> None:
    kill_at_random(trial, 4, random.Random(7))


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_a_hundred_kills_over_2000_photos(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    trial = make_trial(gallery, 2000)
    kill_at_random(trial, 100, random.Random(2013))
    report(capsys, trial)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_kills_with_the_bundled_model(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    trial = make_trial(gallery, 300, "mini")
    kill_at_random(trial, 20, random.Random(1927))
    report(capsys, trial)


def report(capsys: pytest.CaptureFixture[str], trial: Trial) -> None:
    with capsys.disabled():
        print(
            f"\n{trial.model}: {trial.kills} kills over {len(trial.wanted['photos'])} photos, {trial.in_index} of them "
            f"while the index was written, {trial.in_journal} within a journal line"
        )


# --- stopped by Ctrl-C and by a service manager ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "sign"),
    [
        ("batch embedded", signal.SIGINT),
        ("half of the journal line", signal.SIGTERM),
        ("half of the index", signal.SIGINT),
        ("index written", signal.SIGTERM),
    ],
)
def test_a_stopped_run_keeps_what_was_done_and_says_so(trial: Trial, point: str, sign: signal.Signals) -> None:
    process = trial.start(f"stop:{point}")
    wait_until_stopped(process)
    process.send_signal(sign)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (INTERRUPTED, "")
    assert err == "cartag: stopped; what was done is kept, run the same command to go on\n"
    check_stopped(trial)
    trial.finish()
    assert 0 <= trial.embedded - trial.photos_to_embed <= BATCH


@pytest.mark.stress
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=lambda sign: sign.name)
def test_stops_at_random_moments(gallery: Gallery, sign: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    trial, chance, stops = make_trial(gallery, 600), random.Random(sign), 0
    while stops < 50:
        process = trial.start(PAUSES)
        time.sleep(chance.uniform(0, trial.seconds))
        process.send_signal(sign)
        _, err = process.communicate(timeout=60)
        if process.returncode == 0:
            assert without_date(gallery.index_file) == trial.wanted
            trial.reset()
            continue
        stops += 1
        # Before cartag is there to hear it, Python answers in its own way, and nothing has been done.
        assert process.returncode in (INTERRUPTED, -sign), err
        assert process.returncode == -sign or "Traceback" not in err
        check_stopped(trial)
    trial.finish()
    with capsys.disabled():
        print(f"\n{sign.name}: {stops} stops over {len(trial.wanted['photos'])} photos")


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    pid, status = os.waitpid(process.pid, os.WUNTRACED)
    assert pid == process.pid
    assert os.WIFSTOPPED(status), "the run ended before it came to the point"


def check_stopped(trial: Trial) -> None:
    """Every record is the old one's or the new one's, and every word of a person is there."""
    check_index(trial.gallery.index_file)
    check_words(trial.gallery)
    wanted = {photo["path"]: photo for photo in trial.wanted["photos"]}
    assert all(wanted[photo["path"]] == photo for photo in trial.gallery.raw()["photos"])
    assert not leftovers(trial.gallery)


# --- no room ----------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A disk of that many bytes at ``folder``; what it yields makes it large."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root, where the system lets it")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True) and None
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def small_files(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """No file may grow beyond that many bytes, which needs no rights; what it yields ends that."""
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)  # Python ignores the signal and gets the error

    def end() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield end
    finally:
        end()


@pytest.mark.parametrize(
    ("limited", "ends"), [(small_disk, {"cannot be used", "cannot be written"}), (small_files, {"cannot be used"})]
)
def test_a_full_disk_ends_the_run_with_one_line_and_the_next_one_goes_on(
    trial: Trial, tmp_path: Path, limited: Callable[[Path, int], Any], ends: set[str], seen: Seen
) -> None:
    trial.gallery.index_file.unlink()
    photos, ended = len(trial.wanted["photos"]), []
    trial.gallery.tag(index=tmp_path / "wanted.json")
    wanted = without_date(tmp_path / "wanted.json")
    sizes = range(4096, 200 * 1024, 24 * 1024)
    for size in sizes:
        index = tmp_path / f"disk-{size}/cartag.json"
        seen.batches.clear()
        with limited(index.parent, size) as make_room:
            error = failure_of(lambda index=index: trial.gallery.tag(batch_size=BATCH, index=index))
            if error is not None:
                assert "\n" not in str(error)
                assert os.listdir(index.parent) == [".cartag"]
                ended.append(re.sub(r".*?: (cannot be \w+) .*", r"\1", str(error)))
            make_room()
            trial.gallery.tag(batch_size=BATCH, index=index)
            assert without_date(index) == wanted
            assert photos <= seen.photos <= photos + BATCH, "at most one batch is embedded twice"
    assert set(ended) == ends, "no room for the cache or the journal; then, where all share it, none for the index"
    assert len(ended) < len(sizes), "and then enough"


def failure_of(run: Callable[[], Any]) -> IndexFileError | None:
    try:
        run()
    except IndexFileError as e:
        return e
    return None


def test_a_full_disk_is_one_line_on_the_command_line(trial: Trial, tmp_path: Path) -> None:
    with small_files(tmp_path / "disk", 40_000):
        done = trial.run("", "--index", str(tmp_path / "disk/cartag.json"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "the same command goes on from here" in done.stderr
