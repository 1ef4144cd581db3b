"""The embedding cache looked through row by row: what is rotten in it, and that taken out.

The cache itself passes over what it finds to be damaged (`store`), a row at a time. Here all of it is read, for SQLite
checks its pages and not what is in them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from cartag.state import store

_AT_ONCE = 1024
_OWNED = " OR model NOT IN (SELECT id FROM model)"
_KEYED = "typeof(sha256) != 'blob' OR length(sha256) != 32"
# Rows that cannot be right, whatever is in them. A row without its model would never be asked for.
_SHAPELESS = {
    "model": "typeof(identity) != 'text' OR identity = ''",
    "photo": f"{_KEYED} OR typeof(vector) != 'blob'{_OWNED}",
    "region": f"{_KEYED} OR typeof(vector) != 'blob' OR typeof(box) != 'blob'{_OWNED}",
    "seen": f"{_KEYED} OR typeof(boxes) != 'blob' OR typeof(detector) != 'text'",
    "text": "typeof(digest) != 'blob' OR length(digest) != 32 OR typeof(vectors) != 'blob'"
    f" OR typeof(dim) != 'integer' OR length(vectors) != 4 * dim{_OWNED}",
    "fact": "typeof(name) != 'text' OR typeof(value) NOT IN ('real', 'integer', 'null') OR abs(value) > 1e300" + _OWNED,
}
_VECTORS = {"photo": ("sha256", "vector"), "region": ("sha256, box", "vector"), "text": ("digest", "vectors")}
_OLD_TABLES = {"model", "photo", "text", "fact"}


@dataclass(frozen=True)
class CacheState:
    """What the cache of a state folder is like."""

    path: Path
    problem: str = ""
    """Why it cannot be used as a whole; empty: it can."""
    is_busy: bool = False
    """Somebody writes it now, so that it was not looked at."""
    rotten: dict[str, int] = field(default_factory=dict)
    """Damaged rows by table."""
    contents: frozenset[str] = frozenset()
    """SHA-256 of the photos that it holds embeddings of, whole or of regions."""

    @property
    def unfinished(self) -> bool:
        """Whether a killed writer left a transaction in the middle: whoever writes next takes it back."""
        with contextlib.suppress(OSError):
            return os.stat(f"{self.path}-journal").st_size > 0
        return False


def inspect_cache(folder: Path) -> CacheState | None:
    """Reads the whole cache of a state folder and changes nothing; None where there is none."""
    path = folder / store.FILE_NAME
    if not os.path.lexists(path):
        return None
    if not path.is_file() or path.is_symlink():
        return CacheState(path, "is no plain file")
    try:
        with store.said_by_sqlite(), contextlib.closing(store.connected(path, "ro", 1.0)) as db:
            if problem := _problem(db):
                return CacheState(path, problem)
            rotten = {table: n for table, n in _shapeless(db).items() if n}
            for table, _, _ in _rotten(db):
                rotten[table] = rotten.get(table, 0) + 1
            return CacheState(path, rotten=rotten, contents=_contents(db))
    except sqlite3.OperationalError as e:
        if "locked" in str(e) or "busy" in str(e):
            return CacheState(path, is_busy=True)
        return CacheState(path, str(e))
    except (sqlite3.DatabaseError, OSError) as e:
        return CacheState(path, str(e))


def drop_rotten(folder: Path) -> None:
    """Takes the damaged rows out; a file that cannot be used as a whole is begun anew, for it can be made again.

    What a killed writer left in the middle is taken back by that.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / store.FILE_NAME
    try:
        with store.said_by_sqlite(), contextlib.closing(store.begun(path, 5.0)) as db:
            if not _problem(db):
                with db:
                    for table, condition in _conditions(db).items():
                        db.execute(f"DELETE FROM {table} WHERE {condition}")
                    for table, columns, key in list(_rotten(db)):
                        where = " AND ".join(f"{column} = ?" for column in columns)
                        db.execute(f"DELETE FROM {table} WHERE {where}", key)
                return
    except sqlite3.OperationalError as e:
        if not path.is_file() or "locked" in str(e) or not os.access(path, os.W_OK):
            raise OSError(0, str(e), str(path)) from e
    except sqlite3.DatabaseError:
        pass
    try:
        for name in ("", "-journal", "-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        store.begun(path, 5.0).close()
    except sqlite3.Error as e:
        raise OSError(0, str(e), str(path)) from e


def _problem(db: sqlite3.Connection) -> str:
    """What is wrong with the file as a whole; empty: nothing."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version == 0 and not tables:  # made, and nothing was written yet
        return ""
    if version != store.VERSION:
        return f"cache version {version}, expected {store.VERSION}"
    if missing := _OLD_TABLES - tables:
        return f"lacks {', '.join(sorted(missing))}"
    (state,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    return "" if state == "ok" else " ".join(str(state).split())


def _conditions(db: sqlite3.Connection) -> dict[str, str]:
    """Of the tables that are there: the file may be of an older cartag."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {table: condition for table, condition in _SHAPELESS.items() if table in tables}


def _shapeless(db: sqlite3.Connection) -> dict[str, int]:
    return {
        table: db.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()[0]
        for table, condition in _conditions(db).items()
    }


_Row = tuple[str, tuple[str, ...], tuple[object, ...]]
"""Table, the columns of its key, and the key."""


def _rotten(db: sqlite3.Connection) -> Iterator[_Row]:
    """The rows whose shape is right, and what is in them wrong."""
    conditions = _conditions(db)
    if "model" not in conditions:
        return
    for (model,) in db.execute("SELECT id FROM model").fetchall():
        length = _length(db, model, conditions)
        for table in conditions.keys() & _VECTORS.keys():
            yield from _rotten_vectors(db, model, table, conditions[table], length)
    if "seen" in conditions:
        rows = db.execute(f"SELECT detector, sha256, boxes FROM seen WHERE NOT ({conditions['seen']})")
        for detector, sha256, boxes in rows:
            if store.boxes_in(boxes) is None:
                yield "seen", ("detector", "sha256"), (detector, sha256)


def _length(db: sqlite3.Connection, model: int, conditions: dict[str, str]) -> int:
    """Bytes of a vector of this model: of photos, regions and texts alike, so the length that most of them have."""
    counts: dict[int, int] = {}
    for table in conditions.keys() & _VECTORS.keys():
        column = _VECTORS[table][1]
        query = (
            f"SELECT length({column}), count(*) FROM {table} WHERE model = ? AND NOT ({conditions[table]}) GROUP BY 1"
        )
        for length, n in db.execute(query, (model,)):
            counts[length] = counts.get(length, 0) + n
    return max(counts, key=lambda length: counts[length], default=0)


def _rotten_vectors(db: sqlite3.Connection, model: int, table: str, condition: str, length: int) -> Iterator[_Row]:
    keys, column = _VECTORS[table]
    names = ("model", *keys.split(", "))
    rows = db.execute(f"SELECT {column}, {keys} FROM {table} WHERE model = ? AND NOT ({condition})", (model,))
    while some := list(islice(rows, _AT_ONCE)):
        right = [length > 0 and length % 4 == 0 and len(row[0]) == length for row in some]
        vectors = np.frombuffer(b"".join(row[0] for row, fits in zip(some, right, strict=True) if fits), np.float32)
        units = iter(store.are_units(vectors.reshape(sum(right), -1)).tolist() if any(right) else ())
        for (_, *key), fits in zip(some, right, strict=True):
            sound = fits and next(units)
            if not sound or (table == "region" and store.box_in(key[1]) is None):
                yield table, names, (model, *key)


def _contents(db: sqlite3.Connection) -> frozenset[str]:
    found: set[str] = set()
    for table in _conditions(db).keys() & {"photo", "region"}:
        found.update(
            key.hex() for (key,) in db.execute(f"SELECT DISTINCT sha256 FROM {table}") if isinstance(key, bytes)
        )
    return frozenset(found)
