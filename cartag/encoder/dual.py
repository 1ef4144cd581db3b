"""Dual encoders of `transformers`: CLIP, SigLIP, SigLIP 2, VisionTextDualEncoder. The only importer of torch."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cartag.encoder.processor import read_image_spec
from cartag.errors import ModelError, SettingsError
from cartag.values import ImageSpec, ModelFiles

log = logging.getLogger(__name__)

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_TEXT_BATCH = 256


class DualEncoder:
    """An image+text checkpoint behind cartag's `Encoder` seam."""

    def __init__(
        self, files: ModelFiles, identity: str, *, device: str = "auto", dtype: str = "auto", fit: str = "auto"
    ) -> None:
        """Loads the checkpoint in ``files.folder`` from safetensors, without remote code and without network.

        Raises:
            ModelError: the checkpoint is no dual encoder, is damaged, or the device is not there.
        """
        folder = Path(files.folder)
        self.image_spec: ImageSpec = read_image_spec(folder, fit)
        self._device = choose_device(device)
        self.dtype = choose_dtype(dtype, self._device)
        self._model, self._tokenizer = _load(folder, _DTYPES[self.dtype], self._device)
        self._processor = _load_image_processor(folder) if self.image_spec.fit == "native" else None
        config = self._model.config
        self._is_siglip = "siglip" in config.model_type
        text_config = getattr(config, "text_config", config)
        self._max_length = int(getattr(text_config, "max_position_embeddings", 77))
        numbers = _logit_numbers(folder)
        self.logit_scale = math.exp(numbers["logit_scale"])
        self.logit_bias: float | None = numbers.get("logit_bias")
        self.identity = identity
        self._mean = torch.tensor(self.image_spec.mean, device=self._device).mul(255).view(1, 3, 1, 1)
        self._std = torch.tensor(self.image_spec.std, device=self._device).mul(255).view(1, 3, 1, 1)

    @torch.inference_mode()
    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Embeds photos: uint8 RGB arrays (height, width, 3) to unit-length float32 of shape (n, d)."""
        if self._processor is not None:
            inputs = self._processor(images=list(pixels), return_tensors="pt").to(self._device)
            inputs = {k: v.to(_DTYPES[self.dtype]) if v.is_floating_point() else v for k, v in inputs.items()}
        else:
            # uint8 travels to the device and is normalised there: a quarter of the bytes.
            batch = torch.from_numpy(np.stack(pixels)).to(self._device).permute(0, 3, 1, 2)
            inputs = {"pixel_values": batch.float().sub(self._mean).div(self._std).to(_DTYPES[self.dtype])}
        return _unit(self._model.get_image_features(**inputs))

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeds texts: unit-length float32 of shape (n, d)."""
        batches = [texts[i : i + _TEXT_BATCH] for i in range(0, len(texts), _TEXT_BATCH)]
        return np.concatenate([_unit(self._model.get_text_features(**self._tokens(batch))) for batch in batches])

    def _tokens(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        if self._is_siglip:
            # Trained on lower-cased text padded to the full length; other input costs tens of points of accuracy.
            texts = [text.lower() for text in texts]
        tokens = self._tokenizer(
            list(texts),
            padding="max_length" if self._is_siglip else True,
            truncation=True,
            max_length=self._max_length,
            return_tensors="pt",
        )
        return {key: value.to(self._device) for key, value in tokens.items()}


def choose_device(wanted: str) -> torch.device:
    """The device by name; ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        SettingsError: there is no device of that name.
        ModelError: the device is not on this machine.
    """
    if wanted == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    try:
        device = torch.device(wanted)
    except RuntimeError as e:
        raise SettingsError(f"no device {wanted!r}: use auto, cpu, cuda, cuda:N or mps") from e
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {wanted}: no such CUDA device here; --device cpu works")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("device mps: not on this machine; --device cpu works")
    if device.type not in ("cpu", "cuda", "mps"):
        raise SettingsError(f"no device {wanted!r}: use auto, cpu, cuda, cuda:N or mps")
    return device


def choose_dtype(wanted: str, device: torch.device) -> str:
    """What to compute in; ``auto`` takes bfloat16 where the processor has instructions for it, else float32.

    Raises:
        SettingsError: there is no dtype of that name.
    """
    if wanted in _DTYPES:
        return wanted
    if wanted != "auto":
        raise SettingsError(f"no dtype {wanted!r}: use auto, {', '.join(_DTYPES)}")
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device.type == "cpu" and _cpu_computes_bfloat16():
        return "bfloat16"
    return "float32"


def _cpu_computes_bfloat16() -> bool:
    flags = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, flag, lambda: False)() for flag in flags)


def _load(folder: Path, dtype: torch.dtype, device: torch.device) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
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
    return model.eval().to(device), tokenizer


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


def _unit(features: Any) -> np.ndarray:
    # transformers 5 returns an output object, older versions the tensor itself
    tensor = getattr(features, "pooler_output", features)
    vectors: np.ndarray = torch.nn.functional.normalize(tensor.float(), dim=-1).cpu().numpy()
    return vectors
