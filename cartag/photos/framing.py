"""How a photo becomes the rectangle that a model wants: its size at the model's scale, and what is cut off or added."""

from __future__ import annotations

import numpy as np

from cartag.values import ImageSpec

_NATIVE_LONG_SIDE = 1024


def resized_size(size: tuple[int, int], spec: ImageSpec) -> tuple[int, int]:
    """Width and height of the whole photo at the model's scale, before any crop or padding."""
    width, height = size
    if spec.fit == "squash":
        return spec.width, spec.height
    if spec.fit == "crop":
        # Rounded down, as the processors of `transformers` do.
        short, long = min(size), max(size)
        scaled = int(spec.resize * long / short)
        if spec.width != spec.height:  # what covers the target: a portrait's short side is not the target's
            scale = max(spec.width / width, spec.height / height)
            return max(spec.width, round(width * scale)), max(spec.height, round(height * scale))
        return (spec.resize, scaled) if width <= height else (scaled, spec.resize)
    if spec.fit == "pad":
        scale = min(spec.width / width, spec.height / height)
    else:
        scale = min(1.0, _NATIVE_LONG_SIDE / max(size))
    return max(1, round(width * scale)), max(1, round(height * scale))


def fit(pixels: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Crops or pads a resized photo to the model's input: uint8 of shape (height, width, 3)."""
    if spec.fit == "crop":
        pixels = _centre(pixels, spec.height, spec.width)
    elif spec.fit == "pad":
        fill = tuple(round(255 * value) for value in spec.mean)
        canvas = np.empty((spec.height, spec.width, 3), np.uint8)
        canvas[:] = fill
        top, left = (spec.height - pixels.shape[0]) // 2, (spec.width - pixels.shape[1]) // 2
        canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        pixels = canvas
    return np.ascontiguousarray(pixels)


def _centre(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The centre of the photo; where the photo is smaller, black, as the processors of `transformers` do."""
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    if top >= 0 and left >= 0:
        return pixels[top : top + height, left : left + width]
    canvas = np.zeros((height, width, 3), np.uint8)
    inner = pixels[max(top, 0) : max(top, 0) + height, max(left, 0) : max(left, 0) + width]
    y, x = max(-top, 0), max(-left, 0)
    canvas[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
    return canvas
