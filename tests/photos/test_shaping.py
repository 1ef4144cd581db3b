"""Cars are cut out of large pictures, and glances made of them, in two steps: as good as in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cartag.photos import cut, glances, shaped
from cartag.photos.framing import around
from cartag.values import Box, ImageSpec

GALLERY = Path(__file__).resolve().parents[2] / "data" / "gallery"
GLANCE = ImageSpec(160, 224, "squash", 160, int(Image.Resampling.BILINEAR), (0.5,) * 3, (0.5,) * 3)
MODEL = ImageSpec(192, 256, "squash", 192, int(Image.Resampling.BICUBIC), (0.5,) * 3, (0.5,) * 3)
CAR = (0.1, 0.2, 0.8, 0.65)


def a_drawing() -> np.ndarray:
    """1,600 x 1,067 pixels: as large as pictures to cut from become."""
    with Image.open(next(iter(sorted(GALLERY.glob("*.jpg"))))) as image:
        return np.asarray(image.convert("RGB"))


def in_one_step(picture: np.ndarray, spec: ImageSpec, box: Box | None = None) -> np.ndarray:
    image = Image.fromarray(picture)
    window = None if box is None else around(box, image.size, spec)
    return np.asarray(image.resize((spec.width, spec.height), Image.Resampling(spec.resample), box=window))


@pytest.mark.parametrize("spec", [GLANCE, MODEL], ids=["bilinear", "bicubic"])
def test_a_picture_made_small_in_two_steps_is_the_same_but_for_less_than_a_level(spec: ImageSpec) -> None:
    picture = a_drawing()
    assert min(picture.shape[1] / spec.width, picture.shape[0] / spec.height) > 4  # squares of pixels are joined
    for ours, theirs in (
        (shaped(picture, spec), in_one_step(picture, spec)),
        (glances(picture, spec)[0], in_one_step(picture, spec)),
        (cut(picture, CAR, spec), in_one_step(picture, spec, CAR)),
    ):
        apart = np.abs(ours.astype(float) - theirs)
        print(f"{apart.mean():.2f} of 255 on average, {apart.max():.0f} at most")
        assert apart.mean() < 1


def test_a_picture_of_the_size_that_is_wanted_stays_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (GLANCE.height, GLANCE.width, 3), np.uint8)
    assert (shaped(picture, GLANCE) == picture).all()
