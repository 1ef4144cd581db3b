"""Pictures that the recipe keeps squashed are seen as the tool sees the photographs that they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cartag.detector.spec import glance_of
from cartag.photos import cut, shaped

ROOT = Path(__file__).resolve().parents[2]
GLANCE = glance_of((128, 192), (160, 160))
CAR = (0.1, 0.45, 0.8, 0.4)


@pytest.fixture(scope="module")
def recipe() -> Any:
    """Loaded when the first test wants it: it takes torch with it."""
    from models.recipe import cuts

    return cuts


def a_photo(aspect: float) -> Image.Image:
    """Part of a drawing, so many times as wide as it is high."""
    with Image.open(ROOT / "data" / "gallery" / "mille-miglia-2013-01.jpg") as image:
        width, height = image.size
        shape = (height * aspect, height) if aspect < width / height else (width, width / aspect)
        left, top = ((have - want) / 2 for have, want in zip(image.size, shape, strict=True))
        return image.convert("RGB").crop((round(left), round(top), round(left + shape[0]), round(top + shape[1])))


def kept(photo: Image.Image) -> Any:
    from models.recipe.pictures import PHOTO_HW, Pictures

    squashed = np.asarray(photo.resize(PHOTO_HW[::-1], Image.Resampling.BICUBIC))[None]
    aspects = np.array([photo.width / photo.height], np.float32)
    return Pictures("photo", squashed, np.full(squashed.shape[:3], 255, np.uint8), aspects)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("aspect", [0.56, 0.75, 1.0, 1.33, 1.78, 2.4])
def test_a_photo_is_seen_as_the_tool_sees_it(recipe: Any, aspect: float) -> None:
    photo = a_photo(aspect)
    pixels, pictures = np.asarray(photo), kept(photo)
    assert shaped(pixels, GLANCE).shape == ((160, 160, 3) if aspect < 1.2 else (128, 192, 3))
    assert apart(recipe.as_seen(pictures, 0, GLANCE), shaped(pixels, GLANCE)) < 3
    spec = replace(recipe.spec_of((192, 256)), gap=None)
    assert apart(recipe.as_seen(pictures, 0, spec), shaped(pixels, spec)) < 3
    assert apart(recipe.as_seen(pictures, 0, spec, CAR), cut(pixels, CAR, spec)) < 4


@pytest.mark.parametrize("aspect", [0.56, 1.0, 1.78])
def test_what_is_kept_around_a_car_has_the_shape_that_the_tool_cuts(recipe: Any, aspect: float) -> None:
    from cartag.photos.framing import around
    from models.recipe.cuttings import wider

    photo = a_photo(aspect)
    small = (0.45, 0.48, 0.08, 0.06)  # nowhere near an edge, so that nothing of it is cut off
    left, top, right, bottom = around(small, photo.size, recipe.spec_of((192, 256)))
    _, shape = wider(kept(photo), 0, small)
    assert shape == pytest.approx((right - left) / (bottom - top), rel=0.01)
