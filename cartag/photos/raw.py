"""RAW files of cameras: the preview that the camera put in, or the sensor's picture developed. The only importer of
rawpy (LibRaw), which the extra ``cartag[raw]`` installs."""

from __future__ import annotations

import importlib.util
import io
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from cartag.errors import PhotoError

EXTRA = "cartag[raw]"
_SWAPS_SIDES = (5, 6)
_EXIF_OF_FLIP = {0: 1, 3: 3, 5: 8, 6: 6}
"""LibRaw's word for how the camera was held -> the EXIF orientation that says the same."""


@cache
def reads_raw() -> bool:
    """Whether RAW files can be read."""
    return importlib.util.find_spec("rawpy") is not None


@dataclass(frozen=True, eq=False, slots=True)
class RawPicture:
    """A RAW file opened: its size, and its picture in one of two forms, or in none when only the size was wanted."""

    width: int
    """Of the whole photo, upright."""
    height: int
    preview: bytes | None = None
    """A JPEG by the camera."""
    orientation: int = 1
    """How ``preview`` has to be turned, where it does not say so itself."""
    pixels: np.ndarray | None = None
    """Developed: uint8 RGB of shape (height, width, 3), upright."""


def read(data: bytes, max_pixels: int) -> RawPicture:
    """Opens a RAW file: its size and, where it has one, its preview.

    Raises:
        PhotoError: rawpy is not installed, or the file cannot be read.
    """
    with _opened(data, max_pixels) as raw:
        width, height = _size(raw)
        return RawPicture(width, height, _preview(raw), _EXIF_OF_FLIP.get(raw.sizes.flip, 1))


def orientation(data: bytes) -> int:
    """How the photo has to be turned to be upright: the EXIF orientation; nothing of it is decoded.

    Raises:
        PhotoError: rawpy is not installed, or the file cannot be read.
    """
    with _opened(data, sys.maxsize) as raw:
        return _EXIF_OF_FLIP.get(raw.sizes.flip, 1)


def develop(data: bytes, least: int, max_pixels: int) -> RawPicture:
    """Makes the picture from the sensor's values, at half the size where that leaves ``least`` pixels a side.

    White balance as the camera had it; a demosaicing of half the size is four times as fast.

    Raises:
        PhotoError: rawpy is not installed, or the file cannot be read.
    """
    with _opened(data, max_pixels) as raw:
        width, height = _size(raw)
        half = min(width, height) >= 2 * least
        try:
            pixels = raw.postprocess(use_camera_wb=True, half_size=half, output_bps=8)
        except Exception as e:
            raise _photo_error(e) from e
        return RawPicture(width, height, pixels=pixels)


def _opened(data: bytes, max_pixels: int) -> Any:
    try:
        import rawpy
    except ImportError as e:
        raise PhotoError("unsupported", f"RAW files need rawpy: pip install '{EXTRA}'") from e
    try:
        raw = rawpy.imread(io.BytesIO(data))
    except Exception as e:
        raise _photo_error(e) from e
    width, height = raw.sizes.width, raw.sizes.height
    if width * height > max_pixels:
        raw.close()
        raise PhotoError("too-large", f"{width} x {height} pixels, the limit is {max_pixels} (settings: max_pixels)")
    return raw


def _size(raw: Any) -> tuple[int, int]:
    width, height = raw.sizes.width, raw.sizes.height
    return (height, width) if raw.sizes.flip in _SWAPS_SIDES else (width, height)


def _preview(raw: Any) -> bytes | None:
    """The camera's JPEG. Previews of other kinds are rare and small: without one the picture is developed."""
    import rawpy

    try:
        thumb = raw.extract_thumb()
    except Exception:  # no preview, a damaged one, or one that LibRaw does not know
        return None
    return thumb.data if thumb.format == rawpy.ThumbFormat.JPEG else None


_REASONS = {
    "LibRawFileUnsupportedError": "unsupported",
    "LibRawIOError": "truncated",
    "LibRawTooBigError": "too-large",
}


def _photo_error(error: Exception) -> PhotoError:
    """LibRaw's errors carry bytes; whatever else it raises on garbage is a damaged file."""
    detail = error.args[0] if error.args else ""
    text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
    reason = _REASONS.get(type(error).__name__, "corrupt")
    return PhotoError(reason, " ".join(f"LibRaw: {text or type(error).__name__}".split())[:200])
