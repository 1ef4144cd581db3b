"""What `models/look/config.json` says."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np

from cartag.detector.config import LOOK
from cartag.detector.processor import read_image_spec
from cartag.errors import ModelError
from cartag.values import ImageSpec

WEIGHTS = "model.safetensors"
_CONFIG = "config.json"
_PROCESSOR = "preprocessor_config.json"
_BILINEAR = 2
_GAP = 1.0  # a glance is so small that averaging before hardly changes a figure, in two thirds of the time
_SMALL, _LARGE = 1 / 12, 1 / 4  # of the photo's width


class LookSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Of what `look` is made, and when it says that something is a car."""

    architecture: str
    """Of timm: its first five stages."""
    least: float
    """Confidence from which on something is a car that takes a quarter of the photo's width or more."""
    least_small: float
    """... and from which on one that takes a twelfth or less; between them the bound moves evenly."""
    model_type: str = LOOK


def sure_enough(boxes: np.ndarray, spec: LookSpec) -> np.ndarray:
    """The boxes (n, 5) that are cars: of a small one it has to be surer, for more of them are none."""
    bounds = np.interp(boxes[:, 2], (_SMALL, _LARGE), (spec.least_small, spec.least))
    kept: np.ndarray = boxes[boxes[:, 4] >= bounds]
    return kept


def read_look_spec(folder: Path) -> LookSpec:
    """That of a folder.

    Raises:
        ModelError: there is none, or it cannot be understood.
    """
    path = folder / _CONFIG
    try:
        spec = msgspec.json.decode(path.read_bytes(), type=LookSpec)
        if spec.model_type != LOOK or not 0 < spec.least <= spec.least_small < 1:
            raise ValueError("not a config of look, or its least confidences are no probabilities")
    except (OSError, msgspec.DecodeError, ValueError) as e:
        raise ModelError(f"{path}: cannot be understood ({' '.join(str(e).split())[:200]})") from e
    return spec


def glance_spec(folder: Path) -> ImageSpec:
    """How `look` wants its photos.

    Raises:
        ModelError: there is no processor config, or one that does not fit its network.
    """
    spec = read_image_spec(folder)
    sides = (spec.height, spec.width, *(spec.narrow or ()))
    if spec.fit != "squash" or any(side % 16 for side in sides):
        raise ModelError(f"{folder}: look wants its photos squashed to sides that are multiples of 16")
    return spec


def glance_of(wide: tuple[int, int], narrow: tuple[int, int]) -> ImageSpec:
    """How a `look` that is written here wants its photos: heights and widths of those that are wide and narrow."""
    half = (0.5,) * 3
    return ImageSpec(*wide, "squash", min(wide), _BILINEAR, half, half, gap=_GAP, narrow=narrow)


def write_look_spec(folder: Path, spec: LookSpec, glance: ImageSpec) -> None:
    """Writes it, and how `look` wants its photos."""
    narrow = glance.narrow and {"height": glance.narrow[0], "width": glance.narrow[1]}
    processor = {
        "do_resize": True,
        "size": {"height": glance.height, "width": glance.width},
        "size_narrow": narrow,
        "resample": glance.resample,
        "reducing_gap": glance.gap,
        "image_mean": list(glance.mean),
        "image_std": list(glance.std),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ((_CONFIG, msgspec.to_builtins(spec)), (_PROCESSOR, processor)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
