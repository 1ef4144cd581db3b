"""What is kept of all that a detector says: sure enough, a box, within the photo, and not the same car twice."""

from __future__ import annotations

import numpy as np

THRESHOLD = 0.3
"""Of a hub detector's own confidence. Below the usual 0.5: a car that is not looked at is lost, while a box without one
costs an embedding, and the model's words for "no car" say so of it; much lower, most boxes hold none."""
DOUBLE = 0.7
"""Two boxes that overlap more than this (IoU) are one car: detectors say `car` and `truck` of the same one. Two real
cars hardly ever hide each other so neatly."""
MOST = 300
"""Boxes of one photo; what the published detectors can say at most."""


def kept(corners: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """Boxes (n, 5) float32 as `cartag.detector.Detector.boxes` gives them.

    Of corners (m, 4), left, top, right, bottom as fractions of the photo in any precision, and confidences (m,).
    """
    corners, confidences = np.asarray(corners, np.float64).reshape(-1, 4), np.asarray(confidences, np.float64)
    are_numbers = np.isfinite(corners).all(axis=1) & np.isfinite(confidences)
    corners, confidences = corners[are_numbers].clip(0, 1), confidences[are_numbers].clip(0, 1)
    rows = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2], confidences]).astype(np.float32)
    is_box = (rows[:, 2:4] > 0).all(axis=1)
    # Equal confidences go by place, so that the order of what comes in is of no matter.
    order = np.lexsort((*corners[is_box].T[::-1], -confidences[is_box]))
    rows, corners = rows[is_box][order], corners[is_box][order]
    result: np.ndarray = rows[_without_doubles(corners)[:MOST]]
    return result


def _without_doubles(corners: np.ndarray) -> list[int]:
    """Which of these boxes stay, the surest standing first: each goes that overlaps one that stays too much."""
    stay: list[int] = []
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    for i, box in enumerate(corners):
        others = corners[stay]
        sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
        shared = np.prod(sides.clip(0), axis=1)
        if not (shared > DOUBLE * (areas[i] + areas[stay] - shared)).any():
            stay.append(i)
    return stay
