"""A deterministic encoder that sees nothing but colour: for tests, of cartag and of tools built on it.

A photo's embedding says how close the mean colour of its centre is to eight named colours; a text's embedding says
which of these colours it names. A text that names none points in a direction of its own, made of its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from cartag.values import ImageSpec

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 20, 30),
    "yellow": (250, 210, 20),
    "green": (30, 150, 50),
    "blue": (20, 60, 200),
    "white": (245, 245, 245),
    "black": (12, 12, 14),
    "silver": (170, 175, 180),
    "orange": (240, 120, 20),
}
_HASHED = 24
_SOFTNESS = 40.0  # colour distance (0..441) at which a colour still counts for 1/e


class FakeEncoder:
    """Implements `cartag.encoder.Encoder` without weights, torch, or chance."""

    identity = "fake@1/squash32x32"
    dtype = "float32"
    image_spec = ImageSpec(32, 32, "squash", 32, 3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    logit_scale = 20.0
    logit_bias: float | None = None

    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Unit-length float32 of shape (n, 32)."""
        out = np.zeros((len(pixels), len(COLOURS) + _HASHED), np.float32)
        palette = np.array(list(COLOURS.values()), np.float32)
        for row, photo in zip(out, pixels, strict=True):
            h, w = photo.shape[:2]
            mean = photo[h // 4 : h - h // 4, w // 4 : w - w // 4].reshape(-1, 3).mean(axis=0)
            distance = np.linalg.norm(palette - mean, axis=1)
            row[: len(COLOURS)] = np.exp(-(distance - distance.min()) / _SOFTNESS)
        return _unit(out)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit-length float32 of shape (n, 32)."""
        out = np.zeros((len(texts), len(COLOURS) + _HASHED), np.float32)
        for row, text in zip(out, texts, strict=True):
            words = text.casefold()
            named = [i for i, colour in enumerate(COLOURS) if colour in words]
            row[named] = 1.0
            if not named:
                digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
                row[len(COLOURS) :] = np.frombuffer(digest[:_HASHED], np.uint8).astype(np.float32) - 127.5
        return _unit(out)


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
