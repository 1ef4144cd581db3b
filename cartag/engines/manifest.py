"""What is there and what of it is done: a listing as Parquet, held against the index that is there.

Both have millions of rows and neither becomes a Python list: the listing streams into a file, the index into a table of
DuckDB, which joins them in bounded memory and on the disk beyond that. What is left to do comes out shard by shard.
"""

from __future__ import annotations

import os
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from msgspec import UNSET

from cartag.engines.libraries import duckdb, pa, pq
from cartag.errors import GalleryError
from cartag.paths import name_on_disk, printable
from cartag.photos import NO_NAME, RawPairs, Source, Walk, Walking, etag_of, identified
from cartag.progress import Progress
from cartag.values import RETRIED_REASONS, PhotoFile, PhotoRecord

LISTED = pa.schema(
    [
        ("id", pa.int64()),
        ("path", pa.string()),
        ("path_on_disk", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("etag", pa.string()),
    ]
)
"""A photo that was listed. ``path_on_disk`` as an index has it; ``etag`` is null where its store has none."""
_IDENTITY = ["path", "size", "mtime_ns", "etag", "sha256", "outcome", "reason", "shard"]
_KNOWN = ", ".join(f"{name} {'BIGINT' if name in ('size', 'mtime_ns') else 'VARCHAR'}" for name in _IDENTITY)
_AHEAD = 4  # folders listed ahead of the writer, a thread
_MEMORY = "512MB"


# --- what is there ------------------------------------------------------------------------------------------------


def list_photos(
    source: Source, to: Path, raw_pairs: RawPairs | None, leave_out: Sequence[str], threads: int, progress: Progress
) -> Walk:
    """Writes the photos of a gallery to a Parquet file, folder by folder, many folders at the same time.

    Memory holds one folder a thread, as `PhotoFile`. The walk that comes back tells what was passed over, and has no
    photos.

    Raises:
        GalleryError: the gallery is not there, or cannot be listed.
    """
    source.check()
    seen = Walking(raw_pairs, leave_out, source.name)
    count = odd = 0
    progress.start("listing", None)
    with pq.ParquetWriter(to, LISTED, compression="zstd") as file, ThreadPoolExecutor(threads, "cartag-list") as pool:
        waiting, listing = deque([""]), deque[tuple[str, Future[list[Any]]]]()
        while waiting or listing:
            while waiting and len(listing) < _AHEAD * threads:
                folder = waiting.pop()
                listing.append((folder, pool.submit(_listed, source, folder)))
            folder, future = listing.popleft()
            try:
                entries = future.result()
            except OSError as e:
                if not folder:
                    why = f"cannot be listed ({e.strerror}); check its permissions"
                    raise GalleryError(f"{source.uri}: {why}") from e
                seen.unreadable_folders.append(printable(folder))
                continue
            named = [entry for entry in entries if entry.name != NO_NAME]
            odd += len(entries) - len(named)
            photos, below = seen.folder(folder, named)
            waiting.extend(below)
            etags = {entry.name: tag for entry in named if (tag := etag_of(entry))}
            if photos:
                file.write_table(_table(photos, etags, count))
            count += len(photos)
            progress.advance(len(photos))
    progress.finish()
    if odd:
        progress.note(f"listing: {odd} prefix(es) of {source.uri} left out: a key with an empty part (a//b) is no path")
    return seen.walk([])


def _listed(source: Source, folder: str) -> list[Any]:
    return list(source.entries(folder))


def _table(photos: Sequence[PhotoFile], etags: dict[str, str], first: int) -> Any:
    named = list(identified(photos))
    return pa.table(
        {
            "id": range(first, first + len(named)),
            "path": [photo.path for photo in named],
            "path_on_disk": [name_on_disk(photo) for photo in named],
            "size": [photo.size for photo in named],
            "mtime_ns": [photo.mtime_ns for photo in named],
            "etag": [etags.get(photo.disk_path.rsplit("/", 1)[-1]) for photo in named],
        },
        LISTED,
    )


def photos_of(table: Any) -> list[PhotoFile]:
    """The photos of a table as `LISTED` has them."""
    names = ("path", "path_on_disk", "size", "mtime_ns")
    columns = [table[name].to_pylist() for name in names]
    return [
        PhotoFile(path, _disk_path(path, on_disk), size, mtime_ns)
        for path, on_disk, size, mtime_ns in zip(*columns, strict=True)
    ]


def _disk_path(path: str, on_disk: str | None) -> str:
    return os.fsdecode(path.encode() if on_disk is None else unquote_to_bytes(on_disk))


# --- what of it is done -------------------------------------------------------------------------------------------


class Ledger:
    """A listing held against an index: what stands, what is to be looked at, what has gone."""

    def __init__(self, folder: Path, listing: Path, known: Iterator[Any], stale: Sequence[str]) -> None:
        """Joins them.

        Args:
            folder: for what does not fit into memory.
            listing: Parquet, `LISTED`.
            known: rows of the index that hold, as `cartag.state.read_identities` gives them.
            stale: shards whose rows are of another model or catalog, or are meant to be made again.
        """
        self._db = duckdb.connect(str(folder / "ledger.duckdb"))
        self._db.execute(f"SET memory_limit = '{_MEMORY}'")
        self._db.execute(f"SET temp_directory = '{str(folder).replace(chr(39), chr(39) * 2)}'")
        self._db.execute("CREATE TABLE listed AS SELECT * FROM read_parquet(?)", [str(listing)])
        self._apart()
        self._db.execute(f"CREATE TABLE known ({_KNOWN})")
        for table in known:
            rows = table.select(_IDENTITY)
            self._db.register("rows_now", rows)
            self._db.execute("INSERT INTO known SELECT * FROM rows_now")
            self._db.unregister("rows_now")
        self._join(stale)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _apart(self) -> None:
        """Folders that are one name in NFC can hold photos of one identity: the later ones are called otherwise."""
        twice = "SELECT * FROM listed WHERE path IN (SELECT path FROM listed GROUP BY path HAVING count(*) > 1)"
        table = self._db.sql(twice).to_arrow_table().cast(LISTED)
        if not table.num_rows:
            return
        by_disk = dict(zip((p.disk_path for p in photos_of(table)), table["id"].to_pylist(), strict=True))
        for photo in identified([PhotoFile(p.disk_path, p.disk_path, p.size, p.mtime_ns) for p in photos_of(table)]):
            self._db.execute(
                "UPDATE listed SET path = ?, path_on_disk = ? WHERE id = ?",
                [photo.path, name_on_disk(photo), by_disk[photo.disk_path]],
            )

    def _join(self, stale: Sequence[str]) -> None:
        self._db.execute("CREATE TABLE stale (shard VARCHAR)")
        if stale:
            self._db.executemany("INSERT INTO stale VALUES (?)", [[shard] for shard in stale])
        # As `tagging.plan` has it: what is of the file as it is now stands, unless its trouble may be over. A row that
        # stands twice was written by two runs at once: it is made again.
        self._db.execute(
            """CREATE TABLE stands AS SELECT k.path, k.outcome, k.reason FROM known k JOIN listed l USING (path)
               WHERE k.size = l.size AND k.mtime_ns = l.mtime_ns
                 AND (l.etag IS NULL OR k.etag IS NULL OR k.etag = l.etag)
                 AND (k.reason IS NULL OR list_position(?, k.reason) IS NULL)
                 AND k.shard NOT IN (SELECT shard FROM stale)
                 AND k.path NOT IN (SELECT path FROM known GROUP BY path HAVING count(*) > 1)""",
            [sorted(RETRIED_REASONS)],
        )
        self._db.execute(
            """CREATE TABLE to_do AS SELECT *, (row_number() OVER (ORDER BY path)) - 1 AS place
               FROM listed WHERE path NOT IN (SELECT path FROM stands) ORDER BY path"""
        )
        self._db.execute(
            """CREATE TABLE outdated AS SELECT t.place, k.shard, k.path
               FROM to_do t JOIN known k USING (path) ORDER BY t.place, k.shard"""
        )

    def _one(self, query: str) -> int:
        ((count,),) = self._db.execute(query).fetchall()
        return int(count)

    @property
    def listed(self) -> int:
        """Photos that are there."""
        return self._one("SELECT count(*) FROM listed")

    @property
    def to_do(self) -> int:
        """Photos that have to be looked at."""
        return self._one("SELECT count(*) FROM to_do")

    @property
    def gone(self) -> int:
        """Photos that the index knows and that are there no more."""
        return self._one("SELECT count(DISTINCT path) FROM known WHERE path NOT IN (SELECT path FROM listed)")

    def keep_below(self, folders: Sequence[str]) -> None:
        """Photos below folders that could not be listed are not gone: nobody knows."""
        for folder in folders:
            for form in {folder, unicodedata.normalize("NFC", folder)}:
                self._db.execute("DELETE FROM known WHERE starts_with(path, ?)", [f"{form}/"])

    def standing(self) -> dict[str, int]:
        """Photos that need nothing, by outcome; one that could not be read is an ``error``."""
        rows = self._db.execute("SELECT outcome, count(*) FROM stands GROUP BY outcome").fetchall()
        return {outcome: int(count) for outcome, count in rows}

    def photos(self, start: int, size: int) -> Any:
        """Photos that have to be looked at, from the ``start``-th on in the order of their paths: a table, `LISTED`."""
        query = f"SELECT {', '.join(LISTED.names)} FROM to_do WHERE place >= ? AND place < ? ORDER BY place"
        return self._db.sql(query, params=[start, start + size]).to_arrow_table().cast(LISTED)

    def outdated(self, start: int, size: int) -> list[tuple[str, str]]:
        """(shard, path) of the rows that hold no longer once these photos are done."""
        query = "SELECT shard, path FROM outdated WHERE place >= ? AND place < ? ORDER BY place, shard"
        return [(shard, path) for shard, path in self._db.execute(query, [start, start + size]).fetchall()]

    def known_near(self, paths: Sequence[str], hashes: Sequence[str]) -> dict[str, PhotoRecord]:
        """What the index knew of photos at these paths, and of those with these contents: who they are, no more."""
        rows = self._db.execute(
            """SELECT path, sha256, size, mtime_ns FROM known
               WHERE path IN (SELECT unnest(?)) OR sha256 IN (SELECT unnest(?))""",
            [list(paths), list(hashes)],
        ).fetchall()
        return {
            path: PhotoRecord(path=path, sha256=sha256 or UNSET, size=size, mtime_ns=mtime_ns, outcome="unknown")
            for path, sha256, size, mtime_ns in rows
        }

    def gone_rows(self, size: int) -> Iterator[list[tuple[str, str]]]:
        """(shard, path) of what the index knows and is there no more, ``size`` at a time."""
        rows = self._db.cursor().execute(
            "SELECT shard, path FROM known WHERE path NOT IN (SELECT path FROM listed) ORDER BY 1, 2"
        )
        while some := rows.fetchmany(size):
            yield [(shard, path) for shard, path in some]
