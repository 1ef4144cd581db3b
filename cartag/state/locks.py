"""Who may write an index, and when: one run of `tag` at a time, and one replacement of the file at a time."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

if sys.platform != "win32":
    import fcntl

from cartag.errors import IndexFileError, LabelsError
from cartag.paths import printable
from cartag.state import rights
from cartag.state.place import Place

_PATIENCE = 60.0
"""Seconds. Nobody holds an index for longer than it takes to read, merge and write it."""
_A_MOMENT = 0.05


@contextmanager
def running(place: Place) -> Iterator[None]:
    """Held by a run of `tag` from its beginning to its end. The operating system frees the lock of a run that dies.

    Raises:
        IndexFileError: another run holds it, or the state folder cannot be written or locked.
    """
    is_first = not os.path.exists(place.state)
    lock = _acquired(place, place.lock, lambda: False)
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
        _let_go(lock)


@contextmanager
def replacing(place: Place, stopped: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Held while an index is read, changed and written back, so that of two who do so neither loses the other's change.

    Not held during a run: a person may go on correcting tags while one is under way, and the run, at its end, takes
    up what she said. ``stopped`` is asked while it waits: whether to wait no longer.

    Raises:
        IndexFileError: somebody holds it for a minute, or the state folder cannot be written or locked.
    """
    until = time.monotonic() + _PATIENCE
    lock = _acquired(place, place.write_lock, lambda: time.monotonic() < until and not stopped())
    try:
        yield
    finally:
        _let_go(lock)


def _acquired(place: Place, path: Path, waits: Callable[[], bool]) -> filelock.BaseFileLock:
    lock = _system_lock(path)
    try:
        rights.make_folder(place.state)
        rights.make_shared(path)  # older releases of filelock would make it for its owner alone
        while True:
            try:
                lock.acquire()
                break
            except filelock.Timeout:
                if not waits():
                    raise
                time.sleep(_A_MOMENT)
        if _is_mere_file(lock):  # a killed run would leave it locked
            lock.release()
            raise OSError(errno.ENOSYS, "no locks")
    except filelock.Timeout as e:
        who = f" ({found})" if (found := holder_of(path)) is not None else ""
        raise IndexFileError(f"{place.index}: another cartag is writing it; wait for it to end, or stop it{who}") from e
    except (OSError, RuntimeError) as e:  # RuntimeError: how older releases of filelock say that there are no locks
        if not isinstance(e, OSError) or e.errno == errno.ENOSYS:
            raise IndexFileError(
                f"{place.state}: this file system has no locks; keep the index on another one with --index FILE"
            ) from e
        if os.path.exists(path) and not os.access(path, os.W_OK) and os.access(place.state, os.W_OK):
            raise IndexFileError(
                f"{path}: belongs to somebody else, and may not be written ({e.strerror}); its owner can let you: "
                f"chmod -R g+w {place.state}"
            ) from e
        raise IndexFileError(
            f"{place.state}: cannot be written ({e.strerror}); for a read-only gallery use --index FILE"
        ) from e
    return lock


def _is_mere_file(lock: filelock.BaseFileLock) -> bool:
    """Whether filelock has fallen back to its way out. Asked by name: to import that class takes longer than a lock."""
    return any(kind.__name__ == "SoftFileLock" for kind in type(lock).__mro__)


def _let_go(lock: filelock.BaseFileLock) -> None:
    """Releases a lock. That the system refuses is no failure of what was done: it is asked again."""
    for _ in range(3):
        with suppress(OSError):
            lock.release(force=True)
            return


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    pid: int
    """0: nobody can say, for it is another machine's or another container's."""
    command: str
    is_alive: bool
    """False: it has ended, and processes that it started still have the lock open (``heirs``)."""
    heirs: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.pid:
            return "a process that cannot be named from here"
        if self.is_alive:
            return f"process {self.pid}{f': {self.command}' if self.command else ''}"
        left = f", and has left it to process {', '.join(map(str, self.heirs))}" if self.heirs else ""
        return f"process {self.pid}, which has ended{left}"


def holder_of(lock: Path) -> Holder | None:
    """Who holds a lock of this module now; None: nobody. Nothing is locked to find that out, where `/proc` tells.

    Raises:
        OSError: that cannot be told.
    """
    try:
        inode = os.stat(lock).st_ino
    except FileNotFoundError:
        return None
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return _found_by_trying(lock)
    for fields in map(str.split, lines):  # 1: FLOCK  ADVISORY  WRITE 4711 08:02:1234 0 EOF
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            return _named(int(fields[4]), lock)
    return None


def _named(pid: int, lock: Path) -> Holder:
    if pid <= 0:
        return Holder(0, "", True)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
        if command or os.path.exists(f"/proc/{pid}/fd/0"):
            return Holder(pid, printable(os.fsdecode(command))[:120], True)
    except OSError:
        pass
    return Holder(pid, "", False, tuple(_having_open(lock)))


def _having_open(path: Path) -> Iterator[int]:
    """Processes of this user that have a file open."""
    wanted = os.path.realpath(path)
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if any(os.readlink(f"/proc/{name}/fd/{fd}") == wanted for fd in os.listdir(f"/proc/{name}/fd")):
                yield int(name)


def _found_by_trying(lock: Path) -> Holder | None:
    """Where no list of locks is to be had: a moment's shared lock, which those who wait for theirs do not notice."""
    if sys.platform == "win32":
        return None
    handle = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Holder(0, "", True)
    finally:
        os.close(handle)
    return None


def _system_lock(path: Path) -> filelock.BaseFileLock:
    """A lock of the operating system, or none: filelock's way out is a file that a killed run would leave locked."""
    try:
        return filelock.FileLock(path, timeout=0, fallback_to_soft=False)
    except TypeError:  # an older filelock
        return filelock.FileLock(path, timeout=0)


@contextmanager
def writing_into(path: Path, stopped: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Held while a file in this folder is read, changed and replaced that has no lock of its own: a CSV of labels.

    Where the system cannot lock folders (Windows, some network drives) nothing is held.

    Raises:
        LabelsError: somebody holds it for a minute.
    """
    until, handle = time.monotonic() + _PATIENCE, None
    if sys.platform != "win32":
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
    try:
        while handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as e:
                if stopped() or time.monotonic() > until:
                    raise LabelsError(
                        f"{path}: another program holds this folder; wait for it to end, or stop it"
                    ) from e
                time.sleep(_A_MOMENT)
            except OSError:  # no such locks here
                break
        yield
    finally:
        if handle is not None:
            os.close(handle)
