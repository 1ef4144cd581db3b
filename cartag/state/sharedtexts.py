"""The embeddings of texts that all galleries of a user share: a cache without photos, in the user's cache folder."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from cartag.state.store import TABLES, Store, connected, said_by_sqlite

log = logging.getLogger(__name__)

SHARED_NAME = "texts.sqlite"
_MOST_SHARED = 512 * 2**20  # bytes: some sixty catalogs of 380 cars with the largest models
_PATIENCE = 3.0  # seconds: where the user's cache lies on a file system without locks, nobody shall wait for it


class SharedTexts:
    """Texts that were embedded for any gallery of this user: a new gallery then needs no pass of the text tower.

    A convenience: whatever is wrong with it, there is no cache, and nothing fails. The folder may be one that a person
    named: what has the cache's name there and is no such cache is left alone.
    """

    def __init__(self, folder: Path | None, identity: str) -> None:
        """Kept in ``folder``; None: nowhere."""
        self._folder, self._identity = folder, identity

    def get(self, texts: Iterable[str]) -> dict[str, np.ndarray]:
        """The cached embeddings among ``texts``, each of shape (d,)."""
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._folder is not None and _is_cache(self._folder / SHARED_NAME):
                with self._opened(self._folder) as store:
                    return store.texts(texts)
        return {}

    def put(self, embeddings: Mapping[str, np.ndarray]) -> None:
        """Stores the embeddings of texts; a file that has grown too large is begun anew."""
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
                file = self._folder / SHARED_NAME
                if os.path.lexists(file) and not _is_cache(file):
                    log.warning("%s: is no cache of cartag's; text_cache may name another folder", file)
                    return
                if file.is_file() and file.stat().st_size > _MOST_SHARED:
                    file.unlink()
                with self._opened(self._folder) as store:
                    store.put_texts(embeddings)

    def _opened(self, folder: Path) -> Store:
        return Store(folder, self._identity, name=SHARED_NAME, patience=_PATIENCE)


def _is_cache(path: Path) -> bool:
    """Whether a file is a cache of cartag's, by the tables in it; what they hold may be damaged.

    Raises:
        sqlite3.OperationalError: that cannot be told now, for somebody is writing it.
    """
    if path.is_symlink() or not path.is_file():
        return False
    if path.stat().st_size == 0:
        return True
    tables = re.findall(r"CREATE TABLE (\w+)", TABLES)
    try:  # not read-only: what a killed writer began has to be undone
        with said_by_sqlite(), contextlib.closing(connected(path, "rw", _PATIENCE)) as db:
            names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {name for (name,) in names} == set(tables)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False
