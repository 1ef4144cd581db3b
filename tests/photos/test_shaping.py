"""How a large picture becomes what a model sees: in one step, or where its spec says so in two, nearly as good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cartag.detector.spec import glance_spec
from cartag.encoder.processor import read_image_spec
from cartag.photos import cut, glances, shaped
from cartag.photos.framing import around
from cartag.values import Box, ImageSpec

ROOT = Path(__file__).resolve().parents[2]
SPECS = {"look": glance_spec(ROOT / "models" / "look"), "mini": read_image_spec(ROOT / "models" / "mini")}
CAR = (0.1, 0.2, 0.8, 0.65)


def a_drawing() -> np.ndarray:
    """1,600 x 1,067 pixels: as large as pictures to cut from become."""
    with Image.open(next(iter(sorted((ROOT / "data" / "gallery").glob("*.jpg"))))) as image:
        return np.asarray(image.convert("RGB"))


def in_one_step(picture: np.ndarray, spec: ImageSpec, box: Box | None = None) -> np.ndarray:
    image = Image.fromarray(picture)
    window = None if box is None else around(box, image.size, spec)
    return np.asarray(image.resize((spec.width, spec.height), Image.Resampling(spec.resample), box=window))


@pytest.mark.parametrize(("name", "gap", "levels"), [("mini", 2.0, 1.0), ("look", 1.0, 2.0)])
def test_a_picture_made_small_in_two_steps_is_nearly_the_same(name: str, gap: float, levels: float) -> None:
    picture, spec = a_drawing(), SPECS[name]
    assert spec.gap == gap
    assert min(picture.shape[1] / spec.width, picture.shape[0] / spec.height) > 4  # squares of pixels are joined
    for ours, theirs in (
        (shaped(picture, spec), in_one_step(picture, spec)),
        (glances(picture, spec)[0], in_one_step(picture, spec)),
        (cut(picture, CAR, spec), in_one_step(picture, spec, CAR)),
    ):
        apart = np.abs(ours.astype(float) - theirs)
        print(f"{apart.mean():.2f} of 255 on average, {apart.max():.0f} at most")
        assert 0 < apart.mean() < levels


@pytest.mark.parametrize(
    ("size", "narrow"),
    [
        ((1600, 1066), False),
        ((1333, 1000), False),
        ((1280, 1024), False),
        ((1225, 1000), False),
        ((1224, 1000), True),
        ((1000, 1000), True),
        ((1000, 1500), True),
        ((900, 4), False),
        ((4, 900), True),
        ((1, 1), True),
    ],
)
def test_a_narrow_photo_is_squashed_to_a_square(size: tuple[int, int], narrow: bool) -> None:
    width, height = size
    spec = SPECS["look"]
    assert spec.narrow == (160, 160)
    shown = shaped(np.zeros((height, width, 3), np.uint8), spec)
    assert shown.shape == ((160, 160, 3) if narrow else (128, 192, 3))
    assert shaped(np.zeros((height, width, 3), np.uint8), replace(spec, narrow=None)).shape == (128, 192, 3)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_without_a_gap_it_is_one_step(spec: ImageSpec) -> None:
    picture, hub = a_drawing(), replace(spec, gap=None)
    assert (shaped(picture, hub) == in_one_step(picture, hub)).all()
    assert (cut(picture, CAR, hub) == in_one_step(picture, hub, CAR)).all()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_picture_of_the_size_that_is_wanted_stays_as_it_is(spec: ImageSpec) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (spec.height, spec.width, 3), np.uint8)
    assert (shaped(picture, spec) == picture).all()
