"""Panoramas: tiles along the long side, and every car once, from where it is seen whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from cartag import detector as detectors
from cartag.checkpoints import resolve_detector
from cartag.detector.tiling import boxes_in, joined
from cartag.photos import glances, shaped, tiles
from cartag.progress import Silent
from cartag.state import matched, overlap
from cartag.values import Box, why_no_box

GALLERY = Path(__file__).resolve().parents[2] / "data" / "gallery"


# --- tiles ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_tiles_cover_a_panorama_evenly_each_half_over_the_next(width: int, height: int) -> None:
    whole, *cut = tiles(width, height)
    assert whole == (0, 0, 1, 1)
    assert bool(cut) == (max(width, height) > 2.5 * min(width, height))
    assert len(cut) <= 8
    if cut:
        along = [(t[0], t[2]) if width > height else (t[1], t[3]) for t in cut]
        assert along[0][0] == 0
        assert sum(along[-1]) == pytest.approx(1)
        for (start, length), (following, _) in pairwise(along):
            assert following - start == pytest.approx(length / 2)
        if max(width, height) <= 6 * min(width, height):
            assert along[0][1] * max(width, height) <= 2 * min(width, height) * (1 + 1e-9), "of a photo's shape"


def test_what_panoramas_cost_has_a_bound_and_other_photos_cost_what_they_did() -> None:
    assert [len(tiles(*size)) for size in ((3000, 2000), (2500, 1000), (5000, 1000), (20_000, 500))] == [1, 1, 5, 9]
    assert len(tiles(1, 20_000)) == 9


# --- what is made of them -------------------------------------------------------------------------------------------

_FIVE = tiles(500, 100)


def seen(*cars: Box, sees: Sequence[Box] = _FIVE) -> list[np.ndarray]:
    """What a detector that makes no mistakes sees of cars in tiles: of one that is cut, the piece."""
    parts = []
    for x, y, w, h in sees:
        rows = []
        for car in cars:
            left, top = max(car[0], x), max(car[1], y)
            right, bottom = min(car[0] + car[2], x + w), min(car[1] + car[3], y + h)
            if right - left > 0.02 * w and bottom - top > 0.02 * h:
                rows.append([(left - x) / w, (top - y) / h, (right - left) / w, (bottom - top) / h, 0.9])
        parts.append(np.array(rows, np.float32).reshape(-1, 5))
    return parts


def assert_are(found: np.ndarray, cars: Sequence[Box]) -> None:
    assert len(found) == len(cars)
    same = matched(list(cars), [tuple(row) for row in found[:, :4].tolist()], 0.95)
    assert len(same) == len(cars)


@pytest.mark.parametrize("left", [0.0, 0.1, 0.33, 0.37, 0.59, 0.7])
def test_a_car_in_two_tiles_is_one_from_where_it_is_whole(left: float) -> None:
    car = (left, 0.4, 0.15, 0.4)
    assert_are(joined(seen(car), _FIVE), [car])


def test_a_car_longer_than_every_overlap_is_whole() -> None:
    car = (0.13, 0.2, 0.5, 0.7)
    assert_are(joined(seen(car), _FIVE), [car])
    parts = seen((0.25, 0.3, 0.3, 0.5))
    parts[0] = np.empty((0, 5), np.float32)  # the whole photo's glance misses it: two tiles together do not
    assert_are(joined(parts, _FIVE), [(0.25, 0.3, 0.3, 0.5)])


def test_two_cars_in_one_and_a_car_before_another() -> None:
    left, right = (0.42, 0.3, 0.1, 0.4), (0.53, 0.3, 0.1, 0.4)
    parts = seen(left, right)
    parts[0] = np.array([[0.42, 0.3, 0.21, 0.4, 0.95]], np.float32)
    assert_are(joined(parts, _FIVE), [left, right])
    before = (0.45, 0.5, 0.05, 0.15)
    assert_are(joined(seen((0.42, 0.3, 0.16, 0.5), before), _FIVE), [(0.42, 0.3, 0.16, 0.5), before])


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.integers(0, 82), st.integers(10, 18), st.integers(0, 3)), max_size=6),
    st.booleans(),
)
def test_cars_apart_are_all_there_once(spots: list[tuple[int, int, int]], high: bool) -> None:
    cars: list[Box] = []
    for at, long, row in spots:
        car = (at / 100, 0.05 + 0.25 * row, long / 100, 0.2)
        if all(overlap(car, other) == 0 for other in cars):
            cars.append(car)
    sees = tiles(100, 500) if high else _FIVE
    if high:
        cars = [(y, x, h, w * 0.7) for x, y, w, h in cars]
    assert_are(joined(seen(*cars, sees=sees), sees), cars)


_LOCAL = st.tuples(*[st.floats(0, 0.9)] * 2, *[st.floats(0.01, 1)] * 2, st.floats(0, 1)).map(
    lambda r: [r[0], r[1], min(r[2], 1 - r[0]), min(r[3], 1 - r[1]), r[4]]
)


@settings(max_examples=80)
@given(st.lists(st.lists(_LOCAL, max_size=4), min_size=5, max_size=5))
def test_whatever_tiles_say_what_comes_out_is_boxes_and_no_car_twice(said: list[list[list[float]]]) -> None:
    boxes = joined([np.array(rows, np.float32).reshape(-1, 5) for rows in said], _FIVE)
    assert (boxes.dtype, boxes.shape[1]) == (np.float32, 5)
    assert (np.diff(boxes[:, 4]) <= 0).all()
    rows = boxes[:, :4].tolist()
    assert not any(map(why_no_box, rows))
    assert all(overlap(a, b) <= 0.5 + 1e-6 for i, a in enumerate(rows) for b in rows[:i])


# --- a real one -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def look() -> detectors.Detector:
    return detectors.load(resolve_detector("look", Silent()), device="cpu")


@pytest.mark.parametrize(("axis", "most_others"), [(1, 2), (0, 6)])
def test_the_cars_of_drawings_side_by_side_are_found(look: detectors.Detector, axis: int, most_others: int) -> None:
    """Against each drawing alone: three panoramas of five drawings each, wide ones or high ones."""
    cars = before = after = others = 0
    for first in (16, 21, 26):
        drawings = []
        for number in range(first, first + 5):
            with Image.open(GALLERY / f"mille-miglia-2013-{number:02}.jpg") as image:
                drawings.append(np.asarray(image.convert("RGB").resize((600, 400))))
        truth: list[Box] = []
        for place, boxes in enumerate(look.boxes([shaped(drawing, look.image_spec) for drawing in drawings])):
            for row in boxes[:, :4].tolist():
                row[1 - axis] = (place + row[1 - axis]) / 5
                row[3 - axis] /= 5
                truth.append((row[0], row[1], row[2], row[3]))
        panorama = np.concatenate(drawings, axis=axis)
        in_one_glance = look.boxes([shaped(panorama, look.image_spec)])[0]
        shown = glances(panorama, look.image_spec)
        (found,) = boxes_in(look, [shown], [tiles(panorama.shape[1], panorama.shape[0])])
        right = len(matched(truth, [tuple(row) for row in found[:, :4].tolist()]))
        cars, after, others = cars + len(truth), after + right, others + len(found) - right
        before += len(matched(truth, [tuple(row) for row in in_one_glance[:, :4].tolist()]))
    print(f"axis {axis}: {cars} cars, in one glance {before}, in tiles {after} and {others} others")
    assert after >= 0.9 * cars
    assert after >= before + 0.15 * cars
    assert others <= most_others
