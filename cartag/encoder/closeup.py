"""Looking closer: finding the car in a photo, so that the model sees it large and not the scenery around it.

A car that fills a quarter of a photo has a quarter of the model's pixels. A locator, the first stages of a small
convolutional network and a head, glances at the whole photo, much reduced, and says for every cell of a grid how
likely a car is there; the model is then shown the box around these cells, cut from the photo as it was decoded. The
idea is that of Fu, Zheng and Mei, "Look Closer to See Better" (2017), with a locator that was taught where cars are.

Only a checkpoint with a `closeup.json` beside its weights has one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from cartag.checkpoints import folded, without_tf32
from cartag.encoder.processor import CLOSE_UP, CloseUpSpec, read_closeup
from cartag.encoder.resizing import cuts
from cartag.errors import ModelError

WEIGHTS = "closeup.safetensors"


class Locator(nn.Module):
    """Glances (N, 3, H, W), normalised, to evidence (N, h, w): the chance that a car is in each cell."""

    def __init__(self, architecture: str, stages: int) -> None:
        """Builds it with random weights; of timm's EfficientNets, and no other kind of network.

        Raises:
            RuntimeError, AttributeError, IndexError: timm knows no such network, or it is of another kind, or has fewer
                stages.
        """
        import timm

        super().__init__()
        body: Any = timm.create_model(architecture, pretrained=False, num_classes=0)
        channels = body.blocks[stages - 1][-1].conv_pwl.out_channels
        self.trunk = nn.Sequential(body.conv_stem, body.bn1, *body.blocks[:stages])
        self.head = nn.Sequential(
            nn.Conv2d(channels, 64, 1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 5, padding=2, groups=64),
            nn.Conv2d(64, 64, 1),
            nn.ReLU(),
            nn.Conv2d(64, 1, 3, padding=1),
        )

    def forward(self, glances: torch.Tensor) -> torch.Tensor:
        """See the class."""
        evidence: torch.Tensor = self.head(self.trunk(glances)).squeeze(1).sigmoid()
        return evidence


class CloseUp:
    """Cuts out of every photo what the model is to see."""

    def __init__(self, spec: CloseUpSpec, locator: Locator, device: torch.device | None = None) -> None:
        """With a locator that has its weights; it computes in float32, so that boxes hardly differ between devices."""
        self._spec, self._device = spec, device or torch.device("cpu")
        self._locator = folded(locator.eval().float().to(memory_format=torch.channels_last)).to(self._device)
        self._locator.requires_grad_(False)
        self._torch_resizes_bytes = self._device.type == "cpu"

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> CloseUp | None:
        """That of a checkpoint, None if it has none.

        Raises:
            ModelError: its files are damaged or do not belong together.
        """
        from safetensors.torch import load_file

        spec = read_closeup(folder)
        if spec is None:
            return None
        try:
            locator = Locator(spec.architecture, spec.stages)
            locator.load_state_dict(load_file(folder / WEIGHTS))
            if not all(bool(value.isfinite().all()) for value in locator.state_dict().values()):
                raise ValueError("some of its weights are no numbers")
        except Exception as e:  # timm, torch and safetensors raise whatever they like
            raise ModelError(f"{folder / WEIGHTS}: cannot be loaded ({' '.join(str(e).split())[:200]})") from e
        # On Apple's MPS the cuts were never tried.
        return cls(spec, locator, device if device.type == "cuda" else torch.device("cpu"))

    def boxes(self, photos: torch.Tensor) -> np.ndarray:
        """Boxes (N, 4) in whole pixels, left, top, right, bottom, of photos (N, 3, H, W) uint8."""
        spec, height, width = self._spec, photos.shape[2], photos.shape[3]
        photos = photos.to(self._device)
        glances = self._reduced(photos, (height // spec.reduction, width // spec.reduction))
        glances = glances.div_(255).sub_(spec.mean).div_(spec.std).contiguous(memory_format=torch.channels_last)
        with without_tf32(self._device):  # a cell more or less at the edge of a car moves the whole box
            evidence = self._locator(glances).cpu().numpy()
        shares = np.stack([box_around(cells, spec) for cells in evidence]).reshape(-1, 2, 2)
        boxes: np.ndarray = np.rint(shares * [width, height]).astype(int)
        boxes[:, 0] = np.minimum(boxes[:, 0], [width - 1, height - 1])
        boxes[:, 1] = np.maximum(boxes[:, 1], boxes[:, 0] + 1)  # a pixel at least
        return boxes.reshape(-1, 4)

    def __call__(self, photos: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Close-ups (N, 3, height, width) float32 of photos (N, 3, H, W) uint8, both in 0..255, on the same device."""
        here = photos.to(self._device)
        return self._cut(here, self.boxes(here), (height, width)).to(photos.device)

    def _reduced(self, photos: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Photos (N, 3, H, W) uint8 at another size: float32, the same whole numbers on a CPU and on a GPU."""
        if self._torch_resizes_bytes:
            return nn.functional.interpolate(photos, size, mode="bilinear", antialias=True).float()
        whole = np.tile([0, 0, photos.shape[3], photos.shape[2]], (len(photos), 1))
        return cuts(photos, whole, size, "bilinear").float()

    def _cut(self, photos: torch.Tensor, boxes: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
        """The boxes (N, 4) of such photos, likewise."""
        if not self._torch_resizes_bytes:
            return cuts(photos, boxes, size, "bicubic").float()
        parts = [
            nn.functional.interpolate(photo[None, :, top:bottom, left:right], size, mode="bicubic", antialias=True)
            for photo, (left, top, right, bottom) in zip(photos, boxes.tolist(), strict=True)
        ]
        return torch.cat(parts).float()


def box_around(evidence: np.ndarray, spec: CloseUpSpec) -> np.ndarray:
    """The box (left, top, right, bottom), in shares of a photo's sides, around the cells (h, w) that hold a car."""
    if evidence.max() <= spec.faint:
        return np.array([0.0, 0.0, 1.0, 1.0])
    mass = np.where(evidence > spec.relative * evidence.max(), evidence, 0)
    sides = [_middle(mass.sum(0), spec.tail), _middle(mass.sum(1), spec.tail)]
    centre = np.array([(low + high) / 2 for low, high in sides])
    size = np.array([high - low for low, high in sides]) * (1 + 2 * spec.margin)
    size = np.minimum(1, np.maximum(size, [max(spec.least, spec.squareness * size.max())] * 2))
    start = np.clip(centre - size / 2, 0, 1 - size)
    return np.concatenate([start, start + size])


def _middle(mass: np.ndarray, tail: float) -> tuple[float, float]:
    """Between which places (0..1) the mass lies, less ``tail`` of it on either side; within a cell it lies evenly."""
    used = np.flatnonzero(mass)
    first, last = used[0], used[-1] + 1
    reached = np.concatenate([[0.0], np.cumsum(mass[first:last]) / mass.sum()])
    low, high = np.interp([tail, 1 - tail], reached, np.arange(first, last + 1) / len(mass))
    return float(low), float(high)


def write(folder: Path, spec: CloseUpSpec, locator: Locator) -> None:
    """Writes both files, weights as float16."""
    from safetensors.torch import save_file

    weights: dict[str, Any] = {
        key: value.half().contiguous() if value.is_floating_point() else value
        for key, value in locator.state_dict().items()
        if "num_batches" not in key
    }
    save_file(weights, folder / WEIGHTS)
    (folder / CLOSE_UP).write_text(json.dumps(msgspec.to_builtins(spec), indent=2) + "\n", encoding="utf-8")
