"""A deterministic detector that sees nothing but colour: for tests, of cartag and of tools built on it.

A car is a connected area of one strong colour (its strongest channel at least 100 above its weakest); grey, black and
white are road. It glances at 128 places along the long side of a photo, and fewer than four of them are no car. How
sure it is of one says how much of its box it fills: a painted rectangle is found with 1.0, an ellipse with about 0.79.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cartag.detector.keeping import kept
from cartag.values import ImageSpec

STRONG = 100
"""Levels (of 255) between the strongest and the weakest channel from which on a place is of a car."""
ALIKE = 60
"""Levels, in any channel, up to which two places beside each other are of the same car."""
_PLACES = 128
_LEAST = 4


class FakeDetector:
    """Implements `cartag.detector.Detector` without weights, torch, or chance."""

    identity = "fake@1/native1024x1024"
    image_spec = ImageSpec(1024, 1024, "native", 1024, 2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def boxes(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See the protocol; boxes are right to a 128th of the photo's long side."""
        return [_cars(photo) for photo in photos]


def _cars(photo: np.ndarray) -> np.ndarray:
    height, width = photo.shape[:2]
    step = -(-max(height, width) // _PLACES)
    places = photo[::step, ::step].astype(np.int16)
    free = {(int(y), int(x)) for y, x in np.argwhere(np.ptp(places, axis=2) >= STRONG)}
    boxes, filled = [], []
    for first in sorted(free):
        area = _area(first, free, places)
        if len(area) < min(_LEAST, places.shape[0] * places.shape[1]):
            continue
        (top, left), (bottom, right) = np.min(area, axis=0), np.max(area, axis=0) + 1
        boxes.append([left * step / width, top * step / height, right * step / width, bottom * step / height])
        filled.append(len(area) / float((bottom - top) * (right - left)))
    return kept(np.array(boxes).reshape(-1, 4), np.array(filled))


def _area(first: tuple[int, int], free: set[tuple[int, int]], places: np.ndarray) -> list[tuple[int, int]]:
    """The places that hang together with the first one, which are free no more; none if it is not free."""
    if first not in free:
        return []
    free.remove(first)
    area = [first]
    for y, x in area:  # grows meanwhile
        for beside in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if beside in free and int(np.abs(places[beside] - places[y, x]).max()) <= ALIKE:
                free.remove(beside)
                area.append(beside)
    return area
