"""Every call fails once: the N-th call to the system below a folder fails, as in SQLite's own tests.

What is counted: opening, reading, writing, syncing, closing a handle that writes, renaming, removing, making and listing,
locking, and the statements of SQLite, whose own calls Python does not see. Calls elsewhere (modules, fonts) are none of ours.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ERRORS = (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EACCES, errno.EINTR)
_BY_PATH = ("open", "replace", "rename", "unlink", "mkdir", "scandir", "listdir")
_BY_HANDLE = ("read", "write", "fsync")
_SAID = {errno.ENOSPC: "database or disk is full", errno.EMFILE: "unable to open database file"}


class Anomaly:
    """Counts the calls below a folder, and has one of them fail."""

    def __init__(self, folder: Path, number: int, error: int) -> None:
        self._folder, self._number, self._error = os.path.realpath(folder), number, error
        self.calls = 0
        self.failed = ""
        """The call that failed, and on what."""

    def _count(self, name: str, path: str) -> bool:
        """Whether this call is the one."""
        if not path.startswith(self._folder):
            return False
        self.calls += 1
        if self.calls != self._number:
            return False
        self.failed = f"{name} {os.path.relpath(path, self._folder)} ({errno.errorcode[self._error]})"
        return True

    def at(self, name: str, path: Any, folder: int | None = None) -> None:
        """Raises where it is this call's turn."""
        if self._count(name, _path_of(path, folder)):
            raise OSError(self._error, os.strerror(self._error), None if isinstance(path, int) else os.fspath(path))

    def at_statement(self, path: str) -> None:
        """The same, as SQLite says it."""
        if self._count("statement", path):
            raise sqlite3.OperationalError(_SAID.get(self._error, "disk I/O error"))

    @contextmanager
    def under(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Anomaly]:
        """Fails what is done meanwhile."""
        with monkeypatch.context() as patch:
            for name in _BY_PATH:
                patch.setattr(os, name, self._with_path(name, getattr(os, name)))
            for name in _BY_HANDLE:
                patch.setattr(os, name, self._with_path(name, getattr(os, name)))
            if fcntl is not None:
                patch.setattr(fcntl, "flock", self._with_path("lock", fcntl.flock))
            patch.setattr(io, "open", self._opening(io.open))
            patch.setattr(builtins, "open", self._opening(builtins.open))
            patch.setattr(os, "fdopen", self._fdopening(os.fdopen))
            patch.setattr(sqlite3, "connect", self._connecting(sqlite3.connect))
            yield self

    def _with_path(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.at(name, arguments[0] if arguments else ".", options.get("dir_fd") or options.get("src_dir_fd"))
            return call(*arguments, **options)

        return counted

    def _opening(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, *arguments: Any, **options: Any) -> Any:
            if not isinstance(file, int):
                self.at("open", file)
            return self._followed(call(file, *arguments, **options), file)

        return opened

    def _fdopening(self, call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda handle, *arguments, **options: self._followed(call(handle, *arguments, **options), handle)

    def _followed(self, file: Any, path: Any) -> Any:
        name = _path_of(path, None)
        return _File(file, self, name) if name.startswith(self._folder) else file

    def _connecting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        anomaly = self

        class Connection(sqlite3.Connection):
            path = ""

            def execute(self, *arguments: Any) -> sqlite3.Cursor:
                anomaly.at_statement(self.path)
                return super().execute(*arguments)

            def executemany(self, *arguments: Any) -> sqlite3.Cursor:
                anomaly.at_statement(self.path)
                return super().executemany(*arguments)

            def executescript(self, *arguments: Any) -> sqlite3.Cursor:
                anomaly.at_statement(self.path)
                return super().executescript(*arguments)

            def commit(self) -> None:
                anomaly.at_statement(self.path)
                super().commit()

            def __exit__(self, kind: Any, *rest: Any) -> Any:
                if kind is None:
                    try:
                        anomaly.at_statement(self.path)
                    except sqlite3.OperationalError as e:
                        super().__exit__(type(e), e, e.__traceback__)
                        raise
                return super().__exit__(kind, *rest)

        def connected(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
            path = os.fspath(database).removeprefix("file://").partition("?")[0]
            anomaly.at_statement(path)
            db = call(database, *arguments, factory=Connection, **options)
            db.path = path
            return db

        return connected


class _File:
    """A file whose reads and writes count."""

    def __init__(self, file: Any, anomaly: Anomaly, path: str) -> None:
        self._file, self._anomaly, self._path = file, anomaly, path

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        got = getattr(self._file, name)
        if name not in ("read", "readinto", "write", "flush"):
            return got

        def counted(*arguments: Any) -> Any:
            self._anomaly.at(name, self._path)
            return got(*arguments)

        return counted


def _path_of(path: Any, folder: int | None) -> str:
    if isinstance(path, int):
        try:
            return os.readlink(f"/proc/self/fd/{path}")
        except OSError:
            return ""
    name = os.fsdecode(path)
    if folder is not None and not os.path.isabs(name):
        return os.path.join(_path_of(folder, None), name)
    return os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(name))), os.path.basename(name))
