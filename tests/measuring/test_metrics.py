"""Every figure against scikit-learn or against one worked by hand; weights against resampling by copying."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import brier_score_loss, f1_score, precision_recall_curve, roc_auc_score, roc_curve

from cartag.measuring import metrics

RNG = np.random.default_rng(3)


def one(statistic: metrics.Statistic, n: int) -> float:
    return float(statistic(np.ones((1, n)))[0])


def made(n: int, seed: int, digits: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Positives and scores that depend on them, with ties."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.5
    positive[:2] = [True, False]
    return positive, np.round(np.clip(rng.normal(0.4 + 0.3 * positive, 0.3), 0, 1), digits)


@given(st.integers(2, 60), st.integers(0, 10**6), st.integers(1, 3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_auroc_fpr_and_brier_are_scikit_learns(n: int, seed: int, digits: int) -> None:
    positive, score = made(n, seed, digits)
    assert one(metrics.auroc(positive, score), n) == pytest.approx(roc_auc_score(positive, score))
    fpr, tpr, _ = roc_curve(positive, score, drop_intermediate=False)
    assert one(metrics.fpr_at_tpr(positive, score), n) == pytest.approx(fpr[np.argmax(tpr >= 0.95)])
    everything = np.ones(n, bool)
    assert one(metrics.brier(score, positive, everything), n) == pytest.approx(brier_score_loss(positive, score))


@given(st.integers(2, 30), st.integers(0, 10**6), st.sampled_from([0.5, 0.8, 0.95]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_recall_at_precision_is_read_off_scikit_learns_curve(n: int, seed: int, least: float) -> None:
    positive, score = made(2 * n, seed)
    truth, scores = positive.reshape(n, 2), score.reshape(n, 2)
    precision, recall, _ = precision_recall_curve(positive, score)
    wanted = max(recall[precision >= least - 1e-12], default=0.0)
    assert one(metrics.recall_at_precision(truth, scores, least), n) == pytest.approx(wanted)


@pytest.mark.parametrize("digits", [1, 3])
def test_recall_at_precision_of_resamples_is_that_of_every_cut_off(digits: int) -> None:
    rng = np.random.default_rng(digits)
    truth, scores = rng.random((40, 7)) < 0.2, rng.random((40, 7)).round(digits)
    scores[truth] = (scores[truth] + 1) / 2
    scores[rng.random((40, 7)) < 0.5] = 0
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=200).astype(float)
    for least in (0.3, 0.6, 0.95):
        found = metrics.recall_at_precision(truth, scores, least)(weights)
        for w, value in zip(weights, found, strict=True):
            cuts = [
                ((w[:, None] * (scores >= cut) * truth).sum(), (w[:, None] * (scores >= cut)).sum())
                for cut in np.unique(scores)
            ]
            best = max((right for right, all_ in cuts if all_ and right >= least * all_ - 1e-9), default=0.0)
            assert value == best / (w[:, None] * truth).sum()
    assert np.isnan(metrics.recall_at_precision(np.zeros((3, 2), bool), np.ones((3, 2)))(np.ones((5, 3)))).all()


def test_intervals_of_a_catalog_of_hundreds_of_cars_take_little_memory() -> None:
    rng = np.random.default_rng(0)
    truth, scores = np.eye(300, dtype=bool)[rng.integers(0, 300, 200)], rng.random((200, 300))
    tracemalloc.start()
    metrics.intervals({"recall": metrics.recall_at_precision(truth, scores)}, 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20


def test_macro_f1_is_scikit_learns_over_the_cars_that_are_there() -> None:
    truth, tagged = RNG.random((40, 3)) < 0.4, RNG.random((40, 3)) < 0.4
    assert one(metrics.macro_f1(truth, tagged), 40) == pytest.approx(f1_score(truth, tagged, average="macro"))
    lone = np.hstack([truth, np.zeros((40, 1), bool)])
    assert one(metrics.macro_f1(lone, np.hstack([tagged, np.ones((40, 1), bool)])), 40) == pytest.approx(
        f1_score(truth, tagged, average="macro")
    )


def test_calibration_error_worked_by_hand() -> None:
    confidence = np.array([0.1, 0.1, 0.3, 0.5, 0.9, 0.9])
    right = np.array([0, 1, 0, 1, 1, 0], bool)
    # Two bins of equal mass: three photos with a mean gap of |0.5 - 1| / 3, and three with |2.3 - 2| / 3.
    assert one(metrics.ece(confidence, right, np.ones(6, bool), bins=2), 6) == pytest.approx((0.5 + 0.3) / 6)
    first, second = metrics.reliability(confidence, right, bins=2)
    assert (first.photos, first.confidence, first.accuracy) == (3, round(0.5 / 3, 4), round(1 / 3, 4))
    assert (second.photos, second.confidence, second.accuracy) == (3, round(2.3 / 3, 4), round(2 / 3, 4))


def test_bins_have_equal_mass_and_equal_values_share_one() -> None:
    number = metrics.bin_numbers(np.arange(100) / 100, 10)
    assert np.bincount(number).tolist() == [10] * 10
    assert len(np.unique(metrics.bin_numbers(np.full(20, 0.5), 10))) == 1


def test_scores_that_are_true_are_well_calibrated() -> None:
    p = RNG.random(20_000)
    right = RNG.random(20_000) < p
    assert one(metrics.ece(p, right, np.ones(20_000, bool)), 20_000) < 0.015


@given(st.integers(3, 25), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_weight_counts_a_photo_so_many_times(n: int, seed: int) -> None:
    positive, score = made(n, seed)
    w = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n))
    copies = np.repeat(np.arange(n), w)
    table = np.random.default_rng(seed).random((n, 3)) < 0.4
    makers = {
        "auroc": lambda rows: metrics.auroc(positive[rows], score[rows]),
        "fpr": lambda rows: metrics.fpr_at_tpr(positive[rows], score[rows]),
        "recall": lambda rows: metrics.recall_at_precision(positive[rows, None], score[rows, None]),
        "macro": lambda rows: metrics.macro_f1(table[rows], table[rows][:, ::-1]),
        "rate": lambda rows: metrics.rate(positive[rows], np.ones(len(rows), bool)),
        "aurc": lambda rows: metrics.aurc(score[rows], positive[rows], np.ones(len(rows), bool)),
    }
    for name, make in makers.items():
        weighted = make(np.arange(n))(w[None].astype(float))[0]
        copied = one(make(copies), len(copies))
        assert weighted == pytest.approx(copied, nan_ok=True), name


def test_an_interval_of_a_share_is_the_binomials() -> None:
    hits = np.arange(400) < 300
    found = metrics.intervals({"rate": metrics.rate(hits, np.ones(400, bool))}, 400)["rate"]
    assert found is not None
    error = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert found.value == 0.75
    assert (found.low, found.high) == pytest.approx((0.75 - error, 0.75 + error), abs=0.006)
    again = metrics.intervals({"rate": metrics.rate(hits, np.ones(400, bool))}, 400)["rate"]
    assert again == found, "seeded"


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    old = RNG.random(300) < 0.5
    new = old.copy()
    new[np.flatnonzero(~old)[:20]] = True
    every = np.ones(300, bool)
    statistics = [{"rate": metrics.rate(hits, every)} for hits in (new, old)]
    found = metrics.differences(*statistics, 300)["rate"]
    assert found is not None
    assert found.value == pytest.approx(20 / 300, abs=1e-4)
    assert found.low > 0
    singly = metrics.intervals(statistics[0], 300)["rate"]
    assert singly is not None
    assert found.high - found.low < (singly.high - singly.low) / 1.5
    same = metrics.differences(statistics[0], statistics[0], 300)["rate"]
    assert same == metrics.Interval(0, 0, 0)


def test_mcnemar_worked_by_hand() -> None:
    new, old = np.array([1, 1, 1, 1, 1, 0, 1], bool), np.array([0, 0, 0, 0, 0, 1, 1], bool)
    gained, lost, p = metrics.mcnemar(new, old)
    assert (gained, lost) == (5, 1)
    assert p == pytest.approx(2 * (1 + 6) / 2**6)
    assert metrics.mcnemar(new, new) == (0, 0, 1.0)


def test_coverage_worked_by_hand() -> None:
    found = metrics.coverage_curve(np.array([0.9, 0.5, 0.5, 0.2]), np.array([1, 0, 1, 0], bool))
    assert [(c.score, c.coverage, c.accuracy) for c in found] == [
        (0.9, 0.25, 1.0),
        (0.5, 0.75, 0.6667),
        (0.2, 1.0, 0.5),
    ]
    assert metrics.coverage_curve(np.zeros(0), np.zeros(0, bool)) == ()


def test_area_under_the_risk_coverage_curve_worked_by_hand() -> None:
    confidence, right = np.array([0.9, 0.5, 0.5, 0.2]), np.array([1, 0, 1, 0], bool)
    every = np.ones(4, bool)
    # Wrong among those at least as sure: 0 of 1; 1 of 3, twice, as the two are equally sure; 2 of 4.
    assert one(metrics.aurc(confidence, right, every), 4) == pytest.approx((0 + 1 / 3 + 1 / 3 + 1 / 2) / 4)
    # Without the first photo: 1 of 2, twice; 2 of 3.
    rest = np.array([0, 1, 1, 1], bool)
    assert one(metrics.aurc(confidence, right, rest), 4) == pytest.approx((1 / 2 + 1 / 2 + 2 / 3) / 3)
    assert one(metrics.aurc(confidence, np.ones(4, bool), every), 4) == 0
    assert one(metrics.aurc(-confidence, right, every), 4) > one(metrics.aurc(confidence, right, every), 4)
    assert np.isnan(one(metrics.aurc(confidence, right, np.zeros(4, bool)), 4))


def test_a_share_of_a_handful_is_not_called_certain() -> None:
    # Wilson of 3 of 3: 1 / (1 + z^2 / 3) to 1, with z = 1.96.
    assert metrics.wilson(3, 3) == metrics.Interval(1.0, round(1 / (1 + 1.959964**2 / 3), 4), 1.0)
    none = metrics.wilson(0, 3)
    assert none is not None
    assert (none.value, none.low, none.high) == (0.0, 0.0, round(1 - 1 / (1 + 1.959964**2 / 3), 4))
    assert metrics.wilson(0, 0) is None


def test_confident_learning_worked_by_hand() -> None:
    # Thresholds: mean own probability, of class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, of class 1 (0.7 + 0.9) / 2 = 0.8.
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]])
    rows, likely = metrics.suspicious(p, np.array([0, 0, 0, 1, 1]))
    assert (rows.tolist(), likely.tolist()) == ([2], [1])


def test_confident_learning_finds_labels_that_were_swapped() -> None:
    given_ = np.repeat(np.arange(4), 50)
    p = RNG.dirichlet(np.ones(4), 200) * 0.3
    p[np.arange(200), given_] += 0.7
    swapped = RNG.choice(200, 12, replace=False)
    given_[swapped] = (given_[swapped] + 1) % 4
    rows, _ = metrics.suspicious(p, given_)
    assert set(rows) <= set(swapped), "no good label is suspected"
    assert len(rows) >= 6, "the method asks for more than the usual confidence, so it does not find all"
    assert not len(metrics.suspicious(np.zeros((0, 2)), np.zeros(0, int))[0])
