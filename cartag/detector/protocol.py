"""The seam: what cartag asks of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from cartag.values import ImageSpec


class Detector(Protocol):
    """Finds the cars in photos."""

    @property
    def identity(self) -> str:
        """Equal identities give equal boxes: the key of cached boxes."""

    @property
    def image_spec(self) -> ImageSpec:
        """How the detector wants its photos: ``squash`` to a size, or ``native``, any shape, long side at most 1024.

        It takes others too, for boxes are fractions; larger ones show it nothing that it does not see in these.
        """

    def boxes(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The cars in each photo: uint8 RGB arrays (height, width, 3) to float32 arrays (n, 5), surest first.

        A row is x, y, width, height as fractions of the photo, from its top left corner, and the confidence (0..1). All
        are numbers, no box is empty, and none reaches beyond the photo by more than float32 rounds. What is found in a
        photo does not depend on the photos beside it.
        """
