"""Standard streams that are closed, full or gone: exit codes as `cat` has them, one line, and never "nothing matched"."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from conftest import paint, write_catalog

import cartag
from cartag import cli
from cartag.cli import streams

ROOT = Path(__file__).resolve().parents[2]
LOST = "cartag: standard output: cannot be written"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX closes the streams")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tagged gallery and its catalog."""
    folder = tmp_path_factory.mktemp("streams")
    paint(folder / "photos" / "red.jpg", "red")
    cartag.tag(folder / "photos", catalog=write_catalog(folder), model="fake")
    return folder


def run(home: Path, words: str, redirection: str = "") -> subprocess.CompletedProcess[str]:
    """``cartag words`` as a shell starts it with ``redirection``."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CARTAG_TEXT_CACHE": "off"}
    script = f'exec "{sys.executable}" -m cartag {words} {redirection}'
    return subprocess.run(["sh", "-c", script], cwd=home, env=environment, capture_output=True, text=True, check=False)


full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")


@full
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("find photos red", 2),
        ("find photos red --format table", 2),
        ("find photos red --format csv", 2),
        ("find photos red --format jsonl", 2),
        ("show photos", 1),
        ("show photos --format json", 1),
        ("export photos --as csv", 1),
        ("cars --help", 1),
        ("--version", 1),
    ],
)
def test_a_full_disk_behind_stdout_is_one_line_and_a_failure(home: Path, words: str, code: int) -> None:
    done = run(home, words, ">/dev/full")
    assert (done.returncode, done.stderr) == (code, f"{LOST} (No space left on device)\n")


@pytest.mark.parametrize("words", ["find photos red", "find photos red --format table", "show photos"])
def test_a_reader_that_has_gone_ends_it_without_a_word(home: Path, words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "cartag", *words.split()]
        done = subprocess.run(
            command, cwd=home, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_with_stdout_closed_what_prints_fails_and_what_prints_nothing_does_not(home: Path) -> None:
    found = run(home, "find photos red", ">&-")
    assert (found.returncode, found.stderr) == (2, f"{LOST} (Bad file descriptor)\n")
    assert run(home, "find photos blue", ">&-").returncode == 1  # nothing matched, and nothing was to be printed
    exported = run(home, "export photos --as xmp --to sidecars", ">&-")
    assert (exported.returncode, exported.stderr) == (0, "cartag: xmp: 1 created, 0 unchanged\n")


@pytest.mark.parametrize("redirection", ["2>&-", pytest.param("2>/dev/full", marks=full)])
def test_a_stderr_that_cannot_be_written_changes_neither_answer_nor_exit_code(home: Path, redirection: str) -> None:
    found = run(home, "find photos red", redirection)
    assert (found.returncode, found.stdout) == (0, "photos/red.jpg\n")
    assert run(home, "find photos blue", redirection).returncode == 1
    assert run(home, "find photos nonsense", redirection).returncode == 2  # the message is lost, the code is not
    assert run(home, "find photos --bogus", redirection).returncode == 2
    assert run(home, "show nowhere", redirection).returncode == 1


def test_no_file_of_ours_gets_the_number_of_a_closed_stream(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "photos", tmp_path / "photos", ignore=shutil.ignore_patterns("*cartag*"))
    write_catalog(tmp_path)
    tagged = run(tmp_path, "tag photos --catalog colours.yaml --model fake --strict", "<&- >&- 2>&-")
    assert tagged.returncode == 1  # what it did cannot be printed
    with closing(sqlite3.connect(tmp_path / "photos" / ".cartag" / "embeddings.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM photo").fetchone() == (1,)
    again = run(tmp_path, "tag photos --catalog colours.yaml --model fake --isolate --retag", "<&- 2>&-")
    assert again.returncode == 0
    assert "1 embedded" in again.stdout
    assert [hit.path for hit in cartag.find(tmp_path / "photos", ["red"])] == ["red.jpg"]


def test_a_pipe_that_another_program_made_non_blocking_gets_everything() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received = bytearray()

    def read() -> None:
        while some := os.read(reading, 5000):
            received.extend(some)

    reader = threading.Thread(target=read)
    reader.start()
    data = os.urandom(1 << 20)
    raw = streams._Stdout(writing)
    left = memoryview(data)
    while left:
        left = left[raw.write(left) :]
    os.close(writing)
    reader.join()
    os.close(reading)
    assert raw.error is None
    assert received == data


def test_whatever_goes_wrong_in_find_is_not_nothing_matched(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(error: Exception) -> None:
        def find(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr(cartag, "find", find, raising=False)

    fails(PermissionError(13, "Permission denied", "/somewhere"))
    assert cli._run(["find", str(home / "photos"), "red"]) == 2
    assert capsys.readouterr().err == "cartag: /somewhere: Permission denied; mend that, and try again\n"
    fails(RuntimeError("a mistake of ours"))
    assert cli._run(["find", str(home / "photos"), "red"]) == 2
    assert "a mistake of ours" in capsys.readouterr().err


def test_labels_may_come_through_a_pipe(home: Path, tmp_path: Path) -> None:
    """It can be read once."""
    shutil.copytree(home / "photos", tmp_path / "photos")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CARTAG_TEXT_CACHE": "off"}
    command = [sys.executable, "-m", "cartag", "learn", "photos", "/dev/stdin"]
    said = "file,label\nred.jpg,Red Racer\n"
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, input=said, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 photo with a label\n")
