"""Pixels resized as torch resizes bytes on a CPU, on any device, and many cuts of different sizes at once.

On a CPU torch resizes bytes in whole numbers, with Pillow's method: weights of some 15 bits, bytes between the passes
along the two sides. It does so nowhere else. What a GPU makes of floats differs by up to three levels of 255: enough to
move the box of a close-up, and with it the embedding (of one photo of the sample gallery to a cosine of 0.98).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch

Filter = Literal["bilinear", "bicubic"]

_REACH = {"bilinear": 1, "bicubic": 2}
"""Pixels that a filter reaches to either side; where a picture is made smaller, of the smaller picture."""
_AT_ONCE = 32
"""Photos: what they take in memory meanwhile is some eight times their own bytes."""


def cuts(photos: torch.Tensor, boxes: np.ndarray, size: tuple[int, int], how: Filter) -> torch.Tensor:
    """The boxes of photos (N, C, H, W) uint8, each resized to (height, width): uint8 (N, C, height, width).

    The same bytes as of ``interpolate(cut, size, mode=how, antialias=True)`` on a CPU. Boxes (N, 4) are left, top,
    right, bottom in pixels, within the photo and not empty.
    """
    parts = [
        _along(
            _along(photos[i : i + _AT_ONCE], boxes[i : i + _AT_ONCE, 0::2], size[1], how).transpose(2, 3),
            boxes[i : i + _AT_ONCE, 1::2],
            size[0],
            how,
        ).transpose(2, 3)
        for i in range(0, len(photos), _AT_ONCE)
    ]
    return torch.cat(parts)


def _along(photos: torch.Tensor, spans: np.ndarray, size: int, how: Filter) -> torch.Tensor:
    """Photos (N, C, H, W) with the spans (N, 2) of their last side resized: uint8 (N, C, H, size)."""
    n, c, h, _ = photos.shape
    found = [weights(int(end - start), size, how) for start, end in spans]
    most = max(whole.shape[1] for _, whole, _ in found)
    kernels = np.zeros((n, size, most), np.int32)
    for row, (_, whole, _) in zip(kernels, found, strict=True):
        row[:, : whole.shape[1]] = whole
    places = np.stack([first for first, _, _ in found])[:, :, None] + np.arange(most) + spans[:, :1, None]
    places = np.minimum(places, spans[:, 1:, None] - 1)  # beyond the span weights are zero
    where, kernel = (torch.from_numpy(a).to(photos.device)[:, None, None] for a in (places, kernels))
    bits = torch.tensor([bits for _, _, bits in found], dtype=torch.int32, device=photos.device).view(n, 1, 1, 1)
    total = torch.ones((n, c, h, size), dtype=torch.int32, device=photos.device) << (bits - 1)  # a half: it is rounded
    for tap in range(most):
        pixels = photos.gather(3, where[..., tap].expand(n, c, h, size)).int()
        total += pixels.mul_(kernel[..., tap])
    return (total >> bits).clamp_(0, 255).byte()


@lru_cache(maxsize=2048)  # there are as many lengths as a photo has pixels on a side
def weights(length: int, size: int, how: Filter) -> tuple[np.ndarray, np.ndarray, int]:
    """How ``length`` pixels become ``size``: the first pixel of each new one (size,), weights (size, taps), their bits.

    Weights are whole numbers: shares of 2 to the power of bits. After `_compute_index_ranges_int16_weights` in torch's
    `UpSampleKernel.cpp`, which is after Pillow's `precompute_coeffs`: the same operations in the same order.
    """
    scale = length / size
    support = _REACH[how] * max(scale, 1.0)
    taps = math.ceil(support) * 2 + 1
    centre = scale * (np.arange(size) + 0.5)
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    count = np.clip(np.minimum((centre + support + 0.5).astype(np.int64), length) - first, 0, taps)
    j = np.arange(taps)
    distance = np.abs(((j + first[:, None]) - centre[:, None] + 0.5) * (1.0 / scale if scale >= 1 else 1.0))
    share = np.where(j < count[:, None], _bicubic(distance) if how == "bicubic" else np.maximum(1 - distance, 0), 0.0)
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
