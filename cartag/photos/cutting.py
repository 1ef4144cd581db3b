"""Pieces of a photo as JPEGs of their own: one a box."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, sqrt

import numpy as np

from cartag.photos.images import DEFAULT_MAX_PIXELS, decode, jpeg_of, reduced_to
from cartag.values import Box

_MOST_PIXELS = 64_000_000
"""Of a photo that pieces are cut from: a larger one is reduced, so that the memory holds it."""


def pieces(
    data: bytes,
    boxes: Sequence[Box],
    longest: int,
    *,
    margin: float = 0.0,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    raw: bool = False,
) -> list[bytes]:
    """The boxes of a photo as JPEGs: upright, RGB, without metadata, one a box in their order.

    Args:
        data: the photo's bytes.
        boxes: x, y, width, height as fractions of the upright photo.
        longest: pixels of the longer side of a piece, at most; no piece is enlarged.
        margin: what is cut around a box on each side, as a share of its width or height, as far as the photo goes.
        max_pixels: as in `decode`.
        raw: as in `decode`.

    Raises:
        PhotoError: with the reason why the photo cannot be read.
    """
    whole = decode(data, None, max_pixels, raw=raw)
    decoded: dict[tuple[int, int], np.ndarray] = {}
    found = []
    for box in boxes:
        x, y, right, bottom = _widened(box, margin)
        side = max((right - x) * whole.width, (bottom - y) * whole.height)
        scale = min(1.0, longest / max(1.0, side), sqrt(_MOST_PIXELS / (whole.width * whole.height)))
        size = max(1, round(whole.height * scale)), max(1, round(whole.width * scale))
        if size not in decoded:
            pixels = decode(data, reduced_to(*size), max_pixels, raw=raw).pixels
            assert pixels is not None  # a spec was given
            decoded = {size: pixels}  # one at a time; boxes of one size follow each other
        rows, columns = _span(y, bottom, size[0], longest), _span(x, right, size[1], longest)
        found.append(jpeg_of(decoded[size][rows, columns]))
    return found


def _widened(box: Box, margin: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom."""
    x, y, width, height = box
    wide, high = margin * width, margin * height
    return max(0.0, x - wide), max(0.0, y - high), min(1.0, x + width + wide), min(1.0, y + height + high)


def _span(start: float, end: float, side: int, longest: int) -> slice:
    """Whole pixels, one at least and ``longest`` at most."""
    first = min(side - 1, floor(start * side))
    return slice(first, min(first + longest, max(first + 1, ceil(end * side - 1e-6))))
