"""Photographs cut around their cars, by the tool's own code with the detector that ships."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from cartag import detector as detectors
from cartag.checkpoints import BUNDLED_DETECTOR, resolve_detector
from cartag.photos import cut, shaped
from cartag.photos.framing import around
from cartag.progress import Silent
from cartag.scoring import Sight
from cartag.values import Box, ImageSpec
from models.recipe.pictures import AROUND_HW, MEAN, PHOTO_HW, RUN_HW, STD, Pictures

_BICUBIC = 3
_WIDER = 0.125  # of a cut, on every side: training moves about there
_AT_ONCE = 64


def spec_of(hw: tuple[int, int]) -> ImageSpec:
    """A picture squashed to height x width."""
    return ImageSpec(*hw, "squash", min(hw), _BICUBIC, (MEAN,) * 3, (STD,) * 3)


class Cuts:
    """What the tool looks at in a photograph of one car: the largest that it finds, or all of it."""

    def __init__(self) -> None:
        files = resolve_detector(BUNDLED_DETECTOR, Silent())
        self._detector = detectors.load(files, device="cpu")
        self._sight = Sight(files, self._detector.identity, "main", 1, 0.05)

    def boxes(self, pixels: np.ndarray) -> list[Box | None]:
        """Of pictures (N, H, W, 3) uint8 the largest car of each; None where none is found."""
        found: list[Box | None] = []
        for start in range(0, len(pixels), _AT_ONCE):
            glances = [shaped(picture, self._detector.image_spec) for picture in pixels[start : start + _AT_ONCE]]
            chosen = [self._sight.chosen(seen) for seen in self._detector.boxes(glances)]
            found += [boxes[0][0] if boxes else None for boxes in chosen]
        return found

    def shown(self, pixels: np.ndarray) -> np.ndarray:
        """What the model is shown (N, h, w, 3) uint8 of whole pictures (N, H, W, 3) uint8."""
        spec = spec_of(RUN_HW)
        return np.stack(
            [
                shaped(picture, spec) if box is None else cut(picture, box, spec)
                for picture, box in zip(pixels, self.boxes(pixels), strict=True)
            ]
        )


def cut_around(cuts: Cuts, pictures: Pictures, to: Path) -> Pictures:
    """The same pictures cut a quarter wider than the model will see them, so that training can move about there."""
    if not (to.parent / (to.name + ".aspect.npy")).exists():
        count = len(pictures.pixels)
        out, aspects = np.empty((count, *AROUND_HW, 3), np.uint8), np.zeros(count, dtype=np.float32)
        for i, box in enumerate(cuts.boxes(pictures.pixels)):
            out[i], shape = _wider(pictures.pixels[i], box)
            aspects[i] = pictures.aspects[i] * shape / (PHOTO_HW[1] / PHOTO_HW[0])
        for ending, values in (
            (".npy", out),
            (".alpha.npy", np.full(out.shape[:3], 255, np.uint8)),
            (".aspect.npy", aspects),
        ):
            with tempfile.NamedTemporaryFile(dir=to.parent, delete=False) as part:
                np.save(part, values)
            Path(part.name).replace(str(to) + ending)
    return Pictures.open(to)


def _wider(picture: np.ndarray, box: Box | None) -> tuple[np.ndarray, float]:
    """What is around a car (h, w, 3), and width / height of the part of the picture that it shows."""
    height, width = picture.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    left, top, right, bottom = whole if box is None else around(box, (width, height), spec_of(RUN_HW))
    w, h = _WIDER * (right - left), _WIDER * (bottom - top)
    window = (max(0.0, left - w), max(0.0, top - h), min(width, right + w), min(height, bottom + h))
    cut_out = Image.fromarray(picture).resize(AROUND_HW[::-1], Image.Resampling.BICUBIC, box=window)
    return np.asarray(cut_out), (window[2] - window[0]) / (window[3] - window[1])
