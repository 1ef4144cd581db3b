"""The query: which photos show which cars, best first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import UNSET

from cartag.catalogs import match_car, match_exactly
from cartag.errors import UsageError
from cartag.finding.hits import Hit
from cartag.paths import disk_path
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings
from cartag.state import Index, place_of, read_index, read_tags
from cartag.values import IndexedCatalog, PhotoRecord, PhotoTags


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
        from cartag.finding.likeness import Similar  # noqa: PLC0415 - a query by car needs no numpy and no model

        place = place_of(gallery, settings.index)
        hits = Similar(found, place, settings, progress or Silent()).rank(hits, text, like)
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
