"""The other car by name: which of the cars outside the catalog a photo or region is likeliest to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cartag.scoring.calibration import Calibration
from cartag.scoring.scoring import ClassSet, Scores, softmax
from cartag.values import OtherCar

_DIGITS = 4


@dataclass(frozen=True, eq=False)
class Others:
    """Of each of n photos or regions the likeliest of the other cars, and the likeliest make among them."""

    car: np.ndarray
    """Shape (n,): the number of the likeliest other car."""
    probability: np.ndarray
    """Shape (n,): that it is shown."""
    make_car: np.ndarray
    """Shape (n,): the number of the likeliest car of the likeliest make; that need not be the make of ``car``, for
    several cars that are a little likely each may be of another make than the likeliest."""
    make_probability: np.ndarray
    """Shape (n,): that any of the other cars of that make is shown."""


def others_of(
    photos: np.ndarray,
    classes: ClassSet,
    scores: Scores,
    makes: Sequence[str],
    *,
    logit_scale: float,
    calibration: Calibration,
) -> Others:
    """The likeliest other cars of embeddings (n, d) that have ``scores``; ``makes`` are those of the other cars.

    How likely it is to be any other car at all is in the scores. A car's share in that is a softmax over the other cars
    alone, of their logits divided by the spread that pooled them into one: in a nested logit that is the probability
    within the nest (`Calibration`), so the probabilities of all other cars add up to ``scores.other``.

    Raises:
        ValueError: there are no other cars, or not as many as makes.
    """
    if not classes.others or classes.others != len(makes):
        raise ValueError(f"{classes.others} other cars but {len(makes)} makes")
    these = slice(len(classes.cars), len(classes.cars) + classes.others)
    logits = (photos @ classes.embeddings[these].T) * (logit_scale / calibration.temperature)
    if classes.biases is not None:
        logits = logits + classes.biases[these]
    found = softmax(logits / calibration.spread) * scores.other[:, None]
    make_of = np.unique(np.asarray(makes), return_inverse=True)[1]
    by_make = np.argsort(make_of, kind="stable")
    starts = np.searchsorted(make_of[by_make], np.arange(make_of.max() + 1))
    of_makes = np.add.reduceat(found[:, by_make], starts, axis=1)
    car, make = found.argmax(axis=1), of_makes.argmax(axis=1)
    rows = np.arange(len(found))
    return Others(
        car=car,
        probability=found[rows, car],
        make_car=np.where(make_of == make[:, None], found, -1).argmax(axis=1),
        make_probability=of_makes[rows, make],
    )


def named_other(name: str, make: str, p_name: float, p_make: float, calibration: Calibration) -> OtherCar | None:
    """What is said of another car: its name where that is likely enough, else its make, else nothing."""
    for words, probability, least in (
        (name, p_name, calibration.other_name),
        (make, p_make, calibration.other_make),
    ):
        if probability >= least:
            return OtherCar(name=words, score=round(min(float(probability), 1.0), _DIGITS))
    return None


def named_others(
    found: Others, names: Sequence[str], makes: Sequence[str], calibration: Calibration
) -> list[OtherCar | None]:
    """`named_other` of each row, by the names and makes of the other cars in their order."""
    columns = (found.car, found.probability, found.make_car, found.make_probability)
    return [
        named_other(names[car], makes[make_car], p_name, p_make, calibration)
        for car, p_name, make_car, p_make in zip(*(column.tolist() for column in columns), strict=True)
    ]
