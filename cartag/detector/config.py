"""A detector's own config: vetted, and which of its classes are cars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cartag.checkpoints import vet
from cartag.errors import ModelError

CARS = frozenset({"car", "truck", "bus"})
"""COCO's words. A pickup is a `truck` there, and many a vintage car too."""
LOOK = "look"
"""The model type of the bundled detector, also of a copy of it."""

# Published checkpoints of DETR hold it as they were trained. All weights come from the checkpoint: it is left out.
_LEFT_OUT = ("use_pretrained_backbone",)
# Of these a backbone's bare name is enough: timm builds it. Of others `transformers` would ask the hub what it is.
_BUILT_BY_TIMM = ("detr", "conditional_detr", "deformable_detr", "dab-detr", "table-transformer")


def read_config(folder: Path) -> dict[str, Any]:
    """The config of a detector, as it may be handed to a library.

    Raises:
        ModelError: it is damaged, or would have something read, fetched or run that is not in the folder.
    """
    config = vet(folder, left_out=_LEFT_OUT)
    backbone = config.get("backbone")
    asks_timm = config.get("use_timm_backbone", True) and not config.get("backbone_kwargs")
    is_built = config.get("backbone_config") or (config.get("model_type") in _BUILT_BY_TIMM and asks_timm)
    if backbone and not is_built:
        raise ModelError(
            f"{folder / 'config.json'}: backbone: the hub would have to be asked what {str(backbone)[:100]!r} is, "
            "which cartag never does; choose a checkpoint with a backbone_config"
        )
    return config


def car_classes(folder: Path, id2label: Any) -> frozenset[int]:
    """The numbers of the classes that are cars, by their names, whatever their case.

    Raises:
        ModelError: there is none, or the table of names is damaged.
    """
    path = folder / "config.json"
    if not isinstance(id2label, dict):
        raise ModelError(f"{path}: id2label: has to be a table of class names; the folder is no detector's")
    try:
        found = frozenset(int(number) for number, name in id2label.items() if str(name).strip().casefold() in CARS)
    except ValueError as e:
        raise ModelError(f"{path}: id2label: its keys have to be whole numbers ({e})") from e
    if not found:
        some = ", ".join(map(str, list(id2label.values())[:5])) or "no class at all"
        raise ModelError(
            f"{path}: id2label: this detector finds no car, truck or bus (its classes: {some[:120]}); choose another"
        )
    return found
