"""Fitting to hand labels: a few-shot adapter over the text prototypes, its calibration and thresholds. Pure numpy.

The adapter is multinomial logistic regression with the text prototypes as prior: the logit of class c is the zero-shot
logit plus ``x . w_c + b_c``, and the ridge penalty pulls w and b to zero, that is to the zero-shot answer (the idea of
LP++, Huang et al., CVPR 2024, as a convex problem). Photos are of a car of the catalog, of another car, or of none;
the many prompts of the last two are one group each, whose members share one w and b.

`tag` weighs whether a box holds a car at all (`weighing`), and what it says of the cars keeps its proportions then. So
adapter, temperature and the bias of other cars, which decide these, are fitted to what the model says of the cut-out.
The bias of no car, the gallery's mixture and the thresholds are of weighed scores. Where nothing is weighed these are
the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from cartag.learning.mixture import Mixture, mixture
from cartag.learning.splits import splits
from cartag.learning.thresholds import with_thresholds
from cartag.learning.weighing import Weighing, all_vectors, rows_of_all, weighed_scores
from cartag.scoring import Calibration, ClassSet, Scores, pooled, score

PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
KINDS = ("car", "unknown", "none")
"""What a photo shows: a car of the catalog, another car, no car."""
UNCHECKED_PENALTY = 0.1
"""For labels that cannot be split: strong enough for one photo to move a logit by the margins models have."""
_BIAS = 0.3  # the input that stands for the bias: a bias moves every photo alike, so it costs more than a direction
_FITTING = threading.Lock()
_ENOUGH = 1e-6  # relative gain of an iteration at which a fit ends: logits stand to a hundredth


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled photos: embeddings (n, d), what they show, and the groups that share a side of every split.

    Those of one photo have to share one: its whole, which has a say in all of them, is then unseen where they are.
    """

    photos: np.ndarray
    shows: np.ndarray
    """Bool (n, cars)."""
    kind: np.ndarray
    """Str (n,): one of `KINDS`."""
    groups: np.ndarray
    """Int (n,)."""
    weighing: Weighing | None = None
    """None: nothing is weighed, the model's own scores stand."""

    def __len__(self) -> int:
        return len(self.photos)

    def take(self, rows: np.ndarray) -> Examples:
        """Some of them."""
        weighing = None if self.weighing is None else self.weighing.take(rows)
        return Examples(self.photos[rows], self.shows[rows], self.kind[rows], self.groups[rows], weighing)

    @property
    def vectors(self) -> np.ndarray:
        """(n + m, d): of these, and below them of the wholes that have a say in them (`weighing.all_vectors`)."""
        return all_vectors(self.photos, self.weighing)

    def weighed(self, scores: Scores) -> Scores:
        """Of scores (n + m) of `vectors`, those (n,) that `tag` gives."""
        return scores if self.weighing is None else self.weighing.weighed(scores)

    @property
    def targets(self) -> np.ndarray:
        """Float (n, cars + 2): the distribution over cars, other cars, no car."""
        last = np.stack([self.kind == "unknown", self.kind == "none"], axis=1)
        table = np.hstack([self.shows, last]).astype(float)
        result: np.ndarray = table / table.sum(axis=1, keepdims=True)
        return result

    @property
    def strata(self) -> np.ndarray:
        """Int (n,): one number a photo, to spread the cars over the folds."""
        result: np.ndarray = self.targets.argmax(axis=1)
        return result


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Photos of a gallery that nobody labelled."""

    photos: np.ndarray
    """Embeddings (n, d) of these, or of some, evenly chosen."""
    count: int
    """How many there are."""
    weighing: Weighing | None = None


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """What a model says before anything was learned."""

    classes: ClassSet
    calibration: Calibration
    logit_scale: float
    centre: np.ndarray | None = None
    """(d,): the mean photo of the gallery, which says nothing of a car; None: that of the examples."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """What is added to the zero-shot logits: ``photos @ weights.T + biases``, of cars, other cars, no car."""

    weights: np.ndarray
    """(cars + 2, d), in units of logits at the zero-shot temperature."""
    biases: np.ndarray
    """(cars + 2,)"""

    def only(self, keep: np.ndarray) -> Adapter:
        """The same, with the zero-shot answer (nothing added) for the groups that are not kept."""
        return Adapter(self.weights * keep[:, None], self.biases * keep)


@dataclass(frozen=True, eq=False)
class Fit:
    """Everything learned from a set of examples."""

    adapter: Adapter
    calibration: Calibration
    sharpness: float
    """The factor on the zero-shot temperature: the adapter's biases are divided by it."""
    checked: np.ndarray
    """Bool (cars,): the car has labels in two groups at least, so that cross-validation could judge it."""
    adapted: np.ndarray
    """Bool (cars,): the car's zero-shot answer is changed."""
    mixture: Mixture | None = None
    """Of cars of the catalog, other cars, no car: what the scores expect; None where nothing could be judged."""

    def applied(self, zero: ZeroShot) -> ClassSet:
        """The zero-shot classes with the adapter folded into embeddings and biases."""
        member = _members(zero.classes)
        t = zero.calibration.temperature / zero.logit_scale
        embeddings = zero.classes.embeddings + self.adapter.weights[member] * t
        biases = self.adapter.biases[member] / self.sharpness
        return replace(zero.classes, embeddings=embeddings.astype(np.float32), biases=biases.astype(np.float32))

    def scores(self, photos: np.ndarray, zero: ZeroShot, weighing: Weighing | None = None) -> Scores:
        """What `tag` says of photos (n, d) with this."""
        return _scores(photos, weighing, self.applied(zero), self.calibration, zero)


def zero_scores(photos: np.ndarray, zero: ZeroShot, weighing: Weighing | None = None) -> Scores:
    """What `tag` says without anything learned."""
    return _scores(photos, weighing, zero.classes, zero.calibration, zero)


def _scores(
    photos: np.ndarray, weighing: Weighing | None, classes: ClassSet, calibration: Calibration, zero: ZeroShot
) -> Scores:
    return weighed_scores(
        photos, weighing, lambda x: score(x, classes, logit_scale=zero.logit_scale, calibration=calibration)
    )


# --- fitting ----------------------------------------------------------------------------------------------------


@contextmanager
def one_thread() -> Iterator[None]:
    """Products this small are slower with BLAS threads: on a busy machine, where those wait at work, ten times.

    The limit is the process's: one fit at a time, or the first to end would lift it, and the last to begin keep it.
    """
    from threadpoolctl import threadpool_limits

    with _FITTING, threadpool_limits(1, user_api="blas"):
        yield


def fit(
    examples: Examples, zero: ZeroShot, *, precision: float, folds: int, unlabelled: Unlabelled | None = None
) -> Fit:
    """Fits adapter, temperature, biases and thresholds; judged by cross-validation inside ``examples`` alone.

    ``unlabelled`` are the gallery's other photos. Scores and thresholds are then those of a gallery like this, where
    the labels are no fair sample of it; without them, of photos mixed as the labels are.

    The penalty is the one with the best out-of-fold likelihood; a car that out of fold is no better off keeps its
    zero-shot answer, and so do all where the whole is not better. Calibration and thresholds are fitted to the
    out-of-fold scores, which the adapter has not seen. Without two groups of any car nothing can be judged: then the
    penalty is a cautious constant and calibration and thresholds stay.
    """
    with one_thread():
        return fit_unguarded(examples, zero, precision, folds, unlabelled)


def fit_unguarded(
    examples: Examples, zero: ZeroShot, precision: float, folds: int, unlabelled: Unlabelled | None = None
) -> Fit:
    """As `fit`, for whoever has `one_thread` around several of them."""
    cars = len(zero.classes.cars)
    has = np.asarray(examples.shows.any(axis=0))
    checked = np.array([len(np.unique(examples.groups[examples.shows[:, c]])) >= 2 for c in range(cars)], bool)
    base = _group_logits(_logits(examples.photos, zero), zero)
    sides = splits(examples.strata, examples.groups, folds) if checked.any() else []
    if not sides:
        adapter = _adapter(examples, base, UNCHECKED_PENALTY, None, zero.centre)
        keep = np.r_[has, False, False]
        return Fit(adapter.only(keep), zero.calibration, 1.0, checked, has)
    penalty, delta = _best_out_of_fold(examples, base, sides, zero.centre)
    targets, own = examples.targets, delta[: len(examples)]
    keep = np.r_[has & (~checked | _helps(base, own, examples)), True, True]
    if _loss(base + own * keep, targets) >= _loss(base, targets):
        keep = np.zeros(cars + 2, bool)
    delta = delta * keep
    calibration, sharpness = _calibrate(examples, zero, delta[: len(examples)])
    calibration = _weighing_none(examples, zero, delta, calibration, sharpness)
    adapter = _adapter(examples, base, penalty, None, zero.centre).only(keep)
    found = Fit(adapter, calibration, sharpness, checked, keep[:cars])
    mixed = _mixture_of(examples, found, zero, unlabelled)
    calibration = _expecting(calibration, mixed)
    held = examples.weighed(
        _as_scores(_calibrated(_logits(examples.vectors, zero), delta, zero, calibration, sharpness))
    )
    weights = mixed.weights[[KINDS.index(kind) for kind in examples.kind]]
    calibration = with_thresholds(calibration, held.cars, examples.shows, zero.classes.cars, precision, weights)
    return replace(found, calibration=calibration, mixture=mixed)


def _mixture_of(examples: Examples, found: Fit, zero: ZeroShot, unlabelled: Unlabelled | None) -> Mixture:
    """A box with a label counts as a photo with one."""
    labels = np.array([(examples.kind == kind).sum() for kind in KINDS], float)
    if unlabelled is None or not len(unlabelled.photos):
        return mixture(labels, np.zeros((0, len(KINDS))))
    said = found.scores(unlabelled.photos, zero, unlabelled.weighing)
    likely = np.column_stack([said.cars.sum(axis=1), said.other, said.no_car])
    return mixture(labels, likely, unlabelled.count / len(unlabelled.photos))


def _expecting(calibration: Calibration, mixed: Mixture) -> Calibration:
    """The same for photos that are mixed as the gallery is, not as the labels are."""
    car, other, no_car = np.log(mixed.weights)
    return msgspec.structs.replace(
        calibration,
        other_bias=calibration.other_bias + float(other - car),
        no_car_bias=calibration.no_car_bias + float(no_car - car),
    )


def _members(classes: ClassSet) -> np.ndarray:
    """Int (classes,): the group of every class."""
    cars, rest = len(classes.cars), len(classes.embeddings) - len(classes.cars) - classes.others
    return np.repeat(np.arange(cars + 2), [*[1] * cars, classes.others, rest])


def _logits(photos: np.ndarray, zero: ZeroShot) -> np.ndarray:
    """Zero-shot logits (n, classes), at the model's own temperature and biases."""
    cars, c = len(zero.classes.cars), zero.calibration
    logits: np.ndarray = (photos @ zero.classes.embeddings.T).astype(float) * (zero.logit_scale / c.temperature)
    logits[:, cars : cars + zero.classes.others] += c.other_bias
    logits[:, cars + zero.classes.others :] += c.no_car_bias
    return logits


def _group_logits(logits: np.ndarray, zero: ZeroShot) -> np.ndarray:
    """From classes to cars + 2 groups, pooled as in scoring; a group without classes has as good as no probability."""
    cars, last = len(zero.classes.cars), len(zero.classes.cars) + zero.classes.others
    groups = [
        pooled(part, zero.calibration.spread) if part.shape[1] else np.full(len(logits), -50.0)
        for part in (logits[:, cars:last], logits[:, last:])
    ]
    return np.column_stack([logits[:, :cars], *groups])


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    result: np.ndarray = logits - pooled(logits, 1.0)[:, None]
    return result


def _loss(logits: np.ndarray, targets: np.ndarray) -> float:
    return float(-(targets * _log_softmax(logits)).sum())


def _adapter(
    examples: Examples, base: np.ndarray, penalty: float, start: Adapter | None, centre: np.ndarray | None
) -> Adapter:
    """Ridge-penalised maximum likelihood, convex, by L-BFGS. Photos are centred: the mean says nothing of a car."""
    from scipy.optimize import minimize

    mean = examples.photos.mean(axis=0) if centre is None else centre
    x = np.hstack([examples.photos - mean, np.full((len(examples), 1), _BIAS)]).astype(float)
    targets, groups = examples.targets, base.shape[1]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(groups, -1)
        log_p = _log_softmax(base + x @ w.T)
        gradient = (np.exp(log_p) - targets).T @ x + penalty * w
        return float(-(targets * log_p).sum() + penalty / 2 * (w * w).sum()), gradient.ravel()

    begin = np.zeros(groups * x.shape[1])
    if start is not None:
        begin = np.hstack([start.weights, (start.biases + start.weights @ mean)[:, None] / _BIAS]).ravel()
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": _ENOUGH})
    w = found.x.reshape(groups, -1)
    return Adapter(w[:, :-1], _BIAS * w[:, -1] - w[:, :-1] @ mean)


def _best_out_of_fold(
    examples: Examples, base: np.ndarray, sides: list[tuple[np.ndarray, np.ndarray]], centre: np.ndarray | None
) -> tuple[float, np.ndarray]:
    """The penalty with the best likelihood, and what its adapters add to the logits of photos they have not seen, and
    of the wholes of these: (n + m, cars + 2), of all `Examples.vectors`.

    From the strongest penalty down, each fold's adapter begins where it stood. The weakest ones take the longest, and
    where likelihood fell twice they would only follow the labels further: there it ends.
    """
    parts = [examples.take(train) for train, _ in sides]
    adapters: list[Adapter | None] = [None] * len(sides)
    targets, losses = examples.targets, list[float]()
    n, vectors = len(examples), examples.vectors
    best = (PENALTIES[0], np.zeros((len(vectors), base.shape[1])))
    for penalty in PENALTIES:
        delta = np.zeros_like(best[1])
        for i, (train, held) in enumerate(sides):
            adapter = adapters[i] = _adapter(parts[i], base[train], penalty, adapters[i], centre)
            unseen = np.r_[
                ~parts[i].shows.any(axis=0), False, False
            ]  # no label, no opinion: its zero-shot answer stands
            kept = adapter.only(~unseen)
            rows = rows_of_all(held, n, examples.weighing)
            delta[rows] = vectors[rows] @ kept.weights.T + kept.biases
        loss = _loss(base + delta[:n], targets)
        if not losses or loss < min(losses):
            best = penalty, delta
        losses.append(loss)
        if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
            break
    return best


def _helps(base: np.ndarray, delta: np.ndarray, examples: Examples) -> np.ndarray:
    """Bool (cars,): out of fold, the yes-or-no likelihood of the car is better with the adapter."""
    cars = examples.shows.shape[1]

    def loss(logits: np.ndarray) -> np.ndarray:
        p = np.clip(np.exp(_log_softmax(logits))[:, :cars], 1e-9, 1 - 1e-9)
        result: np.ndarray = -np.where(examples.shows, np.log(p), np.log1p(-p)).sum(axis=0)
        return result

    better: np.ndarray = loss(base + delta) < loss(base)
    return better


def _calibrate(examples: Examples, zero: ZeroShot, delta: np.ndarray) -> tuple[Calibration, float]:
    """Temperature and the two biases by likelihood, on out-of-fold logits (temperature scaling, Guo et al. 2017)."""
    from scipy.optimize import minimize

    logits = _logits(examples.photos, zero) + delta[:, _members(zero.classes)]
    targets, cars = examples.targets, len(zero.classes.cars)
    may_move = np.array([True, (examples.kind == "unknown").any(), (examples.kind == "none").any()])

    def grouped(p: np.ndarray) -> np.ndarray:
        groups = _group_logits(logits / np.exp(p[0]), zero)
        groups[:, cars:] += p[1:] * may_move[1:]
        return groups

    def objective(p: np.ndarray) -> float:
        return _loss(grouped(p), targets) + float(p @ p) / 2  # a weak prior at "as it was", for a handful of labels

    found = minimize(objective, np.zeros(3), method="L-BFGS-B", bounds=[(-2, 2), (-6, 6), (-6, 6)])
    p = found.x * may_move
    sharpness, c = float(np.exp(p[0])), zero.calibration
    return (
        msgspec.structs.replace(
            c,
            temperature=c.temperature * sharpness,
            other_bias=c.other_bias / sharpness + float(p[1]),
            no_car_bias=c.no_car_bias / sharpness + float(p[2]),
            fitted_on=f"{len(examples)} hand labels, out of fold",
        ),
        sharpness,
    )


def _weighing_none(
    examples: Examples, zero: ZeroShot, delta: np.ndarray, calibration: Calibration, sharpness: float
) -> Calibration:
    """The same with the bias of no car by the likelihood of out-of-fold scores as `tag` weighs them.

    It is the only one that weighing concerns. All three by weighed scores would follow a handful of labels: where the
    cut-out has a third of the say, the temperature falls to make up for it, and with it cars become too sure.
    """
    from scipy.optimize import minimize_scalar

    if examples.weighing is None or not (examples.kind == "none").any():
        return calibration
    as_it_was = zero.calibration.no_car_bias / sharpness
    unmoved = msgspec.structs.replace(calibration, no_car_bias=as_it_was)
    groups = _calibrated(_logits(examples.vectors, zero), delta, zero, unmoved, sharpness)
    targets = examples.targets

    def objective(bias: float) -> float:
        moved = np.column_stack([groups[:, :-1], groups[:, -1] + bias])
        said = examples.weighed(_as_scores(moved))
        p = np.column_stack([said.cars, said.other, said.no_car])
        return float(-(targets * np.log(np.clip(p, 1e-9, 1))).sum() + bias * bias / 2)

    found = minimize_scalar(objective, bounds=(-6, 6), method="bounded")
    return msgspec.structs.replace(calibration, no_car_bias=as_it_was + float(found.x))


def _calibrated(
    logits: np.ndarray, delta: np.ndarray, zero: ZeroShot, calibration: Calibration, sharpness: float
) -> np.ndarray:
    """Logits (n, cars + 2) at a calibration, of zero-shot logits (n, classes) and what is added to these."""
    cars, c = len(zero.classes.cars), zero.calibration
    groups = _group_logits((logits + delta[:, _members(zero.classes)]) / sharpness, zero)
    groups[:, cars] += calibration.other_bias - c.other_bias / sharpness
    groups[:, cars + 1] += calibration.no_car_bias - c.no_car_bias / sharpness
    return groups


def _as_scores(groups: np.ndarray) -> Scores:
    p = np.exp(_log_softmax(groups))
    return Scores(p[:, :-2], p[:, -2], p[:, -1])
