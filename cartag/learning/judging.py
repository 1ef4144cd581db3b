"""What learning is worth: nested cross-validation, in the figures that `eval` gives. Pure numpy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from cartag.learning.fitting import Examples, ZeroShot, fit_unguarded, one_thread, zero_scores
from cartag.learning.splits import SEED, splits
from cartag.measuring import Answers
from cartag.scoring import Scores, passing
from cartag.settings import usable_cores


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Answers of models that had not seen the photo, before learning and after, as `metrics` takes them."""

    before: Answers
    after: Answers
    loss_before: float
    """Mean negative log-likelihood of the truth."""
    loss_after: float


def cross_validate(
    examples: Examples,
    zero: ZeroShot,
    *,
    precision: float,
    folds: int,
    most: int | None = None,
    most_rejected: int | None = None,
    seed: int = SEED,
) -> CrossValidation | None:
    """Nested cross-validation: every photo is scored by a `fit` (with its own inner folds) to the other folds, and
    weighed by what that says of its whole, as `tag` will do it.

    With ``most``, a fit sees at most so many labels a car, and ``most_rejected`` of other cars and of none; another
    ``seed`` draws others, and other folds. None where the examples cannot be split.
    """
    sides = splits(examples.strata, examples.groups, folds, seed)
    if not sides:
        return None
    before = zero_scores(examples.photos, zero, examples.weighing)
    tagged = passing(before, zero.classes.cars, zero.calibration)
    after = Scores(np.zeros_like(before.cars), np.zeros_like(before.other), np.zeros_like(before.no_car))
    tagged_after = np.zeros_like(tagged)
    rng = np.random.default_rng(seed)
    parts = [train if most is None else _at_most(examples, train, most, most_rejected, rng) for train, _ in sides]
    inner = max(2, min(folds, 4))
    with one_thread(), ThreadPoolExecutor(usable_cores()) as pool:  # every fold on a core
        fits = pool.map(lambda rows: fit_unguarded(examples.take(rows), zero, precision, inner), parts)
        for (_, held), learned in zip(sides, fits, strict=True):
            unseen = examples.take(held)
            scores = learned.scores(unseen.photos, zero, unseen.weighing)
            after.cars[held], after.other[held], after.no_car[held] = scores.cars, scores.other, scores.no_car
            tagged_after[held] = passing(scores, zero.classes.cars, learned.calibration)
    return CrossValidation(
        answers_of(before, tagged, examples),
        answers_of(after, tagged_after, examples),
        _mean_loss(before, examples),
        _mean_loss(after, examples),
    )


def _at_most(
    examples: Examples, rows: np.ndarray, most: int, most_rejected: int | None, rng: np.random.Generator
) -> np.ndarray:
    cars, strata = examples.shows.shape[1], examples.strata[rows]
    chosen = []
    for value in np.unique(strata):
        here = rng.permutation(rows[strata == value])
        limit = most if value < cars else most_rejected
        chosen.append(here[:limit])
    return np.sort(np.concatenate(chosen))


def _mean_loss(scores: Scores, examples: Examples) -> float:
    p = np.hstack([scores.cars, scores.other[:, None], scores.no_car[:, None]])
    return float(-(examples.targets * np.log(np.clip(p, 1e-9, 1))).sum(axis=1).mean())


def answers_of(scores: Scores, tagged: np.ndarray, examples: Examples) -> Answers:
    """Scores and tags as arrays for `metrics`."""
    outcome = np.where(tagged.any(axis=1), "tagged", np.where(scores.no_car > 0.5, "no-car", "unknown"))
    right = {"car": "tagged", "unknown": "unknown", "none": "no-car"}
    wanted = np.array([right[kind] for kind in examples.kind], object)
    order = np.argsort(-scores.cars, axis=1, kind="stable")
    hits = np.take_along_axis(examples.shows, order, axis=1)
    top = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 10**6)
    exact = (tagged == examples.shows).all(axis=1) & (outcome == wanted)
    return Answers(examples.shows, tagged, scores.cars.astype(float), examples.kind, outcome.astype(object), top, exact)
