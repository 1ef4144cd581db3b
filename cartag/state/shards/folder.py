"""Where an index of shards lies: a folder here or on object storage, and its files by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from cartag.errors import IndexFileError
from cartag.paths import object_storage, place_of, why_not_reached
from cartag.state.index import replace_file


@dataclass(frozen=True)
class ShardFolder:
    """A folder that holds an index of shards; names in it are relative, with ``/`` between their parts.

    What is here is written durably and whole. On object storage an object appears whole or not at all, by itself.
    """

    uri: str
    """As a person wrote it: a path, or ``file://``, ``s3://``, ``gs://`` ..."""
    local: Path | None
    """Its path, where it is a folder of this machine."""

    @property
    def is_local(self) -> bool:
        return self.local is not None

    def where(self, name: str) -> str:
        """A file's whole name, for messages."""
        return f"{self.uri.rstrip('/')}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Puts a file there, in place of one of this name.

        Raises:
            IndexFileError: it cannot be written; what was there stands.
        """
        with self._failing(name, "written"):
            if self.local is not None:
                path = self.local / name
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, data)
            else:
                fs, root = self._remote()
                fs.pipe_file(f"{root}/{name}", data)

    def make(self, below: str) -> None:
        """Makes a folder of it, where there are such things: by ``shards/`` an index on a disk is told from a file.

        Raises:
            IndexFileError: it cannot be made.
        """
        if self.local is not None:
            with self._failing(below, "written"):
                (self.local / below).mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            IndexFileError: it is not there, or cannot be read.
        """
        with self._failing(name, "read"):
            if self.local is not None:
                return (self.local / name).read_bytes()
            fs, root = self._remote()
            return cast(bytes, fs.cat_file(f"{root}/{name}"))

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """The bytes of many small files; from object storage at the same time.

        Raises:
            IndexFileError: one of them is not there, or cannot be read.
        """
        if self.local is not None or not names:
            return [self.read(name) for name in names]
        fs, root = self._remote()
        with self._failing(names[0], "read"):
            found = fs.cat([f"{root}/{name}" for name in names])
        return [found[f"{root}/{name}"] for name in names]

    def read_if_there(self, name: str) -> bytes | None:
        """As `read`; None where there is no such file."""
        return self.read(name) if self.is_there(name) else None

    def is_there(self, name: str) -> bool:
        """Whether there is a file of this name.

        Raises:
            IndexFileError: whoever keeps it does not say.
        """
        if self.local is not None:
            return (self.local / name).is_file()
        with self._failing(name, "read"):
            fs, root = self._remote()
            try:  # not `isfile`: that takes a store which does not answer for one that has no such file
                return bool(fs.info(f"{root}/{name}")["type"] == "file")
            except FileNotFoundError:
                return False

    def names(self, below: str) -> list[str]:
        """Names of the files right below a folder of it, sorted; none where there is no such folder."""
        with self._failing(below, "listed"):
            if self.local is not None:
                return self._local_names(self.local / below, below)
            fs, root = self._remote()
            try:
                found = fs.ls(f"{root}/{below}", detail=True, refresh=True)
            except FileNotFoundError:
                return []
            files = [entry["name"].rsplit("/", 1)[1] for entry in found if entry["type"] == "file"]
            return sorted(f"{below}/{name}" for name in files if name and not name.startswith("."))

    def remove(self, name: str) -> None:
        """Removes a file, if it is there.

        Raises:
            IndexFileError: it cannot be removed.
        """
        with self._failing(name, "removed"):
            if self.local is not None:
                (self.local / name).unlink(missing_ok=True)
            elif self.is_there(name):
                fs, root = self._remote()
                fs.rm_file(f"{root}/{name}")

    @contextmanager
    def open(self, name: str) -> Iterator[str | BinaryIO]:
        """What pyarrow reads a part of a file from: its path, where it is here.

        pyarrow's own file systems are not used: one for S3 that lives when the process ends can keep it from ending.
        """
        with self._failing(name, "read"):
            if self.local is not None:
                yield str(self.local / name)
                return
            fs, root = self._remote()
            with fs.open(f"{root}/{name}", "rb") as file:
                yield file

    @staticmethod
    def _local_names(folder: Path, below: str) -> list[str]:
        if not folder.is_dir():
            return []
        with os.scandir(folder) as entries:  # a hidden one is a writer's, on its way
            return sorted(f"{below}/{e.name}" for e in entries if not e.name.startswith(".") and e.is_file())

    def _remote(self) -> tuple[Any, str]:
        """The file system, and the folder's name on it; it remembers no list, for other machines write here too."""
        return object_storage(self.uri, IndexFileError, use_listings_cache=False)

    @contextmanager
    def _failing(self, name: str, what: str) -> Iterator[None]:
        try:
            yield
        except IndexFileError:
            raise
        except ImportError as e:  # of what a store's client loads when it is first asked
            raise IndexFileError(f"{self.uri}: reading it needs more: pip install 'cartag[ray]' ({e})") from e
        except FileNotFoundError as e:
            raise IndexFileError(f"{self.where(name)}: not there") from e
        except OSError as e:
            why = f"cannot be {what} ({e.strerror or e})" if self.local is not None else why_not_reached(e, what)
            raise IndexFileError(f"{self.where(name)}: {why}") from e
        except Exception as e:  # clients of object storage raise errors of several libraries
            if self.local is not None or type(e).__module__.split(".")[0] in ("cartag", "builtins", "msgspec"):
                raise
            raise IndexFileError(f"{self.where(name)}: {why_not_reached(e, what)}") from e


def shard_folder(where: Path | str) -> ShardFolder:
    """A folder by its path or URI; nothing is opened yet, nor need it be there.

    Raises:
        IndexFileError: it is a URI of another machine.
    """
    return ShardFolder(*place_of(where, IndexFileError))
