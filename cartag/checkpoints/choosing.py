"""Which model `--model auto` is: the one of the index, else by the table, accuracy against what a photo costs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from cartag.checkpoints import hub
from cartag.checkpoints.table import known_models, resolve
from cartag.checkpoints.troubles import BUNDLED
from cartag.errors import ModelError
from cartag.progress import Progress
from cartag.settings import usable_cores
from cartag.values import IndexedModel, ModelFiles, ModelSpec

log = logging.getLogger(__name__)

_CORE_SECONDS = 0.12
"""Processor time of a photo with a model of cost 1, `clip-b32`, as `benchmarks.hubmodels` measured it on one core."""
_PATIENCE = 300.0
"""Seconds that a CPU may take for the image towers of 1,000 photos, with all cores that this process may use."""
_MOST_MB = 2000
"""What is fetched without being asked for by name."""
_GRAPHICS = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/dxg")


def front(models: Iterable[ModelSpec]) -> list[ModelSpec]:
    """The models that no other one beats, cheapest first: each dearer one is more accurate than all before it."""
    measured = [m for m in models if m.cost is not None and m.stanford_cars_top1 is not None]
    best: list[ModelSpec] = []
    for model in sorted(measured, key=lambda m: (m.cost or 0.0, -(m.stanford_cars_top1 or 0.0))):
        if not best or (model.stanford_cars_top1 or 0.0) > (best[-1].stanford_cars_top1 or 0.0):
            best.append(model)
    return best


def wanted(name: str, *, cores: int, has_gpu: bool) -> list[ModelSpec]:
    """What `auto`, `auto:best` and `auto:fast` would have for a new index, the first choice first.

    `auto:best` is the most accurate model of the front, `auto:fast` its cheapest. `auto` is the most accurate one of at
    most 2 GB with which 1,000 photos take at most five minutes here; a GPU is quick enough for each.
    """
    models = front(known_models().values())
    if name == "auto:fast":
        return models[:1]
    if name == "auto:best":
        return models[::-1]
    quick = [m for m in models if has_gpu or 1000 * (m.cost or 0.0) * _CORE_SECONDS / cores <= _PATIENCE]
    light = [m for m in quick if (m.size_mb or 0) <= _MOST_MB]
    return light[::-1] or models[:1]


def is_auto(name: str) -> bool:
    """Whether a model's name asks for a choice. A colon and what follows it is checked by `resolve_auto`."""
    return name == "auto" or name.startswith("auto:")


def resolve_auto(
    indexed: IndexedModel | None, progress: Progress, name: str = "auto", device: str = "auto"
) -> ModelFiles:
    """``--model auto``: the model the index was made with, else what `wanted` says if it can be had, else `mini`.

    The first choice is fetched; where it cannot be had, the others are taken if they are here.

    Raises:
        ModelError: the index's own model cannot be had; or ``name`` is none of auto, auto:best, auto:fast.
    """
    if name not in ("auto", "auto:best", "auto:fast"):
        raise ModelError(f"no model {name!r}: use auto, auto:best or auto:fast, or a name that 'cartag models' lists")
    if indexed is not None:
        known = known_models().get(indexed.name)  # a folder may have the name of another model: its source tells
        return resolve(indexed.name if known and known.source == indexed.source else indexed.source, progress)
    choices = wanted(name, cores=usable_cores(), has_gpu=_has_gpu(device))
    for choice in choices:
        try:
            return resolve(choice.name, progress, fetch=choice is choices[0])
        except ModelError as e:
            log.debug("%s: %s", name, e)
    why = "offline mode is set" if hub.is_offline() else "it cannot be fetched now"
    names = " or ".join(choice.name for choice in choices)
    progress.note(
        f"model: {BUNDLED['model']}, the bundled one, instead of {names} (not here, and {why}); "
        f"--model {BUNDLED['model']} says so for good"
    )
    return resolve(BUNDLED["model"], progress)


def _has_gpu(device: str) -> bool:
    """By what is cheap to know: torch is not loaded for it. A wrong guess costs a choice that fits less well."""
    if device != "auto":
        return device != "cpu"
    return sys.platform == "darwin" or any(Path(place).exists() for place in _GRAPHICS)
