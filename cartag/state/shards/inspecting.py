"""A folder of shards looked through: what of it is whole, what is left over, and how a shard is mended without loss.

What is looked at comes from a disk that may have lost anything, so nothing is taken for granted, least of all a name.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from cartag.errors import IndexFileError
from cartag.state.shards.arrow import pa, pq
from cartag.state.shards.columns import foreign_of, looks_of, records_of
from cartag.state.shards.folder import ShardFolder
from cartag.state.shards.reading import blocks, read_identities, replaced_rows
from cartag.state.shards.said import lines_said
from cartag.state.shards.shards import Output, ShardDone, one_done, remove_shard, write_shard
from cartag.values import PhotoRecord

KINDS = ("photos", "tags", "counts", "replaced")
_SAID = re.compile(r"said/\d+-.+\.jsonl")
_OUTPUT = re.compile(r"(?P<kind>photos|tags|counts|replaced)/(?P<shard>.+)-[0-9a-f]{16}\.(?:parquet|json)")


@dataclass(frozen=True)
class OutputFault:
    """What is wrong with one file of a shard."""

    kind: Literal["damaged", "missing"]
    what: str
    is_lost: bool = True
    """False: it may be whole, and only cannot be read now."""


@dataclass
class DoneFiles:
    """The small files ``shards/*.json``."""

    whole: list[ShardDone]
    damaged: dict[str, str]
    """Why, by the name of the file in the index's folder."""
    kept: set[str]
    """Names of files that a small file of another name than its shard's speaks of."""


def read_done_files(place: ShardFolder) -> DoneFiles:
    """Every one of the small files that can be read, and why the others cannot.

    Raises:
        IndexFileError: the folder cannot be listed.
    """
    found = DoneFiles([], {}, set())
    for name in place.names("shards"):
        if not name.endswith(".json"):
            continue
        try:
            done = one_done(place, name, place.read(name))
        except IndexFileError as e:
            found.damaged[name] = str(e).removeprefix(f"{place.where(name)}: ").partition("; ")[0]
            continue
        if name == f"shards/{done.name}.json":
            found.whole.append(done)
        else:
            found.damaged[name] = f"is that of the shard {done.name!r}"
            found.kept |= {output.name for output in outputs_of(done).values()}
    return found


def outputs_of(done: ShardDone) -> dict[str, Output]:
    """The files of a shard, by kind."""
    found = {"photos": done.photos, "tags": done.tags, "counts": done.counts}
    return found if done.replaced is UNSET else {**found, "replaced": done.replaced}


def output_fault(place: ShardFolder, done: ShardDone, kind: str, output: Output) -> OutputFault | None:
    """What is wrong with a file of a shard: its name, size, digest or rows; None: nothing. The whole of it is read."""
    matched = _OUTPUT.fullmatch(output.name)
    if matched is None or (matched["kind"], matched["shard"]) != (kind, done.name):
        return OutputFault("damaged", f"names {output.name!r}, which is no file of this shard", is_lost=False)
    if not place.is_there(output.name):
        return OutputFault("missing", "is not there")
    try:
        data = place.read(output.name)
    except IndexFileError as e:
        return OutputFault("damaged", str(e).removeprefix(f"{place.where(output.name)}: "), is_lost=False)
    if len(data) != output.bytes:
        return OutputFault("damaged", f"{len(data)} bytes, not {output.bytes}")
    if hashlib.sha256(data).hexdigest() != output.sha256:
        return OutputFault("damaged", "another content than was written: its digest differs")
    rows = done.photos.rows if kind == "counts" else _rows(data)
    return None if rows == output.rows else OutputFault("damaged", f"{rows} rows, not {output.rows}")


def _rows(data: bytes) -> int:
    try:
        return int(pq.ParquetFile(io.BytesIO(data)).metadata.num_rows)
    except (pa.ArrowException, OSError):
        return -1


def files_of_shard(place: ShardFolder, kind: str, shard: str) -> list[str]:
    """Files of one kind that a shard of this name may be written as, whatever its small file says."""
    return [name for name in place.names(kind) if (m := _OUTPUT.fullmatch(name)) and m["shard"] == shard]


def left_over_files(place: ShardFolder, found: DoneFiles, faulty: Collection[str] = ()) -> list[str]:
    """Files that no small file names. Those of ``faulty`` shards, and of such with a damaged small file, are none."""
    named = {output.name for done in found.whole for output in outputs_of(done).values()} | found.kept
    unclear = {name.removeprefix("shards/").removesuffix(".json") for name in found.damaged} | {*faulty}
    return [
        name
        for kind in KINDS
        for name in place.names(kind)
        if (m := _OUTPUT.fullmatch(name)) and name not in named and m["shard"] not in unclear
    ]


def readable_records(place: ShardFolder, name: str) -> list[PhotoRecord] | None:
    """The records of a file of photos, whatever may be wrong with its shard; None where it cannot be read."""
    try:
        with place.open(name) as source, pq.ParquetFile(source) as file:
            return records_of(file.read(use_threads=False), name)
    except (IndexFileError, pa.ArrowException, OSError, KeyError):
        return None


def tagged_paths(place: ShardFolder, name: str) -> set[str]:
    """The photos that a file of tags names; none where it cannot be read."""
    try:
        with place.open(name) as source, pq.ParquetFile(source) as file:
            return set(file.read(["path"], use_threads=False)["path"].to_pylist())
    except (IndexFileError, pa.ArrowException, OSError, KeyError):
        return set()


# --- mending ------------------------------------------------------------------------------------------------------


def remake_shard(place: ShardFolder, done: ShardDone) -> None:
    """Writes a shard anew of its photos, which are whole: tags and counts follow from them. Nothing of it is lost.

    Raises:
        IndexFileError: it cannot be read or written; then it stands as it was.
    """
    table = pa.concat_tables(blocks(place, done.photos))
    etags = dict(zip(table["path"].to_pylist(), table["etag"].to_pylist(), strict=True))
    write_shard(
        place,
        done.name,
        records_of(table, done.photos.name),
        looks_of(table),
        embeddings=done.embeddings,
        etags={path: etag for path, etag in etags.items() if etag is not None},
        replaced=_replaced_by(place, done),
        replaces=done.replaces,
        foreign=foreign_of(table),
        facts=done.facts,
    )


def empty_shard(place: ShardFolder, done: ShardDone, *, keeps_replaced: bool) -> None:
    """Takes the photos out of a shard, so that the next run makes them again; rows that it replaced do not come back.

    ``keeps_replaced``: whether its list of these can be read; without it the old rows hold until that run.

    Raises:
        IndexFileError: it cannot be written.
    """
    rows = _replaced_by(place, done) if keeps_replaced else []
    if rows or done.replaces:
        write_shard(place, done.name, [], {}, replaced=rows, replaces=done.replaces, facts=done.facts)
    else:
        remove_shard(place, done.name)


def empty_damaged(place: ShardFolder, shard: str) -> None:
    """The same for a shard whose small file cannot be read: what it replaced is read out of the file that says so.

    Raises:
        IndexFileError: it cannot be written.
    """
    rows: list[tuple[str, str]] = []
    for name in files_of_shard(place, "replaced", shard):
        try:
            with place.open(name) as source, pq.ParquetFile(source) as file:
                table = file.read(["shard", "path"], use_threads=False)
        except (IndexFileError, pa.ArrowException, OSError, KeyError):
            continue
        rows += zip(table["shard"].to_pylist(), table["path"].to_pylist(), strict=True)
    if rows:
        write_shard(place, shard, [], {}, replaced=rows)
    else:
        remove_shard(place, shard)


def _replaced_by(place: ShardFolder, done: ShardDone) -> list[tuple[str, str]]:
    return [(shard, path) for shard, paths in replaced_rows(place, [done]).items() for path in paths]


def needed_tombstones(place: ShardFolder, done: ShardDone, others: Collection[str]) -> bool:
    """Whether a shard says of rows of ``others`` that they hold no longer, so that it has to stay."""
    return any(shard in others for shard in replaced_rows(place, [done]))


# --- what people said -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """What people said, as far as it can be read."""

    torn: tuple[tuple[str, int, str], ...]
    """Name of the file, line and why; line 0: the file as a whole."""
    missing: dict[str, str]
    """Photos that were spoken of and that no shard holds, with the file that speaks of them last."""


def inspect_said(place: ShardFolder) -> Words:
    """Reads what people said line by line. Where the shards cannot be asked for their photos, none is ``missing``."""
    torn: list[tuple[str, int, str]] = []
    spoken: dict[str, str] = {}
    for name in (name for name in place.names("said") if name.endswith(".jsonl")):
        if not _SAID.fullmatch(name):
            torn.append((name, 0, "has no name that cartag gives, so that its place among the others is not known"))
        try:
            for number, path, record, why in lines_said(place.read(name)):
                if why:
                    torn.append((name, number, why))
                elif record is None or record.missing is True:
                    spoken.pop(path, None)
                else:
                    spoken[path] = name
        except IndexFileError as e:
            torn.append((name, 0, str(e).removeprefix(f"{place.where(name)}: ")))
    return Words(tuple(torn), _unheld(place, spoken))


def _unheld(place: ShardFolder, spoken: dict[str, str]) -> dict[str, str]:
    """Of photos that were spoken of those that no shard holds."""
    missing = dict(spoken)
    try:
        for table in read_identities(place) if missing else ():
            for path in missing.keys() & set(table["path"].to_pylist()):
                del missing[path]
    except IndexFileError:  # that they are damaged was found before
        return {}
    return missing
