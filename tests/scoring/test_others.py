"""The other car by name: probabilities that add up, and a name, a make or nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from strategies import unit_vectors

from cartag.scoring import Calibration, Others, named_other, named_others, others_of
from cartag.scoring.scoring import ClassSet, Scores, class_set, score
from cartag.values import OtherCar, PromptClass

PLAIN = Calibration()


def found(x: np.ndarray, classes: ClassSet, makes: list[str], calibration: Calibration, scale: float = 1.0) -> Others:
    scores = score(x, classes, logit_scale=scale, calibration=calibration)
    return others_of(x, classes, scores, makes, logit_scale=scale, calibration=calibration)


# --- always -----------------------------------------------------------------------------------------------------


@given(
    unit_vectors(st.integers(1, 40)),
    unit_vectors(st.integers(6, 12)),
    st.floats(1, 100),
    st.floats(0.3, 5),
    st.floats(1, 5),
    st.floats(-3, 3),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_make_is_at_least_as_likely_as_its_cars_and_less_than_all_others(
    x: np.ndarray, t: np.ndarray, scale: float, temperature: float, spread: float, bias: float
) -> None:
    calibration = Calibration(temperature=temperature, spread=spread, other_bias=bias)
    classes = ClassSet(("a",), t, len(t) - 2)
    makes = [f"make {i % 2}" for i in range(classes.others)]
    scores = score(x, classes, logit_scale=scale, calibration=calibration)
    others = others_of(x, classes, scores, makes, logit_scale=scale, calibration=calibration)
    assert others.car.shape == others.probability.shape == others.make_probability.shape == (len(x),)
    assert (others.probability <= others.make_probability + 1e-6).all()
    assert (others.make_probability <= scores.other + 1e-6).all()
    assert (others.make_probability >= scores.other / 2 - 1e-6).all(), "one of two makes has half of it"
    assert (others.probability >= scores.other / classes.others - 1e-6).all()


@given(unit_vectors(st.integers(1, 9)), unit_vectors(st.integers(6, 9)), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_order_of_the_other_cars_changes_no_answer(x: np.ndarray, t: np.ndarray, data: st.DataObject) -> None:
    count = len(t) - 2
    order = data.draw(st.permutations(range(count)))
    makes = [f"make {i % 3}" for i in range(count)]
    shuffled = ClassSet(("a",), t[[0, *(i + 1 for i in order), count + 1]], count)
    one = found(x, ClassSet(("a",), t, count), makes, PLAIN, 20.0)
    two = found(x, shuffled, [makes[i] for i in order], PLAIN, 20.0)
    assert np.allclose(one.probability, two.probability, atol=1e-6)
    assert np.allclose(one.make_probability, two.make_probability, atol=1e-6)


# --- worked by hand ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_shares_are_the_softmax_within_the_other_cars_worked_by_hand(spread: float) -> None:
    classes = ClassSet(("a",), np.eye(5, dtype=np.float32), 3)
    x = np.array([[1.0, 3.0, 2.0, 2.5, 0.5]], np.float32)
    calibration = Calibration(spread=spread, temperature=0.5)
    other = score(x, classes, logit_scale=1.0, calibration=calibration).other[0]
    shares = np.exp(np.array([6.0, 4.0, 5.0]) / spread)
    shares /= shares.sum()
    others = found(x, classes, ["Ferrari", "Lotus", "Ferrari"], calibration)
    assert (others.car[0], others.make_car[0]) == (0, 0)
    assert others.probability[0] == pytest.approx(other * shares[0], abs=1e-6)
    assert others.make_probability[0] == pytest.approx(other * (shares[0] + shares[2]), abs=1e-6)


def test_the_likeliest_make_need_not_be_that_of_the_likeliest_car() -> None:
    classes = ClassSet((), np.eye(3, dtype=np.float32), 3)
    x = np.log(np.array([[0.4, 0.25, 0.35]], np.float32))
    others = found(x, classes, ["Ferrari", "Lotus", "Lotus"], PLAIN)
    assert (others.car[0], others.make_car[0]) == (0, 2)
    assert [others.probability[0], others.make_probability[0]] == pytest.approx([0.4, 0.6])
    names, makes = ["Ferrari F430", "Lotus Elise", "Lotus Exige"], ["Ferrari", "Lotus", "Lotus"]
    assert named_others(others, names, makes, PLAIN) == [OtherCar(name="Lotus", score=0.6)]
    at_once = Calibration(other_name=0.4)
    assert named_others(others, names, makes, at_once) == [OtherCar(name="Ferrari F430", score=0.4)]
    assert named_others(others, names, makes, Calibration(other_make=0.7)) == [None]


def test_what_was_learned_counts_for_other_cars_too() -> None:
    biases = np.array([0.0, 0.0, np.log(9)], np.float32)
    classes = ClassSet(("a",), np.eye(3, dtype=np.float32), 2, biases)
    others = found(np.zeros((1, 3), np.float32), classes, ["Ferrari", "Lotus"], PLAIN)
    assert others.car[0] == 1
    assert others.probability[0] == pytest.approx(9 / 11)


def test_without_other_cars_nobody_is_asked_for_them() -> None:
    x, t = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    scores = score(x, ClassSet(("a",), t, 2), logit_scale=1.0, calibration=PLAIN)
    for classes, makes in ((ClassSet(("a", "b", "c"), t, 0), []), (ClassSet(("a",), t, 2), ["Ferrari"])):
        with pytest.raises(ValueError, match=f"{classes.others} other cars but {len(makes)} makes"):
            others_of(x, classes, scores, makes, logit_scale=1.0, calibration=PLAIN)
    assert not len(others_of(x[:0], ClassSet(("a",), t, 2), none(), ["A", "B"], logit_scale=1.0, calibration=PLAIN).car)


def none() -> Scores:
    return Scores(np.zeros((0, 1)), np.zeros(0), np.zeros(0))


@pytest.mark.parametrize(
    ("p_name", "p_make", "wanted"),
    [
        (0.5, 0.6, OtherCar(name="Ferrari F430", score=0.5)),
        (0.49996, 0.61239, OtherCar(name="Ferrari", score=0.6124)),
        (0.2, 0.3, OtherCar(name="Ferrari", score=0.3)),
        (0.2, 0.29996, None),
        (1.0000001, 1.0000001, OtherCar(name="Ferrari F430", score=1.0)),
    ],
)
def test_a_name_a_make_or_nothing_by_the_probability(p_name: float, p_make: float, wanted: OtherCar | None) -> None:
    assert named_other("Ferrari F430", "Ferrari", p_name, p_make, PLAIN) == wanted


def test_classes_know_the_ids_of_the_other_cars() -> None:
    kinds = [
        PromptClass("car", "a", ("1",)),
        PromptClass("other-car", "b", ("2",)),
        PromptClass("other-car", "c", ("3",)),
    ]
    assert class_set(kinds, np.eye(3, dtype=np.float32)).other_ids == ("b", "c")
