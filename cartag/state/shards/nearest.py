"""Which photos of shards are most like something, exactly: their embeddings are gone through, a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cartag.errors import IndexFileError
from cartag.state.shards.arrow import pa, pc
from cartag.state.shards.columns import RECORD, Looks, looks_of, records_of
from cartag.state.shards.reading import blocks
from cartag.state.shards.sharded import ShardedIndex
from cartag.values import PhotoRecord

try:
    import numkong
except ModuleNotFoundError as e:
    raise IndexFileError("searching a folder of shards needs numkong: pip install 'cartag[ray]'") from e

LOOKS = ["looks.list.element.shown", "looks.list.element.vector"]
NOTHING = -2.0
"""Less than any cosine."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a photo stands in the shards, and how like it is."""

    score: float
    path: str
    shard: int
    group: int


def similarities(looks: Any, query: np.ndarray, *, by_words: bool) -> np.ndarray:
    """Per row of a column of looks its best cosine, float64 of shape (rows,); `NOTHING` where nothing is embedded.

    By words the shown regions and the whole count; an example is one car, so of a photo with regions only these. Where
    there is neither a shown region nor the whole, boxes that hold no more stand for the photo: of an example the first.
    """
    looks = looks.combine_chunks() if isinstance(looks, pa.ChunkedArray) else looks
    offsets = np.asarray(looks.offsets)
    counts = np.diff(offsets)
    best = np.full(len(looks), NOTHING)
    if not counts.sum():
        return best
    items = looks.flatten()  # from the first offset on
    vectors = matrix(items.field("vector"), len(query))
    shown = items.field("shown")
    is_shown = np.asarray(shown.fill_null(False))
    is_whole = np.asarray(shown.is_null())
    starts = (offsets[:-1] - offsets[0])[counts > 0]
    per_row = np.repeat(np.arange(len(starts)), counts[counts > 0])
    counting = is_shown | is_whole if by_words else is_shown
    alone = np.add.reduceat(counting.astype(np.int64), starts) == 0
    rest = np.ones(len(items), bool)
    if not by_words:
        rest[:] = False
        rest[starts] = True
    counting = np.where(alone[per_row], rest, counting)
    cosines = np.asarray(numkong.cdist(query.astype("<f2")[None], vectors, metric="dot"), np.float64).ravel()
    best[counts > 0] = np.maximum.reduceat(np.where(counting, cosines, NOTHING), starts)
    return best


def matrix(column: Any, width: int) -> np.ndarray:
    """Float16 of shape (n, width) over the column's own memory."""
    if column.type.byte_width != 2 * width:
        raise IndexFileError(
            f"embeddings of {column.type.byte_width // 2} numbers, and a model of {width}: 'cartag tag' makes them anew"
        )
    numbers = np.frombuffer(column.buffers()[1], "<f2")
    return numbers[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)


def nearest(
    index: ShardedIndex,
    query: np.ndarray,
    *,
    by_words: bool,
    limit: int | None,
    cars: Iterable[str] = (),
    least: float | None = None,
    keeps: Callable[[PhotoRecord], bool] | None = None,
) -> list[tuple[float, PhotoRecord, Looks]]:
    """The photos of shards that are most like a vector, and of which people said nothing, best first.

    Args:
        index: the index.
        query: a unit-length vector (d,).
        by_words: whether it is of words, not of a photo.
        limit: at most so many; None: all.
        cars: only photos with a tag of these; none: any photos.
        least: with it, a candidate of that probability counts as a tag.
        keeps: only photos of whose records that holds.

    Returns:
        Cosine in four digits, record, and looks (boxes and vectors), of each.
    """
    cars = frozenset(cars)
    found: list[Place] = []
    for number, shard in enumerate(index.shards):
        if shard.embeddings != index.embeddings or shard.dimensions == 0:
            continue
        columns = ["path", *LOOKS, *(RECORD.names if cars or keeps else ())]
        for group, table in enumerate(blocks(index.place, shard.photos, columns)):
            rows = index.holding(shard, table)
            if cars or keeps:
                rows = index.with_cars(rows, cars, least)
                kept = [keeps is None or keeps(record) for record in records_of(rows, shard.photos.name)]
                rows = rows.filter(pa.array(kept, pa.bool_()))
            found += _best(rows, query, by_words, limit, number, group)
        found = first(found, limit)
    return whole(index, found)


def _best(rows: Any, query: np.ndarray, by_words: bool, limit: int | None, shard: int, group: int) -> list[Place]:
    if not rows.num_rows:
        return []
    scores = similarities(rows["looks"], query, by_words=by_words)
    likely = np.flatnonzero(scores > NOTHING)
    if limit is not None and len(likely) > limit:  # with those that are as good in four digits
        worst = np.partition(scores[likely], -limit)[-limit]
        likely = likely[scores[likely] >= worst - 1e-4]
    paths = rows["path"].take(pa.array(likely)).to_pylist()
    places = [Place(round(float(scores[i]), 4), path, shard, group) for i, path in zip(likely, paths, strict=True)]
    return first(places, limit)


def first(places: list[Place], limit: int | None) -> list[Place]:
    """The best of them, equal ones by their paths."""
    return sorted(places, key=lambda place: (-place.score, place.path))[:limit]


def whole(index: ShardedIndex, places: list[Place]) -> list[tuple[float, PhotoRecord, Looks]]:
    """Record and looks of each; what is in one block is read at once."""
    by_block: dict[tuple[int, int], list[str]] = {}
    for place in places:
        by_block.setdefault((place.shard, place.group), []).append(place.path)
    found: dict[str, tuple[PhotoRecord, Looks]] = {}
    for (number, group), paths in sorted(by_block.items()):
        shard = index.shards[number]
        (table,) = blocks(index.place, shard.photos, groups=[group])
        rows = table.filter(pc.is_in(table["path"], pa.array(paths, pa.string())))
        looks = looks_of(rows)
        for record in records_of(rows, shard.photos.name):
            found[record.path] = record, looks.get(str(record.sha256), ())
    return [(place.score, *found[place.path]) for place in places]
