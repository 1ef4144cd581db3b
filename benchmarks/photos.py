"""Galleries of synthetic photos that decode like real ones: detail at every scale, edges, and grain."""

from __future__ import annotations

import io
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

_ORIGINALS = 8
"""So many pictures are drawn and encoded; further photos are their copies with other bytes after the end of the JPEG,
which costs a decoder the same and gives every file its own content hash."""


@dataclass(frozen=True, slots=True)
class PhotoKind:
    """What the photos of a gallery are like."""

    name: str
    width: int
    height: int
    quality: int


CAMERA = PhotoKind("camera", 6000, 4000, 92)
WEB = PhotoKind("web", 1600, 1067, 85)
KINDS = {kind.name: kind for kind in (CAMERA, WEB)}


def make_gallery(folder: Path, kind: PhotoKind, count: int) -> Path:
    """Fills ``folder/<kind>-<count>`` with JPEGs, unless it is there."""
    gallery = folder / f"{kind.name}-{count}"
    if len(list(gallery.glob("*.jpg"))) == count:
        return gallery
    _write(gallery, [_original(kind, seed) for seed in range(min(count, _ORIGINALS))], count)
    return gallery


def make_galleries(folder: Path, counts: dict[PhotoKind, int], pool: Executor) -> dict[str, Path]:
    """Galleries by the names of their kinds; the pool's workers draw the originals, which takes seconds each."""
    galleries = {kind: folder / f"{kind.name}-{count}" for kind, count in counts.items()}
    missing = [kind for kind, gallery in galleries.items() if len(list(gallery.glob("*.jpg"))) != counts[kind]]
    drawn = {kind: [pool.submit(_original, kind, seed) for seed in range(_ORIGINALS)] for kind in missing}
    for kind, originals in drawn.items():
        _write(galleries[kind], [original.result() for original in originals], counts[kind])
    return {kind.name: gallery for kind, gallery in galleries.items()}


def _write(gallery: Path, originals: list[bytes], count: int) -> None:
    gallery.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (gallery / f"{i:06d}.jpg").write_bytes(originals[i % len(originals)] + i.to_bytes(8, "big"))


def _original(kind: PhotoKind, seed: int) -> bytes:
    return _jpeg(draw(kind, seed), kind.quality)


def draw(kind: PhotoKind, seed: int) -> Image.Image:
    """A picture whose amplitudes fall with frequency as those of photographs do, with shapes and sensor grain on it."""
    rng = np.random.default_rng(seed)
    size = (kind.width, kind.height)
    picture = np.full((kind.height, kind.width, 3), rng.uniform(90, 160, 3), np.float32)
    cell, amplitude = 1024, 48.0
    while cell >= 2:
        grid = rng.normal(0, amplitude, (kind.height // cell + 2, kind.width // cell + 2, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(grid[..., channel]).resize(size, Image.Resampling.BICUBIC)
            picture[..., channel] += np.asarray(layer)
        cell, amplitude = cell // 4, amplitude * 0.55
    picture += rng.normal(0, 3.0, (kind.height, kind.width, 1)).astype(np.float32)
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(40):
        x, y = rng.uniform(0, 1, 2) * size
        w, h = rng.uniform(0.02, 0.25, 2) * size
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((x, y, x + w, y + h), outline=tuple(rng.integers(0, 256, 3).tolist()), width=max(2, kind.width // 300))
    return image


def _jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=2)
    return stream.getvalue()
