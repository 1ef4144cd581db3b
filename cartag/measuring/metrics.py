"""Figures of answers against truth: arrays in, numbers out. The metrics are scikit-learn's where it has them.

Every headline figure also exists as a function of photo weights, so that thousands of bootstrap resamples are a few
matrix products: a resample of n photos with replacement is a row of n multinomial counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
_AT_ONCE = 4_000_000  # weights in memory
_SEED = 20130516
BINS = 15

Statistic = Callable[[np.ndarray], np.ndarray]
"""From weights of shape (resamples, photos) to the figure of each resample; NaN where there is nothing to count."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered of n photos and what they show, as arrays."""

    truth: np.ndarray
    """Bool (n, cars): the photo shows the car."""
    tagged: np.ndarray
    """Bool (n, cars)."""
    scores: np.ndarray
    """Float (n, cars): probability; 0 for a car that the index did not keep."""
    kind: np.ndarray
    """Str (n,): ``car``, ``unknown`` (only other cars) or ``none``."""
    outcome: np.ndarray
    """Str (n,)."""
    top: np.ndarray
    """Int (n,): rank of the best-ranked car that is truly shown, from 1; a large number if none is."""
    exact: np.ndarray
    """Bool (n,): tags and outcome are the label."""

    @property
    def confidence(self) -> np.ndarray:
        """Float (n,): score of the likeliest car of the catalog."""
        best: np.ndarray = self.scores.max(axis=1, initial=0.0)
        return best

    @property
    def right(self) -> np.ndarray:
        """Bool (n,): the likeliest car is one that the photo shows."""
        first: np.ndarray = np.equal(self.top, 1)
        return first

    @property
    def read(self) -> np.ndarray:
        """Bool (n,): the photo could be read, so that the model had a say."""
        return np.array(self.outcome != "error", bool)


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval: the percentiles of a bootstrap, unless said otherwise."""

    value: float
    low: float
    high: float


# --- weighted figures -------------------------------------------------------------------------------------------


def rate(hits: np.ndarray, among: np.ndarray) -> Statistic:
    """Share of ``among`` that are ``hits``; both of shape (n,), counts or booleans."""
    hit, all_ = (hits * (among > 0)).astype(float), among.astype(float)
    return lambda w: _divide(w @ hit, w @ all_)


def f1(right: np.ndarray, tagged: np.ndarray, shown: np.ndarray) -> Statistic:
    """Micro F1 from counts per photo."""
    return lambda w: _divide(2 * (w @ right), w @ (tagged + shown))


def macro_f1(truth: np.ndarray, tagged: np.ndarray) -> Statistic:
    """Mean F1 of the cars that the labels hold; a car that a resample lost does not count in it."""
    right, both = (truth & tagged).astype(float), truth.astype(float) + tagged
    shown = truth.astype(float)

    def statistic(w: np.ndarray) -> np.ndarray:
        each = np.where(w @ shown > 0, _divide(2 * (w @ right), w @ both), np.nan)
        count = (~np.isnan(each)).sum(axis=1)
        return _divide(np.nansum(each, axis=1), count)

    return statistic


def auroc(positive: np.ndarray, score: np.ndarray) -> Statistic:
    """Probability that a positive scores above a negative, ties half (Mann-Whitney)."""
    _, place = np.unique(score, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0]) if len(order) else np.zeros(0, int)

    def statistic(w: np.ndarray) -> np.ndarray:
        ordered = w[:, order]
        pos = np.add.reduceat(ordered * positive[order], starts, axis=1)
        neg = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
        below = np.cumsum(neg, axis=1) - neg
        return _divide((pos * (below + neg / 2)).sum(axis=1), pos.sum(axis=1) * neg.sum(axis=1))

    return statistic


def fpr_at_tpr(positive: np.ndarray, score: np.ndarray, tpr: float = 0.95) -> Statistic:
    """Share of negatives let through by the highest cut-off that lets ``tpr`` of the positives through."""
    _, place = np.unique(-score, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0]) if len(order) else np.zeros(0, int)

    def statistic(w: np.ndarray) -> np.ndarray:
        ordered = w[:, order]
        pos = np.cumsum(np.add.reduceat(ordered * positive[order], starts, axis=1), axis=1)
        neg = np.cumsum(np.add.reduceat(ordered * ~positive[order], starts, axis=1), axis=1)
        first = np.argmax(pos >= tpr * pos[:, -1:] - 1e-9, axis=1)
        let_through = np.take_along_axis(neg, first[:, None], axis=1)[:, 0]
        return np.where(pos[:, -1] > 0, _divide(let_through, neg[:, -1]), np.nan)

    return statistic


def recall_at_precision(truth: np.ndarray, scores: np.ndarray, precision: float = 0.95) -> Statistic:
    """Greatest recall of (photo, car) pairs at one cut-off for all cars that keeps ``precision``.

    ``truth`` and ``scores`` have shape (n, cars). Only cut-offs at a pair that is right count: below it nothing more is
    found before the next. So pairs are counted by photo between these, and no resample is as large as all pairs.
    """
    from scipy.sparse import csr_array

    hit, photo = truth.ravel().astype(bool), np.repeat(np.arange(len(truth)), truth.shape[1])
    _, place = np.unique(-scores.ravel(), return_inverse=True)
    cuts = np.unique(place[hit])
    if not len(cuts):
        return lambda w: np.full(len(w), np.nan)
    until = np.searchsorted(cuts, place)

    def counted(pairs: np.ndarray) -> csr_array:
        return csr_array((np.ones(pairs.sum()), (until[pairs], photo[pairs])), (len(cuts), len(truth)))

    every, right = counted(until < len(cuts)), counted(hit)

    def statistic(w: np.ndarray) -> np.ndarray:
        found, all_ = (np.cumsum(pairs @ w.T, axis=0) for pairs in (right, every))
        kept = np.where((found >= precision * all_ - 1e-9) & (all_ > 0), found, 0.0)
        return _divide(kept.max(axis=0), found[-1])

    return statistic


def brier(confidence: np.ndarray, right: np.ndarray, among: np.ndarray) -> Statistic:
    """Mean squared difference between confidence and truth."""
    return rate((confidence - right) ** 2, among)


def ece(confidence: np.ndarray, right: np.ndarray, among: np.ndarray, bins: int = BINS) -> Statistic:
    """Expected calibration error with bins of equal mass (Nguyen & O'Connor 2015); the bins are those of all photos."""
    member = np.zeros((len(confidence), bins))
    rows = np.flatnonzero(among)
    member[rows, bin_numbers(confidence[rows], bins)] = 1.0
    gap = member * (confidence - right)[:, None]
    return lambda w: _divide(np.abs(w @ gap).sum(axis=1), w @ among.astype(float))


def aurc(confidence: np.ndarray, right: np.ndarray, among: np.ndarray) -> Statistic:
    """Area under the risk-coverage curve (Geifman, Uziel & El-Yaniv 2019): 0 is best.

    The mean, over the photos of ``among``, of the share of wrong answers among those with at least the photo's
    confidence. Photos of equal confidence are answered together, as in `coverage_curve`.
    """
    _, place = np.unique(-confidence, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0]) if len(order) else np.zeros(0, int)
    wrong = ~np.asarray(right, bool)

    def statistic(w: np.ndarray) -> np.ndarray:
        ordered = (w * among)[:, order]
        step = np.add.reduceat(ordered, starts, axis=1)
        answered = np.cumsum(step, axis=1)
        mistaken = np.cumsum(np.add.reduceat(ordered * wrong[order], starts, axis=1), axis=1)
        return _divide((step * np.nan_to_num(_divide(mistaken, answered))).sum(axis=1), answered[:, -1])

    return statistic


def bin_numbers(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Which of at most ``bins`` bins of equal mass each value falls into; equal values share one."""
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1], method="lower") if len(confidence) else []
    return np.searchsorted(np.unique(edges), confidence, side="left")


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=np.asarray(b) != 0)
    return result


# --- the headline figures ---------------------------------------------------------------------------------------


def headline(a: Answers) -> dict[str, Statistic]:
    """The figures that get an interval, by their name in `Evaluation`."""
    everything = np.ones(len(a.kind), bool)
    car, other, none = (np.array(a.kind == kind, bool) for kind in ("car", "unknown", "none"))
    right, tagged, shown = ((t).sum(axis=1).astype(float) for t in (a.truth & a.tagged, a.tagged, a.truth))
    some = np.asarray(a.tagged.any(axis=1))
    confidence, among = a.confidence, a.read
    return {
        "accuracy": rate(a.exact, everything),
        "top1": rate(np.less_equal(a.top, 1), car),
        "top5": rate(np.less_equal(a.top, 5), car),
        "right_car_tagged": rate(right > 0, car),
        "wrong_car_tagged": rate(tagged > right, car),
        "other_car_tagged": rate(some, other),
        "no_car_found": rate(np.array(a.outcome == "no-car", bool), none),
        "no_car_tagged": rate(some, none),
        "precision": rate(right, tagged),
        "recall": rate(right, shown),
        "f1": f1(right, tagged, shown),
        "macro_f1": macro_f1(a.truth, a.tagged),
        "recall_at_95_precision": recall_at_precision(a.truth, a.scores),
        "auroc_other_cars": _among(car | other, auroc, car, confidence),
        "fpr95_other_cars": _among(car | other, fpr_at_tpr, car, confidence),
        "auroc_no_car": _among(car | none, auroc, car, confidence),
        "fpr95_no_car": _among(car | none, fpr_at_tpr, car, confidence),
        "brier": brier(confidence, a.right, among),
        "ece": ece(confidence, a.right, among),
        "aurc": aurc(confidence, a.right, among),
    }


def _among(
    part: np.ndarray, make: Callable[[np.ndarray, np.ndarray], Statistic], positive: np.ndarray, score: np.ndarray
) -> Statistic:
    """A figure of two kinds of photos, the others left out."""
    if not (part & positive).any() or not (part & ~positive).any():
        return lambda w: np.full(len(w), np.nan)
    statistic = make(positive[part], score[part])
    return lambda w: statistic(w[:, part])


def metric_values(statistics: Mapping[str, Statistic], n: int) -> dict[str, float]:
    """Every figure of the photos as they are, NaN where there is nothing to count."""
    if not n:
        return dict.fromkeys(statistics, float("nan"))
    ones = np.ones((1, n))
    return {name: float(statistic(ones)[0]) for name, statistic in statistics.items()}


def intervals(statistics: Mapping[str, Statistic], n: int, resamples: int = RESAMPLES) -> dict[str, Interval | None]:
    """Every figure with its bootstrap interval (Efron 1979, over photos, seeded); None without anything to count."""
    point = metric_values(statistics, n)
    drawn = _resampled(statistics, n, resamples)
    return {name: _interval(point[name], drawn[name]) for name in statistics}


def differences(
    new: Mapping[str, Statistic], old: Mapping[str, Statistic], n: int, resamples: int = RESAMPLES
) -> dict[str, Interval | None]:
    """Paired bootstrap: new less old of every figure, both on the same resamples of the same photos."""
    both = {("new", k): v for k, v in new.items()} | {("old", k): v for k, v in old.items()}
    named = {f"{side} {name}": statistic for (side, name), statistic in both.items()}
    point, drawn = metric_values(named, n), _resampled(named, n, resamples)
    return {
        name: _interval(point[f"new {name}"] - point[f"old {name}"], drawn[f"new {name}"] - drawn[f"old {name}"])
        for name in new
    }


def _resampled(statistics: Mapping[str, Statistic], n: int, resamples: int) -> dict[str, np.ndarray]:
    parts: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    if n:
        rng = np.random.default_rng(_SEED)
        chances = np.full(n, 1 / n)
        step = max(1, min(resamples, _AT_ONCE // (n * 12)))
        for start in range(0, resamples, step):
            w = rng.multinomial(n, chances, size=min(step, resamples - start)).astype(float)
            for name, statistic in statistics.items():
                parts[name].append(statistic(w))
    return {name: np.concatenate(part) if part else np.zeros(0) for name, part in parts.items()}


def _interval(value: float, drawn: np.ndarray) -> Interval | None:
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(drawn):
        return None
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(round(value, 4), round(float(low), 4), round(float(high), 4))


def wilson(right: int, of: int) -> Interval | None:
    """A share with its 95 % score interval (Wilson 1927), which stays honest with a handful; None of nothing."""
    from scipy.stats import binomtest

    if not of:
        return None
    ci = binomtest(right, of).proportion_ci(0.95, method="wilson")
    return Interval(round(right / of, 4), round(float(ci.low), 4), round(float(ci.high), 4))


def mcnemar(new: np.ndarray, old: np.ndarray) -> tuple[int, int, float]:
    """Photos only the new one gets right, only the old one, and the exact two-sided p-value (McNemar 1947)."""
    from scipy.stats import binomtest

    gained, lost = int((new & ~old).sum()), int((old & ~new).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return gained, lost, p


# --- curves -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """One bin of the reliability diagram."""

    photos: int
    confidence: float
    accuracy: float


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> tuple[Bin, ...]:
    """Mean confidence and share of right answers, in bins of equal mass."""
    number = bin_numbers(confidence, bins)
    return tuple(
        Bin(int(here.sum()), round(float(confidence[here].mean()), 4), round(float(right[here].mean()), 4))
        for i in np.unique(number)
        if (here := number == i).any()
    )


@dataclass(frozen=True)
class Coverage:
    """A point of the coverage-accuracy curve: answering only photos with at least ``score``."""

    score: float
    coverage: float
    accuracy: float


def coverage_curve(confidence: np.ndarray, right: np.ndarray, points: int = 100) -> tuple[Coverage, ...]:
    """Accuracy of the likeliest car against the share of photos answered, the surest first; ties stay together."""
    if not len(confidence):
        return ()
    order = np.argsort(-confidence, kind="stable")
    ordered, hits = confidence[order], np.cumsum(right[order])
    ends = np.flatnonzero(np.r_[np.diff(ordered) < 0, True])
    chosen = ends[np.unique(np.linspace(0, len(ends) - 1, min(points, len(ends))).round().astype(int))]
    return tuple(
        Coverage(
            round(float(ordered[i]), 4),
            round((int(i) + 1) / len(ordered), 4),
            round(float(hits[i]) / (int(i) + 1), 4),
        )
        for i in chosen
    )


# --- suspicious labels ------------------------------------------------------------------------------------------


def suspicious(probabilities: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confident learning (Northcutt, Jiang, Chuang 2021): rows whose given class is probably wrong, and the likely one.

    ``probabilities`` has shape (n, classes), ``given`` (n,) holds class numbers. A class's threshold is the mean
    probability it gets on the photos labelled with it. A photo counts for the likeliest of the classes whose threshold
    it reaches; where that is another class than the given one, the label is suspicious. Ranked by the normalised
    margin, likeliest other class less given class: worst first.
    """
    n, classes = probabilities.shape
    if not n:
        return np.zeros(0, int), np.zeros(0, int)
    member = np.eye(classes)[given]
    counts = member.sum(axis=0)
    own = probabilities[np.arange(n), given]
    thresholds = np.where(counts > 0, _divide(member.T @ own, counts), np.inf)
    reached = np.where(probabilities >= thresholds - 1e-12, probabilities, -np.inf)
    likely = reached.argmax(axis=1)
    wrong = (reached.max(axis=1) > -np.inf) & (likely != given)
    margin = probabilities[np.arange(n), likely] - own
    found = np.flatnonzero(wrong & (margin > 0))
    ordered: np.ndarray = found[np.argsort(-margin[found], kind="stable")]
    return ordered, likely[ordered]
