"""A detector on every GPU there is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cartag.checkpoints import Replicas
from cartag.detector.protocol import Detector
from cartag.values import ImageSpec


class SeveralDetectors:
    """Implements `cartag.detector.Detector` by equal ones on devices of their own."""

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._replicas = Replicas(detectors)
        self.identity = self._replicas.first.identity
        self.image_spec: ImageSpec = self._replicas.first.image_spec

    def boxes(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As the protocol has it."""
        parts = self._replicas.run(lambda detector, part: detector.boxes(part), photos)
        return [boxes for part in parts for boxes in part]
