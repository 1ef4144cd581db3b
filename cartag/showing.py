"""What an index says as a whole: outcomes, photos per car, errors by reason, model, age, and what else it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from cartag.catalogs import guess_make, squeezed
from cartag.settings import load_settings
from cartag.state import Tally, read_tally
from cartag.values import OUTCOMES, IndexedCar

REGION_OUTCOMES = ("tagged", "unknown", "no-car")


@dataclass(frozen=True)
class CarCount:
    """How often a car was seen."""

    car: str
    name: str
    photos: int
    by_hand: int
    """Of these, how many a person tagged."""


@dataclass(frozen=True)
class OtherCount:
    """How often a car was seen that is none of the catalog's."""

    name: str
    """A car's name, or a make alone where the car cannot be told."""
    is_make: bool
    photos: int
    regions: int
    score: float
    """Of the likeliest of them."""
    examples: tuple[str, ...]
    """Paths of the photos that show it likeliest, at most two."""


@dataclass(frozen=True)
class UnreadPhoto:
    """A photo that could not be read."""

    path: str
    reason: str
    detail: str
    """The decoder's own words."""


@dataclass(frozen=True)
class Summary:
    """A gallery's index in figures; ``outcomes`` adds up to ``photos``."""

    index: str
    photos: int
    outcomes: dict[str, int]
    cars: tuple[CarCount, ...]
    """Every car of the catalog, most photos first; those never seen at the end."""
    errors: dict[str, int]
    missing: int
    """Photos that are gone, kept for what a person said of them."""
    model: str
    catalog: str
    updated: str
    regions: dict[str, int] | None = None
    """Regions of the photos per outcome, without those a person deleted; None where none were ever looked for."""
    others: tuple[OtherCount, ...] = ()
    """What else the gallery seems to show, most photos first: cars outside the catalog, of regions that are unknown."""
    catalog_source: str | None = None
    """The file of the catalog, or its name where it is shipped; None where the index does not say."""
    unread: tuple[UnreadPhoto, ...] = ()
    """Photos that could not be read, by reason and path: of each reason the first ones, ``errors`` counts them all."""


def show(gallery: Path | str, *, index: Path | str | None = None) -> Summary:
    """Sums up the index of a gallery.

    Raises:
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    found = read_tally(Path(gallery), load_settings({"index": index}).index, squeezed)
    tally = found.tally
    photos, by_hand = tally.cars, tally.by_hand
    catalog = found.header.catalog
    names = {car.id: car.name for car in catalog.named}
    names |= {car: car for car in photos if car not in names}  # by another program, with a car that no catalog had
    counts = [CarCount(car, name, photos.get(car, 0), by_hand.get(car, 0)) for car, name in names.items()]
    return Summary(
        index=found.where,
        photos=tally.photos,
        outcomes={outcome: tally.outcomes.get(outcome, 0) for outcome in OUTCOMES},
        cars=tuple(sorted(counts, key=lambda count: (-count.photos, count.name))),
        errors=dict(sorted(tally.errors.items())),
        missing=tally.missing,
        model=found.header.model.name,
        catalog=catalog.name,
        updated=found.header.updated,
        regions=_region_counts(tally),
        others=_others(tally, catalog.cars),
        catalog_source=None if catalog.source is UNSET else catalog.source,
        unread=tuple(
            UnreadPhoto(photo.path, reason, photo.detail)
            for reason, photos in sorted(tally.unread.items())
            for photo in photos
        ),
    )


def _region_counts(tally: Tally) -> dict[str, int] | None:
    if tally.regions is None:
        return None
    return {outcome: tally.regions.get(outcome, 0) for outcome in REGION_OUTCOMES}


def _others(tally: Tally, cars: Sequence[IndexedCar]) -> tuple[OtherCount, ...]:
    """Grouped by name, whatever its case and accents; what the catalog has meanwhile is no other car."""
    known = {squeezed(text) for car in cars for text in (car.name, *car.aliases)}
    counts = []
    for key, seen in tally.others.items():
        if key not in known:
            score, _, name = seen.best[0]
            examples = tuple(path for _, path, _ in seen.best)
            counts.append(OtherCount(name, guess_make(name) == name, seen.photos, seen.regions, -score, examples))
    return tuple(sorted(counts, key=lambda count: (-count.photos, -count.regions, count.name)))
