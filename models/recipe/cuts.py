"""What the tool would cut out of pictures: the boxes of the cars that `look` finds, by the tool's own code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cartag import detector as detectors
from cartag.checkpoints import BUNDLED_DETECTOR, resolve_detector
from cartag.photos.framing import around, resized_size
from cartag.progress import Silent
from cartag.scoring import Sight
from cartag.settings import Settings
from cartag.values import Box, ImageSpec
from models.recipe.pictures import GAP, MEAN, RUN_HW, STD, Pictures

_BICUBIC = 3
_AT_ONCE = 64
_HIGH = 1000  # a photograph whose shape is known, and not its size, is taken to have so many rows


def spec_of(hw: tuple[int, int]) -> ImageSpec:
    """A picture squashed to height x width."""
    return ImageSpec(*hw, "squash", min(hw), _BICUBIC, (MEAN,) * 3, (STD,) * 3, gap=GAP)


class Cuts:
    """A detector, the one that ships or that of a folder, and what the tool looks at of what it finds."""

    def __init__(self, folder: Path | None = None) -> None:
        defaults = Settings()
        files = resolve_detector(BUNDLED_DETECTOR if folder is None else str(folder), Silent())
        self._detector = detectors.load(files, device="cpu")
        self._sight = Sight(files, self._detector.identity, "all", defaults.most_regions, defaults.least_region)

    def boxes(self, pictures: Pictures, rows: Sequence[int]) -> list[list[Box]]:
        """The cars in each of some pictures, largest first."""
        return [[box for box, _ in boxes] for boxes in self.found(pictures, rows)]

    def found(self, pictures: Pictures, rows: Sequence[int]) -> list[list[tuple[Box, float]]]:
        """The same, with how sure the detector is."""
        found: list[list[tuple[Box, float]]] = []
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            glances = [as_seen(pictures, row, self._detector.image_spec) for row in some]
            found += [self._sight.chosen(seen) for seen in self._detector.boxes(glances)]
        return found


def as_seen(pictures: Pictures, row: int, spec: ImageSpec, box: Box | None = None) -> np.ndarray:
    """A picture, or a car in it, as the tool makes it of the photograph: (h, w, 3) uint8.

    Pictures are kept squashed to one shape. What is cut out around a car, and the shape of a glance, follow from the
    photograph's own.
    """
    kept = Image.fromarray(pictures.pixels[row])
    size, window = resized_size(own_size(pictures, row), spec), None
    if box is not None:
        size, window = (spec.width, spec.height), window_of(pictures, row, box, spec)
    return np.asarray(kept.resize(size, Image.Resampling(spec.resample), box=window, reducing_gap=spec.gap))


def window_of(pictures: Pictures, row: int, box: Box, spec: ImageSpec) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, in pixels of the picture as it is kept, of what the tool cuts out for a car."""
    kept_height, kept_width = pictures.pixels[row].shape[:2]
    width, height = own_size(pictures, row)
    left, top, right, bottom = around(box, (width, height), spec)
    x, y = kept_width / width, kept_height / height
    return left * x, top * y, min(right * x, kept_width), min(bottom * y, kept_height)


def own_size(pictures: Pictures, row: int) -> tuple[int, int]:
    """A width and a height of the photograph's own shape."""
    return max(1, round(float(pictures.aspects[row]) * _HIGH)), _HIGH


def shown(pictures: Pictures, rows: Sequence[int], boxes: Sequence[list[Box]]) -> np.ndarray:
    """What the model is shown (N, h, w, 3) uint8 of some pictures: the largest car of each, or all of it where none was
    found."""
    spec = spec_of(RUN_HW)
    return np.stack([as_seen(pictures, row, spec, *found[:1]) for row, found in zip(rows, boxes, strict=True)])
