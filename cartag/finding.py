"""Finding photos in an index: by car, by free text, by an example photo."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from cartag.catalogs import match_car, match_exactly
from cartag.errors import IndexFileError, PhotoError, UsageError
from cartag.paths import disk_path
from cartag.photos import is_raw
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings
from cartag.state import Index, Place, place_of, read_index, read_tags
from cartag.values import IndexedCatalog, PhotoRecord, PhotoTags

if TYPE_CHECKING:  # a query by car answers from the index alone, without numpy
    import numpy as np

    from cartag.encoder import Encoder


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo that answers a query."""

    path: str
    """As the index has it: relative to the gallery."""
    file: str
    """To open it: under the gallery as it was given, by its name on disk."""
    score: float
    """Probability of the cars asked for, or cosine similarity to the text or photo."""
    cars: tuple[str, ...]
    """Ids of all cars the photo is tagged with."""


def find(
    gallery: Path | str,
    cars: str | Sequence[str] = (),
    *,
    every: bool = False,
    exclude: str | Sequence[str] = (),
    min_score: float | None = None,
    text: str | None = None,
    like: Path | str | None = None,
    limit: int | None = None,
    index: Path | str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> list[Hit]:
    """The photos of a gallery that answer a query, best first.

    Args:
        gallery: the folder of photos, tagged before.
        cars: words for cars (`cartag.catalogs.catalog.match_car`); a photo that shows any of them is a hit.
        every: the photo must show every one of ``cars``.
        exclude: leaves out photos that show one of these.
        min_score: without it, tags count; with it, every tag or candidate with at least this probability. For a query
            by text or photo alone: the least cosine similarity.
        text: ranks by similarity to these words, in the index's own model.
        like: ranks by similarity to this photo, of the gallery or not.
        limit: at most so many hits; None: all of them.
        index: where the index lies, if not in the gallery.
        settings: the rarer settings.
        progress: hears of a model being loaded.

    Raises:
        UsageError: nothing is asked for, or ``like`` cannot be read.
        UnknownCarError: a car that is not in the index's catalog.
        GalleryError, IndexFileError, ModelError: see `cartag.errors`.
    """
    cars = (cars,) if isinstance(cars, str) else cars
    exclude = (exclude,) if isinstance(exclude, str) else exclude
    if not cars and text is None and like is None and not exclude:
        raise UsageError("nothing to look for: name a car, or use --text, --like or --not")
    if text is not None and not text.strip():
        raise UsageError("--text is empty: describe what the photo shows")
    if text is not None and like is not None:
        raise UsageError("--text and --like together have no one ranking: use one of them")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: must be at least 1")
    least = 0 if cars else -1  # probabilities of cars, cosines of a description or an example
    if min_score is not None and not least <= min_score <= 1:
        raise UsageError(f"--min-score {min_score}: must lie between {least} and 1")
    gallery = Path(gallery)
    settings = (settings or load_settings()).overridden({"index": index})
    by_similarity = text is not None or like is not None
    whole = by_similarity or min_score is not None  # candidates and hashes are in the whole index only
    found = read_index(gallery, settings.index) if whole else read_tags(gallery, settings.index)
    known = found.header.catalog
    wanted = [_meant(words, known) for words in cars]
    unwanted = frozenset[str]().union(*(_meant(words, known) for words in exclude))
    hits = list(_by_cars(found, gallery, wanted, every, unwanted, None if by_similarity and not cars else min_score))
    if by_similarity and isinstance(found, Index):
        place = place_of(gallery, settings.index)
        hits = _Similar(found, place, settings, progress or Silent()).rank(hits, text, like)
        if not cars and min_score is not None:
            hits = [hit for hit in hits if hit.score >= min_score]
    hits.sort(key=lambda hit: (-hit.score, hit.path))
    return hits[:limit]


def _meant(words: str, catalog: IndexedCatalog) -> frozenset[str]:
    """Ids of the cars that somebody means. A car that came back under another id has its tags under both."""
    parts = (catalog.cars, () if catalog.former is UNSET else catalog.former)
    exactly = [car for cars in parts if (car := match_exactly(words, cars)) is not None]
    return frozenset(car.id for car in exactly or match_car(words, catalog.named))


def _by_cars(
    photos: Iterable[PhotoRecord | PhotoTags],
    gallery: Path,
    wanted: Sequence[frozenset[str]],
    every: bool,
    unwanted: frozenset[str],
    min_score: float | None,
) -> Iterator[Hit]:
    asked: frozenset[str] = frozenset().union(*wanted)
    only_tags = bool(wanted) and min_score is None
    for record in photos:
        # Of a million photos most show none of the cars: that is told first.
        if only_tags and (not record.tags or asked.isdisjoint([tag.car for tag in record.tags])):
            continue
        if record.missing is not UNSET:
            continue
        if unwanted and not unwanted.isdisjoint(tag.car for tag in record.tags):
            continue
        scores = _scores(record, min_score)
        best = [max((scores[car] for car in group if car in scores), default=None) for group in wanted]
        found = [score for score in best if score is not None]
        if wanted and (len(found) < len(wanted) if every else not found):
            continue
        score = (min(found) if every else max(found)) if found else 0.0
        on_disk = None if record.path_on_disk is UNSET else record.path_on_disk
        file = os.path.join(gallery, disk_path(record.path, on_disk))  # "./-rf.jpg" stays no option
        yield Hit(record.path, file, score, tuple(tag.car for tag in record.tags))


def _scores(record: PhotoRecord | PhotoTags, min_score: float | None) -> dict[str, float]:
    """Score of every car that counts as shown. A person's tag is certain; what a person settled has no candidates."""
    scores = {tag.car: 1.0 if tag.source == "human" else tag.score for tag in record.tags}
    if min_score is None or isinstance(record, PhotoTags):
        return scores
    if record.confirmed is not True:
        scores = {c.car: c.score for c in record.candidates} | scores
    return {car: score for car, score in scores.items() if score >= min_score}


class _Similar:
    """Ranking by cosine similarity, from the embeddings that `tag` left in the cache."""

    def __init__(self, index: Index, place: Place, settings: Settings, progress: Progress) -> None:
        from cartag import encoder as encoders

        self._index = index
        self._place = place
        self._settings = settings
        # The index's own model, whatever the settings say: only its embeddings are comparable.
        self._files = encoders.resolve_auto(index.header.model, progress)
        self._identity = encoders.identity(self._files, dtype=settings.dtype, fit=settings.fit)

    def rank(self, hits: Sequence[Hit], text: str | None, like: Path | str | None) -> list[Hit]:
        """The same hits with their similarity as score; photos without an embedding (errors) are left out.

        Raises:
            IndexFileError: the cache holds no embeddings for this index.
            UsageError: the photo ``like`` cannot be read.
        """
        from sqlite3 import Error

        from cartag.state import Store

        hashes = {hit.path: self._index.photos[hit.path].sha256 for hit in hits}
        try:
            embeddings = Store.read_photos(
                self._place.state, self._identity, sorted({h for h in hashes.values() if h is not UNSET})
            )
        except Error:
            embeddings = {}
        if hits and not embeddings:
            raise IndexFileError(
                f"{self._place.state}: holds no embeddings of these photos; 'cartag tag --retag' computes them again"
            )
        query = self._embed_text(text) if text is not None else self._embed_photo(Path(like or ""), embeddings)
        return [
            Hit(hit.path, hit.file, round(float(embeddings[h] @ query), 4), hit.cars)
            for hit in hits
            if (h := hashes[hit.path]) is not UNSET and h in embeddings
        ]

    def _embed_text(self, text: str) -> np.ndarray:
        from cartag.catalogs import query_texts

        mean = self._load().embed_texts(query_texts(text)).mean(axis=0)
        unit: np.ndarray = mean / (mean @ mean) ** 0.5
        return unit

    def _embed_photo(self, photo: Path, embeddings: dict[str, np.ndarray]) -> np.ndarray:
        from cartag.encoder import image_spec
        from cartag.photos import content_hash, decode, read_bytes

        try:
            data = read_bytes(photo)
            known = embeddings.get(content_hash(data))
            if known is not None:
                return known
            spec = image_spec(self._files, fit=self._settings.fit)
            pixels = decode(data, spec, self._settings.max_pixels, raw=is_raw(str(photo))).pixels
        except PhotoError as e:
            raise UsageError(f"--like {photo}: cannot be read ({e.reason}: {e.detail}); name another photo") from e
        assert pixels is not None  # a spec was given
        embedding: np.ndarray = self._load().embed_images([pixels])[0]
        return embedding

    def _load(self) -> Encoder:
        from cartag.encoder import load

        s = self._settings
        return load(self._files, device=s.device, dtype=s.dtype, fit=s.fit)
