"""What the tool would cut out of pictures: the boxes of the cars that `look` finds, by the tool's own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cartag import detector as detectors
from cartag.checkpoints import BUNDLED_DETECTOR, resolve_detector
from cartag.photos import cut, shaped
from cartag.progress import Silent
from cartag.scoring import Sight
from cartag.settings import Settings
from cartag.values import Box, ImageSpec
from models.recipe.pictures import GAP, MEAN, RUN_HW, STD

_BICUBIC = 3
_AT_ONCE = 64


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

    def boxes(self, pixels: np.ndarray) -> list[list[Box]]:
        """The cars in each of some pictures (N, H, W, 3) uint8, largest first."""
        return [[box for box, _ in boxes] for boxes in self.found(pixels)]

    def found(self, pixels: np.ndarray) -> list[list[tuple[Box, float]]]:
        """The same, with how sure the detector is."""
        found: list[list[tuple[Box, float]]] = []
        for start in range(0, len(pixels), _AT_ONCE):
            glances = [shaped(picture, self._detector.image_spec) for picture in pixels[start : start + _AT_ONCE]]
            found += [self._sight.chosen(seen) for seen in self._detector.boxes(glances)]
        return found


def shown(pixels: np.ndarray, boxes: list[list[Box]]) -> np.ndarray:
    """What the model is shown (N, h, w, 3) uint8 of whole pictures (N, H, W, 3) uint8: the largest car of each, or all
    of it where none was found."""
    spec = spec_of(RUN_HW)
    return np.stack(
        [
            cut(picture, found[0], spec) if found else shaped(picture, spec)
            for picture, found in zip(pixels, boxes, strict=True)
        ]
    )
