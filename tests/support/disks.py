"""A disk that loses what was not synced: what each file may hold if the power fails now.

The calls of this process are followed, and the real files are written all the same. Bytes are on the disk when their
file was synced; a name is when its folder was. Until then either may be as before, and bytes that were never synced may
be anything: so the least that POSIX promises, which is less than what most file systems do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TORN = b"<torn>"


class Disk:
    """What is on the disk for certain, and what may be there already."""

    def __init__(self, *folders: Path) -> None:
        self._names: dict[str, list[int | None]] = {}
        """By path, files by inode, oldest first: the first is on the disk, each of the others may be."""
        self._bytes: dict[int, bytes] = {}
        """By inode, what was synced."""
        self.calls: list[tuple[str, str]] = []
        """What was done, and to which file or folder."""
        self.after_each: Callable[[], None] = lambda: None
        for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
            inode = path.stat().st_ino
            self._names[self._key(path)], self._bytes[inode] = [inode], path.read_bytes()

    def may_hold(self, path: Path) -> list[bytes | None]:
        """What may be found under a name after a power cut; None: nothing is there."""
        files = self._names.get(self._key(path), [None])
        return [None if inode is None else self._bytes.get(inode, TORN) for inode in files]

    def holds(self, path: Path) -> bytes | None:
        """What is found under a name for certain."""
        (only,) = self.may_hold(path)
        return only

    @contextmanager
    def watching(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
        """Follows what this process does."""
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace", "rename", "unlink", "remove"):
                patch.setattr(os, name, self._followed(getattr(os, name), getattr(self, f"_{name}")))
            yield self

    def _followed(self, call: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def followed(*arguments: Any, **options: Any) -> Any:
            inode = os.stat(arguments[0]).st_ino if note == self._replace else None
            result = call(*arguments, **options)
            note(*arguments, **({"inode": inode} if inode is not None else {}))
            self.after_each()
            return result

        return followed

    def _fsync(self, handle: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        if os.path.isdir(path):
            self.calls.append(("sync of the folder", path))
            for name, files in self._names.items():
                if os.path.dirname(name) == path:
                    del files[:-1]
        else:
            self.calls.append(("sync", path))
            self._bytes[os.fstat(handle).st_ino] = Path(path).read_bytes()

    def _replace(self, source: Any, target: Any, inode: int) -> None:
        self.calls.append(("rename", self._key(target)))
        self._names.setdefault(self._key(target), [None]).append(inode)

    _rename = _replace

    def _unlink(self, path: Any, **_: Any) -> None:
        self.calls.append(("remove", self._key(path)))
        self._names.setdefault(self._key(path), [None]).append(None)

    _remove = _unlink

    @staticmethod
    def _key(path: Any) -> str:
        return os.path.join(os.path.realpath(os.path.dirname(os.fsdecode(path))), os.path.basename(os.fsdecode(path)))
