"""The shipped fake detector keeps to the protocol, and finds what was painted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from cartag.checkpoints import resolve_detector
from cartag.detector import Detector, FakeDetector, identity, image_spec, load
from cartag.detector.fake import STRONG
from cartag.progress import Silent

RED, YELLOW = (220, 20, 30), (250, 210, 20)


def road(height: int = 100, width: int = 200) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def test_it_is_a_detector() -> None:
    detector: Detector = FakeDetector()
    files = resolve_detector("fake", Silent())
    assert (files.spec.kind, identity(files)) == ("detector", detector.identity)
    assert image_spec(files) == detector.image_spec
    assert isinstance(load(files), FakeDetector)
    assert detector.boxes([]) == []


def test_painted_cars_are_found_surest_first() -> None:
    photo = road()
    photo[10:40, 20:80] = RED
    photo[50:90, 100:180] = YELLOW
    photo[50:70, 100:140] = 128  # a quarter of it is missing
    boxes = FakeDetector().boxes([photo])[0]
    np.testing.assert_allclose(boxes, [[0.1, 0.1, 0.3, 0.3, 1.0], [0.5, 0.5, 0.4, 0.4, 0.75]], atol=2 / 128, rtol=0)


def test_cars_of_two_colours_that_touch_are_two() -> None:
    photo = road()
    photo[20:80, 20:100], photo[20:80, 100:180] = RED, YELLOW
    boxes = FakeDetector().boxes([photo])[0]
    np.testing.assert_allclose(np.sort(boxes[:, 0]), [0.1, 0.5], atol=1 / 100)


@pytest.mark.parametrize("level", [0, 60, 128, 200, 255])
def test_grey_is_road(level: int) -> None:
    assert FakeDetector().boxes([np.full((40, 60, 3), level, np.uint8)])[0].shape == (0, 5)
    noise = np.random.default_rng(level).integers(0, STRONG, (40, 60, 3)).astype(np.uint8)
    assert not len(FakeDetector().boxes([noise])[0])


def test_a_speck_is_no_car() -> None:
    photo = road()
    photo[50, 50:53] = RED
    assert not len(FakeDetector().boxes([photo])[0])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (500, 20000), (20000, 1), (1, 3), (3, 1)])
def test_a_photo_of_one_colour_is_one_box_whatever_its_shape(height: int, width: int) -> None:
    photo = np.empty((height, width, 3), np.uint8)
    photo[:] = RED
    boxes = FakeDetector().boxes([photo])[0]
    np.testing.assert_allclose(boxes, [[0, 0, 1, 1, 1]], atol=1e-6)


@given(
    height=st.integers(20, 400),
    width=st.integers(20, 400),
    place=st.tuples(*[st.floats(0, 0.6)] * 2),
    size=st.tuples(*[st.floats(0.2, 0.4)] * 2),
)
def test_one_painted_car_is_found_where_it_is(
    height: int, width: int, place: tuple[float, float], size: tuple[float, float]
) -> None:
    photo = road(height, width)
    left, top = round(place[0] * width), round(place[1] * height)
    wide, high = max(4, round(size[0] * width)), max(4, round(size[1] * height))
    photo[top : top + high, left : left + wide] = RED
    boxes = FakeDetector().boxes([photo])[0]
    assert len(boxes) in (0, 1)
    step = -(-max(height, width) // 128)
    if high >= 2 * step and wide >= 2 * step:
        pixels = boxes[0, :4] * np.array([width, height, width, height])
        np.testing.assert_allclose(pixels, [left, top, wide, high], atol=step + 1e-3)
    np.testing.assert_array_equal(FakeDetector().boxes([photo, photo])[1], boxes)
