"""Nothing leaves the machine: real commands, in processes where every attempt to reach the network is noted and fails."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import checkpoints, copy_of  # noqa: F401 - a fixture
from conftest import paint
from processes import ROOT, run

Checkpoints = Callable[[str], Path]
# Python raises these events before the system is called, whichever library calls it.
GUARD = """
import os, sys

EVENTS = {
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo",
    "socket.sendto", "socket.sendmsg", "socket.bind",
}

def guard(event, arguments):
    if event in EVENTS:
        with open(os.environ["ATTEMPTS"], "a") as file:
            print(event, *arguments[-1:], file=file)
        raise PermissionError(f"the network is out of bounds: {event}")

sys.addaudithook(guard)
"""


class Guarded:
    """A folder with two photos, labels and a catalog, and cartag in processes without network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.attempts = folder / "attempts.txt"
        self.attempts.touch()
        (folder / "guard").mkdir()
        (folder / "guard" / "sitecustomize.py").write_text(GUARD)
        (folder / "cars.yaml").write_text(
            "cars: [Red Racer, Blue Bolt]\nother_cars: [Green Goblin]\nno_car: [a wall]\n"
        )
        (folder / "labels.csv").write_text("file,label\nred.jpg,Red Racer\nblue.png,Blue Bolt\n")
        for name, colour in (("red.jpg", "red"), ("blue.png", "blue")):
            paint(folder / "photos" / name, colour)

    def cartag(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'guard'}:{ROOT}"
        return run(self.folder, "-m", "cartag", *arguments, PYTHONPATH=path, ATTEMPTS=str(self.attempts), **variables)

    def answers(self, *arguments: str, **variables: str) -> None:
        """The command does its work and reaches for nothing."""
        done = self.cartag(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        assert self.attempts.read_text() == ""


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


def test_the_guard_sees_an_attempt(guarded: Guarded) -> None:
    """Without it the tests below could not fail. A hub model that is not here, and nobody said offline."""
    done = guarded.cartag("tag", "photos", "--catalog", "cars.yaml", "--model", "siglip-b16")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "socket.getaddrinfo" in guarded.attempts.read_text()


def test_offline_nothing_is_attempted(guarded: Guarded) -> None:
    """The model is not even named: `auto` would fetch one if it could."""
    offline = {"HF_HUB_OFFLINE": "1"}
    guarded.answers("tag", "photos", "--catalog", "cars.yaml", **offline)
    guarded.answers("find", "photos", "red racer", "--min-score", "0", **offline)
    guarded.answers("find", "photos", "--text", "a red car", **offline)
    guarded.answers("eval", "photos", "labels.csv", **offline)
    guarded.answers("models", **offline)


def test_with_the_bundled_model_nothing_is_attempted_whatever_the_environment_says(guarded: Guarded) -> None:
    guarded.answers("tag", "photos", "--catalog", "cars.yaml", "--model", "mini")
    guarded.answers("eval", "photos", "labels.csv")
    guarded.answers("show", "photos")
    guarded.answers("export", "photos", "--as", "csv")
    guarded.answers("models")


def test_with_a_model_in_a_folder_nothing_is_attempted(guarded: Guarded, checkpoints: Checkpoints) -> None:  # noqa: F811
    copy_of(checkpoints("siglip"), guarded.folder / "model")
    guarded.answers("tag", "photos", "--catalog", "cars.yaml", "--model", "./model", "--device", "cpu")
    guarded.answers("find", "photos", "--like", "photos/red.jpg", "--limit", "1")
