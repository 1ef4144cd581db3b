"""Boxes beside each other: how far two are one and the same, and which of one list belongs to which of another."""

from __future__ import annotations

from collections.abc import Sequence

from cartag.values import Box

SAME = 0.5
"""Intersection over union from which on two boxes are taken for those of one car, as is usual in detection."""


def in_digits(box: Box) -> Box:
    """A box in the four digits that the index and the cache have it by, whoever wrote it."""
    x, y, width, height = (round(number, 4) for number in box)
    return x, y, width, height


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height), 0 to 1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (one[2] * one[3] + other[2] * other[3] - both)


def matched(boxes: Sequence[Box], others: Sequence[Box], least: float = SAME) -> dict[int, int]:
    """Number of a box -> number of the other box that it is, one to one, pairs that overlap most first.

    Ties go by the order of the lists, so that equal lists are matched equally.
    """
    pairs = [
        (-share, i, j)
        for i, box in enumerate(boxes)
        for j, other in enumerate(others)
        if (share := overlap(box, other)) >= least
    ]
    found: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(pairs):
        if i not in found and j not in taken:
            found[i] = j
            taken.add(j)
    return found
