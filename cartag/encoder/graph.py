"""The bundled dual encoder, `mini`, on ONNX Runtime: the same vectors as by torch, which it does without."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cartag.checkpoints import CorePasses, Graph, GraphError, read_weights
from cartag.encoder.processor import read_image_spec
from cartag.errors import ModelError
from cartag.values import ImageSpec, ModelFiles

DECIDED_BY = ("model_type", "projection_dim", "text_config", "vision_config")
"""What of a config decides the graphs."""
_IMAGE, _TEXT = ("vision_model.", "visual_projection."), ("text_model.", "text_projection.")
_SCALE = "logit_scale"
_COUNTED = "num_batches_tracked"  # of training
_PHOTOS, _TEXTS = 2, 32
"""Photos and texts a pass on a core. With more photos the activations no longer stay in its caches; texts are small."""


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
        self._graphs, self._folder = graphs, folder
        weights = _weights_of(folder, (*_IMAGE, _SCALE))
        pixels = {
            f"pixel_{name}": (np.array(values, np.float32) * 255).reshape(1, 3, 1, 1)
            for name, values in (("mean", self.image_spec.mean), ("std", self.image_spec.std))
        }
        try:
            self.logit_scale = math.exp(float(weights.pop(_SCALE)))
        except (KeyError, TypeError, OverflowError) as e:
            raise GraphError(f"{folder}: no logit scale among its weights") from e
        self._image = Graph(graphs / "image.onnx", weights | pixels)
        self._passes, self._text_passes = CorePasses(on_core=_PHOTOS), CorePasses(on_core=_TEXTS)

    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Embeds photos: uint8 RGB arrays (height, width, 3) to unit-length float32 of shape (n, d)."""
        return self._passes.run(lambda some: self._image.run(pixels=np.stack(some)), pixels)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeds texts: unit-length float32 of shape (n, d)."""
        tokens = [encoded.ids for encoded in self._words.tokenizer.encode_batch(list(texts))]
        # Texts of one length share a pass: else a short one would be computed as long as the longest beside it.
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        rows = self._text_passes.run(self._text_pass, [tokens[i] for i in order])
        vectors = np.empty_like(rows)
        vectors[order] = rows
        return vectors

    def _text_pass(self, tokens: Sequence[list[int]]) -> np.ndarray:
        length = max(map(len, tokens))
        padded = np.full((len(tokens), length), self._words.padding, np.int64)
        mask = np.zeros_like(padded)
        for row, is_token, some in zip(padded, mask, tokens, strict=True):
            row[: len(some)], is_token[: len(some)] = some, 1
        return self._words.graph.run(tokens=padded, mask=mask)

    @cached_property
    def _words(self) -> _Words:
        """Made when the first text is to be embedded: most runs find all texts in the cache."""
        try:
            graph = Graph(self._graphs / "text.onnx", _weights_of(self._folder, _TEXT))
            return _Words(graph, *_tokenizer(self._folder))
        except GraphError as e:
            raise ModelError(f"{self._folder}: ONNX Runtime cannot read its texts ({e}); use --runtime torch") from e


@dataclass(frozen=True)
class _Words:
    """What texts are embedded by."""

    graph: Graph
    tokenizer: Any
    padding: int


def _weights_of(folder: Path, prefixes: tuple[str, ...]) -> dict[str, np.ndarray]:
    return read_weights(
        folder / "model.safetensors", lambda name: name.startswith(prefixes) and not name.endswith(_COUNTED)
    )


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
