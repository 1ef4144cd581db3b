"""What an index says as a whole: outcomes, photos per car, errors by reason, model, age."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from cartag.settings import load_settings
from cartag.state import outcome_counts, read_tags


@dataclass(frozen=True)
class CarCount:
    """How often a car was seen."""

    car: str
    name: str
    photos: int
    by_hand: int
    """Of these, how many a person tagged."""


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


def show(gallery: Path | str, *, index: Path | str | None = None) -> Summary:
    """Sums up the index of a gallery.

    Raises:
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    found = read_tags(Path(gallery), load_settings({"index": index}).index)
    here = [record for record in found if record.missing is UNSET]
    photos = Counter(tag.car for record in here for tag in record.tags)
    by_hand = Counter(tag.car for record in here for tag in record.tags if tag.source == "human")
    names = {car.id: car.name for car in found.header.catalog.named}
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
        catalog=found.header.catalog.name,
        updated=found.header.updated,
    )
