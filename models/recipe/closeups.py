"""Close-ups: photographs cut around the cars, by the tool's own code with the locator that was trained."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from cartag.encoder.closeup import CloseUp, Locator
from PIL import Image
from torch import Tensor

from cartag.encoder.processor import CloseUpSpec
from models.recipe import checkpoints
from models.recipe.pictures import AROUND_HW, MEAN, PHOTO_HW, RUN_HW, STD, Pictures
from models.recipe.towers import ARCHITECTURE

CLOSE_UP = CloseUpSpec(
    architecture=ARCHITECTURE,
    stages=5,
    photo=PHOTO_HW,
    reduction=4,
    mean=MEAN,
    std=STD,
    faint=0.25,
    relative=0.35,
    tail=0.04,
    margin=0.2,
    least=0.3,
    squareness=0.75,
)


def untrained_locator() -> Locator:
    """A locator of the right shape."""
    return Locator(CLOSE_UP.architecture, CLOSE_UP.stages)


def read_locator(work: Path) -> Locator:
    """The locator that was trained."""
    locator = untrained_locator()
    locator.load_state_dict(checkpoints.read(work / checkpoints.LOCATOR, "locator"))
    return locator


@torch.inference_mode()
def shown(closeup: CloseUp, pixels: np.ndarray) -> np.ndarray:
    """What the model is shown (N, h, w, 3) uint8 of whole pictures (N, H, W, 3) uint8, by the tool's own code."""
    return np.concatenate(
        [
            closeup(whole(pixels[i : i + 32]), *RUN_HW).round().byte().permute(0, 2, 3, 1).numpy()
            for i in range(0, len(pixels), 32)
        ]
    )


def whole(pixels: np.ndarray) -> Tensor:
    """Pictures (N, H, W, 3) uint8 as the tool would decode them (N, 3, *PHOTO_HW) uint8."""
    if pixels.shape[1:3] != PHOTO_HW:
        pixels = np.stack([cv2.resize(p, PHOTO_HW[::-1], interpolation=cv2.INTER_CUBIC) for p in pixels])
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)


def cut_around(closeup: CloseUp, pictures: Pictures, to: Path) -> Pictures:
    """The same pictures cut a quarter wider than the model will see them, so that training can move about there."""
    if not (to.parent / (to.name + ".aspect.npy")).exists():
        count, (height, width) = len(pictures.pixels), PHOTO_HW
        out, aspects = np.empty((count, *AROUND_HW, 3), np.uint8), np.zeros(count, dtype=np.float32)
        for i in range(count):
            with torch.inference_mode():
                left, top, right, bottom = closeup.boxes(whole(pictures.pixels[i : i + 1]))[0]
            w, h = (right - left) / 8, (bottom - top) / 8
            left, right = round(max(0, left - w)), round(min(width, right + w))
            top, bottom = round(max(0, top - h)), round(min(height, bottom + h))
            cut = Image.fromarray(pictures.pixels[i, top:bottom, left:right])
            out[i] = np.asarray(cut.resize(AROUND_HW[::-1], Image.Resampling.BICUBIC))
            aspects[i] = pictures.aspects[i] * (right - left) / width / ((bottom - top) / height)
        for ending, values in (
            (".npy", out),
            (".alpha.npy", np.full(out.shape[:3], 255, np.uint8)),
            (".aspect.npy", aspects),
        ):
            with tempfile.NamedTemporaryFile(dir=to.parent, delete=False) as part:
                np.save(part, values)
            Path(part.name).replace(str(to) + ending)
    return Pictures.open(to)
