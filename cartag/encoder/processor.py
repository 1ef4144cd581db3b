"""Reading a checkpoint's own processor config: how it wants its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

from cartag.checkpoints import image_config, reducing_gap, triple
from cartag.errors import ModelError
from cartag.values import ImageSpec

_BICUBIC = 3


def read_image_spec(folder: Path, fit: str = "auto") -> ImageSpec:
    """The image side of ``preprocessor_config.json`` (or of ``processor_config.json``, as transformers 5 writes it).

    ``fit`` other than ``auto`` overrides how a photo that is not square becomes the model's input.

    Raises:
        ModelError: no processor config, or one that does not say what a model needs to know.
    """
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
        gap=reducing_gap(config),
    )
