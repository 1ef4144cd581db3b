"""Calibration: what turns a model's logits into probabilities worth trusting, and probabilities into tags."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from cartag.errors import ModelError
from cartag.values import Probability

FILE_NAME = "calibration.json"


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """How likely it is that a box of a detector holds no car, in log odds (a logistic regression).

    ``bias``, and ``cut``, ``whole`` and ``found`` times the log odds that the model gives the cut-out to be no car, and
    the photo as a whole, and of the detector's confidence that it is one. Where a box of the photo reaches ``sure``
    there is a car, and the photo as a whole is not asked.
    """

    detector: str
    """The kind of detectors for which it was fitted (`detector.kind`): others are sure in another way."""
    cut: float
    whole: float
    found: float
    bias: float
    sure: Probability


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Temperature, biases and thresholds; the defaults leave the model's own softmax as it is.

    Logits are divided by ``temperature`` (Guo et al., "On Calibration of Modern Neural Networks", 2017). All other cars
    count as one class, and so does all that is no car. The logit of such a class of n members is log(n) plus ``spread``
    times the log of the mean of exp(logit / spread), plus its bias; that is the inclusive value of a nested logit
    (McFadden, "Modelling the Choice of Residential Location", 1978), with a spread that may be above 1, where his is
    below. A spread of 1 makes it a softmax over all; with more, how many names are near counts for more than how near
    the nearest is, and n equal logits count as they do with 1. A car becomes a tag when its probability reaches its
    threshold and stands ``margin`` above that of all other cars. Of a car outside the catalog the name is said from a
    probability of ``other_name`` on, and the make alone from ``other_make`` on. Whether a box holds a car at all is
    weighed by ``presence``, if that is there, else by the model alone.
    """

    temperature: float = 1.0
    spread: float = 1.0
    other_bias: float = 0.0
    no_car_bias: float = 0.0
    threshold: float = 0.5
    margin: float = 0.0
    car_thresholds: dict[str, float] = {}
    other_name: Probability = 0.5
    other_make: Probability = 0.3
    presence: Presence | UnsetType = UNSET
    fitted_on: str = "nothing: the default for a model without calibration"

    def threshold_of(self, car: str) -> float:
        """The probability from which ``car`` is a tag."""
        return self.car_thresholds.get(car, self.threshold)

    def digest(self) -> str:
        """Equal digests give equal scores and outcomes for equal embeddings."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]


UNCALIBRATED = Calibration(temperature=1.5, spread=2.0)
"""For a model that came without a calibration: the rule that lost least on `mini` with its own taken away, of those
without biases (`python -m benchmarks.uncalibrated`, docs/evaluation.md). How many other cars are near counts for more
than how near the nearest is, of some 370 names."""


def calibration_of(folder: Path | None, *, rejects: bool = True) -> Calibration:
    """The calibration that came with a model, or the default for those without one.

    Where there is nothing to reject with (``rejects`` is False) that default scores as the model's authors do.

    Raises:
        ModelError: the file is there and damaged.
    """
    path = folder / FILE_NAME if folder else None
    if path is None or not path.is_file():
        return UNCALIBRATED if folder is not None and rejects else Calibration()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calibration)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ModelError(f"{path}: damaged calibration: {e}") from e


MODES = {"strict": 4.0, "balanced": 1.0, "eager": 0.25}
"""How the setting ``mode`` multiplies the odds of every threshold: 0.5 becomes 0.8, 0.5, 0.2."""


def adjusted(
    calibration: Calibration,
    *,
    threshold: float | None,
    margin: float | None,
    temperature: float | None,
    mode: str = "balanced",
) -> Calibration:
    """A calibration with the user's own settings put over it; a threshold of the user's goes for every car.

    ``mode`` trades precision for recall by moving the calibration's own thresholds, all alike (`MODES`).
    """
    changes: dict[str, object] = {}
    if MODES[mode] != 1.0:
        changes["threshold"] = _at_odds(calibration.threshold, MODES[mode])
        changes["car_thresholds"] = {c: _at_odds(t, MODES[mode]) for c, t in calibration.car_thresholds.items()}
    if threshold is not None:
        changes |= {"threshold": threshold, "car_thresholds": {}}
    if margin is not None:
        changes["margin"] = margin
    if temperature is not None:
        changes["temperature"] = temperature
    return msgspec.structs.replace(calibration, **changes)


def _at_odds(probability: float, factor: float) -> float:
    """The probability whose odds are ``factor`` times those of ``probability``."""
    return round(factor * probability / (1 + (factor - 1) * probability), 6)
