"""From embeddings to probabilities to outcomes, in pure numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import UNSET, Struct, UnsetType

from cartag.scoring.calibration import Calibration
from cartag.values import Candidate, Outcome, PromptClass, Region, Tag

_DIGITS = 4


@dataclass(frozen=True, eq=False)
class ClassSet:
    """The classes with their embeddings: cars first, then other cars, then no-car prompts."""

    cars: tuple[str, ...]
    embeddings: np.ndarray
    """Float32 of shape (classes, d): unit length as a model makes them, of any length once adapted to hand labels."""
    others: int
    """How many other-car classes follow the cars; the rest are no-car classes."""
    biases: np.ndarray | None = None
    """Float32 of shape (classes,), added to the logits: what was learned from hand labels; None is zero."""
    other_ids: tuple[str, ...] = ()
    """Ids of the other cars, in the order of their classes; empty where nobody asks for them by name."""

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
    """Shape (n,): of all other cars together."""
    no_car: np.ndarray
    """Shape (n,): of all things together that are no car."""


class Verdict(Struct, frozen=True, gc=False):
    """What the scores say of one photo, or of one region of it."""

    outcome: Outcome
    tags: tuple[Tag, ...]
    candidates: tuple[Candidate, ...]
    regions: tuple[Region, ...] | UnsetType = UNSET
    """Of a photo that was looked at for cars: those that were found."""
    drawn: tuple[Region, ...] = ()
    """What the model says of boxes that a person drew, and of those it calls no car: one of these may be hers."""


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
    cars, others = (tuple(c.label for c in classes if c.kind == kind) for kind in ("car", "other-car"))
    return ClassSet(cars, means, len(others), other_ids=others)


def score(
    photos: np.ndarray,
    classes: ClassSet,
    *,
    logit_scale: float,
    logit_bias: float | None = None,
    calibration: Calibration,
) -> Scores:
    """Probabilities for photo embeddings of shape (n, d), unit length.

    One softmax over the cars, all other cars as one, and all that is no car as one (`pooled`). Only where there is
    nothing to reject with and the model was trained with a sigmoid (``logit_bias`` given, Zhai et al., "Sigmoid Loss
    for Language Image Pre-Training", 2023), each car is its own yes or no, as the model's authors use it.
    """
    n_cars, first_no_car = len(classes.cars), len(classes.cars) + classes.others
    # einsum without BLAS would be slow; float32 matmul differs in the last bits with the batch size, which after the
    # softmax is below 1e-5.
    logits = (photos @ classes.embeddings.T) * (logit_scale / calibration.temperature)
    if logit_bias is not None and not classes.rejects:
        cars = _sigmoid(logits + logit_bias / calibration.temperature)
        return Scores(cars, np.zeros(len(photos), np.float32), np.zeros(len(photos), np.float32))
    if classes.biases is not None:
        logits = logits + classes.biases
    other = pooled(logits[:, n_cars:first_no_car], calibration.spread) + calibration.other_bias
    no_car = pooled(logits[:, first_no_car:], calibration.spread) + calibration.no_car_bias
    probabilities = softmax(np.column_stack([logits[:, :n_cars], other, no_car]))
    return Scores(probabilities[:, :n_cars], probabilities[:, n_cars], probabilities[:, n_cars + 1])


def pooled(logits: np.ndarray, spread: float) -> np.ndarray:
    """One logit (n,) in place of many (n, classes), as `Calibration` says; of no classes minus infinity."""
    if not logits.shape[1]:
        return np.full(len(logits), -np.inf, logits.dtype)
    top = logits.max(axis=1)
    means = np.exp((logits - top[:, None]) / spread).mean(axis=1)
    result: np.ndarray = top + spread * np.log(means) + math.log(logits.shape[1])
    return result


def decide(scores: Scores, cars: Sequence[str], calibration: Calibration, keep: int) -> list[Verdict]:
    """The outcome of every photo, with tags and at least ``keep`` ranked cars (tags and candidates together).

    A photo is `no-car` when the things that are no car hold more than half of the probability; otherwise every car that
    passes its threshold and the margin is a tag; otherwise it is `unknown`.
    """
    passes = passing(scores, cars, calibration)
    passed_by = passes.sum(axis=1)
    if calibration.car_thresholds:  # cars above one that passes may not: they are counted with it
        least = np.where(passes, scores.cars, np.inf).min(axis=1, initial=np.inf)
        passed_by = (scores.cars >= least[:, None]).sum(axis=1)
    counts = np.maximum(passed_by, keep)
    order = _best(scores.cars, int(counts.max(initial=keep)))
    passed = np.take_along_axis(passes, order, axis=1)
    items = _items(order, np.take_along_axis(scores.cars, order, axis=1), passed, cars)
    rows = (items, passed, passed.any(axis=1), scores.no_car > 0.5, counts)
    verdicts = []
    # Lists, for reading single numbers out of an array takes longer than all of the arithmetic above.
    for found, tagged, is_tagged, no_car, count in zip(*(row.tolist() for row in rows), strict=True):
        if is_tagged:
            ranked = list(zip(found[:count], tagged, strict=False))
            tags, rest = tuple(t for t, is_tag in ranked if is_tag), tuple(c for c, is_tag in ranked if not is_tag)
            verdicts.append(Verdict("tagged", tags, rest))
        else:
            verdicts.append(Verdict("no-car" if no_car else "unknown", (), tuple(found[:count])))
    return verdicts


def _best(probabilities: np.ndarray, count: int) -> np.ndarray:
    """Column numbers (n, count) of the greatest of each row, in falling order; of equal ones the first column first."""
    left, rows = probabilities.copy(), np.arange(len(probabilities))
    best = np.empty((len(left), min(count, left.shape[1])), np.intp)
    for column in best.T:  # a few searches of every row take a fraction of sorting it
        column[:] = left.argmax(axis=1)
        left[rows, column] = -1
    return best


def _items(order: np.ndarray, probabilities: np.ndarray, passed: np.ndarray, cars: Sequence[str]) -> np.ndarray:
    """An object array (n, k) of a `Tag` where a car passed, else a `Candidate`; equal ones are one object."""
    steps = np.rint(np.clip(probabilities.astype(np.float64), 0.0, 1.0) * 10**_DIGITS).astype(np.int64)
    keys, first, which = np.unique((steps * len(cars) + order) * 2 + passed, return_index=True, return_inverse=True)
    by_row = np.argsort(first)  # what stands side by side is made side by side: it is written three times as fast
    keys = keys[by_row]
    parts = (keys % 2, keys // 2 % len(cars), keys // 2 // len(cars) / 10**_DIGITS)
    kinds: list[type[Tag | Candidate]] = [Candidate, Tag]
    items = np.empty(len(keys), object)
    items[by_row] = [
        kinds[k](car=cars[c], score=score) for k, c, score in zip(*(p.tolist() for p in parts), strict=True)
    ]
    return items[which].reshape(order.shape)


def passing(scores: Scores, cars: Sequence[str], calibration: Calibration) -> np.ndarray:
    """Bool (n, cars): the car passes its threshold and the margin, and the photo is not `no-car`."""
    thresholds = np.array([calibration.threshold_of(car) for car in cars], np.float32)
    passes: np.ndarray = (scores.cars >= thresholds) & (scores.cars - scores.other[:, None] >= calibration.margin)
    passes &= (scores.no_car <= 0.5)[:, None]
    return passes


def softmax(logits: np.ndarray) -> np.ndarray:
    """Of every row of logits (n, classes), its probabilities."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1.0 / (1.0 + np.exp(-logits))
    return result
