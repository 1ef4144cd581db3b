"""Dual encoders of `transformers`: CLIP, SigLIP, SigLIP 2, VisionTextDualEncoder."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cartag.checkpoints import DTYPES, Passes, alone_at_loading, choose_device, choose_dtype, room_for_a_model
from cartag.encoder.plain import image_tower
from cartag.encoder.processor import read_image_spec
from cartag.encoder.tower import faster_dtype, prepared, to_dtype
from cartag.errors import ModelError
from cartag.values import ImageSpec, ModelFiles

log = logging.getLogger(__name__)


class DualEncoder:
    """An image+text checkpoint behind cartag's `Encoder` seam."""

    def __init__(
        self,
        files: ModelFiles,
        identity: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        fit: str = "auto",
        whole: bool = False,
    ) -> None:
        """Loads the checkpoint in ``files.folder`` from safetensors, without remote code and without network.

        ``whole``: all of it is computed by `transformers` as it stands, without any of the shorter ways.

        Raises:
            ModelError: the checkpoint is no dual encoder, is damaged, or the device is not there.
        """
        folder = Path(files.folder)
        self.image_spec: ImageSpec = read_image_spec(folder, fit)
        self._device = choose_device(device)
        settled = choose_dtype(dtype, self._device)
        # The batch norms of timm's towers are folded as the files hold them: rounded before, they would cost accuracy.
        exact = settled is None or _has_timm_tower(folder)
        read_as = torch.float32 if exact else DTYPES[settled or "float32"]
        size = (self.image_spec.height, self.image_spec.width)
        alone = self.image_spec.fit != "native" and not whole
        tower = image_tower(folder, size, read_as) if alone else None
        if tower is None:
            self._whole = _load(folder, read_as)
        model: Any = self._whole[0] if tower is None else tower
        if alone:
            model.vision_model = prepared(model.vision_model)
        self.dtype = settled or faster_dtype(model.vision_model)
        to_dtype(model, DTYPES[self.dtype])
        with room_for_a_model(self._device):
            model.to(self._device)
        self._folder = folder
        self._image_features: Callable[..., Any] = model.get_image_features if tower is None else model
        self._pixel_dtype = next(model.vision_model.parameters()).dtype
        self._passes = Passes(self._device)
        self._processor = _load_image_processor(folder) if self.image_spec.fit == "native" else None
        numbers = _logit_numbers(folder)
        self.logit_scale = math.exp(numbers["logit_scale"])
        self.logit_bias: float | None = numbers.get("logit_bias")
        self.identity = identity
        self._mean = torch.tensor(self.image_spec.mean, device=self._device).mul(255).view(1, 3, 1, 1)
        self._std = torch.tensor(self.image_spec.std, device=self._device).mul(255).view(1, 3, 1, 1)

    @cached_property
    def _whole(self) -> tuple[Any, Any]:
        """The model of `transformers`, and its tokenizer: loaded at once where it is needed for photos, else when the
        first text is to be embedded, and then without an image tower of its own."""
        model, tokenizer = _load(self._folder, DTYPES[self.dtype])
        model.vision_model = None
        with room_for_a_model(self._device):
            model.to(self._device)
        return model, tokenizer

    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Embeds photos: uint8 RGB arrays (height, width, 3) to unit-length float32 of shape (n, d)."""
        vectors: np.ndarray = self._passes.run(self._image_pass, pixels).numpy()
        return vectors

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeds texts: unit-length float32 of shape (n, d)."""
        _ = self._whole  # here, and not in every thread that takes a pass
        # Texts of one length share a pass: else a short one would be computed as long as the longest beside it.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        sorted_vectors = self._passes.run(self._text_pass, [texts[i] for i in order])
        vectors: np.ndarray = (
            torch.empty_like(sorted_vectors).index_copy_(0, torch.tensor(order), sorted_vectors).numpy()
        )
        return vectors

    def _image_pass(self, pixels: Sequence[np.ndarray]) -> torch.Tensor:
        return _unit(self._image_features(**self._inputs(pixels)))

    def _inputs(self, pixels: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        if self._processor is not None:
            inputs = self._processor(images=list(pixels), return_tensors="pt").to(self._device)
            return {k: v.to(DTYPES[self.dtype]) if v.is_floating_point() else v for k, v in inputs.items()}
        # uint8 travels to the device and is normalised there: a quarter of the bytes.
        batch = self._on_device(pixels).permute(0, 3, 1, 2)
        return {"pixel_values": batch.float().sub_(self._mean).div_(self._std).to(self._pixel_dtype)}

    def _on_device(self, pixels: Sequence[np.ndarray]) -> torch.Tensor:
        """Photos in one tensor (n, height, width, 3)."""
        if self._device.type != "cuda":
            return torch.from_numpy(np.stack(pixels)).to(self._device)
        # From pinned memory the copy waits for nobody: while the GPU computes a pass, the next one is put together.
        pinned = torch.empty((len(pixels), *pixels[0].shape), dtype=torch.uint8, pin_memory=True)
        np.stack(pixels, out=pinned.numpy())
        return pinned.to(self._device, non_blocking=True)

    def _text_pass(self, texts: Sequence[str]) -> torch.Tensor:
        return _unit(self._whole[0].get_text_features(**self._tokens(texts)))

    def _tokens(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        model, tokenizer = self._whole
        is_siglip = "siglip" in model.config.model_type
        if is_siglip:
            # Trained on lower-cased text padded to the full length; other input costs tens of points of accuracy.
            texts = [text.lower() for text in texts]
        text_config = getattr(model.config, "text_config", model.config)
        tokens = tokenizer(
            list(texts),
            padding="max_length" if is_siglip else True,
            truncation=True,
            max_length=int(getattr(text_config, "max_position_embeddings", 77)),
            return_tensors="pt",
        )
        return {key: value.to(self._device) for key, value in tokens.items()}


def _has_timm_tower(folder: Path) -> bool:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))  # vetted before
    vision = config.get("vision_config") if isinstance(config, dict) else None
    return isinstance(vision, dict) and vision.get("model_type") == "timm_wrapper"


def _load(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with alone_at_loading():
            model, loading = AutoModel.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as e:  # transformers raises whatever its parts raise
        raise ModelError(f"{folder}: cannot be loaded by transformers: {' '.join(str(e).split())[:300]}") from e
    if not hasattr(model, "get_image_features") or not hasattr(model, "logit_scale"):
        raise ModelError(
            f"{folder}: a {model.config.model_type} model is no image+text dual encoder; use CLIP or SigLIP"
        )
    if loading["missing_keys"]:  # transformers fills them with random numbers
        some = ", ".join(sorted(loading["missing_keys"])[:3])
        raise ModelError(f"{folder}: its weights lack {len(loading['missing_keys'])} tensors, such as {some}")
    return model.eval(), tokenizer


def _logit_numbers(folder: Path) -> dict[str, float]:
    """Logit scale (its logarithm) and, if there is one, bias, as the files hold them.

    The loaded model's own are rounded to its dtype: one percent of every logit in bfloat16, so that the same cached
    embeddings would be scored differently after a run on another machine.
    """
    from safetensors import safe_open

    numbers: dict[str, float] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found = {"logit_scale", "logit_bias"} & set(file.keys())
            numbers |= {name: float(file.get_tensor(name)) for name in found}
    return numbers


def _load_image_processor(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    # Pillow resamples as it does for every other model; torchvision's uint8 arithmetic differs by up to one level.
    return AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False, backend="pil")


def _unit(features: Any) -> torch.Tensor:
    # transformers 5 returns an output object, older versions the tensor itself
    tensor = getattr(features, "pooler_output", features)
    return torch.nn.functional.normalize(tensor.float(), dim=-1)
