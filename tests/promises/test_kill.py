"""Runs that are killed, stopped, or run out of room: nothing is lost, nothing is half, hardly anything is done twice.

The faults are put around the real command by `faults.py`; kills at random moments come from here, by a seeded chance.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, Seen, check_index, write_catalog
from faults import POINTS
from trials import BATCH, PAUSES, Trial, check_words, leftovers, make_trial, wait_until_stopped, without_date

import cartag
from cartag.cli import _run, stops
from cartag.errors import IndexFileError

resource = pytest.importorskip("resource", reason="limits of POSIX")
INTERRUPTED = 130


@pytest.fixture(scope="module", params=["", "fake"], ids=["wholes", "regions"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    folder = tmp_path_factory.mktemp("kill")
    (folder / "gallery").mkdir()
    return make_trial(Gallery(folder / "gallery", write_catalog(folder)), 200, detector=request.param)


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
    out, err = process.communicate(timeout=280)
    assert (process.returncode, out) == (INTERRUPTED, "")
    assert err == "cartag: stopped; what was done is kept, run the same command to go on\n"
    check_stopped(trial)
    trial.finish()
    assert 0 <= trial.embedded - trial.photos_to_embed <= BATCH


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), ValueError("no stop")])
def test_a_stop_while_a_class_is_made_is_one_too(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reason: BaseException
) -> None:
    def importing(*arguments: object, **options: object) -> None:
        raise RuntimeError("Error calling __set_name__ on 'cached_property' instance") from reason

    with monkeypatch.context() as patch:
        patch.setattr("cartag.cli.app", importing)
        assert _run(["tag", str(gallery.path)]) == (INTERRUPTED if isinstance(reason, KeyboardInterrupt) else 1)
        assert ("Traceback" in capsys.readouterr().err) is not isinstance(reason, KeyboardInterrupt)
    monkeypatch.setattr(cartag, "tag", importing)
    code, err = _run(["tag", str(gallery.path)]), capsys.readouterr().err
    if isinstance(reason, KeyboardInterrupt):
        assert (code, err) == (INTERRUPTED, "cartag: stopped; what was done is kept, run the same command to go on\n")
    else:
        assert (code, "Traceback" in err) == (1, True)


def test_a_stop_while_the_command_line_is_put_together_is_no_traceback() -> None:
    code = (
        "import os, signal, time, typer.main\n"
        "stop = lambda *_: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(9))\n"
        "typer.main.get_params_from_function = stop\n"
        "from cartag.cli import main\n"
        "main(['tag', 'nowhere'])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (INTERRUPTED, "", "")


def test_a_stop_waits_for_what_is_imported() -> None:
    heard = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    done = []

    def stopped_meanwhile() -> None:
        with stops.held_back():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        stopped_meanwhile()
    assert done == ["all of it"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == heard
    with stops.held_back():
        pass


def test_a_stop_that_is_not_heeded_is_none_while_something_is_imported_either() -> None:
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what a script leaves in the background
    try:
        with stops.held_back():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, heard)


@pytest.mark.stress
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=lambda sign: sign.name)
def test_stops_at_random_moments(gallery: Gallery, sign: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    trial, chance, stops = make_trial(gallery, 600), random.Random(sign), 0
    while stops < 50:
        process = trial.start(PAUSES)
        time.sleep(chance.uniform(0, trial.seconds))
        process.send_signal(sign)
        _, err = process.communicate(timeout=280)
        if process.returncode == 0:
            assert without_date(gallery.index_file) == trial.wanted
            trial.reset()
            continue
        stops += 1
        # Before cartag is there to hear it, the system or Python answers, and nothing has been done.
        assert process.returncode in (INTERRUPTED, -sign), err
        assert process.returncode == -sign or "Traceback" not in err
        check_stopped(trial)
    trial.finish()
    with capsys.disabled():
        print(f"\n{sign.name}: {stops} stops over {len(trial.wanted['photos'])} photos")


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


@pytest.mark.parametrize(("limited", "ends"), [(small_disk, "(used|written)"), (small_files, "used")])
def test_a_full_disk_ends_the_run_with_one_line_and_the_next_one_goes_on(
    trial: Trial, tmp_path: Path, limited: Callable[[Path, int], Any], ends: str, seen: Seen
) -> None:
    trial.gallery.index_file.unlink()
    photos, ended = len(trial.wanted["photos"]), 0
    trial.gallery.tag(index=tmp_path / "wanted.json")
    wanted = without_date(tmp_path / "wanted.json")
    sizes = range(4096, 400 * 1024, 48 * 1024)
    for size in sizes:
        index = tmp_path / f"disk-{size}/cartag.json"
        seen.batches.clear()
        with limited(index.parent, size) as make_room:
            error = failure_of(lambda index=index: trial.gallery.tag(batch_size=BATCH, index=index))
            if error is not None:
                assert "\n" not in str(error)
                assert os.listdir(index.parent) == [".cartag"]
                assert re.search("cannot be (used|written)", str(error)), (
                    "no room for cache or journal, or for the index"
                )
                ended += 1
            make_room()
            trial.gallery.tag(batch_size=BATCH, index=index)
            assert without_date(index) == wanted
            assert photos <= seen.photos <= photos + BATCH, "at most one batch is embedded twice"
    assert 0 < ended < len(sizes), "too little room, and then enough"


def test_a_disk_without_room_for_the_new_index_keeps_the_old_one(trial: Trial, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2**24):
        index, filler = tmp_path / "disk/cartag.json", tmp_path / "disk/filler"
        trial.gallery.tag(index=index)
        before, wanted = index.read_bytes(), without_date(index)
        free = os.statvfs(index.parent).f_bavail * os.statvfs(index.parent).f_frsize
        filler.write_bytes(bytes(free - 48 * 1024))
        error = failure_of(lambda: trial.gallery.tag(index=index, threshold=0.99))
        assert error is not None
        assert "cannot be written" in str(error)
        assert index.read_bytes() == before
        assert not list(index.parent.glob(".cartag.json.*"))
        filler.unlink()
        trial.gallery.tag(index=index)
        assert without_date(index) == wanted


def failure_of(run: Callable[[], Any]) -> IndexFileError | None:
    try:
        run()
    except IndexFileError as e:
        return e
    return None


@pytest.mark.parametrize("size", [0, 4096, 32 * 1024])
def test_what_a_person_said_outlives_a_full_disk(trial: Trial, tmp_path: Path, size: int) -> None:
    before = trial.gallery.index_file.read_bytes()
    with small_files(tmp_path / "limited", size) as make_room:
        assert failure_of(lambda: trial.gallery.tag(batch_size=BATCH)) is not None
        assert trial.gallery.index_file.read_bytes() == before
        make_room()
        trial.gallery.tag(batch_size=BATCH)
    assert without_date(trial.gallery.index_file) == trial.wanted
    check_words(trial.gallery)


def test_a_full_disk_is_one_line_on_the_command_line(trial: Trial, tmp_path: Path) -> None:
    with small_files(tmp_path / "disk", 40_000):
        done = trial.run("", "--index", str(tmp_path / "disk/cartag.json"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "the same command goes on from here" in done.stderr
