"""The bundled detector, `look`: one glance at a reduced photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cartag.checkpoints import Passes, choose_device, folded, without_tf32
from cartag.detector.network import Look
from cartag.detector.peaks import boxes_of, by_shape
from cartag.detector.spec import WEIGHTS, LookSpec, glance_spec, read_look_spec, sure_enough, write_look_spec
from cartag.errors import ModelError
from cartag.values import ImageSpec, ModelFiles

_ON_CORE = 4
"""Glances a pass on a core by torch: of more the activations no longer stay in its caches."""


class LookDetector:
    """See `cartag.detector.Detector`. Computes in float32 everywhere, so that boxes hardly differ between devices."""

    def __init__(self, files: ModelFiles, identity: str, *, device: str = "auto") -> None:
        """Loads the weights in ``files.folder``.

        Raises:
            ModelError: they are damaged, or do not belong together, or the device is not there.
        """
        folder = Path(files.folder)
        self.identity = identity
        self.image_spec: ImageSpec = glance_spec(folder)
        self._spec = spec = read_look_spec(folder)
        self._device = choose_device(device)
        network = _loaded(spec.architecture, folder / WEIGHTS)
        network.eval().float().to(memory_format=torch.channels_last)
        self._network = folded(network).to(self._device)
        self._network.requires_grad_(False)
        self._passes = Passes(self._device, on_core=_ON_CORE)

    def boxes(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Boxes (n, 5) of glances, uint8 RGB as `image_spec` has them: x, y, width, height, confidence."""
        cells = by_shape(lambda some: self._passes.run(self._cells, some).numpy(), photos)
        return [sure_enough(boxes_of(answer, self._spec.least), self._spec) for answer in cells]

    def _cells(self, glances: Sequence[np.ndarray]) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack(glances)).to(self._device).permute(0, 3, 1, 2).float()
        pixels = pixels.div_(255).sub_(0.5).div_(0.5).contiguous(memory_format=torch.channels_last)
        with without_tf32(self._device):
            cells: torch.Tensor = self._network(pixels).float()
        return cells


def _loaded(architecture: str, path: Path) -> Look:
    from safetensors.torch import load_file

    try:
        network = Look(architecture)
        network.load_state_dict(load_file(path))
        if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
            raise ValueError("some of its weights are no numbers")
    except Exception as e:  # timm, torch and safetensors raise whatever they like
        raise ModelError(f"{path}: cannot be loaded ({' '.join(str(e).split())[:200]})") from e
    return network


def write(folder: Path, spec: LookSpec, network: Look, glance: ImageSpec) -> None:
    """Writes config and weights, these as float16."""
    from safetensors.torch import save_file

    write_look_spec(folder, spec, glance)
    weights: dict[str, Any] = {
        key: value.half().contiguous() if value.is_floating_point() else value
        for key, value in network.state_dict().items()
        if "num_batches" not in key
    }
    save_file(weights, folder / WEIGHTS)
