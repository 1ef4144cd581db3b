"""What an index says as a whole: outcomes, photos per car, errors by reason, model, age, and what else it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from cartag.catalogs import guess_make, squeezed
from cartag.settings import load_settings
from cartag.state import outcome_counts, read_outcomes
from cartag.values import IndexedCar, OtherCar, PhotoOutcomes, RegionOutcome

REGION_OUTCOMES = ("tagged", "unknown", "no-car")
_EXAMPLES = 2


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


def show(gallery: Path | str, *, index: Path | str | None = None) -> Summary:
    """Sums up the index of a gallery.

    Raises:
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    found = read_outcomes(Path(gallery), load_settings({"index": index}).index)
    here = [record for record in found if record.missing is UNSET]
    photos = Counter(tag.car for record in here for tag in record.tags)
    by_hand = Counter(tag.car for record in here for tag in record.tags if tag.source == "human")
    catalog = found.header.catalog
    names = {car.id: car.name for car in catalog.named}
    names |= {car: car for car in photos if car not in names}  # by another program, with a car that no catalog had
    counts = [CarCount(car, name, photos[car], by_hand[car]) for car, name in names.items()]
    return Summary(
        index=str(found.path),
        photos=len(here),
        outcomes=outcome_counts(found),
        cars=tuple(sorted(counts, key=lambda count: (-count.photos, count.name))),
        errors=dict(sorted(Counter(r.error.reason for r in here if r.error is not UNSET).items())),
        missing=len(found.photos) - len(here),
        model=found.header.model.name,
        catalog=catalog.name,
        updated=found.header.updated,
        regions=_region_counts(here),
        others=_others(here, catalog.cars),
        catalog_source=None if catalog.source is UNSET else catalog.source,
    )


def _region_counts(photos: Sequence[PhotoOutcomes]) -> dict[str, int] | None:
    if all(photo.regions is UNSET for photo in photos):
        return None
    counts = Counter[str](region.outcome for photo in photos for region in _left(photo))
    return {outcome: counts[outcome] for outcome in REGION_OUTCOMES}


def _left(photo: PhotoOutcomes) -> list[RegionOutcome]:
    """The regions of a photo but for those that a person deleted."""
    if photo.regions is UNSET:
        return []
    return [region for region in photo.regions if (region.source, region.outcome) != ("human", "no-car")]


def _others(photos: Iterable[PhotoOutcomes], cars: Sequence[IndexedCar]) -> tuple[OtherCount, ...]:
    """Grouped by name, whatever its case and accents; what the catalog has meanwhile is no other car."""
    known = {squeezed(text) for car in cars for text in (car.name, *car.aliases)}
    groups: dict[str, list[tuple[float, str, str]]] = {}
    for photo in photos:
        for other in _other_cars(photo):
            if (key := squeezed(other.name)) not in known:
                groups.setdefault(key, []).append((-other.score, photo.path, other.name))
    counts = []
    for group in groups.values():
        group.sort()
        paths = list(dict.fromkeys(path for _, path, _ in group))
        score, _, name = group[0]
        counts.append(
            OtherCount(name, guess_make(name) == name, len(paths), len(group), -score, tuple(paths[:_EXAMPLES]))
        )
    return tuple(sorted(counts, key=lambda count: (-count.photos, -count.regions, count.name)))


def _other_cars(photo: PhotoOutcomes) -> Iterator[OtherCar]:
    """The cars outside the catalog that a photo's unknown regions show, unless a person says what these are.

    She says it of a region, or of the photo as a whole: then with as many cars as it has regions of cars, none of them
    is another.
    """
    regions = [region for region in _left(photo) if region.outcome != "no-car"]
    of_the_whole = sum(tag.source == "human" and tag.box is UNSET for tag in photo.tags)
    if photo.outcome == "no-car" or (of_the_whole and of_the_whole >= len(regions)):
        return
    for region in regions:
        if region.outcome == "unknown" and region.other is not UNSET:
            yield region.other
