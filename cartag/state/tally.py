"""An index in figures, as they add up: of its records, or of shards that were counted when they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec import UNSET

from cartag.values import OtherCar, PhotoOutcomes, PhotoRecord, Region, RegionOutcome

EXAMPLES = 2
NAMED = 20
"""Of photos that could not be read, how many are named for one reason."""


class Others(msgspec.Struct):
    """A car that is none of the catalog's, as regions that are unknown show it."""

    photos: int
    regions: int
    best: list[tuple[float, str, str]]
    """Minus the score, path and name, of the photos that show it likeliest; at most `EXAMPLES`."""


class Unread(msgspec.Struct, frozen=True, order=True):
    """A photo that could not be read."""

    path: str
    detail: str
    """The decoder's own words."""


class Tally(msgspec.Struct):
    """What is counted of photos; `add` makes one of two."""

    photos: int = 0
    missing: int = 0
    """Photos that are gone; they count nowhere else."""
    outcomes: dict[str, int] = {}
    cars: dict[str, int] = {}
    """Photos by car."""
    by_hand: dict[str, int] = {}
    """Of these, how many a person tagged."""
    errors: dict[str, int] = {}
    unread: dict[str, list[Unread]] = {}
    """By reason the first of them, by path; at most `NAMED`. Shards that an older cartag counted name none."""
    regions: dict[str, int] | None = None
    """Regions by outcome, without those that a person deleted; None where none were ever looked for."""
    others: dict[str, Others] = {}

    def add(self, other: Tally, key: Callable[[str], str] = str) -> None:
        """Adds another tally; its others are grouped by ``key`` of their names."""
        self.photos += other.photos
        self.missing += other.missing
        for mine, theirs in (
            (self.outcomes, other.outcomes),
            (self.cars, other.cars),
            (self.by_hand, other.by_hand),
            (self.errors, other.errors),
        ):
            _add(mine, theirs)
        for reason, photos in other.unread.items():
            self.unread[reason] = sorted([*self.unread.get(reason, ()), *photos])[:NAMED]
        if other.regions is not None:
            self.regions = {} if self.regions is None else self.regions
            _add(self.regions, other.regions)
        for name, found in other.others.items():
            there = self.others.setdefault(key(name), Others(0, 0, []))
            there.photos += found.photos
            there.regions += found.regions
            there.best = _best([*there.best, *found.best])


def tally_of(photos: Iterable[PhotoOutcomes | PhotoRecord], key: Callable[[str], str] = str) -> Tally:
    """Counts photos; other cars are grouped by ``key`` of their names."""
    tally = Tally()
    others: dict[str, list[tuple[float, str, str]]] = {}
    for photo in photos:
        if photo.missing is not UNSET:
            tally.missing += 1
            continue
        tally.photos += 1
        _count(tally.outcomes, photo.outcome)
        for tag in photo.tags:
            _count(tally.cars, tag.car)
            if tag.source == "human":
                _count(tally.by_hand, tag.car)
        if photo.error is not UNSET:
            _count(tally.errors, photo.error.reason)
            tally.unread.setdefault(photo.error.reason, []).append(Unread(photo.path, photo.error.detail))
        if photo.regions is not UNSET:
            tally.regions = {} if tally.regions is None else tally.regions
            for region in _left(photo):
                _count(tally.regions, region.outcome)
        for other in _other_cars(photo):
            others.setdefault(key(other.name), []).append((-other.score, photo.path, other.name))
    tally.unread = {reason: sorted(photos)[:NAMED] for reason, photos in tally.unread.items()}
    for name, seen in others.items():
        tally.others[name] = Others(len({path for _, path, _ in seen}), len(seen), _best(seen))
    return tally


def _best(seen: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """The likeliest, a photo once."""
    by_path: dict[str, tuple[float, str, str]] = {}
    for one in sorted(seen):
        by_path.setdefault(one[1], one)
    return list(by_path.values())[:EXAMPLES]


def _count(counts: dict[str, int], what: str) -> None:
    counts[what] = counts.get(what, 0) + 1


def _add(mine: dict[str, int], theirs: dict[str, int]) -> None:
    for what, number in theirs.items():
        mine[what] = mine.get(what, 0) + number


def _left(photo: PhotoOutcomes | PhotoRecord) -> list[Region | RegionOutcome]:
    """The regions of a photo but for those that a person deleted."""
    if photo.regions is UNSET:
        return []
    return [region for region in photo.regions if (region.source, region.outcome) != ("human", "no-car")]


def _other_cars(photo: PhotoOutcomes | PhotoRecord) -> Iterator[OtherCar]:
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
