"""The embedding cache: a SQLite file in the state folder, keyed by model identity and content hash.

It can be deleted at any time; the next run computes again what it needs.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np

from cartag.state import rights

log = logging.getLogger(__name__)

FILE_NAME = "embeddings.sqlite"
SHARED_NAME = "texts.sqlite"
_VERSION = 1
_TABLES = """
CREATE TABLE model (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
CREATE TABLE photo (model INTEGER NOT NULL, sha256 BLOB NOT NULL, vector BLOB NOT NULL,
                    PRIMARY KEY (model, sha256)) WITHOUT ROWID;
CREATE TABLE text (model INTEGER NOT NULL, digest BLOB NOT NULL, vectors BLOB NOT NULL, dim INTEGER NOT NULL,
                   PRIMARY KEY (model, digest)) WITHOUT ROWID;
CREATE TABLE fact (model INTEGER NOT NULL, name TEXT NOT NULL, value REAL, PRIMARY KEY (model, name)) WITHOUT ROWID;
"""
_PHOTOS = "SELECT sha256, vector FROM photo WHERE model = ? AND sha256 IN ({})"
# Bytes. A row may fill a quarter of a page, here that is some 1,000 numbers; of a longer one most goes to pages of its
# own: with SQLite's 4,096 bytes, the file of a model with 512 numbers was twice as long and read in thrice the time.
_PAGE = 16384
_AT_ONCE = 500
_CHECKED_AT_ONCE = 4096
_MOST_SHARED = 512 * 2**20  # bytes: some sixty catalogs of 380 cars with the largest models
_PATIENCE = 3.0  # seconds: where the user's cache lies on a file system without locks, nobody shall wait for it
_OFF_UNIT = 0.05  # of the squared length: far above rounding, far below what a flipped bit of an exponent does


class Store:
    """Embeddings of one model. Vectors are float32; photos are keyed by SHA-256 (hex), texts by themselves."""

    def __init__(self, folder: Path, identity: str, *, name: str = FILE_NAME, patience: float = 30.0) -> None:
        """Opens the cache of the model ``identity`` in ``folder``; a damaged file is set aside and a new one begun.

        ``patience`` is how many seconds to wait while another process writes. Outside of a state folder nothing is set
        aside, for a file of somebody else may have the name that it would get: a damaged cache is removed there.

        Raises:
            sqlite3.OperationalError: the file cannot be opened for writing.
        """
        self.path = folder / name
        self.was_set_aside: Path | None = None
        try:
            self._db, self._model = _open(self.path, identity, patience)
        except sqlite3.OperationalError as e:  # locked, read-only, no space: nothing is wrong with the file
            if os.path.exists(self.path) and not os.access(self.path, os.W_OK):
                raise sqlite3.OperationalError(
                    f"{name} may not be written; its owner can let you: chmod g+w {self.path}"
                ) from e
            raise
        except sqlite3.DatabaseError as e:
            if name == FILE_NAME:
                self.was_set_aside = self.path.with_suffix(".damaged")
                log.warning("%s: damaged (%s); set aside as %s", self.path, e, self.was_set_aside.name)
                os.replace(self.path, self.was_set_aside)
            else:
                log.warning("%s: damaged (%s); begun anew", self.path, e)
                self.path.unlink()
            for leftover in ("-journal", "-wal", "-shm"):
                self.path.with_name(self.path.name + leftover).unlink(missing_ok=True)
            self._db, self._model = _open(self.path, identity, patience)

    @staticmethod
    def read_photos(folder: Path, identity: str, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        """The undamaged embeddings among ``hashes``, without writing anything: the folder may be read-only.

        Raises:
            sqlite3.Error: there is no cache, or it is damaged.
        """
        with contextlib.closing(_connected(folder / FILE_NAME, "ro", 30.0)) as db:
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
            keys, _ = _sound(some)
            hashes.update(map(bytes.hex, keys))
            damaged += len(some) - len(keys)
        if damaged:
            log.warning("%s: %d damaged embedding(s), computed again", self.path, damaged)
        return hashes

    def get(self, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        """The cached embeddings among ``hashes``, each of shape (d,); a damaged one counts as not cached."""
        return _photos(self._db, self._model, hashes)

    def sound(self, hashes: Sequence[str], at_once: int) -> Iterator[tuple[list[str], np.ndarray]]:
        """The undamaged embeddings among ``hashes``, at most ``at_once`` a time: their hashes, and an array (n, d).

        Of many hashes not each is looked up: the cache is read through once, in the order it lies in.
        """
        wanted = {bytes.fromhex(h): h for h in hashes}
        if len(wanted) > at_once:
            every = "SELECT sha256, vector FROM photo WHERE model = ? ORDER BY sha256"
            rows: Iterator[tuple[bytes, bytes]] = self._db.execute(every, (self._model,))
        else:
            rows = _select(self._db, _PHOTOS, self._model, list(wanted))
        while some := list(islice(rows, at_once)):
            keys, vectors = _sound([row for row in some if row[0] in wanted])
            if keys:
                yield [wanted[key] for key in keys], vectors

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
        digests, vectors = _sound(list(rows))
        return {by_digest[digest]: vector for digest, vector in zip(digests, vectors, strict=True)}

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
    tables = re.findall(r"CREATE TABLE (\w+)", _TABLES)
    try:  # not read-only: what a killed writer began has to be undone
        with contextlib.closing(_connected(path, "rw", _PATIENCE)) as db:
            names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {name for (name,) in names} == set(tables)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False


def _connected(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=patience)


def _open(path: Path, identity: str, patience: float) -> tuple[sqlite3.Connection, int]:
    """Opens and checks the file, and gives the model its number in it."""
    with contextlib.suppress(OSError):  # SQLite says why better, and gives its own other files the rights of this one
        rights.make_shared(path)
    db = sqlite3.connect(path, timeout=patience)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            db.executescript(f"PRAGMA page_size = {_PAGE}; BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
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
    keys, vectors = _sound(list(_select(db, _PHOTOS, model, [bytes.fromhex(h) for h in hashes])))
    return {key.hex(): vector for key, vector in zip(keys, vectors, strict=True)}


def _select(db: sqlite3.Connection, query: str, model: int, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        yield from db.execute(query.format(",".join("?" * len(some))), (model, *some))


def _sound(rows: Sequence[tuple[bytes, bytes]]) -> tuple[list[bytes], np.ndarray]:
    """The rows that hold a unit-length float32 vector, as all of a model's are: their keys, and an array (n, d).

    SQLite checks its pages, not what is in them.
    """
    lengths = Counter(len(vector) for _, vector in rows).most_common(1)
    length = lengths[0][0] if lengths else 0
    if length == 0 or length % 4:
        return [], np.empty((0, 0), np.float32)
    whole = [row for row in rows if len(row[1]) == length]
    vectors = np.frombuffer(b"".join([vector for _, vector in whole]), np.float32).reshape(len(whole), -1)
    with np.errstate(all="ignore"):
        sound: np.ndarray = np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < _OFF_UNIT
    if sound.all():
        return [key for key, _ in whole], vectors
    return [key for (key, _), good in zip(whole, sound.tolist(), strict=True) if good], vectors[sound]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass") + b"\0").digest()
