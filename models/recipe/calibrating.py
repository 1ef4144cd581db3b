"""The calibration: temperature, spread and biases with which the tool's scores are probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from scipy.optimize import minimize

from cartag.scoring.calibration import Calibration
from cartag.scoring.scoring import ClassSet, Scores, decide, pooled, score
from models.recipe.photos import Photo
from models.recipe.text import LOGIT_SCALE

KINDS = {"own": 1.0, "other": 1.0, "none": 0.5}  # what photographs of a car of the catalog, another car, none weigh
THRESHOLD = 0.5  # a car is a tag where it is likelier than not; `mode` moves that


def decisions(cosines: np.ndarray, classes: ClassSet, calibration: Calibration) -> list[Any]:
    """Verdicts of the tool for cosines (N, classes)."""
    return decide(scores_of(cosines, classes, calibration), classes.cars, calibration, 3)


def scores_of(cosines: np.ndarray, classes: ClassSet, calibration: Calibration) -> Scores:
    """Scores by the tool's own code for cosines (N, classes)."""
    unit = ClassSet(classes.cars, np.eye(cosines.shape[1], dtype=np.float32), classes.others)
    return score(cosines.astype(np.float32), unit, logit_scale=LOGIT_SCALE, calibration=calibration)


class Asked(NamedTuple):
    """What was asked of a catalog: photographs, the car of each as that catalog has it, and what the model answers."""

    photos: Sequence[Photo]
    cosines: np.ndarray  # (N, classes)
    classes: ClassSet


def likeliest(*asked: Asked) -> Calibration:
    """Temperature, spread and biases by likelihood, so that scores are probabilities.

    It has to hold for catalogs of eleven cars and of hundreds, so it is fitted to several, each of which counts the
    same. The three kinds of photographs weigh 1 : 1 : 1/2, however many there are: a gallery's mix is not known, and a
    handful of photographs without a car should not decide much.
    """
    losses = [_unlikelihood(*of_catalog) for of_catalog in asked]

    def loss(found: np.ndarray) -> float:
        return sum(of_catalog(found) for of_catalog in losses) / len(losses)

    found = np.array([math.log(1.5), math.log(1.5), -1.0, -1.0])
    bounds = [(math.log(0.25), math.log(8)), (0, math.log(8)), (-12, 12), (-12, 12)]
    for _ in range(4):  # the simplex may collapse on the way: each time anew, as wide as at first
        found = minimize(
            loss,
            found,
            method="Nelder-Mead",
            bounds=bounds,
            options={"initial_simplex": np.vstack([found, found + 0.5 * np.eye(4)]), "xatol": 1e-4, "fatol": 1e-7},
        ).x
    temperature, spread, other, none = (round(float(x), 3) for x in (*np.exp(found[:2]), *found[2:]))
    return Calibration(temperature=temperature, spread=spread, other_bias=other, no_car_bias=none, threshold=THRESHOLD)


def _unlikelihood(photos: Sequence[Photo], cosines: np.ndarray, classes: ClassSet) -> Callable[[np.ndarray], float]:
    """How unlikely the truth is by a temperature, a spread (their logarithms) and two biases."""
    cars, last = len(classes.cars), len(classes.cars) + classes.others
    own = np.array([classes.cars.index(p.car) if p.car in classes.cars else -1 for p in photos])
    # A catalog that names no other cars cannot say that a car is none of its own, nor one without texts of no car that
    # there is none.
    named, others = own >= 0, np.array([p.car == "other" and last > cars for p in photos])
    nothing = np.array([p.car == "none" and cosines.shape[1] > last for p in photos])

    def loss(found: np.ndarray) -> float:
        logits = LOGIT_SCALE * cosines.astype(np.float64) / math.exp(found[0])
        car, spread = logits[:, :cars], math.exp(found[1])
        none = pooled(logits[:, last:], spread) + found[3]
        other = pooled(logits[:, cars:last], spread) + found[2]
        total = pooled(np.column_stack([car, other, none]), 1.0)
        kinds = [
            (KINDS["own"], (total - car[np.arange(len(own)), own])[named]),
            (KINDS["other"], (total - other)[others]),
            (KINDS["none"], (total - none)[nothing]),
        ]
        return sum(weight * float(values.mean()) for weight, values in kinds if len(values))

    return loss


def fit_calibration(own: Asked, *more: Asked) -> Calibration:
    """The likeliest one, with the no-car bias once more by its errors under the first catalog. The threshold is not
    fitted: a few photographs more or less on its right side would be luck."""
    found = likeliest(own, *more)
    photos, cosines, classes = own
    nothing = np.array([p.car == "none" for p in photos])
    anycar = np.array([p.car not in ("none", "detail") for p in photos])

    def errors(bias: float) -> float:
        empty = scores_of(cosines, classes, msgspec.structs.replace(found, no_car_bias=bias)).no_car > 0.5
        return float((1 - empty[nothing].mean() if nothing.any() else 0.0) + 2 * empty[anycar].mean())

    tried = found.no_car_bias + np.arange(-4, 4.01, 0.25)
    wrong = np.array([errors(bias) for bias in tried])
    least = tried[wrong <= wrong.min() + 1e-9]  # many are equal: the one nearest to the likeliest
    best = float(least[np.abs(least - found.no_car_bias).argmin()])
    return msgspec.structs.replace(found, no_car_bias=round(best, 3))
