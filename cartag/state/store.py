"""The embedding cache: a SQLite file in the state folder, keyed by model identity and content hash.

Of a photo as a whole, and of the regions in it, which count by the four digits of their boxes; and the boxes that a
detector saw. It can be deleted at any time; the next run computes again what it needs.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cartag.state import rights
from cartag.values import Box, why_no_box

log = logging.getLogger(__name__)

FILE_NAME = "embeddings.sqlite"
VERSION = 1
TABLES = """
CREATE TABLE model (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
CREATE TABLE photo (model INTEGER NOT NULL, sha256 BLOB NOT NULL, vector BLOB NOT NULL,
                    PRIMARY KEY (model, sha256)) WITHOUT ROWID;
CREATE TABLE text (model INTEGER NOT NULL, digest BLOB NOT NULL, vectors BLOB NOT NULL, dim INTEGER NOT NULL,
                   PRIMARY KEY (model, digest)) WITHOUT ROWID;
CREATE TABLE fact (model INTEGER NOT NULL, name TEXT NOT NULL, value REAL, PRIMARY KEY (model, name)) WITHOUT ROWID;
"""
# Added to a file where they are missing: the version stays, so that an older cartag goes on with the file. Not to the
# file of shared texts, which an older one knows by having the tables above and no others.
_REGION_TABLES = """
CREATE TABLE IF NOT EXISTS region (model INTEGER NOT NULL, sha256 BLOB NOT NULL, box BLOB NOT NULL,
                                   vector BLOB NOT NULL, PRIMARY KEY (model, sha256, box)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (detector TEXT NOT NULL, sha256 BLOB NOT NULL, boxes BLOB NOT NULL,
                                 PRIMARY KEY (detector, sha256)) WITHOUT ROWID;
"""
_PHOTOS = "SELECT sha256, vector FROM photo WHERE model = ? AND sha256 IN ({})"
_REGIONS = (
    "SELECT sha256, box, vector FROM region WHERE model = ? AND sha256 IN ({})"
    " AND typeof(box) = 'blob' AND typeof(vector) = 'blob'"
)
_SEEN = "SELECT sha256, boxes FROM seen WHERE detector = ? AND sha256 IN ({}) AND typeof(boxes) = 'blob'"
# Bytes. A row may fill a quarter of a page, here that is some 1,000 numbers; of a longer one most goes to pages of its
# own: with SQLite's 4,096 bytes, the file of a model with 512 numbers was twice as long and read in thrice the time.
_PAGE = 16384
_BOX = struct.Struct(">4H")
_HASH = 32  # bytes of a SHA-256
_AT_ONCE = 500
_CHECKED_AT_ONCE = 4096
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
        with said_by_sqlite(), contextlib.closing(connected(folder / FILE_NAME, "ro", 30.0)) as db:
            row = db.execute("SELECT id FROM model WHERE identity = ?", (identity,)).fetchone()
            return _photos(db, row[0], hashes) if row else {}

    @staticmethod
    def read_regions(folder: Path, identity: str, hashes: Sequence[str]) -> dict[str, list[tuple[Box, np.ndarray]]]:
        """As `regions_of`, without writing anything: the folder may be read-only, the file of an older cartag.

        Raises:
            sqlite3.Error: there is no cache, or it is damaged.
        """
        with said_by_sqlite(), contextlib.closing(connected(folder / FILE_NAME, "ro", 30.0)) as db:
            row = db.execute("SELECT id FROM model WHERE identity = ?", (identity,)).fetchone()
            if not row or not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'region'").fetchone():
                return {}
            return _by_photo(_regions(db, row[0], hashes))

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

    def regions(self, keys: Sequence[tuple[str, Box]]) -> dict[tuple[str, Box], np.ndarray]:
        """The cached embeddings among regions, (hash, box) each, of shape (d,); a damaged one counts as not cached.

        Boxes that are equal in four digits are one; they come back as they were asked for.
        """
        found = _regions(self._db, self._model, sorted({h for h, _ in keys}))
        by_key = {(h, _packed(box)): vector for (h, box), vector in found.items()}
        return {key: by_key[packed] for key in keys if (packed := (key[0], _packed(key[1]))) in by_key}

    def regions_of(self, hashes: Sequence[str]) -> dict[str, list[tuple[Box, np.ndarray]]]:
        """All cached regions of the photos among ``hashes`` that have any: boxes, largest first, and embeddings (d,).

        These are of all boxes that the photo ever had, of every detector: the index says which of them still hold.
        """
        return _by_photo(_regions(self._db, self._model, hashes))

    def put_regions(self, embeddings: Mapping[tuple[str, Box], np.ndarray]) -> None:
        """Stores embeddings of regions, (hash, box) each, in one transaction."""
        rows = [
            (self._model, bytes.fromhex(h), _packed(box), vector.astype(np.float32).tobytes())
            for (h, box), vector in embeddings.items()
        ]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO region VALUES (?, ?, ?, ?)", rows)

    def seen(self, detector: str, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        """What the detector with this identity saw in the photos among ``hashes`` that it has looked at.

        Float32 of shape (n, 5) each: x, y, width, height as fractions of the photo, and confidence; n may be 0. What is
        damaged counts as not looked at.
        """
        keys = [bytes.fromhex(h) for h in hashes]
        found = {key.hex(): boxes_in(data) for key, data in _select(self._db, _SEEN, detector, keys)}
        return {h: boxes for h, boxes in found.items() if boxes is not None}

    def seen_hashes(self, detector: str) -> list[str]:
        """Hashes of all photos that a detector has looked at; what it saw may be damaged."""
        rows = self._db.execute("SELECT sha256 FROM seen WHERE detector = ? ORDER BY sha256", (detector,))
        return [key.hex() for (key,) in rows]

    def put_seen(self, detector: str, boxes: Mapping[str, np.ndarray]) -> None:
        """Stores what a detector saw in photos, arrays (n, 5) as `seen` gives them, in one transaction."""
        rows = [
            (detector, bytes.fromhex(h), np.asarray(seen, np.float32).reshape(-1, 5).tobytes())
            for h, seen in boxes.items()
        ]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", rows)

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


@contextlib.contextmanager
def said_by_sqlite() -> Iterator[None]:
    """A damaged schema is quoted in SQLite's message, over several lines, with whatever stands there. It becomes one.
    Where it is no text Python fails to make an error of it.
    """
    try:
        yield
    except UnicodeDecodeError as e:
        raise sqlite3.DatabaseError("malformed database schema") from e
    except sqlite3.Error as e:
        said = " ".join("".join(c if c.isprintable() else " " for c in str(e)).split())
        if said == str(e):
            raise
        raise type(e)(said) from e


def connected(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    """A file that is there, opened ``ro`` or ``rw``; ``patience`` in seconds, while another writes."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=patience)


def _open(path: Path, identity: str, patience: float) -> tuple[sqlite3.Connection, int]:
    """Opens and checks the file, and gives the model its number in it."""
    db = begun(path, patience)
    try:
        db.execute("INSERT OR IGNORE INTO model (identity) VALUES (?)", (identity,))
        db.commit()
        return db, db.execute("SELECT id FROM model WHERE identity = ?", (identity,)).fetchone()[0]
    except sqlite3.DatabaseError:
        with contextlib.suppress(sqlite3.Error):
            db.close()
        raise


def begun(path: Path, patience: float) -> sqlite3.Connection:
    """Opens and checks the file; one that is not there is made, with its tables.

    Raises:
        sqlite3.DatabaseError: it is damaged, or cannot be had (`sqlite3.OperationalError`).
    """
    with contextlib.suppress(OSError):  # SQLite says why better, and gives its own other files the rights of this one
        rights.make_shared(path)
    db = sqlite3.connect(path, timeout=patience)
    try:
        with said_by_sqlite():
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                db.executescript(
                    f"PRAGMA page_size = {_PAGE}; BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
                )
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"cache version {version}, expected {VERSION}")
            (state,) = db.execute(
                "PRAGMA quick_check(1)"
            ).fetchone()  # reads the file once: 100 MB in a tenth of a second
            if state != "ok":
                raise sqlite3.DatabaseError(state)
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA cache_size = -32768")  # 32 MiB: hashes lie all over the file
            if path.name == FILE_NAME:
                db.executescript(_REGION_TABLES)
        return db
    except sqlite3.DatabaseError:
        with contextlib.suppress(sqlite3.Error):
            db.close()
        raise


def _photos(db: sqlite3.Connection, model: int, hashes: Sequence[str]) -> dict[str, np.ndarray]:
    keys, vectors = _sound(list(_select(db, _PHOTOS, model, [bytes.fromhex(h) for h in hashes])))
    return {key.hex(): vector for key, vector in zip(keys, vectors, strict=True)}


def _regions(db: sqlite3.Connection, model: int, hashes: Sequence[str]) -> dict[tuple[str, Box], np.ndarray]:
    rows = _select(db, _REGIONS, model, [bytes.fromhex(h) for h in hashes])
    keys, vectors = _sound([(sha256 + box, vector) for sha256, box, vector in rows])
    found = {
        (key[:_HASH].hex(), box): vector
        for key, vector in zip(keys, vectors, strict=True)
        if (box := box_in(key[_HASH:])) is not None
    }
    return found


def _by_photo(regions: Mapping[tuple[str, Box], np.ndarray]) -> dict[str, list[tuple[Box, np.ndarray]]]:
    found: dict[str, list[tuple[Box, np.ndarray]]] = {}
    for sha256, box in sorted(regions, key=lambda key: (key[0], -key[1][2] * key[1][3], key[1])):
        found.setdefault(sha256, []).append((box, regions[sha256, box]))
    return found


def _packed(box: Box) -> bytes:
    """A box in four digits, eight bytes."""
    return _BOX.pack(*(round(10_000 * number) for number in box))


def box_in(data: bytes) -> Box | None:
    """The box in eight bytes; None where they are none."""
    if len(data) != _BOX.size:
        return None
    x, y, width, height = (number / 10_000 for number in _BOX.unpack(data))
    box = (x, y, width, height)
    return None if why_no_box(box) else box


def boxes_in(data: bytes) -> np.ndarray | None:
    """Boxes with their confidence as a detector gave them, (n, 5); None where they cannot be such."""
    if len(data) % 20:
        return None
    found = np.frombuffer(data, np.float32).reshape(-1, 5)
    confidence = found[:, 4]
    sound = ((confidence >= 0) & (confidence <= 1)).all()  # what is no number is neither
    return found if sound and not any(map(why_no_box, found[:, :4].tolist())) else None


def _select(db: sqlite3.Connection, query: str, owner: int | str, keys: Sequence[bytes]) -> Iterator[Any]:
    """Rows of a model's, or of a detector's, by the hashes of their photos or texts."""
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        yield from db.execute(query.format(",".join("?" * len(some))), (owner, *some))


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
    sound = are_units(vectors)
    if sound.all():
        return [key for key, _ in whole], vectors
    return [key for (key, _), good in zip(whole, sound.tolist(), strict=True) if good], vectors[sound]


def are_units(vectors: np.ndarray) -> np.ndarray:
    """Which of the rows of an array (n, d) have the length of one; what is no number has none."""
    with np.errstate(all="ignore"):
        units: np.ndarray = np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < _OFF_UNIT
    return units


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass") + b"\0").digest()
