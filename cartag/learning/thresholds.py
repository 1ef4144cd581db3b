"""Thresholds that keep a precision, chosen on scores of photos that were not learned from. Pure numpy."""

from __future__ import annotations

import msgspec
import numpy as np

from cartag.scoring import Calibration

OWN_THRESHOLD = 8
"""Labels from which a car may get a threshold of its own; fewer would make its precision a matter of luck."""
_LEAST = 0.05  # a threshold below this would rest on a handful of photos


def with_thresholds(
    calibration: Calibration,
    scores: np.ndarray,
    shows: np.ndarray,
    cars: tuple[str, ...],
    precision: float,
    weights: np.ndarray | None = None,
) -> Calibration:
    """Thresholds that keep ``precision`` on these (n, cars) scores, where photo i stands for ``weights[i]`` of them.

    The common one is the lowest that would keep it with one more wrong tag than was seen; where not even the surest
    photos are enough for that, the threshold stays. A car with enough labels gets its own where the common one is too
    low for it.
    """
    w = np.ones(len(scores)) if weights is None else weights
    unseen = float(w.max(initial=0))
    lowest = _lowest(scores.ravel(), shows.ravel(), np.repeat(w, scores.shape[1]), precision, unseen=unseen)
    common = calibration.threshold if lowest is None else lowest

    def kept(c: int) -> float:
        tagged = scores[:, c] >= common
        return float((w * shows[:, c])[tagged].sum() / w[tagged].sum())

    own = {
        car: found
        for c, car in enumerate(cars)
        if shows[:, c].sum() >= OWN_THRESHOLD
        and (found := _lowest(scores[:, c], shows[:, c], w, precision, unseen=0)) is not None
        and found > common
        and kept(c) < precision
    }
    return msgspec.structs.replace(
        calibration,
        threshold=round(common, 4),
        car_thresholds={car: round(threshold, 4) for car, threshold in own.items()},
    )


def _lowest(
    scores: np.ndarray, shows: np.ndarray, weights: np.ndarray, precision: float, unseen: float
) -> float | None:
    order = np.argsort(-scores, kind="stable")
    s, right, total = scores[order], np.cumsum((weights * shows)[order]), np.cumsum(weights[order])
    ends = np.flatnonzero(np.r_[np.diff(s) < 0, True]) if len(s) else np.zeros(0, int)
    good = ends[right[ends] >= precision * (total[ends] + unseen) - 1e-9]
    good = good[right[good] > 0] if len(good) else good
    if not len(good):
        return None
    last = int(good[-1])
    below = float(s[last + 1]) if last + 1 < len(s) else 0.0
    return max(_LEAST, (float(s[last]) + below) / 2)  # midway: the next photo's score will not be exactly this one's
