"""cartag's command line with faults in it: ``python tests/support/faults.py tag GALLERY ...``.

What a user runs holds no such hooks: they are put around cartag's modules here, in a process of the tests' own.

FAULT=pause:SECONDS       waits at every point below, and much longer at those of the index, which a run writes only once,
                          so that a kill from outside is likely to come in the middle
FAULT=kill:POINT          is killed there
FAULT=stop:POINT          stands still there once (SIGSTOP), for the test to look around and to go on or to kill
FAULT_LOG=FILE            gets a line for every batch that goes into the model: how many photos
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

POINTS = (
    "batch embedded",
    "batch stored",
    "half of the journal line",
    "index opened",
    "half of the index",
    "index written",
    "index replaced",
)


class Faults:
    """What happens at the points, as the environment says."""

    def __init__(self, fault: str, log: str) -> None:
        self._kind, _, self._what = fault.partition(":")
        self._log = log

    def at(self, point: str) -> None:
        assert point in POINTS, point
        if self._kind == "pause":
            time.sleep(float(self._what) * (50 if "index" in point else 1))
        elif self._what == point:
            self._what = ""  # once
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[self._kind])

    def count(self, photos: int) -> None:
        if self._log:
            with open(self._log, "a", encoding="utf-8") as log:
                log.write(f"{photos}\n")


def _with(module: Any, **replaced: Any) -> Any:
    """A module as one importer sees it, with other functions in some places."""
    return SimpleNamespace(**{**vars(module), **replaced})


def _in_halves(write: Callable[[Any], int], data: Any, between: Callable[[], None]) -> int:
    middle = len(data) // 2
    written = write(data[:middle])
    between()
    return written + write(data[middle:])


class _Halving:
    """A file that is written in two halves."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def __enter__(self) -> _Halving:
        self._faults.at("index opened")
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        def between() -> None:
            self._file.flush()
            self._faults.at("half of the index")

        return _in_halves(self._file.write, data, between)


def install(faults: Faults) -> None:
    """Puts the faults around the model, the cache, the journal and the replacement of the index."""
    from cartag import encoder
    from cartag.state import index, journal
    from cartag.state.store import Store

    load, put = encoder.load, Store.put

    def loaded(*arguments: Any, **options: Any) -> Any:
        model = load(*arguments, **options)
        embed = model.embed_images

        def embed_images(pixels: Sequence[Any]) -> Any:
            faults.count(len(pixels))
            embedded = embed(pixels)
            faults.at("batch embedded")
            return embedded

        model.embed_images = embed_images
        return model

    def stored(store: Store, embeddings: Any) -> None:
        put(store, embeddings)
        faults.at("batch stored")

    def journal_write(file: int, data: Any) -> int:
        return _in_halves(lambda half: os.write(file, half), data, lambda: faults.at("half of the journal line"))

    def replace(source: str, target: Path) -> None:
        faults.at("index written")
        os.replace(source, target)
        faults.at("index replaced")

    encoder.load = loaded
    Store.put = stored  # type: ignore[method-assign]
    journal.os = _with(os, write=journal_write)  # type: ignore[attr-defined]
    index.os = _with(os, fdopen=lambda *a: _Halving(os.fdopen(*a), faults), replace=replace)  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what is imported here a user's run imports when it listens
    install(Faults(os.environ.get("FAULT", ""), os.environ.get("FAULT_LOG", "")))
    from cartag.cli import main

    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell has it ignored by what it starts in the background
    main()
