"""The query: which photos show which cars, best first."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import UNSET

from cartag.catalogs import match_car, match_exactly
from cartag.errors import UsageError
from cartag.finding.hits import Hit, Match, Query
from cartag.paths import disk_path
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings
from cartag.state import open_index
from cartag.values import Box, Candidate, IndexedCatalog, PhotoRecord, PhotoTags, Tag, shown_regions


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
    regions: bool = False,
    approximate: bool = False,
    index: Path | str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> list[Hit]:
    """The photos of a gallery that answer a query, best first.

    Args:
        gallery: the folder of photos, tagged before.
        cars: words for cars (`cartag.catalogs.catalog.match_car`); a photo that shows any of them is a hit.
        every: the photo must show every one of ``cars``; of a make, any car of it.
        exclude: leaves out photos that show one of these.
        min_score: without it, tags count; with it, every tag or candidate with at least this probability. For a query
            by text or photo alone: the least cosine similarity. With ``exclude`` alone it means nothing.
        text: ranks by similarity to these words, in the index's own model: of the region of a photo that is most like
            them, or of the photo as a whole.
        like: ranks by similarity to this photo, of the gallery (by its path from here, or from there on) or not: to
            its largest region, where it is a photo of the gallery that has any, of the region of the other that is
            most like it. ``photo.jpg#2`` is its second region.
        limit: at most so many hits; None: all of them.
        regions: hits say the regions of their photos; a query by car then takes longer, as it reads the whole index.
        approximate: of a folder of shards, by ``text`` or ``like`` alone and with a ``limit``: finds most of the best
            photos by a graph of the embeddings, which is made when it is first asked for.
        index: where the index lies, if not in the gallery.
        settings: the rarer settings.
        progress: hears of a model being loaded.

    Raises:
        UsageError: nothing is asked for, or ``like`` cannot be read, or has no such region.
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
    if approximate and (cars or exclude or limit is None or (text is None and like is None)):
        raise UsageError("--approximate: goes with --text or --like alone, and with --limit N")
    if min_score is not None and not cars and text is None and like is None:
        raise UsageError("--min-score: with --not alone there is nothing to score; name a car, or use --text or --like")
    least = 0 if cars else -1  # probabilities of cars, cosines of a description or an example
    if min_score is not None and not least <= min_score <= 1:
        raise UsageError(f"--min-score {min_score}: must lie between {least} and 1")
    gallery = Path(gallery)
    settings = (settings or load_settings()).overridden({"index": index})
    by_similarity = text is not None or like is not None
    whole = by_similarity or regions or min_score is not None  # candidates, hashes, regions: in the whole index only
    found = open_index(gallery, settings.index, whole=whole)
    known = found.header.catalog
    wanted = [_meant(words, known) for words in cars]
    unwanted = frozenset[str]().union(*(_meant(words, known) for words in exclude))
    asked = frozenset[str]().union(*wanted)
    least_car = None if by_similarity and not cars else min_score

    def hits_of(photos: Iterable[PhotoRecord | PhotoTags]) -> Iterator[Hit]:
        return _by_cars(photos, gallery, wanted, every, unwanted, least_car)

    if by_similarity:
        from cartag.finding.likeness import (  # noqa: PLC0415 - a query by car needs no numpy and no model
            Similar,
            example_at,
        )

        like = None if like is None else example_at(gallery, like)
        query = Query(asked, least_car, hits_of, not (wanted or unwanted), text, like, limit, approximate)
        hits = Similar(found, gallery, settings, progress or Silent()).rank(query)
        if not cars and min_score is not None:
            hits = [hit for hit in hits if hit.score >= min_score]
    else:
        hits = list(hits_of(found.asked(asked, least_car, whole=whole)))
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
    folder = os.path.join(gallery, "")  # "./-rf.jpg" stays no option
    for record in photos:
        # Of a million photos most show none of the cars: that is told first.
        if only_tags and (not record.tags or asked.isdisjoint([tag.car for tag in record.tags])):
            continue
        if record.missing is not UNSET:
            continue
        cars = tuple([tag.car for tag in record.tags])
        if unwanted and not unwanted.isdisjoint(cars):
            continue
        matches = _matches(record, asked, min_score)
        counts = _weakest(matches, wanted) if every else next(iter(matches), None)
        if wanted and counts is None:
            continue
        on_disk = None if record.path_on_disk is UNSET else record.path_on_disk
        yield Hit(
            record.path,
            folder + disk_path(record.path, on_disk),
            counts.score if counts else 0.0,
            cars,
            box=counts.box if counts else None,
            matches=matches,
            regions=shown_regions(record) if isinstance(record, PhotoRecord) and record.regions is not UNSET else None,
        )


def _matches(record: PhotoRecord | PhotoTags, asked: Collection[str], min_score: float | None) -> tuple[Match, ...]:
    """The cars asked for that count as shown, likeliest first.

    A person's tag is certain; what a person settled has no candidates.
    """
    shown = {tag.car: _told(tag) for tag in record.tags if tag.car in asked}
    if min_score is not None and isinstance(record, PhotoRecord):
        if record.confirmed is not True:
            candidates = (c for c in record.candidates if c.car in asked)
            shown = {c.car: Match(c.car, c.score, _box_of(c, record)) for c in candidates} | shown
        shown = {car: match for car, match in shown.items() if match.score >= min_score}
    return tuple(sorted(shown.values(), key=lambda match: (-match.score, match.car)))


def _told(tag: Tag) -> Match:
    return Match(tag.car, 1.0 if tag.source == "human" else tag.score, None if tag.box is UNSET else tag.box)


def _box_of(candidate: Candidate, record: PhotoRecord) -> Box | None:
    """The box of the region that a photo has a candidate from."""
    boxes = (region.box for region in shown_regions(record) if candidate in region.candidates)
    return next(boxes, None)


def _weakest(matches: Sequence[Match], wanted: Sequence[frozenset[str]]) -> Match | None:
    """Of each group of cars the likeliest match, and of these the least likely; None where one group has none."""
    best = [next((match for match in matches if match.car in group), None) for group in wanted]
    shown = [match for match in best if match is not None]
    return min(shown, key=lambda match: match.score) if shown and len(shown) == len(wanted) else None
