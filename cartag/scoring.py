"""From embeddings to probabilities to outcomes, in pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cartag.calibration import Calibration
from cartag.values import Candidate, Outcome, PromptClass, Tag

_DIGITS = 4


@dataclass(frozen=True, eq=False)
class ClassSet:
    """The classes of the softmax with their embeddings: cars first, then other cars, then no-car prompts."""

    cars: tuple[str, ...]
    embeddings: np.ndarray
    """Float32 of shape (classes, d): unit length as a model makes them, of any length once adapted to hand labels."""
    others: int
    """How many other-car classes follow the cars; the rest are no-car classes."""
    biases: np.ndarray | None = None
    """Float32 of shape (classes,), added to the logits: what was learned from hand labels; None is zero."""

    @property
    def rejects(self) -> bool:
        """Whether there is anything to reject with."""
        return len(self.embeddings) > len(self.cars)


@dataclass(frozen=True, eq=False)
class Scores:
    """Probabilities of a batch of photos."""

    cars: np.ndarray
    """Shape (n, cars): of every car of the catalog."""
    other: np.ndarray
    """Shape (n,): summed over all other cars."""
    no_car: np.ndarray
    """Shape (n,): summed over all things that are no car."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the scores say of one photo."""

    outcome: Outcome
    tags: tuple[Tag, ...]
    candidates: tuple[Candidate, ...]


def class_set(classes: Sequence[PromptClass], text_embeddings: np.ndarray) -> ClassSet:
    """Averages the texts of each class, one embedding a class (prompt ensembling, Radford et al. 2021).

    ``text_embeddings`` has shape (texts, d), in the order of the classes' texts.

    Raises:
        ValueError: as many embeddings as texts are needed.
    """
    lengths = [len(c.texts) for c in classes]
    if sum(lengths) != len(text_embeddings):
        raise ValueError(f"{sum(lengths)} texts but {len(text_embeddings)} embeddings")
    starts = np.cumsum([0, *lengths[:-1]])
    means = np.add.reduceat(text_embeddings.astype(np.float32), starts, axis=0)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    means.setflags(write=False)
    kinds = [c.kind for c in classes]
    return ClassSet(tuple(c.label for c in classes if c.kind == "car"), means, kinds.count("other-car"))


def score(
    photos: np.ndarray,
    classes: ClassSet,
    *,
    logit_scale: float,
    logit_bias: float | None = None,
    calibration: Calibration,
) -> Scores:
    """Probabilities for photo embeddings of shape (n, d), unit length.

    One softmax over cars, other cars and no-car classes. Only where there is nothing to reject with and the model was
    trained with a sigmoid (``logit_bias`` given, Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023),
    each car is its own yes or no, as the model's authors use it.
    """
    # einsum without BLAS would be slow; float32 matmul differs in the last bits with the batch size, which after the
    # softmax is below 1e-5.
    logits = (photos @ classes.embeddings.T) * (logit_scale / calibration.temperature)
    n_cars, first_no_car = len(classes.cars), len(classes.cars) + classes.others
    if logit_bias is not None and not classes.rejects:
        cars = _sigmoid(logits + logit_bias / calibration.temperature)
        return Scores(cars, np.zeros(len(photos), np.float32), np.zeros(len(photos), np.float32))
    if classes.biases is not None:
        logits = logits + classes.biases
    logits[:, n_cars:first_no_car] += calibration.other_bias
    logits[:, first_no_car:] += calibration.no_car_bias
    probabilities = _softmax(logits)
    return Scores(
        probabilities[:, :n_cars],
        probabilities[:, n_cars:first_no_car].sum(axis=1),
        probabilities[:, first_no_car:].sum(axis=1),
    )


def decide(scores: Scores, cars: Sequence[str], calibration: Calibration, keep: int) -> list[Verdict]:
    """The outcome of every photo, with tags and at least ``keep`` ranked cars (tags and candidates together).

    A photo is `no-car` when the things that are no car hold more than half of the probability; otherwise every car that
    passes its threshold and the margin is a tag; otherwise it is `unknown`.
    """
    passes = passing(scores, cars, calibration)
    counts = np.maximum(passes.sum(axis=1), keep)
    orders = _best(scores.cars, int(counts.max(initial=keep)))
    ranked = np.take_along_axis(scores.cars, orders, axis=1)
    rounded = np.clip(ranked.astype(np.float64), 0.0, 1.0).round(_DIGITS)
    rows = (orders, rounded, np.take_along_axis(passes, orders, axis=1), scores.no_car > 0.5, counts)
    verdicts = []
    # Lists, for reading single numbers out of an array takes longer than all of the arithmetic above.
    for order, probabilities, passed, no_car, count in zip(*(row.tolist() for row in rows), strict=True):
        tags, rest = [], []
        for i, probability, tagged in zip(order[:count], probabilities, passed, strict=False):
            if tagged:
                tags.append(Tag(car=cars[i], score=probability))
            else:
                rest.append(Candidate(car=cars[i], score=probability))
        outcome: Outcome = "tagged" if tags else "no-car" if no_car else "unknown"
        verdicts.append(Verdict(outcome, tuple(tags), tuple(rest)))
    return verdicts


def _best(probabilities: np.ndarray, count: int) -> np.ndarray:
    """Column numbers (n, count) of the greatest of each row, in falling order; of equal ones the first column first."""
    if count < probabilities.shape[1]:
        # All that may be among them: whatever is not below the count-th greatest. Ties at that edge are few.
        edge = np.partition(probabilities, -count, axis=1)[:, -count]
        widest = int((probabilities >= edge[:, None]).sum(axis=1).max(initial=count))
        some = np.sort(np.argpartition(-probabilities, widest - 1, axis=1)[:, :widest], axis=1)
        order = np.argsort(-np.take_along_axis(probabilities, some, axis=1), axis=1, kind="stable")
        return np.take_along_axis(some, order, axis=1)[:, :count]
    return np.argsort(-probabilities, axis=1, kind="stable")


def passing(scores: Scores, cars: Sequence[str], calibration: Calibration) -> np.ndarray:
    """Bool (n, cars): the car passes its threshold and the margin, and the photo is not `no-car`."""
    thresholds = np.array([calibration.threshold_of(car) for car in cars], np.float32)
    passes: np.ndarray = (scores.cars >= thresholds) & (scores.cars - scores.other[:, None] >= calibration.margin)
    passes &= (scores.no_car <= 0.5)[:, None]
    return passes


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1.0 / (1.0 + np.exp(-logits))
    return result
