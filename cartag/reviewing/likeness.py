"""What looks like what, for a review: groups to name at once, photos like one photo, the odd ones within a name.

All from the embeddings that `tag` left in the cache, or in the shards. Without these there is nothing alike, and the
review goes on as ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cartag import checkpoints, encoder as encoders
from cartag.errors import CartagError, ReviewError
from cartag.progress import Silent
from cartag.reviewing import groups
from cartag.reviewing.words import is_done, live_regions
from cartag.settings import Settings
from cartag.state import Index, Place, Views, all_looks, tag_as_typed, views_among, views_of
from cartag.values import Box, PhotoRecord, Region, as_model_has_it

_SURE = 1e-3
"""What a view of which the model is sure adds to the weight of its group: of two sure groups the larger is first."""


@dataclass(frozen=True)
class Group:
    """Views that look alike: the photo, and the box where the photo has several."""

    members: tuple[tuple[str, Box | None], ...]
    is_pooled: bool = False
    """Whether they have in common only that they are probably not in the catalog."""


@dataclass(frozen=True)
class Like:
    """A photo, and how much it looks like another (cosine)."""

    path: str
    likeness: float


class Likeness:
    """Looks at the index as it is when it is asked. All methods may be called from several threads."""

    def __init__(self, index: Callable[[], Index], gallery: Path, place: Place, settings: Settings) -> None:
        self._index, self._gallery, self._place, self._settings = index, gallery, place, settings
        self._mutex = threading.Lock()
        self._seen: tuple[Index, tuple[object, ...], Views] | None = None

    def groups(self) -> list[Group]:
        """What is still to say, in groups that look alike: those with most and most doubtful photos first.

        Last comes what is left over and probably not in the catalog.
        """
        index = self._index()
        views = self._views(index)
        photos = index.photos
        rows = [
            i
            for i, (path, box) in enumerate(zip(views.paths, views.boxes, strict=True))
            if path in photos and _is_open(photos[path], box)
        ]
        if not rows:
            return []
        said = [_answer(photos[views.paths[i]], views.boxes[i]) for i in rows]
        numbers = {what: number for number, what in enumerate(dict.fromkeys(answer for answer, _ in said))}
        answers = np.array([numbers[answer] for answer, _ in said])
        likely = np.array([score for _, score in said])
        doubts = np.minimum(likely, 1 - likely)
        taken = np.array([photos[views.paths[i]].mtime_ns / 1e9 for i in rows])
        found = groups.groups(groups.centred(views.vectors)[rows], groups.bursts(taken), answers)
        found, rest = groups.pooled(found, np.array([answer == ("unknown",) for answer, _ in said]), likely)
        found.sort(key=lambda members: -float((doubts[members] + _SURE).sum()))

        def group(members: np.ndarray, is_pooled: bool) -> Group:
            return Group(tuple(_subject(photos, views, rows[i]) for i in members), is_pooled)

        return [group(members, False) for members in found] + [group(members, True) for members in rest]

    def like(self, path: str, box: Box | None, most: int | None = None) -> list[Like]:
        """The photos that look most like one photo, or like the car in one of its boxes; best first, itself left out.

        Raises:
            ReviewError: the photo is not embedded.
        """
        views = self._views(self._index())
        own = [i for i, other in enumerate(views.paths) if other == path]
        query = next((i for i in own if box is not None and views.boxes[i] == box), own[0] if own else None)
        if query is None:
            again = tag_as_typed(self._gallery, "--retag", index=self._place.option(self._gallery))
            raise ReviewError(f"{path}: holds no embedding to compare; {again} computes it again")
        best: dict[str, float] = {}
        for other, cosine in zip(views.paths, (views.vectors @ views.vectors[query]).tolist(), strict=True):
            if other != path and cosine > best.get(other, -2.0):
                best[other] = cosine
        ordered = sorted(best.items(), key=lambda item: -item[1])[:most]
        return [Like(other, round(cosine, 4)) for other, cosine in ordered]

    def odd(self) -> dict[str, float]:
        """Of every photo with a tag, how little it looks like the others of that name; of several names the most."""
        index = self._index()
        views = self._views(index)
        rows: dict[str, list[int]] = {}
        for i, (path, box) in enumerate(zip(views.paths, views.boxes, strict=True)):
            for car in _named(index.photos.get(path), box):
                rows.setdefault(car, []).append(i)
        vectors = groups.centred(views.vectors)
        found: dict[str, float] = {}
        for members in rows.values():
            for i, value in zip(members, groups.unlikeness(vectors[members]).tolist(), strict=True):
                found[views.paths[i]] = max(found.get(views.paths[i], 0.0), round(value, 4))
        return found

    def _views(self, index: Index) -> Views:
        """The embeddings of all photos that are there; read again where photos or their boxes changed."""
        with self._mutex:
            if self._seen is not None and self._seen[0] is index:
                return self._seen[2]
            records = [record for record in index if record.missing is not True]
            key = (index.header.model, *((r.path, r.sha256, *(x.box for x in live_regions(r))) for r in records))
            same = self._seen is not None and self._seen[1] == key
            views = self._seen[2] if same and self._seen else self._read(index, records)
            self._seen = index, key, views
            return views

    def _read(self, index: Index, records: Sequence[PhotoRecord]) -> Views:
        if index.shards is not None:
            return views_among(records, all_looks(self._place))
        return views_of(records, self._place.state, self._identity(index))

    def _identity(self, index: Index) -> str:
        try:
            files = checkpoints.resolve_auto(index.header.model, Silent())
            return encoders.identity(files, dtype=self._settings.dtype, fit=self._settings.fit)
        except CartagError as e:
            raise ReviewError(f"what looks alike cannot be told: {e}") from e


def _is_open(record: PhotoRecord, box: Box | None) -> bool:
    """Whether a person has still to say what this view shows."""
    if record.outcome == "error" or is_done(record):
        return False
    region = _region(record, box)
    return region is None or region.source == "model"


def _region(record: PhotoRecord, box: Box | None) -> Region | None:
    return next((region for region in live_regions(record) if box is not None and _digits(region) == box), None)


def _digits(region: Region) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in region.box)


def _answer(record: PhotoRecord, box: Box | None) -> tuple[tuple[object, ...], float]:
    """What the model says of a view, and the score of its likeliest car."""
    said = _region(record, box) or as_model_has_it(record) or record
    scores = [tag.score for tag in said.tags] + [candidate.score for candidate in said.candidates]
    return (said.outcome, *sorted(tag.car for tag in said.tags)), max(scores, default=0.0)


def _subject(photos: Mapping[str, PhotoRecord], views: Views, row: int) -> tuple[str, Box | None]:
    """What a decision on a view is of: of the photo, unless several cars stand in it."""
    path, box = views.paths[row], views.boxes[row]
    several = len(live_regions(photos[path])) > 1
    region = _region(photos[path], box)
    return path, region.box if several and region is not None else None


def _named(record: PhotoRecord | None, box: Box | None) -> set[str]:
    if record is None:
        return set()
    region = _region(record, box)
    here = record.tags if region is None or len(live_regions(record)) == 1 else region.tags
    return {tag.car for tag in here}
