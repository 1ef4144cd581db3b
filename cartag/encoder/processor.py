"""Reading a checkpoint's own processor config: how it wants its pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from cartag.checkpoints import image_config, is_plain_word, triple
from cartag.errors import ModelError
from cartag.values import ImageSpec

CLOSE_UP = "closeup.json"
_BICUBIC = 3
_MOST_PIXELS = 4096 * 4096


def read_image_spec(folder: Path, fit: str = "auto") -> ImageSpec:
    """The image side of ``preprocessor_config.json`` (or of ``processor_config.json``, as transformers 5 writes it).

    ``fit`` other than ``auto`` overrides how a photo that is not square becomes the model's input.

    Raises:
        ModelError: no processor config, or one that does not say what a model needs to know.
    """
    spec = _spec_of_model(folder, fit)
    closeup = read_closeup(folder)
    if closeup is None:
        return spec
    if spec.fit == "native":
        raise ModelError(f"{folder / CLOSE_UP}: not for a model that takes photos of any shape; remove it")
    # The model's own input is cut from the photo later. What is decoded is larger, so that the cut is sharp; to make it
    # sharper still, from a picture twice as large, would cost more than it gives.
    height, width = closeup.photo
    return replace(spec, height=height, width=width, resize=min(height, width), drafted=1)


def input_size(folder: Path) -> tuple[int, int]:
    """Height and width of the pixels that the model itself takes.

    Raises:
        ModelError: see `read_image_spec`.
    """
    spec = _spec_of_model(folder, "auto")
    return spec.height, spec.width


def _spec_of_model(folder: Path, fit: str) -> ImageSpec:
    try:
        return _image_spec(folder, image_config(folder), fit)
    except (TypeError, ValueError, LookupError, AttributeError) as e:  # a value of another kind than expected
        raise ModelError(f"{folder}: its processor config cannot be understood ({e})") from e


def _image_spec(folder: Path, config: dict[str, Any], fit: str) -> ImageSpec:
    mean = triple(config.get("image_mean", (0.5, 0.5, 0.5)))
    std = triple(config.get("image_std", (0.5, 0.5, 0.5)))
    resample = int(config.get("resample", _BICUBIC))
    if "max_num_patches" in config:  # SigLIP 2 NaFlex: any aspect ratio, the processor makes the patches
        side = int(config.get("patch_size", 16) * config["max_num_patches"] ** 0.5)
        return ImageSpec(side, side, "native", side, resample, mean, std)
    size = config.get("size", config.get("crop_size"))
    if isinstance(size, int):
        size = {"shortest_edge": size} if config.get("do_center_crop") else {"height": size, "width": size}
    if not isinstance(size, dict) or not ({"shortest_edge"} <= set(size) or {"height", "width"} <= set(size)):
        raise ModelError(f"{folder}: its processor config names no size; the folder is not a complete checkpoint")
    crop = config.get("crop_size") if config.get("do_center_crop") else None
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    short = size.get("shortest_edge")
    target = crop or ({"height": short, "width": short} if short else size)
    own_fit = "crop" if short else "squash"
    return ImageSpec(
        height=int(target["height"]),
        width=int(target["width"]),
        fit=cast(Literal["squash", "crop", "pad"], own_fit if fit == "auto" else fit),
        resize=int(short or min(target["height"], target["width"])),
        resample=resample,
        mean=mean,
        std=std,
    )


class CloseUpSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`closeup.json`: what the locator is made of, and how its evidence becomes a box. Shares are of a photo's side."""

    architecture: str
    """timm's name of the network."""
    stages: int
    """How many of its stages the locator has."""
    photo: tuple[int, int]
    """Height and width that a photo is decoded to."""
    reduction: int
    """By how much it is reduced for the glance."""
    mean: float
    std: float
    """What the glance is normalised by, for pixels in 0..1."""
    faint: float
    """Where no cell is likelier than this to hold a car, the model sees the whole photo."""
    relative: float
    """Cells less likely than this share of the likeliest do not count."""
    tail: float
    """The box leaves out this share of the evidence at each of its sides, before its margin."""
    margin: float
    """Added to the box at each side, as a share of its size."""
    least: float
    """No box is smaller than this."""
    squareness: float
    """No side of the box is shorter than this share of the other."""


def read_closeup(folder: Path) -> CloseUpSpec | None:
    """A checkpoint's `closeup.json`; None if it has none.

    Raises:
        ModelError: it is damaged.
    """
    path = folder / CLOSE_UP
    if not path.is_file():
        return None
    try:
        spec = msgspec.json.decode(path.read_bytes(), type=CloseUpSpec)
    except (OSError, msgspec.MsgspecError) as e:
        raise ModelError(f"{path}: cannot be understood ({e})") from e
    height, width = spec.photo
    shares = (spec.faint, spec.relative, spec.tail, spec.margin, spec.least, spec.squareness)
    if not (0 < height * width <= _MOST_PIXELS and min(height, width) >= spec.reduction > 0 and spec.std > 0):
        raise ModelError(f"{path}: its sizes make no sense")
    if not all(0 <= share <= 1 for share in shares) or spec.tail >= 0.5 or spec.relative >= 1:
        raise ModelError(f"{path}: its shares have to be from 0 to 1, relative below 1, and tail below 0.5")
    if not is_plain_word(spec.architecture):
        raise ModelError(f"{path}: its architecture has to be the plain name of a network of timm")
    return spec
