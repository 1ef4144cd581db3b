"""Whether a box holds a car at all: what the model says of it, of the photo as a whole, and how sure the detector is.

Each knows what the others miss. A detector takes an aeroplane for a car that a model knows at once, a model takes a
motorcycle for one where the cut-out shows a wheel; the photo as a whole shows what surrounds it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cartag import detector as detectors
from cartag.scoring.calibration import Calibration, Presence
from cartag.scoring.scoring import Scores
from cartag.scoring.sight import Sight

_SURE_OF_A_CAR = -4.0
"""Log odds that a photo as a whole shows no car, where one of its boxes is sure: it is not asked then."""
_LEAST = 1e-6


def presence_of(calibration: Calibration, sight: Sight | None) -> Presence | None:
    """How what was said of a box is weighed; None where that was not fitted for this detector, or none is there."""
    presence = calibration.presence
    if not presence or sight is None or detectors.kind(sight.files) != presence.detector:
        return None
    return presence


def is_doubtful(found: Sequence[float], presence: Presence | None) -> bool:
    """Whether a photo in which the detector is so sure of its boxes has to be asked as a whole too."""
    return presence is not None and bool(found) and max(found) < presence.sure


def weighed(scores: Scores, found: np.ndarray, whole: np.ndarray, presence: Presence) -> Scores:
    """The scores of n vectors once the detector and the photo as a whole have had their say.

    What is said of the cars keeps its proportions; that it is none at all is new.

    Args:
        scores: of what is cut out, by the model.
        found: shape (n,), how sure the detector is; NaN where its word does not count, and the model's stands: of a box
            that a person drew, and of a photo in which there is none.
        whole: shape (n,), the probability that the photo as a whole shows no car; NaN where it was not asked, because
            one of its boxes is sure.
        presence: how these are weighed.
    """
    if len(rows := np.flatnonzero(~np.isnan(found))) < len(found):
        return _with_rows(scores, rows, found, whole, presence)
    of_whole = np.where(np.isnan(whole), _SURE_OF_A_CAR, _log_odds(whole))
    odds = presence.cut * _log_odds(scores.no_car) + presence.whole * of_whole
    odds += presence.found * _log_odds(found) + presence.bias
    no_car = (1 / (1 + np.exp(-odds))).astype(scores.no_car.dtype)
    left = (1 - no_car) / np.maximum(1 - scores.no_car, _LEAST)
    return Scores(np.minimum(scores.cars * left[:, None], 1), np.minimum(scores.other * left, 1), no_car)


def _with_rows(scores: Scores, rows: np.ndarray, found: np.ndarray, whole: np.ndarray, presence: Presence) -> Scores:
    """The same scores, but for some rows (k,), which are weighed."""
    some = Scores(scores.cars[rows], scores.other[rows], scores.no_car[rows])
    new = weighed(some, found[rows], whole[rows], presence)
    cars, other, no_car = scores.cars.copy(), scores.other.copy(), scores.no_car.copy()
    cars[rows], other[rows], no_car[rows] = new.cars, new.other, new.no_car
    return Scores(cars, other, no_car)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability.astype(np.float64), _LEAST, 1 - _LEAST)
    result: np.ndarray = np.log(clipped / (1 - clipped))
    return result
