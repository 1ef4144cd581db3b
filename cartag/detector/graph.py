"""The bundled detector, `look`, on ONNX Runtime: the same boxes as by torch, which it does without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cartag.checkpoints import CorePasses, Graph, read_weights
from cartag.detector.peaks import boxes_of, by_shape
from cartag.detector.spec import WEIGHTS, glance_spec, read_look_spec, sure_enough
from cartag.values import ImageSpec, ModelFiles

DECIDED_BY = ("architecture", "model_type")
"""What of a config decides the graph."""
_ON_CORE = 2
"""Glances a pass on a core: of more the activations no longer stay in its caches."""


class GraphLook:
    """See `cartag.detector.Detector`."""

    def __init__(self, files: ModelFiles, graphs: Path, identity: str) -> None:
        """Loads the weights in ``files.folder`` into the graph in ``graphs``.

        Raises:
            ModelError: its config cannot be understood.
            GraphError: ONNX Runtime is not there, or the files are damaged or do not belong together.
        """
        folder = Path(files.folder)
        self.identity = identity
        self.image_spec: ImageSpec = glance_spec(folder)
        self._spec = read_look_spec(folder)
        self._graph = Graph(graphs / "look.onnx", read_weights(folder / WEIGHTS))
        self._passes = CorePasses(on_core=_ON_CORE)

    def boxes(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Boxes (n, 5) of glances, uint8 RGB as `image_spec` has them: x, y, width, height, confidence."""
        cells = by_shape(lambda some: self._passes.run(self._cells, some), photos)
        return [sure_enough(boxes_of(answer, self._spec.least), self._spec) for answer in cells]

    def _cells(self, glances: Sequence[np.ndarray]) -> np.ndarray:
        return self._graph.run(glances=np.stack(glances))
