"""What `models/look/config.json` says, known before anything heavy is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from cartag.errors import ModelError
from cartag.values import ImageSpec

CONFIG = "config.json"
_BILINEAR = 2


class LookSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `look` sees, and when it says that something is a car."""

    model_type: str
    architecture: str
    """Of timm."""
    height: int
    width: int
    least: float
    """Confidence from which on something is a car."""

    @property
    def image(self) -> ImageSpec:
        """How it wants its photos."""
        half = (0.5, 0.5, 0.5)
        return ImageSpec(self.height, self.width, "squash", min(self.height, self.width), _BILINEAR, half, half)

    def written(self) -> dict[str, Any]:
        """As the file has it."""
        written: dict[str, Any] = msgspec.to_builtins(self)
        return written


def read_look_spec(folder: Path) -> LookSpec:
    """That of a folder.

    Raises:
        ModelError: there is none, or it cannot be understood.
    """
    path = folder / CONFIG
    try:
        spec = msgspec.json.decode(path.read_bytes(), type=LookSpec)
        sides = (spec.height, spec.width)
        if spec.model_type != "cartag-look" or any(side % 16 or not 16 <= side <= 2048 for side in sides):
            raise ValueError("not a config of look, or sides that are no multiples of 16")
        if not 0 < spec.least < 1:
            raise ValueError("least is no probability")
    except (OSError, msgspec.DecodeError, ValueError) as e:
        raise ModelError(f"{path}: cannot be understood ({' '.join(str(e).split())[:200]})") from e
    return spec
