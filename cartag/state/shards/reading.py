"""Reading an index of shards: row by row that holds, in blocks of bounded size, with only the columns asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import UNSET

from cartag.errors import IndexFileError
from cartag.state.shards.arrow import mask_of, pa, pc, pq
from cartag.state.shards.columns import IDENTITY, records_of
from cartag.state.shards.folder import ShardFolder
from cartag.state.shards.shards import Output, ShardDone, every_shard, living
from cartag.values import PhotoRecord

Replaced = dict[str, set[str]]
"""Paths by shard: of rows that hold no longer."""

_AT_ONCE = 16


def replaced_rows(place: ShardFolder, shards: Sequence[ShardDone]) -> Replaced:
    """The rows of shards that others have replaced; ``shards`` are all that are done (`every_shard`)."""
    found: Replaced = {}
    for shard in shards:
        if shard.replaced is not UNSET:
            table = _table(place, shard.replaced, None)
            for name, path in zip(table["shard"].to_pylist(), table["path"].to_pylist(), strict=True):
                found.setdefault(name, set()).add(path)
    return found


def taken_names(place: ShardFolder, shards: Sequence[ShardDone]) -> set[str]:
    """Names that no new shard may have; ``shards`` are all that are done (`every_shard`).

    Those that are done, and those of which rows were replaced: what is replaced by a name stays so, and of a new shard
    that is called the same nobody would see these rows.
    """
    taken = {shard.name for shard in shards} | {name for shard in shards for name in shard.replaces}
    struck = [shard.replaced for shard in shards if shard.replaced is not UNSET]

    def names(output: Output) -> set[str]:
        return {name for table in blocks(place, output, ["shard"]) for name in pc.unique(table["shard"]).to_pylist()}

    with ThreadPoolExecutor(_AT_ONCE) as threads:  # from object storage, most of it is waiting
        return taken.union(*threads.map(names, struck))


def blocks(
    place: ShardFolder,
    output: Output,
    columns: Sequence[str] | None = None,
    *,
    groups: Collection[int] | None = None,
    among: tuple[str, Sequence[str]] | None = None,
) -> Iterator[Any]:
    """A file of a shard as tables of some thousand rows.

    Args:
        place: the index's folder.
        output: the file.
        columns: those wanted; None: all.
        groups: numbers of the tables that are wanted.
        among: a column and sorted values: a table that holds none of them, by the file's own statistics, is left out.

    Raises:
        IndexFileError: it is damaged.
    """
    with place.open(output.name) as source:
        try:
            with pq.ParquetFile(source) as file:
                if file.metadata.num_rows != output.rows:
                    raise IndexFileError(
                        f"{place.where(output.name)}: damaged: {file.metadata.num_rows} rows, not {output.rows}"
                    )
                wanted = range(file.num_row_groups) if among is None else _may_hold(file, *among)
                for group in wanted:
                    if groups is None or group in groups:
                        yield file.read_row_group(group, columns=columns, use_threads=False)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
            said = str(e).splitlines()[0]
            raise IndexFileError(f"{place.where(output.name)}: damaged shard: {said}") from e


def _may_hold(file: Any, column: str, values: Sequence[str]) -> Iterator[int]:
    """Numbers of the tables of a file that may hold one of these sorted values."""
    metadata = file.metadata
    names = metadata.schema.names
    if column not in names:
        raise pa.ArrowInvalid(f"no column {column!r}")
    number = names.index(column)
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(number).statistics
        if statistics is None or not statistics.has_min_max:
            yield group
            continue
        at = bisect_left(values, statistics.min)
        if at < len(values) and values[at] <= statistics.max:
            yield group


def _table(place: ShardFolder, output: Output, columns: Sequence[str] | None) -> Any:
    return pa.concat_tables(blocks(place, output, columns))


def without(table: Any, *gone: Collection[str]) -> Any:
    """The rows of a table but for those of these paths. There may be a million of them: they are only asked."""
    for paths in filter(None, gone):
        table = table.filter(mask_of([path not in paths for path in table["path"].to_pylist()]))
    return table


def shard_records(place: ShardFolder, shard: ShardDone) -> list[PhotoRecord]:
    """All records of one shard, sorted by path, whether others replaced them or not."""
    return [record for table in blocks(place, shard.photos) for record in records_of(table, shard.photos.name)]


def read_identities(place: ShardFolder) -> Iterator[Any]:
    """What tells which photos have to be looked at again, as pyarrow tables with the columns `IDENTITY`.

    Only rows that hold; one table for some thousand photos, in the order of the shards. ``reason`` is why a photo could
    not be read.
    """
    shards = every_shard(place)
    gone = replaced_rows(place, shards)
    for shard in living(shards):
        for table in blocks(place, shard.photos, ["path", "size", "mtime_ns", "etag", "sha256", "outcome", "error"]):
            reason = pc.struct_field(table["error"], "reason")
            name = pa.array([shard.name] * table.num_rows, pa.string())
            whole = table.drop_columns(["error"]).append_column("reason", reason).append_column("shard", name)
            yield without(whole.select(IDENTITY), gone.get(shard.name, ()))
