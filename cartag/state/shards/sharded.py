"""The index of a folder of shards as verbs read it: by rows that hold, under people's words, block by block."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cartag.errors import IndexFileError
from cartag.state.index import Foreign, Index
from cartag.state.shards.arrow import pa, pc, texts_of
from cartag.state.shards.columns import RECORD, Looks, foreign_of, looks_of, records_of, tags_of
from cartag.state.shards.folder import ShardFolder
from cartag.state.shards.reading import Replaced, blocks, replaced_rows, without
from cartag.state.shards.said import Said, read_said
from cartag.state.shards.shards import (
    Output,
    ShardDone,
    every_shard,
    living,
    plain_header,
    read_foreign_header,
    read_header,
    read_tallies,
)
from cartag.state.tally import Tally, tally_of
from cartag.values import IndexHeader, PhotoRecord, PhotoTags

_AT_ONCE = 16


@dataclass(frozen=True)
class ShardedIndex:
    """An index whose photos are read when they are asked for, and only those; memory is that of some thousand."""

    place: ShardFolder
    path: Path
    header: IndexHeader
    embeddings: str
    """Identity of the model that its embeddings are of."""
    shards: tuple[ShardDone, ...]
    """Those that hold."""
    said: Said
    _every: tuple[ShardDone, ...]

    @cached_property
    def gone(self) -> Replaced:
        """Rows that hold no longer, as paths by shard."""
        return replaced_rows(self.place, self._every)

    def __iter__(self) -> Iterator[PhotoRecord]:
        """All records, those of shards first; in no order."""
        for shard in self.shards:
            for table in self._held(shard, shard.photos, RECORD.names):
                yield from records_of(table, shard.photos.name)
        yield from self.said.records.values()

    def all_tags(self) -> Iterator[PhotoTags]:
        """Of all photos which cars they show."""
        return map(_tags, self)

    def all_looks(self) -> Iterator[dict[str, Looks]]:
        """What was embedded, by content; of photos that people spoke of too."""
        for shard in self.shards:
            if shard.embeddings == self.embeddings:
                for table in blocks(self.place, shard.photos, ["path", "sha256", "looks"]):
                    yield looks_of(without(table, self.gone.get(shard.name, ())))

    # --- asking for cars

    def asked(
        self, cars: Collection[str], least: float | None, *, whole: bool
    ) -> Iterator[PhotoTags] | Iterator[PhotoRecord]:
        """The photos that a query for cars has to look at, maybe some more.

        Args:
            cars: those asked for; none: all photos are in question.
            least: with it, candidates of at least this probability count too.
            whole: whether more than tags is asked for.
        """
        if least is None and not whole:
            return self.tagged(cars) if cars else self.all_tags()
        return self.among(cars, least)

    def tagged(self, cars: Iterable[str]) -> Iterator[PhotoTags]:
        """The photos with a tag of one of these cars; of their other tags, only which cars they are."""
        wanted = sorted(set(cars))
        for shard, found in zip(self.shards, self._rows_of_all(wanted), strict=True):
            if found:
                yield from tags_of(pa.concat_tables(found), shard.tags.name)
        yield from map(_tags, self.said.records.values())

    def _rows_of_all(self, cars: Sequence[str]) -> Iterator[list[Any]]:
        """The tables of each shard; on object storage many shards are asked at once, for most of it is waiting."""
        if self.place.local is not None:
            yield from (list(self._tag_rows(shard, cars)) for shard in self.shards)
            return
        _ = self.gone  # once, before many ask
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            yield from threads.map(lambda shard: list(self._tag_rows(shard, cars)), self.shards)

    def _tag_rows(self, shard: ShardDone, cars: Sequence[str]) -> Iterator[Any]:
        if not cars or not shard.tags.rows:
            return
        values = texts_of(cars)
        for table in blocks(self.place, shard.tags, among=("car", cars)):
            if (rows := table.filter(pc.is_in(table["car"], values))).num_rows:
                yield self.holding(shard, rows)

    def among(self, cars: Iterable[str], least: float | None) -> Iterator[PhotoRecord]:
        """The photos with a tag of one of these cars; with ``least``, also with a candidate of at least that much.

        Without cars all photos.
        """
        wanted = frozenset(cars)
        if not wanted:
            yield from self
            return
        for shard in self.shards:
            for table in self._held(shard, shard.photos, RECORD.names):
                if (rows := self.with_cars(table, wanted, least)).num_rows:
                    yield from records_of(rows, shard.photos.name)
        yield from self.said.records.values()

    @staticmethod
    def with_cars(table: Any, cars: frozenset[str], least: float | None) -> Any:
        """Of a table of photos those that `among` gives."""
        if not cars or not table.num_rows:
            return table
        values = pa.array(sorted(cars), pa.string())
        mask = _any_of(table["tags"], values, None)
        if least is not None:
            mask = pc.or_(mask, _any_of(table["candidates"], values, least))
        return table.filter(mask)

    # --- in figures

    def tally(self, key: Callable[[str], str]) -> Tally:
        """Counts all photos. A shard was counted when it was written; one with rows that hold no longer is again."""
        whole = Tally()
        untouched: list[ShardDone] = []
        for shard in self.shards:
            if self.gone.get(shard.name) or self._is_spoken_of(shard):
                tables = self._held(shard, shard.photos, RECORD.names)
                whole.add(tally_of((r for table in tables for r in records_of(table, shard.photos.name)), key))
            else:
                untouched.append(shard)
        for tally in read_tallies(self.place, untouched):
            whole.add(tally, key)
        whole.add(tally_of(self.said.records.values(), key))
        return whole

    def _is_spoken_of(self, shard: ShardDone) -> bool:
        """Whether a person said something of one of its photos."""
        said = self.said.records
        if not said or not shard.photos.rows:
            return False
        paths = (table["path"].to_pylist() for table in blocks(self.place, shard.photos, ["path"]))
        return any(not said.keys().isdisjoint(some) for some in paths)

    # --- by content

    def of_content(self, hashes: Iterable[str]) -> tuple[list[PhotoRecord], dict[str, Looks]]:
        """The records with one of these contents, by path, and what was embedded of them, by content."""
        wanted = set(hashes)
        values = pa.array(sorted(wanted), pa.string())
        records = [record for record in self.said.records.values() if record.sha256 in wanted]
        looks: dict[str, Looks] = {}
        if not wanted:
            return records, looks
        for shard in self.shards:
            rows = self._rows_of(shard, values)
            if rows is None:
                continue
            if shard.embeddings == self.embeddings:
                looks |= looks_of(rows)
            records += records_of(self.holding(shard, rows), shard.photos.name)
        return sorted(records, key=lambda record: record.path), looks

    def _rows_of(self, shard: ShardDone, hashes: Any) -> Any | None:
        """Rows of a shard with these contents: what else is in it is read only where there is one."""
        tables = blocks(self.place, shard.photos, ["sha256"])
        numbers = {i for i, table in enumerate(tables) if pc.any(pc.is_in(table["sha256"], hashes)).as_py()}
        if not numbers:
            return None
        tables = blocks(self.place, shard.photos, groups=numbers)
        return pa.concat_tables(table.filter(pc.is_in(table["sha256"], hashes)) for table in tables)

    # --- all of it

    def whole(self) -> Index:
        """The whole index in memory, as that of a single file is.

        Raises:
            IndexFileError: a path stands in two shards.
        """
        records: list[PhotoRecord] = []
        photos: dict[str, Any] = {}
        tags: dict[tuple[str, str], Any] = {}
        for shard in self.shards:
            for table in self._held(shard, shard.photos, [*RECORD.names, "more"]):
                records += records_of(table, shard.photos.name)
                of_shard = foreign_of(table)
                photos |= of_shard.photos
                tags |= of_shard.tags
        photos |= self.said.foreign.photos
        tags |= self.said.foreign.tags
        records += self.said.records.values()
        records.sort(key=lambda record: record.path)
        by_path = {record.path: record for record in records}
        if len(by_path) < len(records):
            raise IndexFileError(f"{self.place.uri}: damaged index: a path stands in two shards")
        header = self.header
        return Index(
            header,
            by_path,
            self.path,
            Foreign(read_foreign_header(self.place, header), photos, tags),
            shards=self.place,
        )

    # --- rows that hold

    def _held(self, shard: ShardDone, output: Output, columns: Sequence[str]) -> Iterator[Any]:
        for table in blocks(self.place, output, columns):
            yield self.holding(shard, table)

    def holding(self, shard: ShardDone, table: Any) -> Any:
        """The rows that hold, and of whose photos no person said anything."""
        return without(table, self.gone.get(shard.name, ()), self.said.records)


def _any_of(lists: Any, cars: Any, least: float | None) -> Any:
    """Per row: whether its list of tags or candidates names one of the cars, with that much."""
    lists = lists.combine_chunks()
    items = pc.list_flatten(lists)
    fits = pc.is_in(pc.struct_field(items, "car"), cars)
    if least is not None:
        fits = pc.and_(fits, pc.greater_equal(pc.struct_field(items, "score"), least))
    return pc.is_in(pa.array(range(len(lists)), pa.int64()), pc.filter(pc.list_parent_indices(lists), fits))


def _tags(record: PhotoRecord) -> PhotoTags:
    return PhotoTags(**{name: getattr(record, name) for name in PhotoTags.__struct_fields__})


def open_sharded(place: ShardFolder, path: Path) -> ShardedIndex | None:
    """The index in a folder; None where there is none. ``path`` is what it is called in messages.

    Raises:
        IndexFileError: it is damaged, or of a newer cartag.
    """
    header = read_header(place)
    if header is None:
        return None
    every = tuple(every_shard(place))
    return ShardedIndex(
        place, path, plain_header(header), header.shards.embeddings, tuple(living(every)), read_said(place), every
    )
