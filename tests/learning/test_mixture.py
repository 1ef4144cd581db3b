"""What share of a gallery is what, estimated from labels that are no fair sample of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from cartag.learning.mixture import mixture


def answers(kinds: np.ndarray, expected: np.ndarray, sure: float, seed: int = 0) -> np.ndarray:
    """(n, kinds) how likely each kind is of photos of these kinds, by a calibrated model that expects these shares."""
    evidence = np.random.default_rng(seed).normal(sure * np.eye(len(expected))[kinds], 1.0) * sure
    likely = expected * np.exp(evidence - evidence.max(axis=1, keepdims=True))
    return np.asarray(likely / likely.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("true", [(0.05, 0.9, 0.05), (0.8, 0.1, 0.1), (0.1, 0.2, 0.7)])
@pytest.mark.parametrize("sure", [1.5, 3.0])
def test_the_shares_of_a_gallery_are_found(true: tuple[float, ...], sure: float) -> None:
    labels = np.array([20, 20, 10])
    kinds = np.repeat(np.arange(3), [round(2000 * share) for share in true])
    found = mixture(labels, answers(kinds, labels / labels.sum(), sure))
    assert found.gallery == pytest.approx(np.array(true), abs=0.04)
    assert not found.is_drawn_by_chance
    assert float((found.labels * found.weights).sum()) == pytest.approx(1)


@pytest.mark.parametrize("nothing", [0, 500, 2000])
def test_of_a_kind_without_labels_no_share_is_said_and_its_photos_are_no_others(nothing: int) -> None:
    labels = np.array([20, 20, 0])
    kinds = np.repeat([0, 1, 2], [200, 1800, nothing])
    found = mixture(labels, answers(kinds, np.array([0.4, 0.4, 0.2]), 3.0))
    assert found.gallery[2] == 0
    assert found.weights[2] == 1
    assert found.gallery[0] == pytest.approx(0.1, abs=0.03)


def test_a_part_of_the_photos_stands_for_all() -> None:
    labels = np.array([400, 400, 200])
    kinds = np.repeat(np.arange(3), [50, 900, 50])
    some = answers(kinds, labels / labels.sum(), 3.0)
    of_all = mixture(labels, np.tile(some, (40, 1)))
    assert mixture(labels, some, 40.0).gallery == pytest.approx(of_all.gallery, abs=1e-4)
    assert mixture(labels, some).gallery[0] > 2 * of_all.gallery[0]


def test_one_kind_or_no_other_photo_says_nothing() -> None:
    assert mixture(np.array([5, 0, 0]), np.full((50, 3), 1 / 3)).is_drawn_by_chance
    assert mixture(np.array([5, 5, 0]), np.zeros((0, 3))).is_drawn_by_chance


@given(
    labels=arrays(int, 3, elements=st.integers(0, 50)).filter(lambda found: found.sum() > 0),
    likely=arrays(float, st.tuples(st.integers(0, 30), st.just(3)), elements=st.floats(0, 1)),
)
def test_shares_are_always_shares(labels: np.ndarray, likely: np.ndarray) -> None:
    found = mixture(labels, likely)
    assert found.gallery.sum() == pytest.approx(1)
    assert ((found.gallery > 0) == (labels > 0)).all(), "labels are photos of the gallery too"
    assert np.isfinite(found.weights).all()
    assert (found.weights > 0).all()
