"""Where the cars of a photo stand, as exports say it: every box that holds a car, with the tags that are true of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from msgspec import UNSET

from cartag.exporting.job import Box, CarTag, Photo
from cartag.values import Region


@dataclass(frozen=True, slots=True)
class Place:
    """A box that holds a car."""

    box: Box
    """x, y, width, height as fractions of the upright photo, top-left origin."""
    tags: tuple[CarTag, ...]
    """The catalog's cars in it, the likeliest first; empty for another car."""
    source: str
    """``human`` where a person drew the box or said what is in it."""
    found: float | None = None
    """How sure the detector is; None where that is not known."""
    other: str | None = None
    """The likeliest of the other cars."""


def places_of(photo: Photo) -> tuple[Place, ...]:
    """The boxes of a photo that hold a car, the largest first; those that a person deleted are none.

    What is settled for the photo as a whole goes before what is said of a box: a car that is no tag of the photo is
    none of the box either, and a photo without a car has no boxes.
    """
    regions = photo.record.regions
    if photo.record.outcome in ("no-car", "error"):
        return ()
    tags = {tag.car: tag for tag in photo.tags}
    places = [] if regions is UNSET else [_place(region, tags) for region in regions if region.outcome != "no-car"]
    boxed = {tag.car for place in places for tag in place.tags}
    return (*places, *_of_tags(photo, boxed))


def _place(region: Region, tags: Mapping[str, CarTag]) -> Place:
    cars = [
        replace(tags[tag.car], score=tag.score, source=tag.source, box=region.box)
        for tag in region.tags
        if tag.car in tags
    ]
    cars.sort(key=lambda tag: (tag.source == "human", tag.score), reverse=True)
    return Place(
        region.box,
        tuple(cars),
        region.source,
        None if region.found is UNSET else region.found,
        None if region.other is UNSET or cars else region.other.name,
    )


def _of_tags(photo: Photo, boxed: set[str]) -> Iterator[Place]:
    """Boxes of tags that no region speaks of: as an older version, or another program, writes them."""
    for tag in photo.tags:
        if tag.box is not None and tag.car not in boxed:
            yield Place(tag.box, (tag,), tag.source)
