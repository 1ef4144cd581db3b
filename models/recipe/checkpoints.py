"""Where the stages meet: the files they leave in the scratch folder, written whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Of its three cycles; everything later begins with the last.
STAGE1, STAGE1_AGAIN, STAGE1_LAST = "stage1.pt", "stage1-again.pt", "stage1-last.pt"
TOKENIZER = "tokenizer"  # a folder
FIRST = "first"  # the tag of the text tower that was begun on the tower of stage 1, and of what belongs to it


def stage2(work: Path, tag: str) -> Path:
    """The image tower of a training of stage 2."""
    return work / f"stage2-{tag}.pt"


def heads(work: Path, tag: str) -> Path:
    """The heads that an image tower was trained with."""
    return work / f"heads2-{tag}.pt"


def bank(work: Path, tag: str) -> Path:
    """What an image tower sees in the training pictures."""
    return work / f"bank-{tag}.pt"


def stage3(work: Path, tag: str) -> Path:
    """The text tower of a training of stage 3, and the last projection of the image tower."""
    return work / f"text-{tag}.pt"


def exported(work: Path, tag: str) -> Path:
    """The folder of a training's model, as the tool loads it."""
    return work / f"mini-{tag}"


def keep(state: dict[str, Any], to: Path) -> None:
    """Saves tensors as a processor's, wherever they were trained; whole or not at all, whoever else saves the same."""

    def here(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: here(v) for k, v in value.items()}
        return value.cpu() if isinstance(value, Tensor) else value

    with tempfile.NamedTemporaryFile(dir=to.parent, prefix=to.name, delete=False) as part:
        torch.save(here(state), part)
    Path(part.name).replace(to)


def read(path: Path, program: str) -> dict[str, Any]:
    """What an earlier program of this package kept.

    Raises:
        SystemExit: it has not run yet.
    """
    if not path.exists():
        raise SystemExit(f"{path}: missing; run python -m models.recipe.{program} first")
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found
