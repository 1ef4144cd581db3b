"""Who may write an index, and when: one run of `tag` at a time, and one replacement of the file at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import filelock

from cartag.errors import IndexFileError
from cartag.index import Place

_PATIENCE = 60.0
"""Seconds. Nobody holds an index for longer than it takes to read, merge and write it."""


@contextmanager
def running(place: Place) -> Iterator[None]:
    """Held by a run of `tag` from its beginning to its end. The operating system frees the lock of a run that dies.

    Raises:
        IndexFileError: another run holds it, or the state folder cannot be written or locked.
    """
    is_first = not place.state.exists()
    lock = _acquired(place, place.lock, 0)
    try:
        yield
    except BaseException:
        if is_first:  # a mistyped model or catalog leaves nothing behind in the gallery
            with suppress(OSError):
                if os.listdir(place.state) == [place.lock.name]:
                    place.lock.unlink()
                    place.state.rmdir()
        raise
    finally:
        lock.release()


@contextmanager
def replacing(place: Place) -> Iterator[None]:
    """Held while an index is read, changed and written back, so that of two who do so neither loses the other's change.

    Not held during a run: a person may go on correcting tags while one is under way, and the run, at its end, takes
    up what she said.

    Raises:
        IndexFileError: somebody holds it for a minute, or the state folder cannot be written or locked.
    """
    lock = _acquired(place, place.write_lock, _PATIENCE)
    try:
        yield
    finally:
        lock.release()


def _acquired(place: Place, path: Path, patience: float) -> filelock.BaseFileLock:
    lock = _system_lock(path, patience)
    try:
        place.state.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        if isinstance(cast(object, lock), filelock.SoftFileLock):  # a killed run would leave it locked
            lock.release()
            raise OSError(errno.ENOSYS, "no locks")
    except filelock.Timeout as e:
        raise IndexFileError(f"{place.index}: another cartag is writing it; wait for it to end, or stop it") from e
    except (OSError, RuntimeError) as e:  # RuntimeError: how older releases of filelock say that there are no locks
        if not isinstance(e, OSError) or e.errno == errno.ENOSYS:
            raise IndexFileError(
                f"{place.state}: this file system has no locks; keep the index on another one with --index FILE"
            ) from e
        raise IndexFileError(
            f"{place.state}: cannot be written ({e.strerror}); for a read-only gallery use --index FILE"
        ) from e
    return lock


def _system_lock(path: Path, patience: float) -> filelock.BaseFileLock:
    """A lock of the operating system, or none: filelock's way out is a file that a killed run would leave locked."""
    try:
        return filelock.FileLock(path, timeout=patience, fallback_to_soft=False)
    except TypeError:  # an older filelock
        return filelock.FileLock(path, timeout=patience)
