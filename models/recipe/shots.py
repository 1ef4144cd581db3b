"""Shots that are there twice: as a crop, mirrored or not, and as a photograph."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from cartag.values import Box

ALIKE = 0.85  # correlation; of the pairs that look alike by name the next have 0.78, and are other shots
OTHERWISE_NAMED = {"2f9fb5d435.jpg"}  # photographs of which a crop with another car's name shows the same shot
_SIZE = (24, 18)  # of a thumbnail
_AROUND = (0.0, 0.03, 0.08)  # of a box's size: how much a crop may show of what is around the car


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """What is compared: a thumbnail of a picture (h, w, 3), flat, without its mean and of unit length."""
    small = cv2.resize(pixels, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / (np.linalg.norm(small) + 1e-6))


def thumbnails(photo: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """(thumbnails, values) of the cars in a photograph (h, w, 3), each cut out tightly and less so; of all of it where
    there is none."""
    height, width = photo.shape[:2]
    found = []
    for x, y, w, h in boxes or [(0.0, 0.0, 1.0, 1.0)]:
        for more in _AROUND:
            left, right = (int(width * min(1.0, max(0.0, v))) for v in (x - more * w, x + (1 + more) * w))
            top, bottom = (int(height * min(1.0, max(0.0, v))) for v in (y - more * h, y + (1 + more) * h))
            found.append(thumbnail(photo[top : max(bottom, top + 2), left : max(right, left + 2)]))
    return np.stack(found)


def is_again(photo: np.ndarray, boxes: Sequence[Box], crops: Sequence[np.ndarray]) -> bool:
    """Whether one of the crops (h, w, 3) is a car of this photograph."""
    if not crops:
        return False
    seen = np.stack([thumbnail(one) for crop in crops for one in (crop, np.ascontiguousarray(crop[:, ::-1]))])
    return bool((thumbnails(photo, boxes) @ seen.T).max() > ALIKE)
