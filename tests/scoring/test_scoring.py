"""Scoring: probabilities that add up, and outcomes that follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from strategies import unit_vectors

from cartag.scoring.calibration import Calibration
from cartag.scoring.scoring import ClassSet, Scores, Verdict, class_set, decide, pooled, score
from cartag.values import PromptClass

PLAIN = Calibration()
photos = unit_vectors(st.integers(1, 40))
texts = unit_vectors(st.integers(4, 12))


def classes_of(embeddings: np.ndarray, cars: int, others: int) -> ClassSet:
    return ClassSet(tuple(f"car-{i}" for i in range(cars)), embeddings, others)


def verdict(cars: list[float], other: float = 0.0, no_car: float = 0.0, keep: int = 5, **options: object) -> Verdict:
    scores = Scores(np.array([cars], np.float32), np.array([other], np.float32), np.array([no_car], np.float32))
    names = [f"car-{i}" for i in range(len(cars))]
    (found,) = decide(scores, names, Calibration(**options), keep)  # type: ignore[arg-type]
    return found


# --- always -----------------------------------------------------------------------------------------------------


@given(photos, texts, st.integers(1, 3), st.floats(1, 100), st.floats(0.3, 5), st.floats(1, 5), st.floats(-3, 3))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_probabilities_lie_in_their_range_and_add_up_to_one(
    x: np.ndarray, t: np.ndarray, cars: int, scale: float, temperature: float, spread: float, bias: float
) -> None:
    calibration = Calibration(temperature=temperature, spread=spread, other_bias=bias, no_car_bias=-bias)
    found = score(x, classes_of(t, cars, 1), logit_scale=scale, calibration=calibration)
    assert found.cars.shape == (len(x), cars)
    total = found.cars.sum(axis=1) + found.other + found.no_car
    assert np.allclose(total, 1, atol=1e-5)
    for part in (found.cars, found.other, found.no_car):
        assert ((part >= 0) & (part <= 1 + 1e-6)).all()


@given(photos, texts, st.data())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_the_order_of_the_classes_changes_no_score(x: np.ndarray, t: np.ndarray, data: st.DataObject) -> None:
    cars, others = 2, len(t) // 2 - 1
    groups = [range(cars), range(cars, cars + others), range(cars + others, len(t))]
    order = [data.draw(st.permutations(list(group))) for group in groups]
    one = score(x, classes_of(t, cars, others), logit_scale=20.0, calibration=PLAIN)
    two = score(x, classes_of(t[np.concatenate(order).astype(int)], cars, others), logit_scale=20.0, calibration=PLAIN)
    assert np.allclose(one.cars[:, order[0]], two.cars, atol=1e-6)
    assert np.allclose(one.other, two.other, atol=1e-6)
    assert np.allclose(one.no_car, two.no_car, atol=1e-6)


@given(photos, texts, st.integers(1, 7))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_size_of_a_batch_changes_no_score(x: np.ndarray, t: np.ndarray, size: int) -> None:
    classes = classes_of(t, 2, 1)
    whole = score(x, classes, logit_scale=100.0, calibration=PLAIN).cars
    parts = [score(x[i : i + size], classes, logit_scale=100.0, calibration=PLAIN).cars for i in range(0, len(x), size)]
    assert np.abs(whole - np.concatenate(parts)).max() <= 1e-5


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 1), st.floats(0, 1), st.integers(5, 9))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_verdict_names_every_kept_car_once_and_best_first(
    cars: list[float], other: float, no_car: float, keep: int
) -> None:
    found = verdict(cars, other, no_car, keep)
    names = [item.car for item in (*found.tags, *found.candidates)]
    assert len(names) == len(set(names)) >= min(keep, len(cars))
    for items in (found.tags, found.candidates):
        assert [item.score for item in items] == sorted((item.score for item in items), reverse=True)
    assert (found.outcome == "tagged") == bool(found.tags)


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.integers(0, 99))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_many_photos_are_decided_like_each_alone_and_ranked_as_a_stable_sort_ranks(
    n: int, cars: int, keep: int, digits: int, seed: int
) -> None:
    drawn = np.random.default_rng(seed).random((3, n, cars)).round(digits).astype(np.float32)  # few digits: many ties
    scores = Scores(drawn[0], drawn[1, :, 0], drawn[2, :, 0])
    names, calibration = [f"car-{i}" for i in range(cars)], Calibration(threshold=0.7)
    found = decide(scores, names, calibration, keep)
    for i, verdict in enumerate(found):
        alone = Scores(*(part[i : i + 1] for part in (scores.cars, scores.other, scores.no_car)))
        assert decide(alone, names, calibration, keep) == [verdict]
        tagged = {tag.car for tag in verdict.tags}
        count = len(verdict.tags) + len(verdict.candidates)
        ranked = [names[k] for k in np.argsort(-scores.cars[i], kind="stable")[:count]]
        assert [tag.car for tag in verdict.tags] == [car for car in ranked if car in tagged]
        assert [c.car for c in verdict.candidates] == [car for car in ranked if car not in tagged]
        for item in (*verdict.tags, *verdict.candidates):
            assert item.score == round(float(scores.cars[i, names.index(item.car)]), 4)


# --- scores -----------------------------------------------------------------------------------------------------


def test_scores_are_the_softmax_worked_by_hand() -> None:
    classes = classes_of(np.eye(3, dtype=np.float32), 1, 1)
    x = np.array([[0.6, 0.8, 0.0]], np.float32)
    found = score(x, classes, logit_scale=10.0, calibration=Calibration(temperature=2.0))
    weights = np.exp([3.0, 4.0, 0.0])
    wanted = weights / weights.sum()
    assert np.allclose([found.cars[0, 0], found.other[0], found.no_car[0]], wanted, atol=1e-6)


def test_biases_go_to_other_cars_and_to_what_is_no_car() -> None:
    classes = classes_of(np.eye(3, dtype=np.float32), 1, 1)
    x = np.ones((1, 3), np.float32) / np.sqrt(3, dtype=np.float32)
    found = score(x, classes, logit_scale=1.0, calibration=Calibration(other_bias=np.log(2), no_car_bias=np.log(5)))
    assert np.allclose([found.cars[0, 0], found.other[0], found.no_car[0]], [1 / 8, 2 / 8, 5 / 8], atol=1e-6)


def test_the_spread_pools_many_names_into_one_worked_by_hand() -> None:
    classes = classes_of(np.eye(4, dtype=np.float32), 1, 2)
    x = np.array([[1.0, 2.0, 4.0, -1.0]], np.float32)
    found = score(x, classes, logit_scale=1.0, calibration=Calibration(spread=2.0))
    weights = np.array([np.exp(1.0), 2 * ((np.exp(2.0 / 2) + np.exp(4.0 / 2)) / 2) ** 2, np.exp(-1.0)])
    assert np.allclose([found.cars[0, 0], found.other[0], found.no_car[0]], weights / weights.sum(), atol=1e-6)


@given(st.integers(1, 40), st.floats(1, 5), st.floats(-30, 30))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_names_that_are_equally_near_count_alike_whatever_the_spread(n: int, spread: float, logit: float) -> None:
    """So that biases hold for a list of other cars of any length."""
    assert pooled(np.full((1, n), logit), spread)[0] == pytest.approx(logit + np.log(n), abs=1e-9)


def test_with_a_spread_and_nothing_to_reject_with_the_cars_hold_everything() -> None:
    found = score(
        np.eye(3, dtype=np.float32),
        classes_of(np.eye(3, dtype=np.float32), 3, 0),
        logit_scale=9.0,
        calibration=Calibration(spread=2.0),
    )
    assert np.allclose(found.cars.sum(axis=1), 1)
    assert not found.other.any()
    assert not found.no_car.any()


def test_with_a_spread_how_many_names_are_near_counts_for_more_than_how_near_one_is() -> None:
    one_near, many_near = np.array([[8.0, 8.0, 0, 0, 0, 0]]), np.array([[8.0, 6.5, 6.5, 6.5, 6.5, 0]])
    classes = classes_of(np.eye(6, dtype=np.float32), 1, 4)

    def other(x: np.ndarray, spread: float) -> float:
        found = score(x.astype(np.float32), classes, logit_scale=1.0, calibration=Calibration(spread=spread))
        return float(found.other[0])

    assert other(one_near, 1.0) > other(many_near, 1.0)
    assert other(one_near, 2.0) < other(many_near, 2.0)


def test_a_sigmoid_model_with_nothing_to_reject_by_answers_each_car_alone() -> None:
    classes = classes_of(np.eye(2, dtype=np.float32), 2, 0)
    x = np.array([[1.0, 0.0]], np.float32)
    found = score(x, classes, logit_scale=4.0, logit_bias=-2.0, calibration=PLAIN)
    assert np.allclose(found.cars[0], [1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(2.0))], atol=1e-6)
    assert (found.other[0], found.no_car[0]) == (0, 0)


def test_huge_logits_overflow_nowhere() -> None:
    classes = classes_of(np.eye(4, dtype=np.float32), 2, 1)
    with np.errstate(over="raise", invalid="raise"):
        found = score(np.eye(4, dtype=np.float32), classes, logit_scale=10_000.0, calibration=PLAIN)
    assert np.allclose(found.cars[:2], np.eye(2))


def test_scoring_changes_neither_photos_nor_classes() -> None:
    x, t = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)
    score(x, classes_of(t, 2, 1), logit_scale=5.0, calibration=Calibration(other_bias=3.0))
    assert np.array_equal(x, np.eye(4))
    assert np.array_equal(t, np.eye(4))


def test_a_class_stands_in_the_middle_of_its_texts() -> None:
    car = PromptClass("car", "a", ("1", "2"))
    classes = [car, PromptClass("other-car", "b", ("3",)), PromptClass("no-car", "c", ("4",))]
    found = class_set(classes, np.eye(4, dtype=np.float32))
    assert (found.cars, found.others, found.rejects) == (("a",), 1, True)
    assert np.allclose(found.embeddings[0], [0.5**0.5, 0.5**0.5, 0, 0])
    assert np.allclose(np.linalg.norm(found.embeddings, axis=1), 1)
    with pytest.raises(ValueError, match="4 texts but 3 embeddings"):
        class_set(classes, np.eye(4, dtype=np.float32)[:3])


# --- outcomes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cars", "other", "no_car", "options", "outcome", "tags"),
    [
        ([0.6, 0.3], 0.1, 0.0, {}, "tagged", ["car-0"]),
        ([0.5, 0.5], 0.0, 0.0, {}, "tagged", ["car-0", "car-1"]),
        ([0.3, 0.3], 0.4, 0.0, {}, "unknown", []),
        ([0.2, 0.1], 0.1, 0.6, {}, "no-car", []),
        ([0.2, 0.1], 0.2, 0.5, {}, "unknown", []),
        ([0.4, 0.1], 0.0, 0.6, {"threshold": 0.1}, "no-car", []),
        ([0.4, 0.3], 0.3, 0.0, {"threshold": 0.35}, "tagged", ["car-0"]),
        ([0.5, 0.1], 0.4, 0.0, {"margin": 0.2}, "unknown", []),
        ([0.5, 0.1], 0.25, 0.0, {"margin": 0.2}, "tagged", ["car-0"]),
        ([0.3, 0.6], 0.1, 0.0, {"car_thresholds": {"car-0": 0.2, "car-1": 0.9}}, "tagged", ["car-0"]),
    ],
)
def test_an_outcome_follows_from_threshold_margin_and_what_rejects(
    cars: list[float], other: float, no_car: float, options: dict[str, object], outcome: str, tags: list[str]
) -> None:
    found = verdict(cars, other, no_car, **options)
    assert (found.outcome, [tag.car for tag in found.tags]) == (outcome, tags)
    assert {c.car for c in found.candidates} == {"car-0", "car-1"} - set(tags)


def test_tags_are_kept_however_many_they_are() -> None:
    found = verdict([0.1] * 8, keep=5, threshold=0.05)
    assert (len(found.tags), found.candidates) == (8, ())


def test_a_car_with_a_low_threshold_is_a_tag_below_however_many_with_high_ones() -> None:
    high = {f"car-{i}": 0.5 for i in range(6)}
    found = verdict([0.2, 0.2, 0.15, 0.1, 0.1, 0.1, 0.08, 0.05], keep=5, threshold=0.06, car_thresholds=high)
    assert (found.outcome, [tag.car for tag in found.tags]) == ("tagged", ["car-6"])
    assert len(found.candidates) == 6


def test_scores_are_rounded_to_four_digits() -> None:
    assert [c.score for c in verdict([0.123456, 0.00001]).candidates] == [0.1235, 0.0]
