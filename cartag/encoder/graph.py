"""The bundled dual encoder, `mini`, on ONNX Runtime: the same vectors as by torch, which it does without."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cartag.checkpoints import CorePasses, Graph, GraphError, read_weights
from cartag.encoder.processor import read_image_spec
from cartag.values import ImageSpec, ModelFiles

DECIDED_BY = ("model_type", "projection_dim", "text_config", "vision_config")
"""What of a config decides the graphs."""
_IMAGE, _TEXT = ("vision_model.", "visual_projection."), ("text_model.", "text_projection.")
_COUNTED = "num_batches_tracked"  # of training
_PHOTOS, _TEXTS = 4, 32
"""Photos and texts a pass on a core. More photos take as long each and need more memory; texts are small."""


class GraphEncoder:
    """See `cartag.encoder.Encoder`."""

    dtype = "float32"
    logit_bias: float | None = None

    def __init__(self, files: ModelFiles, graphs: Path, identity: str, *, fit: str = "auto") -> None:
        """Loads the weights in ``files.folder`` into the graphs in ``graphs``.

        Raises:
            ModelError: it has no processor config.
            GraphError: ONNX Runtime is not there, or the files are damaged or do not belong together.
        """
        folder = Path(files.folder)
        self.identity = identity
        self.image_spec: ImageSpec = read_image_spec(folder, fit)
        weights = read_weights(folder / "model.safetensors", lambda name: not name.endswith(_COUNTED))
        pixels = {
            f"pixel_{name}": (np.array(values, np.float32) * 255).reshape(1, 3, 1, 1)
            for name, values in (("mean", self.image_spec.mean), ("std", self.image_spec.std))
        }
        self._image = Graph(graphs / "image.onnx", _starting(weights, _IMAGE) | pixels)
        self._text = Graph(graphs / "text.onnx", _starting(weights, _TEXT))
        self._tokenizer, self._padding = _tokenizer(folder)
        try:
            self.logit_scale = math.exp(float(weights["logit_scale"]))
        except (KeyError, TypeError, OverflowError) as e:
            raise GraphError(f"{folder}: no logit scale among its weights") from e
        self._passes, self._text_passes = CorePasses(on_core=_PHOTOS), CorePasses(on_core=_TEXTS)

    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Embeds photos: uint8 RGB arrays (height, width, 3) to unit-length float32 of shape (n, d)."""
        return self._passes.run(lambda some: self._image.run(pixels=np.stack(some)), pixels)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeds texts: unit-length float32 of shape (n, d)."""
        tokens = [encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))]
        # Texts of one length share a pass: else a short one would be computed as long as the longest beside it.
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        rows = self._text_passes.run(self._text_pass, [tokens[i] for i in order])
        vectors = np.empty_like(rows)
        vectors[order] = rows
        return vectors

    def _text_pass(self, tokens: Sequence[list[int]]) -> np.ndarray:
        length = max(map(len, tokens))
        padded = np.full((len(tokens), length), self._padding, np.int64)
        mask = np.zeros_like(padded)
        for row, is_token, some in zip(padded, mask, tokens, strict=True):
            row[: len(some)], is_token[: len(some)] = some, 1
        return self._text.run(tokens=padded, mask=mask)


def _starting(weights: dict[str, np.ndarray], prefixes: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: value for name, value in weights.items() if name.startswith(prefixes)}


def _tokenizer(folder: Path) -> tuple[Any, int]:
    """What makes tokens of texts, cut off where `transformers` cuts them, and the one that pads."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["text_config"]  # vetted before
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(config["max_position_embeddings"])
    except Exception as e:  # it raises nothing narrower
        raise GraphError(f"tokenizer.json: {' '.join(str(e).split())[:200]}") from e
    return tokenizer, int(config["pad_token_id"])
