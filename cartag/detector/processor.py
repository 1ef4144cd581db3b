"""Reading a detector's own processor config: how it wants its photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cartag.checkpoints import image_config, reducing_gap, triple
from cartag.errors import ModelError
from cartag.values import ImageSpec

_BILINEAR = 2
_LONG_SIDE = 1024  # of a photo that keeps its shape, as `cartag.photos` decodes it
_LARGEST = 8192
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def read_image_spec(folder: Path) -> ImageSpec:
    """The image side of ``preprocessor_config.json``.

    A detector with one size (``height`` and ``width``) has photos squashed to it, or to its ``size_narrow`` where that
    is nearer to their shape, which `look` has and those of a hub do not; one whose size is that of an edge, or a
    largest one, keeps their shape.

    Raises:
        ModelError: no processor config, or one that does not say what a detector needs to know.
    """
    try:
        return _image_spec(folder, image_config(folder))
    except (TypeError, ValueError, LookupError, AttributeError) as e:  # a value of another kind than expected
        raise ModelError(f"{folder}: its processor config cannot be understood ({e})") from e


def _image_spec(folder: Path, config: dict[str, Any]) -> ImageSpec:
    mean = triple(config.get("image_mean") or _IMAGENET[0])
    std = triple(config.get("image_std") or _IMAGENET[1])
    resample = int(config.get("resample", _BILINEAR))
    size = config.get("size")
    sides = [int(side) for side in (size.values() if isinstance(size, dict) else [size]) if side is not None]
    if not sides or not all(0 < side <= _LARGEST for side in sides):
        raise ModelError(f"{folder}: its processor config names no size; the folder is not a complete checkpoint")
    if isinstance(size, dict) and size.get("height") and size.get("width"):
        (height, width), gap = _sides(size), reducing_gap(config)
        narrow = _sides(config["size_narrow"]) if config.get("size_narrow") else None
        return ImageSpec(height, width, "squash", min(height, width), resample, mean, std, gap=gap, narrow=narrow)
    return ImageSpec(_LONG_SIDE, _LONG_SIDE, "native", _LONG_SIDE, resample, mean, std)


def _sides(size: dict[str, Any]) -> tuple[int, int]:
    height, width = int(size["height"]), int(size["width"])
    if not (0 < height <= _LARGEST and 0 < width <= _LARGEST):
        raise ValueError(f"a size of {height} x {width} pixels")
    return height, width
