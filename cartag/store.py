"""The embedding cache: a SQLite file in the state folder, keyed by model identity and content hash.

It can be deleted at any time; the next run computes again what it needs.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

log = logging.getLogger(__name__)

FILE_NAME = "embeddings.sqlite"
_VERSION = 1
_TABLES = """
CREATE TABLE model (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
CREATE TABLE photo (model INTEGER NOT NULL, sha256 BLOB NOT NULL, vector BLOB NOT NULL,
                    PRIMARY KEY (model, sha256)) WITHOUT ROWID;
CREATE TABLE text (model INTEGER NOT NULL, digest BLOB NOT NULL, vectors BLOB NOT NULL, dim INTEGER NOT NULL,
                   PRIMARY KEY (model, digest)) WITHOUT ROWID;
CREATE TABLE fact (model INTEGER NOT NULL, name TEXT NOT NULL, value REAL, PRIMARY KEY (model, name)) WITHOUT ROWID;
"""
_AT_ONCE = 500
_CHECKED_AT_ONCE = 4096
_OFF_UNIT = 0.05  # of the squared length: far above rounding, far below what a flipped bit of an exponent does


class Store:
    """Embeddings of one model. Vectors are float32; photos are keyed by SHA-256 (hex), texts by themselves."""

    def __init__(self, folder: Path, identity: str) -> None:
        """Opens the cache of the model ``identity`` in ``folder``; a damaged file is set aside and a new one begun.

        Raises:
            sqlite3.OperationalError: the file cannot be opened for writing.
        """
        self.path = folder / FILE_NAME
        self.was_set_aside: Path | None = None
        try:
            self._db, self._model = _open(self.path, identity)
        except sqlite3.OperationalError:  # locked, read-only, no space: nothing is wrong with the file
            raise
        except sqlite3.DatabaseError as e:
            self.was_set_aside = self.path.with_suffix(".damaged")
            log.warning("%s: damaged (%s); set aside as %s", self.path, e, self.was_set_aside.name)
            os.replace(self.path, self.was_set_aside)
            for leftover in ("-journal", "-wal", "-shm"):
                self.path.with_name(self.path.name + leftover).unlink(missing_ok=True)
            self._db, self._model = _open(self.path, identity)

    @staticmethod
    def read_photos(folder: Path, identity: str, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        """The cached embeddings among ``hashes``, without writing anything: the folder may be read-only.

        Raises:
            sqlite3.Error: there is no cache, or it is damaged.
        """
        uri = f"{(folder / FILE_NAME).absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30.0)) as db:
            row = db.execute("SELECT id FROM model WHERE identity = ?", (identity,)).fetchone()
            return _photos(db, row[0], hashes) if row else {}

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    def hashes(self) -> set[str]:
        """Hashes of all photos that are cached for this model; one whose vector is damaged counts as not cached."""
        rows = self._db.execute("SELECT sha256, vector FROM photo WHERE model = ?", (self._model,))
        hashes: set[str] = set()
        damaged = 0
        while some := rows.fetchmany(_CHECKED_AT_ONCE):
            sound = _are_sound([vector for _, vector in some])
            hashes.update(key.hex() for (key, _), good in zip(some, sound, strict=True) if good)
            damaged += sound.count(False)
        if damaged:
            log.warning("%s: %d damaged embedding(s), computed again", self.path, damaged)
        return hashes

    def get(self, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        """The cached embeddings among ``hashes``, each of shape (d,)."""
        return _photos(self._db, self._model, hashes)

    def all_of(self, hashes: Sequence[str], at_once: int) -> Iterator[tuple[list[str], np.ndarray]]:
        """The cached embeddings among ``hashes``, at most ``at_once`` a time: their hashes, and an array (n, d).

        For a large part of the cache: it is read through once, in the order it lies in.
        """
        wanted = {bytes.fromhex(h): h for h in hashes}
        rows = self._db.execute("SELECT sha256, vector FROM photo WHERE model = ? ORDER BY sha256", (self._model,))
        while some := rows.fetchmany(at_once):
            found = [(wanted[key], vector) for key, vector in some if key in wanted]
            if found:
                joined = np.frombuffer(b"".join([vector for _, vector in found]), np.float32)
                yield [key for key, _ in found], joined.reshape(len(found), -1)

    def put(self, embeddings: Mapping[str, np.ndarray]) -> None:
        """Stores embeddings, in one transaction."""
        rows = [(self._model, bytes.fromhex(h), v.astype(np.float32).tobytes()) for h, v in embeddings.items()]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO photo VALUES (?, ?, ?)", rows)

    def texts(self, texts: Iterable[str]) -> dict[str, np.ndarray]:
        """The cached embeddings among ``texts``, each of shape (d,)."""
        by_digest = {_digest(text): text for text in texts}
        query = "SELECT digest, vectors FROM text WHERE model = ? AND digest IN ({})"
        rows = _select(self._db, query, self._model, list(by_digest))
        return {
            by_digest[digest]: np.frombuffer(vector, np.float32) for digest, vector in rows if _are_sound([vector])[0]
        }

    def put_texts(self, embeddings: Mapping[str, np.ndarray]) -> None:
        """Stores the embeddings of texts, in one transaction."""
        rows = [(self._model, _digest(t), v.astype(np.float32).tobytes(), len(v)) for t, v in embeddings.items()]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO text VALUES (?, ?, ?, ?)", rows)

    def facts(self) -> dict[str, float | None]:
        """Numbers of the model that scoring needs without loading it, such as its logit scale."""
        return dict(self._db.execute("SELECT name, value FROM fact WHERE model = ?", (self._model,)).fetchall())

    def put_facts(self, facts: Mapping[str, float | None]) -> None:
        """Stores such numbers."""
        with self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO fact VALUES (?, ?, ?)", [(self._model, k, v) for k, v in facts.items()]
            )


def _open(path: Path, identity: str) -> tuple[sqlite3.Connection, int]:
    """Opens and checks the file, and gives the model its number in it."""
    db = sqlite3.connect(path, timeout=30.0)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"cache version {version}, expected {_VERSION}")
        (state,) = db.execute("PRAGMA quick_check(1)").fetchone()  # reads the file once: 100 MB in a tenth of a second
        if state != "ok":
            raise sqlite3.DatabaseError(state)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -32768")  # 32 MiB: hashes lie all over the file
        db.execute("INSERT OR IGNORE INTO model (identity) VALUES (?)", (identity,))
        db.commit()
        return db, db.execute("SELECT id FROM model WHERE identity = ?", (identity,)).fetchone()[0]
    except sqlite3.DatabaseError:
        with contextlib.suppress(sqlite3.Error):
            db.close()
        raise


def _photos(db: sqlite3.Connection, model: int, hashes: Sequence[str]) -> dict[str, np.ndarray]:
    query = "SELECT sha256, vector FROM photo WHERE model = ? AND sha256 IN ({})"
    rows = _select(db, query, model, [bytes.fromhex(h) for h in hashes])
    return {key.hex(): np.frombuffer(vector, np.float32) for key, vector in rows}


def _select(db: sqlite3.Connection, query: str, model: int, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        yield from db.execute(query.format(",".join("?" * len(some))), (model, *some))


def _are_sound(vectors: Sequence[bytes]) -> list[bool]:
    """Whether these are the bytes of unit-length float32 vectors: SQLite checks its pages, not what is in them."""
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1:  # which a model's never have, unless they are damaged
        return [_are_sound([vector])[0] for vector in vectors]
    if not lengths or min(lengths) == 0 or min(lengths) % 4:
        return [False] * len(vectors)
    values = np.frombuffer(b"".join(vectors), np.float32).reshape(len(vectors), -1)
    with np.errstate(all="ignore"):
        off: np.ndarray = np.abs(np.einsum("ij,ij->i", values, values) - 1)
        sound: list[bool] = (off < _OFF_UNIT).tolist()
    return sound


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass") + b"\0").digest()
