"""Augmentation: a warp (crop, shrink, shift, squash, tilt, mirror), scenery behind the car, colour, blur, holes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from models.recipe.pictures import MEAN, STD, Pictures

_LUMA = np.array([0.299, 0.587, 0.114])

cv2.setNumThreads(1)  # each of the threads does its own pictures


class Thing(Protocol):
    """What views are made of: a picture with its row in the cache."""

    @property
    def row(self) -> int: ...

    @property
    def kind(self) -> str:
        """One of "crop" (a tight crop), "cut-out", "whole" (a part of a photograph) and "no car"."""


@dataclass(frozen=True)
class Sources:
    """Pictures that views are made of."""

    pixels: np.ndarray  # (B, h, w, 3) uint8
    alphas: np.ndarray  # (B, h, w) uint8
    aspects: np.ndarray  # (B,) width / height before squashing
    kinds: list[str]

    @classmethod
    def of(cls, pictures: Pictures, things: Sequence[Thing]) -> Sources:
        """Those of some things out of their cache."""
        rows = [thing.row for thing in things]
        kinds = [thing.kind for thing in things]
        return cls(pictures.pixels[rows], pictures.alphas[rows], pictures.aspects[rows], kinds)


def random_views(
    sources: Sources, scenery: np.ndarray, hw: tuple[int, int], strength: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Augmented views (B, 3, H, W), normalised, and whether a view kept its colours (B,); `scenery` is (B, h, w, 3)."""
    views = np.empty((len(sources.pixels), *hw, 3), dtype=np.uint8)
    for i, kind in enumerate(sources.kinds):
        matrix, paste = random_warp(kind, float(sources.aspects[i]), strength, rng)
        views[i] = warped(sources.pixels[i], matrix, hw, cv2.BORDER_REFLECT)
        if not paste:
            continue
        mask = warped(sources.alphas[i], matrix, hw, cv2.BORDER_CONSTANT).astype(np.float32)[..., None] / 255
        behind = backdrop(scenery[i], hw, rng)
        views[i] = (mask * views[i] + (1 - mask) * behind).round().astype(np.uint8)
    return recolour(views, strength, rng)


def backdrop(scenery: np.ndarray, hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What goes behind a car (H, W, 3): mostly scenery, else white or a plain gradient, as of a studio."""
    behind = cv2.resize(scenery, hw[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    chance = rng.random()
    if chance < 0.12:
        behind[:] = 255
    elif chance < 0.3:
        top, bottom = rng.uniform(0, 255, (2, 1, 1, 3)).astype(np.float32)
        ramp = np.linspace(0, 1, hw[0], dtype=np.float32).reshape(-1, 1, 1)
        behind[:] = top * (1 - ramp) + bottom * ramp
    return np.asarray(behind)


def random_warp(kind: str, ratio: float, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """A random affine map (2, 3) from the view to the source, both in [-1, 1], and whether scenery goes behind."""
    frame = math.exp(rng.uniform(math.log(1.15), math.log(1.95))) if rng.random() < 0.88 else rng.uniform(0.6, 1.15)
    paste = False
    if kind in ("whole", "no car"):
        zoom = rng.uniform(1.0, 1.12) if rng.random() < 0.4 else math.exp(rng.uniform(0, math.log(1.8)))
        squash = math.exp(rng.uniform(-0.16, 0.16))
        w, h = max(1.0, zoom * squash), max(1.0, zoom / squash)
        # Photographers put the car near the middle, so most cuts stay there.
        cx, cy = rng.triangular(-1, 0, 1) * (w - 1), rng.triangular(-1, 0, 1) * (h - 1)
        if rng.random() < 0.12:  # the whole picture shrunk, edges mirrored or pasted on other scenery
            w = h = rng.uniform(0.6, 1.0)
            cx, cy = rng.uniform(-1, 1) * (1 - w), rng.uniform(-1, 1) * (1 - h)
            paste = kind == "whole" and rng.random() < 0.5
    elif kind == "crop" and rng.random() < 1 - 0.55 * strength:
        zoom, squash = rng.uniform(0.92, 1.45), math.exp(rng.uniform(-0.2, 0.2))
        w, h = zoom * squash, zoom / squash
        cx, cy = rng.uniform(-1, 1) * abs(w - 1), rng.uniform(-1, 1) * abs(h - 1)
    else:
        w, h = 1.0, frame / ratio
        scale = (rng.uniform(1.1 - 0.7 * strength, 1.1) if rng.random() < 0.7 else rng.uniform(0.9, 1.35)) / max(w, h)
        w, h = w * scale, h * scale
        cx = rng.uniform(-1, 1) * (abs(1 - w) + (0.1 if w < 1 else 0.0))
        cy = rng.uniform(-1, 1) * (abs(1 - h) + (0.1 if h < 1 else 0.0))
        paste = kind == "cut-out" or rng.random() < 0.6
    return view_matrix(w, h, cx, cy, rng), paste


def view_matrix(w: float, h: float, cx: float, cy: float, rng: np.random.Generator) -> np.ndarray:
    """Affine map (2, 3) from the view to a source of size w x h at (cx, cy) in it, tilted and mirrored at random."""
    tilt = rng.normal(0, 0.05)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(tilt), math.sin(tilt)
    # View (u, v) to source: shift, tilt, then divide by the size of the source in the frame.
    return np.array(
        [
            [mirror * cos / w, mirror * sin / w, mirror * (-cos * cx - sin * cy) / w],
            [-sin / h, cos / h, (sin * cx - cos * cy) / h],
        ]
    )


def warped(source: np.ndarray, matrix: np.ndarray, hw: tuple[int, int], border: int) -> np.ndarray:
    """The view (H, W[, 3]) of `source` that `matrix` describes; a source much larger than its place is shrunk first."""
    (h, w), (height, width) = source.shape[:2], hw
    shrink = math.sqrt(abs(np.linalg.det(matrix[:, :2])) * h * w / (height * width))
    if shrink > 1.25:
        h, w = max(2, round(h / shrink)), max(2, round(w / shrink))
        source = cv2.resize(source, (w, h), interpolation=cv2.INTER_AREA)
    (a, b, c), (d, e, f) = matrix
    pixel = np.array(
        [
            [w * a / width, w * b / height, w / 2 * (a * (1 / width - 1) + b * (1 / height - 1) + c + 1) - 0.5],
            [h * d / width, h * e / height, h / 2 * (d * (1 / width - 1) + e * (1 / height - 1) + f + 1) - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(source, pixel, (width, height), flags=flags, borderMode=border))


def recolour(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation, white balance, hue, grey, blur, noise and holes on views (B, H, W, 3) uint8;
    gives what `random_views` does."""
    count, height, width, _ = pixels.shape
    spread = 0.2 + 0.2 * strength
    brightness, balance = rng.uniform(1 - spread, 1 + spread, (count, 1)), rng.uniform(0.92, 1.08, (count, 3))
    contrast, saturation = rng.uniform(1 - spread, 1 + spread, count), rng.uniform(0.6, 1.35, count)
    kept = rng.random(count) >= 0.25 * strength
    views = np.empty(pixels.shape, np.float32)
    for i in range(count):  # whatever is done to a pixel's three channels is one matrix
        gain = np.diag(brightness[i] * balance[i] / 255)
        mean = float(_LUMA @ gain @ cv2.mean(pixels[i])[:3])
        turn = np.eye(3) if kept[i] else hue(rng)
        grey = np.full((3, 3), 1 / 3)
        turn = (grey + saturation[i] * (np.eye(3) - grey)) @ turn
        matrix = np.column_stack([contrast[i] * turn @ gain, (1 - contrast[i]) * mean * turn.sum(1)])
        np.clip(cv2.transform(pixels[i].astype(np.float32), matrix), 0, 1, out=views[i])
    for i in np.flatnonzero(rng.random(count) < 0.15 * strength):
        k = rng.uniform(0.35, 0.8)
        small = cv2.resize(views[i], (int(k * width), int(k * height)), interpolation=cv2.INTER_AREA)
        views[i] = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    for i in np.flatnonzero(rng.random(count) < 0.2 * strength):
        h, w = int(height * rng.uniform(0.1, 0.4)), int(width * rng.uniform(0.1, 0.4))
        y, x = rng.integers(0, height - h), rng.integers(0, width - w)
        views[i, y : y + h, x : x + w] = rng.uniform(0, 1, 3)
    for i in np.flatnonzero(rng.random(count) < 0.1 * strength):
        noise = rng.standard_normal((height, width, 3), dtype=np.float32)
        np.clip(views[i] + 0.04 * noise, 0, 1, out=views[i])
    views -= MEAN
    views /= STD
    return torch.from_numpy(views).permute(0, 3, 1, 2), torch.from_numpy(kept)


def hue(rng: np.random.Generator) -> np.ndarray:
    """A random matrix (3, 3) after which a car has another colour: grey, another hue, or channels in another order."""
    chance = rng.random()
    if chance < 0.25:
        return np.full((3, 3), 1 / 3)
    if chance < 0.75:  # a rotation about the grey axis
        a = rng.uniform(0.5, 2 * math.pi - 0.5)
        c, s = math.cos(a), math.sin(a) / math.sqrt(3)
        m = (1 - c) / 3
        return np.array([[c + m, m - s, m + s], [m + s, c + m, m - s], [m - s, m + s, c + m]])
    return np.eye(3)[rng.permutation(3)]
