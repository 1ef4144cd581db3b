"""Pixels resized as torch resizes bytes on a CPU, on any device, and many cuts of different sizes at once.

On a CPU torch resizes bytes in whole numbers, with Pillow's method: weights of some 15 bits, bytes between the passes
along the two sides. It does so nowhere else. What a GPU makes of floats differs by up to three levels of 255: enough to
move the box of a close-up, and with it the embedding (of one photo of the sample gallery to a cosine of 0.98).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch

Mode = Literal["bilinear", "bicubic"]

_SUPPORT = {"bilinear": 1, "bicubic": 2}
"""Pixels that a filter reaches to either side; where a picture is made smaller, of the smaller picture."""
_AT_ONCE = 64
"""Photos; meanwhile each takes some nine bytes for every value of (C, H, new width)."""


def cuts(photos: torch.Tensor, boxes: np.ndarray, size: tuple[int, int], mode: Mode) -> torch.Tensor:
    """The boxes of photos (N, C, H, W) uint8, each resized to (height, width): uint8 (N, C, height, width).

    The same bytes as of ``interpolate(cut, size, mode=mode, antialias=True)`` on a CPU. Boxes (N, 4) are left, top,
    right, bottom in pixels, within the photo and not empty.
    """
    across = _taps(boxes[:, 0::2], size[1], mode, photos.device)
    down = _taps(boxes[:, 1::2], size[0], mode, photos.device)
    parts = []
    for start in range(0, len(photos), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        wide = _resized(photos[some], across.of(some))
        parts.append(_resized(wide.transpose(2, 3), down.of(some)).transpose(2, 3))
    return torch.cat(parts)


class _Taps(NamedTuple):
    """What every new pixel along a side is made of; of one photo for all, where all are alike."""

    places: torch.Tensor
    """Pixels (N or 1, new size, taps), int64."""
    weights: torch.Tensor
    """Of the same shape, int32."""
    bits: torch.Tensor
    """By which the sum is to be shifted (N or 1, 1, 1, 1), int32."""

    def of(self, some: slice) -> _Taps:
        return self if len(self.places) == 1 else _Taps(self.places[some], self.weights[some], self.bits[some])


def _taps(spans: np.ndarray, size: int, mode: Mode, device: torch.device) -> _Taps:
    """For spans (N, 2) that are to have ``size`` pixels."""
    if (spans == spans[0]).all():
        spans = spans[:1]
    found = [_weights(int(end - start), size, mode) for start, end in spans]
    most = max(weights.shape[1] for _, weights, _ in found)
    padded = np.zeros((len(spans), size, most), np.int32)
    for row, (_, weights, _) in zip(padded, found, strict=True):
        row[:, : weights.shape[1]] = weights
    places = np.stack([first for first, _, _ in found])[:, :, None] + np.arange(most) + spans[:, :1, None]
    places = np.minimum(places, spans[:, 1:, None] - 1)  # beyond the span weights are zero
    bits = np.array([bits for _, _, bits in found], np.int32).reshape(-1, 1, 1, 1)
    return _Taps(*(torch.from_numpy(array).to(device) for array in (places, padded, bits)))


def _resized(photos: torch.Tensor, taps: _Taps) -> torch.Tensor:
    """Photos (N, C, H, W) uint8 with spans of their last side resized: uint8 (N, C, H, new size)."""
    shape = (*photos.shape[:3], taps.places.shape[1])
    total = torch.ones(shape, dtype=torch.int32, device=photos.device) << (taps.bits - 1)  # a half: it is rounded
    for tap in range(taps.places.shape[2]):
        places, weights = (of_all[:, None, None, :, tap] for of_all in taps[:2])
        total += photos.gather(3, places.expand(shape)).int().mul_(weights)
    return (total >> taps.bits).clamp_(0, 255).byte()


@lru_cache(maxsize=4096)  # for `mini` two sides of up to 576 pixels; boxes repeat, and each takes tens of operations
def _weights(length: int, size: int, mode: Mode) -> tuple[np.ndarray, np.ndarray, int]:
    """How ``length`` pixels become ``size``: the first pixel of each new one (size,), weights (size, taps), their bits.

    Weights are whole numbers: shares of 2 to the power of bits. After `_compute_index_ranges_int16_weights` in torch's
    `UpSampleKernel.cpp`, which is after Pillow's `precompute_coeffs`: the same operations in the same order.
    """
    scale = length / size
    support = _SUPPORT[mode] * max(scale, 1.0)
    taps = math.ceil(support) * 2 + 1
    centre = scale * (np.arange(size) + 0.5)
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    count = np.clip(np.minimum((centre + support + 0.5).astype(np.int64), length) - first, 0, taps)
    j = np.arange(taps)
    distance = np.abs(((j + first[:, None]) - centre[:, None] + 0.5) * (1.0 / scale if scale >= 1 else 1.0))
    share = np.where(j < count[:, None], _bicubic(distance) if mode == "bicubic" else np.maximum(1 - distance, 0), 0.0)
    share /= np.cumsum(share, axis=1)[:, -1:]  # one after the other, as a loop adds them
    bits = next((b for b in range(22) if int(0.5 + share.max() * (1 << (b + 1))) >= 1 << 15), 22)
    whole = np.trunc(share * (1 << bits) + np.copysign(0.5, share)).astype(np.int32)
    return first, whole, bits


def _bicubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution with a = -0.5, of distances."""
    near = ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    answer: np.ndarray = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return answer
