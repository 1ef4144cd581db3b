"""Samples of more than eight bits, as eight: which of their values is white.

What a file says of its range is no help: TIFF's `MaxSampleValue` is a statistic that is "not to be used to affect the
visual appearance" (TIFF 6.0, section 8). So the container decides, and where that is larger than what was put into it,
the values do:

- 16 bits: 65535 is white. But 12 bits in 16, as scanners and cameras of microscopes write them, are told by their
  brightest value between 2048 and 4095: then 4095 is white. A picture of 16 bits so dark would show nothing to anybody.
  Whatever is darker or brighter stays as it is, so that a night is not turned into day.
- 32-bit whole numbers have no white of their own: it is that of the least of 8, 10, 12, 14 and 16 bits that hold all.
- Whole numbers beyond that or below zero, and fractions, are stretched between their extremes. A thousandth of the
  pixels at either end does not count: one hot pixel, or an infinite one, would turn the rest black.
"""

from __future__ import annotations

import numpy as np

_WHITE_OF_12_IN_16 = 4095
_ENOUGH = 1_000_000
_OUTLIERS = 0.1  # percent, at either end


def eight_bits(values: np.ndarray, bits: int | None) -> np.ndarray:
    """Grey of any range as uint8.

    Args:
        values: float32 of any shape, finite or not.
        bits: of the container; 32 for whole numbers of that size; None: fractions.
    """
    low, high = _range(values, bits)
    scaled = np.nan_to_num((values - low) / max(high - low, 1e-30), nan=0.0, posinf=1.0, neginf=0.0)
    eight: np.ndarray = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return eight


def is_12_of_16(brightest: float) -> bool:
    """Whether values in 16 bits are of 12, by the brightest of them."""
    return (_WHITE_OF_12_IN_16 + 1) / 2 <= brightest <= _WHITE_OF_12_IN_16


def _range(values: np.ndarray, bits: int | None) -> tuple[float, float]:
    """Black and white."""
    if bits is None:
        return _extremes(values)
    brightest = float(values.max(initial=0))
    if bits == 16:
        return 0.0, _WHITE_OF_12_IN_16 if is_12_of_16(brightest) else 65535.0
    if bits < 16:
        return 0.0, 2.0**bits - 1
    holding = [white for white in (2.0**n - 1 for n in (8, 10, 12, 14, 16)) if brightest <= white]
    return (0.0, holding[0]) if holding and values.min(initial=0) >= 0 else _extremes(values)


def _extremes(values: np.ndarray) -> tuple[float, float]:
    some = values.reshape(-1)[:: max(1, values.size // _ENOUGH)]
    finite = some[np.isfinite(some)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, (_OUTLIERS, 100 - _OUTLIERS)))
    return (low, high) if high > low else (float(finite.min()), float(finite.max()))
