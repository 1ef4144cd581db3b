"""Pictures decoded once, kept as arrays of bytes: how large, in which files, and as what a network takes them."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

MEAN, STD = 0.5, 0.5  # of every channel, as timm's pretrained configuration says
CROP_HW, PHOTO_HW = (192, 256), (432, 576)  # what crops and whole photographs are kept at, height x width
AROUND_HW = (288, 384)  # what is kept of a photograph around its car, to train on
FIRST_HW = (192, 256)  # what stage 1 ends with: its crops have no more
RUN_HW = (240, 320)  # what the shipped model takes: the car and a margin, squashed
GAP = 2.0  # ... and how a large picture becomes that, see `ImageSpec.gap`


@dataclass
class Pictures:
    """A cache opened for reading."""

    name: str  # of its files
    pixels: np.ndarray
    alphas: np.ndarray
    aspects: np.ndarray

    @classmethod
    def open(cls, path: Path) -> Pictures:
        """Those that were written to PATH.npy and beside it."""
        return cls(
            path.name,
            np.load(str(path) + ".npy"),
            np.load(str(path) + ".alpha.npy", mmap_mode="r"),
            np.load(str(path) + ".aspect.npy"),
        )


def build_cache(folder: Path, files: list[str], hw: tuple[int, int], cutouts: list[bool], to: Path) -> None:
    """Writes TO.npy (N, H, W, 3) uint8, TO.alpha.npy (N, H, W) uint8 and TO.aspect.npy (N,) once."""
    if (to.parent / (to.name + ".aspect.npy")).exists():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(files), *hw)
    pixels = np.lib.format.open_memmap(str(to) + ".npy", mode="w+", dtype=np.uint8, shape=(*shape, 3))
    alphas = np.lib.format.open_memmap(str(to) + ".alpha.npy", mode="w+", dtype=np.uint8, shape=shape)
    aspects = np.zeros(len(files), dtype=np.float32)
    jobs = [(str(folder / f), hw, c) for f, c in zip(files, cutouts, strict=True)]
    with multiprocessing.Pool() as pool:
        for i, (pixel, alpha, aspect) in enumerate(pool.imap(_decode, jobs, chunksize=32)):
            pixels[i], aspects[i] = pixel, aspect
            alphas[i] = 255 if alpha is None else alpha
    np.save(str(to) + ".aspect.npy", aspects)


def _decode(job: tuple[str, tuple[int, int], bool]) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Pixels, mask of a cut-out, and width / height of one picture; a cut-out is cropped to what is not white."""
    path, (height, width), cutout = job
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    alpha = None
    if cutout:
        mask = _cutout_alpha(np.asarray(image))
        ys, xs = np.nonzero(mask)
        box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1) if len(xs) else (0, 0, *image.size)
        image = image.crop(box)
        shrunk = Image.fromarray(mask).crop(box).resize((width, height), Image.Resampling.BICUBIC)
        alpha = np.asarray(shrunk)
    aspect = image.width / image.height
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)), alpha, aspect


def _cutout_alpha(pixels: np.ndarray) -> np.ndarray:
    """Mask (H, W) of a picture cut out on white: white seen from one of the four sides is background."""
    white = (pixels.min(axis=2) > 242).astype(np.uint8)
    sides = [
        np.minimum.accumulate(white, axis=1),
        np.minimum.accumulate(white[:, ::-1], axis=1)[:, ::-1],
        np.minimum.accumulate(white, axis=0),
        np.minimum.accumulate(white[::-1], axis=0)[::-1],
    ]
    return np.asarray((1 - np.maximum.reduce(sides)) * 255, dtype=np.uint8)
