"""Which photos of shards are most like something, nearly: by a graph of each shard's embeddings, made when first asked.

A graph says which photos are likely; how like they are is then computed exactly. Graphs lie in the state folder, named
by the shard's content, and can be deleted at any time; those of shards that hold no longer go when others are made.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cartag.errors import IndexFileError
from cartag.progress import Progress
from cartag.state.shards.arrow import pa
from cartag.state.shards.columns import Looks
from cartag.state.shards.nearest import LOOKS, NOTHING, Place, first, matrix, similarities, whole
from cartag.state.shards.reading import blocks
from cartag.state.shards.sharded import ShardedIndex
from cartag.state.shards.shards import ShardDone
from cartag.values import PhotoRecord

try:
    from usearch.index import Index, MetricKind, ScalarKind
except ModuleNotFoundError as e:
    raise IndexFileError("find --approximate needs usearch: pip install 'cartag[ray]'") from e

_FOLDER = "near"
_GRAPH = re.compile(r"\.?(?P<graph>.+-[0-9a-f]{16}\.usearch)(\.\d+\.tmp)?")
_EXPANSION = 512
"""How many vectors of a graph a search looks at, at least; usearch's own 64 finds half of the best among noise."""
_MORE = 4
"""How many times as many vectors are asked for as photos: several are of one photo, some hold no longer."""


def nearly_nearest(
    index: ShardedIndex, state: Path, query: np.ndarray, *, by_words: bool, limit: int, progress: Progress
) -> list[tuple[float, PhotoRecord, Looks]]:
    """As `nearest`, of any photos, but that some of the best may be missing.

    ``state`` is where graphs are kept; of shards that have none they are made, which takes longer than to go through
    all embeddings once.

    Raises:
        IndexFileError: a graph cannot be written.
    """
    found: list[tuple[float, int, int, int]] = []
    shards = [(n, s) for n, s in enumerate(index.shards) if s.embeddings == index.embeddings and s.dimensions]
    missing = sum(not _path(state, shard).is_file() for _, shard in shards)
    if missing:
        _remove_others(state, index.shards)
        progress.start("graphs of embeddings", missing)
    for number, shard in shards:
        is_there = _path(state, shard).is_file()
        graph = _graph(index, shard, state)
        if not is_there:
            progress.advance()
        graph.expansion_search = max(_EXPANSION, _MORE * limit)
        matches = graph.search(query.astype(np.float32), min(_MORE * limit + _MORE, max(1, len(graph))))
        for key, distance in zip(matches.keys.tolist(), matches.distances.tolist(), strict=True):
            group, row, is_beside = key >> 33, key >> 1 & 0xFFFFFFFF, key & 1
            if by_words or not is_beside:
                found.append((distance, number, group, row))
    if missing:
        progress.finish()
    return whole(index, first(_exactly(index, sorted(found)[: _MORE * limit], query, by_words), limit))


def _exactly(
    index: ShardedIndex, found: list[tuple[float, int, int, int]], query: np.ndarray, by_words: bool
) -> list[Place]:
    """How like they are; rows that hold no longer are left out."""
    rows_of: dict[tuple[int, int], set[int]] = {}
    for _, number, group, row in found:
        rows_of.setdefault((number, group), set()).add(row)
    places = []
    for (number, group), rows in rows_of.items():
        shard = index.shards[number]
        (table,) = blocks(index.place, shard.photos, ["path", *LOOKS], groups=[group])
        table = index.holding(shard, table.take(pa.array(sorted(rows))))
        scores = similarities(table["looks"], query, by_words=by_words)
        for path, score in zip(table["path"].to_pylist(), scores.tolist(), strict=True):
            if score > NOTHING:
                places.append(Place(round(score, 4), path, number, group))
    return places


def _path(state: Path, shard: ShardDone) -> Path:
    return state / _FOLDER / f"{Path(shard.photos.name).stem}.usearch"


def _remove_others(state: Path, shards: Sequence[ShardDone]) -> None:
    """Removes the graphs of all but these shards, whole or half written: each is as large as its embeddings."""
    wanted = {_path(state, shard).name for shard in shards}
    with contextlib.suppress(OSError):
        for name in os.listdir(state / _FOLDER):
            if (ours := _GRAPH.fullmatch(name)) and ours["graph"] not in wanted:
                with contextlib.suppress(OSError):  # another query looks at it
                    (state / _FOLDER / name).unlink()


def _graph(index: ShardedIndex, shard: ShardDone, state: Path) -> Index:
    path = _path(state, shard)
    if path.is_file():
        with contextlib.suppress(RuntimeError, ValueError):  # a damaged one is made anew
            if (kept := Index.restore(path, view=True)) is not None:
                return kept
    graph = Index(ndim=shard.dimensions, metric=MetricKind.IP, dtype=ScalarKind.F16, multi=True)
    for keys, vectors in _keyed(index, shard):
        graph.add(keys, vectors)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        graph.save(aside)
        os.replace(aside, path)
    except (OSError, RuntimeError) as e:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise IndexFileError(f"{path}: cannot be written ({e}); without --approximate nothing is") from e
    return graph


def _keyed(index: ShardedIndex, shard: ShardDone) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The vectors that count, with where they stand: number of the block, of the row in it, whether it is the photo as
    a whole beside regions of it, by which an example is not searched for."""
    for group, table in enumerate(blocks(index.place, shard.photos, LOOKS)):
        looks = table["looks"].combine_chunks()
        items = looks.flatten()
        if not len(items):
            continue
        vectors = matrix(items.field("vector"), shard.dimensions)
        shown = items.field("shown")
        is_shown, is_whole = np.asarray(shown.fill_null(False)), np.asarray(shown.is_null())
        rows = np.repeat(np.arange(len(looks)), np.diff(np.asarray(looks.offsets)))
        has_shown = np.bincount(rows, is_shown, len(looks)) > 0
        has_any = np.bincount(rows, is_shown | is_whole, len(looks)) > 0
        counts = is_shown | is_whole | ~has_any[rows]
        keys = (group << 33) + (rows << 1) + (is_whole & has_shown[rows])
        yield keys[counts].astype(np.uint64), vectors[counts]
