"""From cells to boxes: peaks of a heat map, the sides around them, doubles taken out. In pure numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_NEAR = 2
"""Cells around a peak that have a say in where the sides of its car are."""
_AGREED = 0.6
"""Intersection over union with the box of the peak from which on they mean the same car."""
_SAME = 0.5
"""Intersection over union from which on two boxes are of one car; those of cars behind each other overlap less."""
_WITHIN = 0.85
"""Share of a box that lies in a surer one, from which on it is a piece of that car: a door, a mirrored front."""
_PIECE = 0.45
"""... if it is not larger than this share of the other: a car in front of another one may lie within its box."""


def by_shape(
    answers_to: Callable[[Sequence[np.ndarray]], np.ndarray], glances: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """What ``answers_to`` makes of glances (h, w, 3), in their order: those of one shape share a call, for they go
    through the network together, and wide and narrow ones do not."""
    answers: dict[int, np.ndarray] = {}
    for shape in sorted({glance.shape for glance in glances}):
        of_it = [i for i, glance in enumerate(glances) if glance.shape == shape]
        answers.update(zip(of_it, answers_to([glances[i] for i in of_it]), strict=True))
    return [answers[i] for i in range(len(glances))]


def boxes_of(cells: np.ndarray, least: float) -> np.ndarray:
    """Boxes (n, 5): x, y, width, height in fractions and confidence, surest first, of one answer of the network.

    Args:
        cells: float32 (5, h, w): logits of "here is a middle", and the distances to the sides, in cells.
        least: confidence from which on a peak is a car.
    """
    logits, (height, width) = cells[0], cells.shape[1:]
    rows, columns = np.nonzero(_is_peak(logits) & (logits >= np.log(least / (1 - least))))
    x0, y0, x1, y1 = np.clip(_sides(cells, rows, columns) / np.array([width, height] * 2)[:, None], 0, 1)
    found = 1 / (1 + np.exp(-logits[rows, columns].astype(np.float64)))
    boxes = np.stack([x0, y0, x1 - x0, y1 - y0, found], axis=1)
    boxes = boxes[(boxes[:, 2] > 1e-3) & (boxes[:, 3] > 1e-3)]
    return _without_doubles(boxes[np.argsort(-boxes[:, 4], kind="stable")]).astype(np.float32)


def _sides(cells: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Left, top, right and bottom (4, n) of the cars of peaks, in cells.

    They are the mean of what the cells around say of the same car, weighed by the square of how sure they are of it
    (box voting: Gidaris and Komodakis, "Object detection via a multi-region and semantic segmentation-aware CNN
    model", 2015).
    """
    height, width = cells.shape[1:]
    xs, ys = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    sides = np.stack([xs - cells[1], ys - cells[2], xs + cells[3], ys + cells[4]]).astype(np.float64)
    steps = np.arange(-_NEAR, _NEAR + 1)
    down, right = np.broadcast_arrays(steps[:, None, None] + rows, steps[None, :, None] + columns)
    is_inside = (down >= 0) & (down < height) & (right >= 0) & (right < width)
    down, right = np.clip(down, 0, height - 1), np.clip(right, 0, width - 1)
    said, own = sides[:, down, right], sides[:, None, None, rows, columns]
    both = np.prod(np.maximum(np.minimum(said[2:], own[2:]) - np.maximum(said[:2], own[:2]), 0), axis=0)
    areas = [np.prod(np.maximum(box[2:] - box[:2], 0), axis=0) for box in (said, own)]
    agrees = is_inside & (both > _AGREED * (areas[0] + areas[1] - both))
    weights = agrees / (1 + np.exp(-cells[0, down, right].astype(np.float64))) ** 2
    total = weights.sum((0, 1))
    # A box without a size agrees with nothing, not even with itself.
    mean = (np.where(agrees, said, 0) * weights).sum((1, 2)) / np.where(total > 0, total, 1)
    return np.where(total > 0, mean, sides[:, rows, columns])


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
