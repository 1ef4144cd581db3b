"""How a photo becomes the rectangle that a model wants: its size at the model's scale, and what is cut off or added."""

from __future__ import annotations

import math

import numpy as np

from cartag.values import Box, ImageSpec

_NATIVE_LONG_SIDE = 1024
_PICTURE_SIDE = 800
"""Of a photo that cars are cut from, at least: of a camera's 4,000 pixels a quarter is decoded, of 1,600 half."""
PICTURE = ImageSpec(_PICTURE_SIDE, _PICTURE_SIDE, "whole", _PICTURE_SIDE, 3, (0.5,) * 3, (0.5,) * 3, drafted=1)
_MOST_PIXELS = 2_800_000

_MARGIN = 0.2
"""Of a box's size, on either side: mini was trained so, and what stands around a car tells something of it."""
_SQUASHED = 4 / 3
"""How far a cut may be wider or narrower than the model's input: the rest is taken from around the car."""


_LONG = 2.5
"""Aspect beyond which a photo is looked at in tiles."""
_WIDE_TILE, _HIGH_TILE = 2.0, 4 / 3
"""Length of a tile of a wide photo, and of a high one, in short sides, at most: where a car fits into half of it."""
_MOST_TILES = 8
_WHOLE = (0.0, 0.0, 1.0, 1.0)


def is_panorama(width: int, height: int) -> bool:
    """Whether a photo of this size is looked at in `tiles`."""
    return max(width, height) > _LONG * min(width, height)


def tiles(width: int, height: int) -> tuple[Box, ...]:
    """What a detector is shown of a photo of this size, as fractions of it: the whole.

    Of a panorama also tiles along its long side, evenly spread, each half over the next one. There are eight at most,
    which are longer then: what a picture costs has a bound.
    """
    long, short = max(width, height), min(width, height)
    if not is_panorama(width, height):
        return (_WHOLE,)
    sides = 2 * long / short / (_WIDE_TILE if width > height else _HIGH_TILE)  # in halves of a tile
    count = min(_MOST_TILES, max(2, math.ceil(sides) - 1))
    length = 2 / (count + 1)
    starts = [i * length / 2 for i in range(count)]
    cut = [(start, 0.0, length, 1.0) if width > height else (0.0, start, 1.0, length) for start in starts]
    return (_WHOLE, *cut)


def resized_size(size: tuple[int, int], spec: ImageSpec) -> tuple[int, int]:
    """Width and height of the whole photo at the model's scale, before any crop or padding."""
    width, height = size
    if spec.fit == "squash":
        return _squashed(width / height, spec)
    if spec.fit == "crop":
        # Rounded down, as the processors of `transformers` do.
        short, long = min(size), max(size)
        scaled = int(spec.resize * long / short)
        if spec.width != spec.height:  # what covers the target: a portrait's short side is not the target's
            scale = max(spec.width / width, spec.height / height)
            return max(spec.width, round(width * scale)), max(spec.height, round(height * scale))
        return (spec.resize, scaled) if width <= height else (scaled, spec.resize)
    if spec.fit == "whole":
        # Of a panorama the short side counts too: it is as wide as it likes, within the bytes of twenty photos.
        scale = max(spec.resize / max(size), spec.resize / 3 / min(size))
        scale = min(1.0, scale, (_MOST_PIXELS / (width * height)) ** 0.5)
    elif spec.fit == "pad":
        scale = min(spec.width / width, spec.height / height)
    else:
        scale = min(1.0, _NATIVE_LONG_SIDE / max(size))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _squashed(aspect: float, spec: ImageSpec) -> tuple[int, int]:
    """Width and height of that of its shapes which is nearest to the photo's: in another its cars would be slivers."""
    shapes = [(spec.width, spec.height), *([spec.narrow[::-1]] if spec.narrow else [])]
    width, height = min(shapes, key=lambda shape: abs(math.log(shape[0] / shape[1] / aspect)))
    return width, height


def around(box: Box, size: tuple[int, int], spec: ImageSpec) -> tuple[float, float, float, float]:
    """What is cut out for a car: left, top, right, bottom in pixels of a photo of this width and height.

    The box and a margin, in a shape near that of the model's input: what is wider or narrower than that by more than a
    third is filled up from around the car, within the photo.
    """
    width, height = size
    x, y, w, h = (value * side for value, side in zip(box, (width, height, width, height), strict=True))
    cut_w, cut_h = w * (1 + 2 * _MARGIN), h * (1 + 2 * _MARGIN)
    if spec.fit != "native":
        wanted = spec.width / spec.height
        cut_w, cut_h = max(cut_w, cut_h * wanted / _SQUASHED), max(cut_h, cut_w / wanted / _SQUASHED)
    cut_w, cut_h = min(width, max(cut_w, 1.0)), min(height, max(cut_h, 1.0))
    left = min(max(0.0, x + w / 2 - cut_w / 2), width - cut_w)
    top = min(max(0.0, y + h / 2 - cut_h / 2), height - cut_h)
    return left, top, left + cut_w, top + cut_h


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
