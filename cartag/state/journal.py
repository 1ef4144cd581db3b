"""The journal: what a run has learnt of the photos so far, so that a killed run goes on where it stopped.

One JSON line a batch, appended and flushed after the batch's embeddings are in the store. It holds facts of the files
(hash, size, mtime, dimensions, or why a photo cannot be read), never scores: those follow from the store.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from cartag.paths import is_below
from cartag.values import ReadError, Sha256

log = logging.getLogger(__name__)

_TO_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
"""A link in a gallery's state folder would have lines added to whatever it leads to."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What reading a photo told: a hash and dimensions, or an error; with the names and bounds of a `PhotoRecord`."""

    path: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    mtime_ns: int
    sha256: Sha256 | UnsetType = UNSET
    width: Annotated[int, msgspec.Meta(ge=1)] | UnsetType = UNSET
    height: Annotated[int, msgspec.Meta(ge=1)] | UnsetType = UNSET
    error: ReadError | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not is_below(self.path):
            raise ValueError(f"{self.path!r} would lie outside of the gallery")


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Facts])


class Journal:
    """An append-only file of `Facts`, one batch a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged_lines = 0
        self._file: int | None = None

    def read(self) -> list[Facts]:
        """All facts, oldest first; a line cut off by a kill is skipped and counted."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        facts: list[Facts] = []
        for line in filter(None, lines):
            try:
                facts += _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.damaged_lines += 1
        if self.damaged_lines:
            log.warning("%s: %d damaged line(s) skipped", self.path, self.damaged_lines)
        return facts

    def append(self, batch: Sequence[Facts]) -> None:
        """Adds one batch; on return it survives a kill of the process."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, _TO_APPEND, 0o666)
            # A kill may have left half a line: what follows must not be glued to it.
            os.write(self._file, b"\n")
        _write_all(self._file, _encoder.encode(list(batch)) + b"\n")

    def without(self, facts: Iterable[Facts]) -> bytes:
        """The file's bytes with all that is whole in it but for these facts."""
        left_out = set(facts)
        kept = [fact for fact in self.read() if fact not in left_out]
        return b"\n" + _encoder.encode(kept) + b"\n" if kept else b""

    def remove(self) -> None:
        """Ends the journal: everything in it is in the index now."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file and keeps it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def latest(facts: Iterable[Facts]) -> dict[str, Facts]:
    """The last word on every path."""
    return {fact.path: fact for fact in facts}


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
