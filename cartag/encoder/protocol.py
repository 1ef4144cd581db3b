"""The seam: what cartag asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from cartag.values import ImageSpec


class Encoder(Protocol):
    """A dual encoder: photos and texts into one space, where a photo lies near the texts that describe it."""

    @property
    def identity(self) -> str:
        """Equal identities give equal embeddings: the key of the embedding cache."""

    @property
    def dtype(self) -> str:
        """What the model computes in: ``float32``, ``bfloat16``, ``float16``."""

    @property
    def image_spec(self) -> ImageSpec:
        """How the model wants its pixels."""

    @property
    def logit_scale(self) -> float:
        """What a cosine is multiplied by to become a logit (CLIP's exp(t))."""

    @property
    def logit_bias(self) -> float | None:
        """SigLIP's bias, added to logits before its sigmoid; None for a model trained with softmax."""

    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Embeds photos: uint8 RGB arrays (height, width, 3) to unit-length float32 of shape (n, d)."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeds texts: unit-length float32 of shape (n, d)."""
