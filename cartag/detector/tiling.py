"""Panoramas: a detector is shown them tile by tile, and every car is taken from where it is seen whole.

A detector squashes a photo to one shape, or reduces its long side: of a picture five times as wide as it is high that
makes slivers of the cars.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cartag.detector.keeping import MOST
from cartag.detector.protocol import Detector
from cartag.values import Box

SAME = 0.5
"""Intersection over union from which on boxes of two tiles are of one car."""
_EDGE = 0.04
"""Of a tile's length: a box that ends nearer than this to where the tile ends is one of a car that is cut there."""
_LONG = 0.45
"""Of a tile's length: what is longer every tile may cut, for they overlap by half; what is not, one sees whole."""
_COVERED = 0.5
"""Share of a box from which on others say what it does: of one from the whole photo, or of a car that is cut."""
_TWO, _ONE = 0.8, 0.65
"""Share that several others say of a box around two cars, and that none of them says alone, or it hides another car."""


def boxes_in(
    detector: Detector, photos: Sequence[Sequence[np.ndarray]], tiles: Sequence[Sequence[Box]]
) -> list[np.ndarray]:
    """The boxes (n, 5) of every photo, as `Detector.boxes` gives them.

    Args:
        detector: what looks.
        photos: of each one glance at every tile.
        tiles: of each the tiles, as fractions of the photo: the photo as a whole, and after it what it is cut into.
    """
    glances = [glance for photo in photos for glance in photo]
    found = iter(detector.boxes(glances))
    return [joined([next(found) for _ in of], of) for of in tiles]


def joined(parts: Sequence[np.ndarray], tiles: Sequence[Box]) -> np.ndarray:
    """Boxes (n, 5) float32 of a photo, surest first, of those in its tiles, (m, 5) each, as fractions of the tile.

    The first tile is the photo as a whole; the others overlap by half. A car is taken from a tile that sees it whole;
    one that is too long for any of them from the whole photo, or put together from two tiles.
    """
    if len(tiles) == 1:
        return parts[0]
    axis = 0 if tiles[1][2] < 1 else 1
    length = tiles[1][2 + axis]
    uncut, cut_far, cut_near = [], [], []
    for number, (part, tile) in enumerate(zip(parts[1:], tiles[1:], strict=True)):
        for row, local in zip(_of_photo(part, tile), part, strict=True):
            is_cut_near = number > 0 and local[axis] < _EDGE
            is_cut_far = number < len(tiles) - 2 and local[axis] + local[2 + axis] > 1 - _EDGE
            if is_cut_near:
                cut_near.append((number, row))
            if is_cut_far:
                cut_far.append((number, row))
            if not (is_cut_near or is_cut_far):
                uncut.append(row)
    long = [row for row in np.asarray(parts[0], np.float64) if row[2 + axis] > _LONG * length]
    seams = [_around(a, b) for i, a in cut_far for j, b in cut_near if j == i + 1 and _go_together(a, b, axis)]
    pieces = [row for _, row in (*cut_far, *cut_near)]
    kept: list[np.ndarray] = []
    for rows, is_whole in ((uncut, True), (long, False), (seams, False), (pieces, False)):
        for row in sorted(rows, key=lambda row: (-row[4], *row[:4])):
            if not _is_said(row, kept, is_whole):
                kept.append(row)
    kept.sort(key=lambda row: (-row[4], *row[:4]))
    return np.array(kept[:MOST], np.float32).reshape(-1, 5)


def _is_said(row: np.ndarray, kept: Sequence[np.ndarray], is_whole: bool) -> bool:
    """Whether boxes say already what this one does: the same car, two cars in one, or a part of one that is cut."""
    own = row[2] * row[3]
    shared = [_shared(row, other) for other in kept]
    if any(both > SAME * (own + other[2] * other[3] - both) for both, other in zip(shared, kept, strict=True)):
        return True
    if not is_whole:
        return bool(sum(shared) > _COVERED * own)
    return bool(sum(shared) > _TWO * own and max(shared) < _ONE * own)


def _of_photo(part: np.ndarray, tile: Box) -> np.ndarray:
    """Boxes of a tile as fractions of the photo."""
    x, y, width, height = tile
    rows = np.asarray(part, np.float64).reshape(-1, 5) * (width, height, width, height, 1)
    rows[:, :2] += (x, y)
    rows[:, 2:4] = np.minimum(rows[:, 2:4], 1 - rows[:, :2])
    return rows


def _go_together(a: np.ndarray, b: np.ndarray, axis: int) -> bool:
    """Whether two pieces, cut at facing sides, are of one car: they overlap, and stand equally high and deep."""
    across = 1 - axis
    low, high = max(a[across], b[across]), min(a[across] + a[2 + across], b[across] + b[2 + across])
    all_low, all_high = min(a[across], b[across]), max(a[across] + a[2 + across], b[across] + b[2 + across])
    return bool(_shared(a, b) > 0 and a[axis] < b[axis] and high - low > SAME * (all_high - all_low))


def _around(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The box around two, as sure as the surer one."""
    near = np.minimum(a[:2], b[:2])
    far = np.maximum(a[:2] + a[2:4], b[:2] + b[2:4])
    return np.array([*near, *(far - near), max(a[4], b[4])])


def _shared(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[:2] + a[2:4], b[:2] + b[2:4]) - np.maximum(a[:2], b[:2])
    return float(np.prod(sides.clip(0)))
