"""An encoder on every GPU there is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cartag.checkpoints import Replicas
from cartag.encoder.protocol import Encoder
from cartag.values import ImageSpec


class SeveralEncoders:
    """Implements `cartag.encoder.Encoder` by equal ones on devices of their own."""

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self._replicas = Replicas(encoders)
        first = self._replicas.first
        self.identity, self.dtype = first.identity, first.dtype
        self.image_spec: ImageSpec = first.image_spec
        self.logit_scale, self.logit_bias = first.logit_scale, first.logit_bias

    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """As the protocol has it."""
        if not pixels:
            return self._replicas.first.embed_images(pixels)
        return np.concatenate(self._replicas.run(lambda encoder, part: encoder.embed_images(part), pixels))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """As the protocol has it; on one device, for they are few."""
        return self._replicas.first.embed_texts(texts)
