"""The bundled detector: its peaks, its files, and that it finds the cars of the sample gallery."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from cartag import detector as detectors
from cartag.checkpoints import resolve_detector
from cartag.detector.peaks import boxes_of
from cartag.detector.spec import LookSpec, sure_enough
from cartag.errors import ModelError
from cartag.photos import shaped
from cartag.progress import Silent
from cartag.state import overlap

ROOT = Path(__file__).resolve().parents[2]
LOOK = ROOT / "models" / "look"
SPEC = LookSpec(architecture="tf_efficientnet_lite0", least=0.25, least_small=0.5)


def cells(*peaks: tuple[int, int, float, float], height: int = 20, width: int = 28) -> np.ndarray:
    """An answer with peaks: row, column, logit, and half of a side in cells."""
    answer = np.full((5, height, width), -9.0, np.float32)
    answer[1:] = 1.0
    for row, column, logit, half in peaks:
        answer[0, row, column] = logit
        answer[1:, row, column] = half
    return answer


# --- peaks ----------------------------------------------------------------------------------------------------------


def test_a_peak_is_a_box_around_its_cell() -> None:
    (box,) = boxes_of(cells((10, 14, 2.0, 3.5)), 0.25)
    np.testing.assert_allclose(box[:4], [11 / 28, 7 / 20, 7 / 28, 7 / 20], atol=1e-6)
    assert box[4] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_the_surest_comes_first_and_the_faint_not_at_all() -> None:
    boxes = boxes_of(cells((5, 5, 0.5, 2), (5, 20, 3.0, 2), (15, 10, -3.0, 2)), 0.25)
    assert len(boxes) == 2
    assert boxes[0, 4] > boxes[1, 4]


def test_a_car_that_is_said_twice_is_one_and_cars_behind_each_other_are_two() -> None:
    assert len(boxes_of(cells((10, 10, 2.0, 5), (10, 12, 1.0, 5)), 0.25)) == 1
    assert len(boxes_of(cells((10, 10, 2.0, 4), (10, 15, 1.0, 4)), 0.25)) == 2


def test_a_piece_of_a_surer_car_is_none() -> None:
    assert len(boxes_of(cells((10, 10, 3.0, 7), (8, 12, -0.5, 2)), 0.25)) == 1
    assert len(boxes_of(cells((10, 10, 1.0, 7), (8, 12, 1.5, 2)), 0.25)) == 2  # a car in front of another


def test_each_side_of_a_car_is_as_far_from_its_middle_as_its_own_cell_says() -> None:
    answer = cells((10, 14, 2.0, 1))
    answer[1:, 10, 14] = 2, 3, 4, 5  # left, top, right, bottom
    (box,) = boxes_of(answer, 0.25)
    np.testing.assert_allclose(box[:4], [12.5 / 28, 7.5 / 20, 6 / 28, 8 / 20], atol=1e-6)


def test_cells_beside_a_peak_have_a_say_in_its_sides_by_how_sure_they_are_of_the_same_car() -> None:
    answer = cells((10, 14, 2.0, 4))
    said = {(10, 15): (1.0, (5.5, 4.5, 2.5, 4.0)), (11, 13): (0.0, (2.5, 5.0, 5.0, 3.5))}  # shifted by a half or so
    for (row, column), (logit, sides) in said.items():
        answer[0, row, column], answer[1:, row, column] = logit, sides
    answer[0, 9, 14], answer[1:, 9, 14] = 1.9, (1, 1, 1, 1)  # as sure, of something else
    boxes = np.array([[10.5, 6.5, 18.5, 14.5], [10.0, 6.0, 18.0, 14.5], [11.0, 6.5, 18.5, 15.0]])
    weights = (1 / (1 + np.exp(-np.array([2.0, 1.0, 0.0])))) ** 2
    x0, y0, x1, y1 = (weights[:, None] * boxes).sum(0) / weights.sum()
    (box,) = boxes_of(answer, 0.6)
    np.testing.assert_allclose(box[:4], [x0 / 28, y0 / 20, (x1 - x0) / 28, (y1 - y0) / 20], atol=1e-5)


def test_a_cell_three_away_has_no_say() -> None:
    answer = cells((10, 14, 2.0, 6))
    answer[0, 10, 17], answer[1:, 10, 17] = 1.9, (9, 6, 4, 6)
    (box,) = boxes_of(answer, 0.25)[:1]
    np.testing.assert_allclose(box[:4], [8.5 / 28, 4.5 / 20, 12 / 28, 12 / 20], atol=1e-6)


def test_at_an_edge_no_cell_has_a_say_twice() -> None:
    answer = cells((0, 0, 2.0, 4))
    answer[0, 0, 1], answer[1:, 0, 1] = 1.0, (5, 4, 4, 4)  # one cell wider to the right
    weights = (1 / (1 + np.exp(-np.array([2.0, 1.0])))) ** 2
    right = (weights * [4.5, 5.5]).sum() / weights.sum()
    (box,) = boxes_of(answer, 0.25)
    np.testing.assert_allclose(box[:4], [0, 0, right / 28, 4.5 / 20], atol=1e-6)


@settings(max_examples=60)
@given(answer=arrays.arrays(np.float32, (5, 6, 8), elements=st.floats(-20, 20, width=32)))
def test_boxes_are_always_within_the_photo_and_have_a_size(answer: np.ndarray) -> None:
    answer[1:] = np.abs(answer[1:])
    boxes = boxes_of(answer, 0.2)
    assert np.isfinite(boxes).all()
    assert ((boxes[:, :2] >= 0) & (boxes[:, 2:4] > 0)).all()
    assert (boxes[:, :2] + boxes[:, 2:4] <= 1 + 1e-5).all()
    assert (np.diff(boxes[:, 4]) <= 0).all()


def test_of_a_small_car_it_has_to_be_surer() -> None:
    small, large = [0.1, 0.1, 0.05, 0.05, 0.4], [0.1, 0.1, 0.6, 0.3, 0.4]
    kept = sure_enough(np.array([small, large], np.float32), SPEC)
    np.testing.assert_allclose(kept, [large], atol=1e-6)


# --- the detector that ships ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def look() -> detectors.Detector:
    return detectors.load(resolve_detector("look", Silent()), device="cpu")


def glance(look: detectors.Detector, name: str) -> np.ndarray:
    with Image.open(ROOT / "data" / "gallery" / name) as image:
        return shaped(np.asarray(image.convert("RGB")), look.image_spec)


def test_it_finds_the_two_cars_of_a_drawing(look: detectors.Detector) -> None:
    (boxes,) = look.boxes([glance(look, "mille-miglia-2013-30.jpg")])
    assert len(boxes) == 2
    assert overlap(boxes[0, :4].tolist(), boxes[1, :4].tolist()) < 0.2


def test_a_photo_does_not_depend_on_those_beside_it(look: detectors.Detector) -> None:
    names = [f"mille-miglia-2013-{n:02}.jpg" for n in range(1, 21)]
    glances = [glance(look, name) for name in names]
    together = look.boxes(glances)
    for alone, boxes in zip(glances[::7], together[::7], strict=True):
        np.testing.assert_allclose(look.boxes([alone])[0], boxes, atol=1e-4)


def test_a_narrow_photo_is_a_glance_of_its_own_shape(look: detectors.Detector) -> None:
    with Image.open(ROOT / "data" / "gallery" / "mille-miglia-2013-01.jpg") as image:
        drawing = np.asarray(image.convert("RGB"))
    height, width = drawing.shape[:2]
    wide, high = (shaped(picture, look.image_spec) for picture in (drawing, _on_a_high_ground(drawing)))
    assert (wide.shape, high.shape) == ((128, 192, 3), (160, 160, 3))
    (on_wide, on_high, again) = look.boxes([wide, high, wide])
    np.testing.assert_array_equal(on_wide, again)
    assert len(on_wide) == len(on_high) == 1
    x, y, w, h = on_high[0, :4] * (width, 2 * height, width, 2 * height)
    assert overlap(on_wide[0, :4].tolist(), [x / width, (y - height) / height, w / width, h / height]) > 0.7


def test_both_shapes_are_in_its_identity(tmp_path: Path) -> None:
    assert "/squash192x128+160x160/" in detectors.identity(resolve_detector("look", Silent()))
    folder = Path(shutil.copytree(LOOK, tmp_path / "look"))
    _edit("preprocessor_config.json", size_narrow=None)(folder)
    assert "/squash192x128/" in detectors.identity(resolve_detector(str(folder), Silent()))


def _on_a_high_ground(picture: np.ndarray) -> np.ndarray:
    """The picture below as much of its upper edge again."""
    return np.concatenate([np.repeat(picture[:1], len(picture), axis=0), picture])


@pytest.mark.parametrize("size", [(1, 1), (900, 3), (3, 900)])
def test_pictures_of_any_shape_can_be_looked_at(look: detectors.Detector, size: tuple[int, int]) -> None:
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    (boxes,) = look.boxes([shaped(picture, look.image_spec)])
    assert boxes.shape[1] == 5


def test_it_is_small_and_a_copy_of_it_is_the_same(look: detectors.Detector, tmp_path: Path) -> None:
    assert sum(path.stat().st_size for path in LOOK.glob("*.safetensors")) <= 3_000_000
    copy = shutil.copytree(LOOK, tmp_path / "copy")
    carried = detectors.load(resolve_detector(str(copy), Silent()), device="cpu")
    shown = glance(look, "mille-miglia-2013-01.jpg")
    np.testing.assert_array_equal(carried.boxes([shown])[0], look.boxes([shown])[0])


def _edit(name: str, **changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "cannot be loaded"),
        (_edit("config.json", least=2.0), "cannot be understood"),
        (_edit("config.json", least="much"), "cannot be understood"),
        (_edit("config.json", architecture="resnet18"), "cannot be loaded"),
        (_edit("preprocessor_config.json", size={"height": 150, "width": 224}), "multiples of 16"),
        (_edit("preprocessor_config.json", size={"longest_edge": 1024}), "multiples of 16"),
        (_edit("preprocessor_config.json", size_narrow={"height": 150, "width": 160}), "multiples of 16"),
        (_edit("preprocessor_config.json", size_narrow={"height": 160, "width": 0}), "160 x 0 pixels"),
        (_edit("preprocessor_config.json", size_narrow={"height": 160}), "cannot be understood"),
        (_edit("preprocessor_config.json", reducing_gap=0.5), "reducing_gap 0.5: must be 1 or more"),
        (_edit("preprocessor_config.json", reducing_gap=[2]), "cannot be understood"),
    ],
)
def test_a_damaged_one_is_one_line_with_its_place(damage: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    folder = shutil.copytree(LOOK, tmp_path / "look")
    damage(folder)
    with pytest.raises(ModelError, match=words) as raised:
        detectors.load(resolve_detector(str(folder), Silent()), device="cpu")
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)
