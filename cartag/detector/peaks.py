"""From cells to boxes: peaks of a heat map, the sides around them, doubles taken out. In pure numpy."""

from __future__ import annotations

import numpy as np

_SAME = 0.5
"""Intersection over union from which on two boxes are of one car; those of cars behind each other overlap less."""
_WITHIN = 0.85
"""Share of a box that lies in a surer one, from which on it is a piece of that car: a door, a mirrored front."""
_PIECE = 0.45
"""... if it is not larger than this share of the other: a car in front of another one may lie within its box."""


def boxes_of(cells: np.ndarray, least: float) -> np.ndarray:
    """Boxes (n, 5): x, y, width, height in fractions and confidence, surest first, of one answer of the network.

    Args:
        cells: float32 (5, h, w): logits of "here is a middle", and the distances to the sides, in cells.
        least: confidence from which on a peak is a car.
    """
    logits, (height, width) = cells[0], cells.shape[1:]
    rows, columns = np.nonzero(_is_peak(logits) & (logits >= np.log(least / (1 - least))))
    left, top, right, bottom = cells[1:, rows, columns]
    x0 = np.clip((columns + 0.5 - left) / width, 0, 1)
    y0 = np.clip((rows + 0.5 - top) / height, 0, 1)
    x1 = np.clip((columns + 0.5 + right) / width, 0, 1)
    y1 = np.clip((rows + 0.5 + bottom) / height, 0, 1)
    found = 1 / (1 + np.exp(-logits[rows, columns].astype(np.float64)))
    boxes = np.stack([x0, y0, x1 - x0, y1 - y0, found], axis=1)
    boxes = boxes[(boxes[:, 2] > 1e-3) & (boxes[:, 3] > 1e-3)]
    return _without_doubles(boxes[np.argsort(-boxes[:, 4], kind="stable")]).astype(np.float32)


def _is_peak(logits: np.ndarray) -> np.ndarray:
    """Whether a cell is as high as the eight around it."""
    height, width = logits.shape
    around = np.pad(logits, 1, constant_values=-np.inf)
    shifted = [around[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    peak: np.ndarray = logits >= np.max(shifted, axis=0)
    return peak


def _without_doubles(boxes: np.ndarray) -> np.ndarray:
    """Boxes, surest first, without those that a surer one says already."""
    kept: list[int] = []
    areas = boxes[:, 2] * boxes[:, 3]
    far = boxes[:, :2] + boxes[:, 2:4]
    for i in range(len(boxes)):
        if kept:
            sides = np.minimum(far[i], far[kept]) - np.maximum(boxes[i, :2], boxes[kept, :2])
            both = np.prod(np.maximum(sides, 0), axis=1)
            is_same = both > _SAME * (areas[i] + areas[kept] - both)
            is_piece = (
                (both > _WITHIN * areas[i]) & (areas[i] < _PIECE * areas[kept]) & (boxes[i, 4] < 0.7 * boxes[kept, 4])
            )
            if (is_same | is_piece).any():
                continue
        kept.append(i)
    return boxes[kept]
