"""A checkpoint's own processor config, as far as encoders and detectors read it alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from cartag.errors import ModelError


def image_config(folder: Path) -> dict[str, Any]:
    """The image side of ``preprocessor_config.json`` (or of ``processor_config.json``, as transformers 5 writes it).

    Raises:
        ModelError: there is none, or it is no JSON.
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            try:
                config = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as e:
                raise ModelError(f"{path}: not valid JSON ({e})") from e
            return cast(dict[str, Any], config.get("image_processor", config))
    raise ModelError(f"{folder}: no preprocessor_config.json; the folder is not a complete checkpoint")


def reducing_gap(config: dict[str, Any]) -> float | None:
    """``reducing_gap`` of a processor config, see `ImageSpec.gap`. The bundled models have it, those of a hub as a rule
    do not.

    Raises:
        TypeError, ValueError: it is no number from 1 on.
    """
    gap = config.get("reducing_gap")
    if gap is not None and not (gap := float(gap)) >= 1:
        raise ValueError(f"reducing_gap {gap}: must be 1 or more")
    return gap


def triple(values: Any) -> tuple[float, float, float]:
    """A mean or a deviation of three channels; one number stands for all.

    Raises:
        TypeError, ValueError: it is neither.
    """
    if isinstance(values, int | float):
        return (float(values),) * 3
    r, g, b = values
    return float(r), float(g), float(b)
