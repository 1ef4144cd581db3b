"""A checkpoint's own image processor, and its model as `transformers` has it, to hold cartag's ways against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cartag.errors import ModelError
from cartag.values import ModelFiles

_LEAST_DIFFERENCE = 1e-4


def embedded_by_transformers(files: ModelFiles, pixels: Sequence[np.ndarray], *, device: str) -> np.ndarray:
    """Unit-length float32 vectors (n, d) of uint8 photos, in float32, without any of cartag's shorter ways.

    Raises:
        ModelError: as of `cartag.encoder.load`.
    """
    from cartag.encoder.dual import DualEncoder

    return DualEncoder(files, "", device=device, dtype="float32", whole=True).embed_images(pixels)


class OwnProcessor:
    """What `transformers` makes of a picture for this checkpoint, short of the normalisation."""

    def __init__(self, files: ModelFiles) -> None:
        """Loads the processor from its folder, without remote code and without network.

        Raises:
            ModelError: transformers makes none of what is there.
        """
        from transformers import AutoImageProcessor

        try:
            self._processor: Any = AutoImageProcessor.from_pretrained(
                Path(files.folder), local_files_only=True, trust_remote_code=False, backend="pil"
            )
        except Exception as e:  # transformers raises whatever its parts raise
            raise ModelError(f"{files.folder}: no processor can be loaded: {' '.join(str(e).split())[:200]}") from e

    def pixels(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Uint8 RGB pictures (height, width, 3) as the model is to see them, of the same kind."""
        made = self._processor(images=list(pictures), return_tensors="np", do_rescale=False, do_normalize=False)
        return [
            np.asarray(one).transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8) for one in made["pixel_values"]
        ]

    def normalises_as(self, mean: Sequence[float], std: Sequence[float]) -> bool:
        """Whether it subtracts this mean and divides by this deviation."""
        own = [getattr(self._processor, name, None) for name in ("image_mean", "image_std")]
        return all(
            values is not None and np.allclose(values, said, atol=_LEAST_DIFFERENCE)
            for values, said in zip(own, (mean, std), strict=True)
        )
