"""What people said of photos of a folder index: whole records beside the shards, which lie over them when one reads.

JSON lines, a file a writing, in the order of their names; the last word of a photo holds. Files that have become many
are put together into one. Shards never hold a person's word, so that no run can lose one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cartag import paths
from cartag.errors import IndexFileError
from cartag.state.index import Foreign, record_with_foreign, unknown_fields
from cartag.state.shards.folder import ShardFolder
from cartag.values import PhotoRecord

_MOST_FILES = 32


@dataclass(frozen=True)
class Said:
    """The records that hold a person's word, by path, with their fields that this version does not know."""

    records: dict[str, PhotoRecord] = field(default_factory=dict)
    foreign: Foreign = field(default_factory=Foreign)


def read_said(place: ShardFolder) -> Said:
    """What people said.

    Raises:
        IndexFileError: one of the files is damaged.
    """
    return _read(place, _names(place))


def write_said(
    place: ShardFolder,
    records: Mapping[str, PhotoRecord],
    forgotten: Sequence[str] = (),
    foreign: Foreign | None = None,
) -> None:
    """Adds what people said of photos to what is there, by path; who writes holds the index's lock.

    Args:
        place: the index's folder.
        records: the whole records, as they lie over those of the shards from then on.
        forgotten: paths of photos of which nothing said is kept any more: the shards' records hold again.
        foreign: fields of the records that this version does not know.

    Raises:
        IndexFileError: it cannot be written; what was said before stands.
    """
    if not records and not forgotten:
        return
    names = _names(place)
    lines: list[Any] = [{"forgotten": 1, "path": path} for path in forgotten]
    if len(names) >= _MOST_FILES:  # everything in one file, and then away with the others
        before = _read(place, names)
        kept = {path: record for path, record in before.records.items() if path not in {*records, *forgotten}}
        lines = [record_with_foreign(record, before.foreign) for record in kept.values()]
    lines += [record_with_foreign(record, foreign or Foreign()) for record in records.values()]
    place.write(_next_name(names), b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    if len(names) >= _MOST_FILES:
        for name in names:
            place.remove(name)


def _names(place: ShardFolder) -> list[str]:
    return [name for name in place.names("said") if name.endswith(".jsonl")]


def _next_name(names: Sequence[str]) -> str:
    """Later than all that are there, whatever the clock says."""
    last = max((int(name.split("/")[1].split("-")[0]) for name in names), default=0)
    return f"said/{max(last + 1, time.time_ns() // 1_000_000):020d}-{secrets.token_hex(4)}.jsonl"


def _read(place: ShardFolder, names: Sequence[str]) -> Said:
    said = Said()
    photos: dict[str, Mapping[str, Any]] = {}
    tags: dict[str, Mapping[tuple[str, str], Mapping[str, Any]]] = {}
    for name, data in zip(names, place.read_all(names), strict=True):
        for number, line in enumerate(data.splitlines(), 1):
            try:
                path, record, raw = _parsed(line)
            except ValueError as e:
                raise IndexFileError(f"{place.where(name)}, line {number}: {e}") from e
            if record is None:
                said.records.pop(path, None)
                continue
            said.records[path] = record
            photos[path], tags[path] = unknown_fields(raw)
    kept = {path: extra for path, extra in photos.items() if extra and path in said.records}
    of_tags = {key: extra for path, found in tags.items() if path in said.records for key, extra in found.items()}
    return Said(said.records, Foreign({}, kept, of_tags))


def lines_said(data: bytes) -> Iterator[tuple[int, str, PhotoRecord | None, str]]:
    """The lines of a file, whatever is wrong with it: number, path, record (None: forgotten), and why it is damaged."""
    for number, line in enumerate(data.splitlines(), 1):
        try:
            path, record, _ = _parsed(line)
            yield number, path, record, ""
        except ValueError as e:
            yield number, "", None, str(e).partition("; ")[0]


def _parsed(line: bytes) -> tuple[str, PhotoRecord | None, dict[str, Any]]:
    """Path, record and raw fields of a line; no record: what was said of the path is forgotten.

    Raises:
        ValueError: it is damaged, and how.
    """
    try:
        raw = msgspec.json.decode(line)
        if raw.get("forgotten") == 1:
            return msgspec.convert(raw["path"], str), None, raw
        record = msgspec.convert(raw, PhotoRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, KeyError) as e:
        raise ValueError(f"damaged: {e}; mend it by hand") from e
    on_disk = [] if record.path_on_disk is msgspec.UNSET else [record.path_on_disk]
    if not paths.are_below([record.path], on_disk):
        raise ValueError(f"{record.path!r} would lie outside the gallery")
    return record.path, record, raw
