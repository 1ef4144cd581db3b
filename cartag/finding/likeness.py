"""Ranking photos by likeness to words or to an example, from the embeddings that `tag` left in the cache."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from sqlite3 import Error
from typing import TYPE_CHECKING, cast

import numpy as np
from msgspec import UNSET

from cartag import checkpoints, detector as detectors, encoder as encoders, state
from cartag.catalogs import query_texts
from cartag.encoder import Encoder
from cartag.errors import IndexFileError, PhotoError, UsageError
from cartag.finding.hits import Hit, Query
from cartag.photos import PICTURE, content_hash, cut, decode, glances, is_raw, read_bytes, shaped, tiles
from cartag.progress import Progress
from cartag.scoring import Sight, sight_of
from cartag.settings import Settings
from cartag.state import Index, Store, in_digits, tag_as_typed
from cartag.values import Box, PhotoRecord, shown_regions

if TYPE_CHECKING:  # what needs pyarrow is loaded for indexes of shards only
    from cartag.state import Looks, ShardedIndex, TagIndex
    from cartag.values import PhotoTags

_READ_AT_ONCE = 4096


@dataclass(frozen=True, eq=False, slots=True)
class _Views:
    """What is embedded of one photo: its regions with their boxes, and the photo as a whole (None), if that is."""

    boxes: tuple[Box | None, ...]
    embeddings: np.ndarray
    """Shape (boxes, d)."""

    def likest(self, query: np.ndarray, by_words: bool) -> tuple[float, Box | None]:
        """The best similarity, and where. An example is one car, so the photo as a whole counts only without regions.

        Of equal ones the first is taken: regions before the whole, large before small.
        """
        among = len(self.boxes) if by_words else max(1, len(self.boxes) - self.boxes.count(None))
        similar = self.embeddings[:among] @ query
        best = int(similar.argmax())
        return round(float(similar[best]), 4), self.boxes[best]


class Similar:
    """Ranking by cosine similarity, from the embeddings that `tag` left in the cache."""

    def __init__(
        self,
        index: Index | ShardedIndex | TagIndex[PhotoTags],
        gallery: Path,
        settings: Settings,
        progress: Progress,
    ) -> None:
        self._index = cast("Index | ShardedIndex", index)  # likeness asks for more than tags
        self._gallery, self._place = gallery, state.place_of(gallery, settings.index)
        self._settings, self._progress = settings, progress
        # The index's own model, whatever the settings say: only its embeddings are comparable.
        self._files = checkpoints.resolve_auto(index.header.model, progress)
        self._identity = encoders.identity(self._files, dtype=settings.dtype, fit=settings.fit)

    def rank(self, query: Query) -> list[Hit]:
        """The photos that show what is asked for, with their similarity as score, and where they are so similar.

        Photos without an embedding (errors) are left out.

        Raises:
            IndexFileError: no embeddings are there for this index.
            UsageError: the photo ``query.like`` cannot be read, or has no such region.
        """
        if isinstance(self._index, Index):
            if query.approximate:
                raise UsageError("--approximate: is for an index of shards; a single file is searched exactly")
            photos = self._index.photos
            return self._ranked(list(query.hits_of(self._index)), photos, query, lambda: self._vector(query))
        return self._ranked_shards(self._index, query)

    def _vector(self, query: Query) -> np.ndarray:
        return self._embed_text(query.text) if query.text is not None else self._embed_photo(query.like or "")

    def _ranked(
        self,
        hits: Sequence[Hit],
        photos: Mapping[str, PhotoRecord],
        query: Query,
        vector_of: Callable[[], np.ndarray],
    ) -> list[Hit]:
        parts = self._read([hit.path for hit in hits], photos)
        some = next((part for part in parts if part), None)
        if hits and some is None:
            raise self._not_embedded("these photos")
        vector = vector_of()
        return [
            replace(hits[number], score=score, box=box)
            for number, views in chain.from_iterable(part.items() for part in chain([some or {}], parts))
            for score, box in [views.likest(vector, query.text is not None)]
        ]

    def _ranked_shards(self, index: ShardedIndex, query: Query) -> list[Hit]:
        """Of shards those that are likest are found as they lie there; what people spoke of is looked at by itself."""
        if index.embeddings != self._identity or not any(shard.dimensions for shard in index.shards):
            raise self._not_embedded("its photos")
        vector, by_words = self._vector(query), query.text is not None
        if query.approximate and query.limit is not None:
            found = state.nearly_nearest(
                index, self._place.state, vector, by_words=by_words, limit=query.limit, progress=self._progress
            )
            return self._hits_of(found, index, query, vector)
        keeps = None if query.takes_any else lambda record: any(True for _ in query.hits_of([record]))
        found = state.nearest(
            index, vector, by_words=by_words, limit=query.limit, cars=query.cars, least=query.least, keeps=keeps
        )
        return self._hits_of(found, index, query, vector)

    def _hits_of(
        self, found: Iterable[tuple[float, PhotoRecord, Looks]], index: ShardedIndex, query: Query, vector: np.ndarray
    ) -> list[Hit]:
        by_words, hits = query.text is not None, []
        for score, record, looks in found:
            views = _views(record, *_by_box({str(record.sha256): looks}))
            box = None if views is None else views.likest(vector, by_words)[1]
            hits += [replace(hit, score=score, box=box) for hit in query.hits_of([record])]
        said = index.said.records
        if spoken_of := list(query.hits_of(said.values())):
            hits += self._ranked(spoken_of, said, query, lambda: vector)
        return hits

    def _read(self, paths: Sequence[str], photos: Mapping[str, PhotoRecord]) -> Iterator[dict[int, _Views]]:
        """What is embedded of photos, by their number among ``paths``; many photos are read part by part."""
        for start in range(0, len(paths), _READ_AT_ONCE):
            records = {i: photos[path] for i, path in enumerate(paths[start : start + _READ_AT_ONCE], start)}
            wholes, regions = self._cached(list(records.values()))
            found = {i: _views(record, wholes, regions) for i, record in records.items()}
            yield {i: views for i, views in found.items() if views is not None}

    def _cached(self, records: Sequence[PhotoRecord]) -> tuple[dict[str, np.ndarray], dict[str, dict[Box, np.ndarray]]]:
        """Cached embeddings by hash: of photos as a whole, and of regions, also such as the index no longer has."""
        hashes = sorted({record.sha256 for record in records if record.sha256 is not UNSET})
        if not isinstance(self._index, Index):
            return _by_box(self._index.of_content(hashes)[1])
        divided = sorted({r.sha256 for r in records if r.sha256 is not UNSET and r.regions is not UNSET})
        try:
            wholes = Store.read_photos(self._place.state, self._identity, hashes)
            regions = Store.read_regions(self._place.state, self._identity, divided) if divided else {}
        except Error:
            return {}, {}
        return wholes, {key: dict(found) for key, found in regions.items()}

    def _not_embedded(self, what: str) -> IndexFileError:
        again = tag_as_typed(self._gallery, "--retag", index=self._settings.index)
        return IndexFileError(f"{self._place.state}: holds no embeddings of {what}; {again} computes them again")

    # --- what is looked for

    def _embed_text(self, text: str) -> np.ndarray:
        mean = self._load().embed_texts(query_texts(text)).mean(axis=0)
        unit: np.ndarray = mean / (mean @ mean) ** 0.5
        return unit

    def _embed_photo(self, like: Path | str) -> np.ndarray:
        """The embedding of a photo's region: of the largest, or of the one that ``like`` names, as in ``a.jpg#2``."""
        photo, number = _photo_and_number(like)
        try:
            data = read_bytes(photo)
            key = content_hash(data)
            same = self._of_content(key)
            record = next(chain((r for r in same if shown_regions(r)), same), None)
            if record is not None and (number is not None or shown_regions(record)):
                box = self._box(record, number, like)
                known = self._cached([record])[1].get(key, {}).get(in_digits(box))
                if known is not None:
                    return known
                pixels = self._cut_out(data, is_raw(str(photo)), box)  # a person drew it, and no run has looked since
            else:
                whole = self._cached(same[:1])[0].get(key) if number is None else None
                if whole is not None:
                    return whole
                pixels = self._pixels(data, is_raw(str(photo)), number, like)
        except PhotoError as e:
            raise UsageError(f"--like {photo}: cannot be read ({e.reason}: {e.detail}); name another photo") from e
        embedding: np.ndarray = self._load().embed_images([pixels])[0]
        return embedding

    def _of_content(self, key: str) -> list[PhotoRecord]:
        if not isinstance(self._index, Index):
            return self._index.of_content([key])[0]
        return [record for record in self._index if record.sha256 == key]

    def _pixels(self, data: bytes, raw: bool, number: int | None, like: Path | str) -> np.ndarray:
        """What the model is shown of a photo that the index does not know: a car in it, if the index knows cars."""
        settings, header = self._settings, self._index.header
        spec = encoders.image_spec(self._files, fit=settings.fit)
        sight = None if header.detector is UNSET else self._sight()
        if sight is None:
            if number is not None:
                raise UsageError(f"--like {like}: photos of this index have no regions; leave the number out")
            pixels = decode(data, spec, settings.max_pixels, raw=raw).pixels
            assert pixels is not None  # a spec was given
            return pixels
        picture = decode(data, PICTURE, settings.max_pixels, raw=raw).pixels
        assert picture is not None  # likewise
        detector = detectors.load(sight.files, device=settings.device, runtime=settings.runtime)
        shown, sees = glances(picture, sight.image_spec), tiles(picture.shape[1], picture.shape[0])
        (seen,) = detectors.boxes_in(detector, [shown], [sees])
        boxes = [box for box, _ in sight.chosen(seen, tile=sees[-1][2])]
        if number is None and not boxes:
            return shaped(picture, spec)
        wanted = 1 if number is None else number
        if not 1 <= wanted <= len(boxes):
            raise _no_such_region(like, len(boxes))
        return cut(picture, boxes[wanted - 1], spec)

    def _sight(self) -> Sight | None:
        """The detector of the index, as a run would have it."""
        index = self._index
        as_file = index if isinstance(index, Index) else Index(index.header, {}, index.path)
        return sight_of(self._settings, self._files, as_file, self._progress)

    def _cut_out(self, data: bytes, raw: bool, box: Box) -> np.ndarray:
        picture = decode(data, PICTURE, self._settings.max_pixels, raw=raw).pixels
        assert picture is not None  # a spec was given
        return cut(picture, box, encoders.image_spec(self._files, fit=self._settings.fit))

    def _box(self, record: PhotoRecord, number: int | None, like: Path | str) -> Box:
        """That of the wanted region: of the largest, or of the one that is named."""
        regions = shown_regions(record)
        wanted = 1 if number is None else number
        if not 1 <= wanted <= len(regions):
            raise _no_such_region(like, len(regions))
        return regions[wanted - 1].box

    def _load(self) -> Encoder:
        s = self._settings
        return encoders.load(self._files, device=s.device, dtype=s.dtype, fit=s.fit, runtime=s.runtime)


def _views(
    record: PhotoRecord, wholes: Mapping[str, np.ndarray], regions: Mapping[str, Mapping[Box, np.ndarray]]
) -> _Views | None:
    if record.sha256 is UNSET:
        return None
    cached = regions.get(record.sha256, {})
    found: list[tuple[Box | None, np.ndarray]] = [
        (region.box, cached[box]) for region in shown_regions(record) if (box := in_digits(region.box)) in cached
    ]
    if record.sha256 in wholes:
        found.append((None, wholes[record.sha256]))
    if not found:  # boxes that hold no car, and a whole that was not asked: nothing else was embedded
        found = [(None, vector) for vector in cached.values()]
    return _Views(tuple(box for box, _ in found), np.stack([vector for _, vector in found])) if found else None


def _by_box(looks: Mapping[str, Looks]) -> tuple[dict[str, np.ndarray], dict[str, dict[Box, np.ndarray]]]:
    """Wholes and regions, each by content, as the cache has them."""
    wholes = {key: vector for key, found in looks.items() for box, vector in found if box is None}
    regions = {key: {in_digits(box): vec for box, vec in found if box is not None} for key, found in looks.items()}
    return wholes, regions


def _no_such_region(like: Path | str, count: int) -> UsageError:
    regions = f"{count} region{'' if count == 1 else 's'}"
    return UsageError(f"--like {like}: that photo has {regions}, numbered from 1 by size; name one that it has")


def example_at(gallery: Path, like: Path | str) -> Path | str:
    """Where an example lies: from here on or, where nothing is, from the gallery on, as tables and JSON name it.

    Raises:
        UsageError: it is a folder.
    """
    inside = os.path.join(gallery, like)
    if not os.path.lexists(_photo_and_number(like)[0]) and os.path.lexists(_photo_and_number(inside)[0]):
        like = inside
    if _photo_and_number(like)[0].is_dir():
        raise UsageError(f"--like {like}: is a folder; name a photo")
    return like


def _photo_and_number(like: Path | str) -> tuple[Path, int | None]:
    """``a.jpg#2`` is the second region of `a.jpg`, unless there is a file of that name."""
    numbered = re.fullmatch(r"(.+)#(\d+)", str(like), re.DOTALL)
    if numbered is None or os.path.lexists(like):
        return Path(like), None
    return Path(numbered[1]), int(numbered[2])
