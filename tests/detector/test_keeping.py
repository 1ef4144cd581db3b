"""What is kept of what a detector says: numbers, boxes within the photo, surest first, no car twice."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays
from torchvision.ops import box_iou, nms

from cartag.detector.keeping import DOUBLE, MOST, kept

_ANY = st.floats(-0.5, 1.5, width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0])
_SAID = st.integers(0, 20).flatmap(
    lambda n: st.tuples(arrays.arrays(np.float32, (n, 4), elements=_ANY), arrays.arrays(np.float32, n, elements=_ANY))
)


def _corners(rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.column_stack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]))


@given(_SAID)
def test_what_comes_out_is_boxes_within_the_photo(said: tuple[np.ndarray, np.ndarray]) -> None:
    rows = kept(*said)
    assert (rows.dtype, rows.shape[1]) == (np.float32, 5)
    assert np.isfinite(rows).all()
    assert (rows[:, :2] >= 0).all()
    assert (rows[:, 2:4] > 0).all()
    assert (rows[:, :2].astype(np.float64) + rows[:, 2:4] <= 1 + 1e-6).all()
    assert ((rows[:, 4] >= 0) & (rows[:, 4] <= 1)).all()
    assert (np.diff(rows[:, 4]) <= 0).all()


@given(_SAID)
def test_no_two_boxes_are_one_car(said: tuple[np.ndarray, np.ndarray]) -> None:
    rows = kept(*said).astype(np.float64)
    overlaps = box_iou(_corners(rows), _corners(rows)).fill_diagonal_(0)
    assert not len(rows) or float(overlaps.max()) <= DOUBLE + 1e-4


@given(_SAID, st.randoms(use_true_random=False))
def test_the_order_of_what_is_said_is_of_no_matter(said: tuple[np.ndarray, np.ndarray], random: object) -> None:
    order = list(range(len(said[0])))
    random.shuffle(order)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(kept(*said), kept(said[0][order], said[1][order]))


def test_doubles_are_those_of_torchvision() -> None:
    rng = np.random.default_rng(1)
    start = rng.uniform(0, 0.6, (200, 2))
    corners = np.concatenate([start, start + rng.uniform(0.2, 0.4, (200, 2))], axis=1)
    confidences = rng.uniform(0.3, 1, 200)
    stay = nms(torch.from_numpy(corners), torch.from_numpy(confidences), DOUBLE).numpy()
    rows = kept(corners, confidences)
    assert 1 < len(rows) < 200
    np.testing.assert_allclose(rows[:, 4], confidences[stay], atol=1e-6)
    np.testing.assert_allclose(rows[:, :2], corners[stay, :2], atol=1e-6)


def test_of_a_car_called_by_two_names_the_surer_stays() -> None:
    rows = kept(
        np.array([[0.1, 0.1, 0.5, 0.5], [0.11, 0.1, 0.5, 0.5], [0.3, 0.1, 0.7, 0.5]]), np.array([0.5, 0.9, 0.4])
    )
    np.testing.assert_allclose(rows[:, [0, 4]], [[0.11, 0.9], [0.3, 0.4]], atol=1e-6)


def test_there_is_a_limit_and_the_surest_are_within_it() -> None:
    """400 cars in a photo."""
    places = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2) / 20
    confidences = np.linspace(0.3, 0.9, 400)
    rows = kept(np.concatenate([places, places + 0.04], axis=1), confidences)
    assert len(rows) == MOST
    np.testing.assert_allclose(rows[:, 4], np.sort(confidences)[::-1][:MOST], atol=1e-6)
