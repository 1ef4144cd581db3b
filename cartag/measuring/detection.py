"""Boxes against labelled boxes: which cars were found where they stand, and named rightly there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import UNSET

from cartag.measuring import metrics
from cartag.measuring.figures import BoxFigures
from cartag.measuring.rows import Label
from cartag.state import matched
from cartag.values import Box, PhotoRecord


@dataclass(frozen=True, slots=True)
class Found:
    """A box that an index says holds a car."""

    box: Box
    cars: frozenset[str]
    """Its tags."""


def found_in(record: PhotoRecord) -> list[Found]:
    """The boxes of a photo, the largest first; where no regions were looked for, those of its tags."""
    if record.regions is not UNSET:
        return [
            Found(region.box, frozenset(tag.car for tag in region.tags))
            for region in record.regions
            if region.outcome != "no-car"
        ]
    boxes: dict[Box, set[str]] = {}
    for tag in record.tags:
        if tag.box is not UNSET:
            boxes.setdefault(tag.box, set()).add(tag.car)
    return [Found(box, frozenset(cars)) for box, cars in boxes.items()]


def matches(label: Label, found: Sequence[Found]) -> dict[int, int]:
    """Number of a labelled box -> number of the found box that it is, one to one (IoU of 0.5 at least)."""
    return matched([box.box for box in label.boxes], [one.box for one in found])


def misplaced(label: Label, record: PhotoRecord) -> dict[str, Box]:
    """Tags that are right for the photo and stand on another box than all that are labelled so, with that box."""
    found = found_in(record)
    labelled = {j: label.boxes[i].cars for i, j in matches(label, found).items()}
    boxed = frozenset().union(*(box.cars for box in label.boxes))
    right = frozenset().union(*(one.cars & labelled.get(j, frozenset()) for j, one in enumerate(found)))
    return {car: one.box for one in reversed(found) for car in one.cars & boxed - right}


def box_figures(pairs: Iterable[tuple[Label, PhotoRecord]]) -> BoxFigures | None:
    """Figures of the photos whose labels have boxes; None where there are none."""
    photos = labelled = found_count = matched_count = tags = tags_right = cars = cars_right = 0
    for label, record in pairs:
        if not label.boxes:
            continue
        found = found_in(record)
        same = matches(label, found)
        photos += 1
        labelled += len(label.boxes)
        found_count += len(found)
        matched_count += len(same)
        cars += sum(bool(box.cars) for box in label.boxes)
        tags += sum(len(one.cars) for one in found)
        tags_right += sum(len(label.boxes[i].cars & found[j].cars) for i, j in same.items())
        cars_right += sum(bool(label.boxes[i].cars & found[j].cars) for i, j in same.items())
    if not photos:
        return None
    return BoxFigures(
        photos=photos,
        labelled=labelled,
        found=found_count,
        matched=matched_count,
        precision=metrics.wilson(matched_count, found_count),
        recall=metrics.wilson(matched_count, labelled),
        tags=tags,
        tags_right=metrics.wilson(tags_right, tags),
        cars=cars,
        cars_right=metrics.wilson(cars_right, cars),
    )


def group_of(label: Label) -> str | None:
    """``one`` or ``several`` cars, by what the label says; None for a photo of none."""
    boxed = frozenset().union(*(box.cars for box in label.boxes))
    boxed_other = {name for box in label.boxes for name in box.other}
    without_box = len(label.cars - boxed) + sum(name not in boxed_other for name in label.other)
    count = len(label.boxes) + without_box
    return None if not count else "one" if count == 1 else "several"
