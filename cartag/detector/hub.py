"""Detectors of `transformers`: D-FINE, RT-DETR, DETR and all others that `AutoModelForObjectDetection` loads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cartag.checkpoints import Passes, alone_at_loading, choose_device, room_for_a_model, without_tf32
from cartag.detector.keeping import MOST, THRESHOLD, kept
from cartag.detector.processor import read_image_spec
from cartag.errors import ModelError
from cartag.values import ImageSpec

_ON_CORE = 1  # photos a pass: one of 640 x 640 fills a core's cache with activations as it is
_ON_GPU = 32
_FLATTEST = 40
"""A photo longer than so many times its short side is stretched to that: else what a processor makes of the short side
would be less than a cell of the network, or nothing at all."""


class HubDetector:
    """A detection checkpoint behind cartag's `Detector` seam."""

    def __init__(
        self, folder: Path, config: dict[str, Any], cars: frozenset[int], identity: str, *, device: str = "auto"
    ) -> None:
        """Loads the checkpoint from safetensors, without remote code and without network.

        ``config`` is its vetted config (`cartag.detector.config`), ``cars`` are the classes that count. It computes in
        float32, with all its digits on a GPU too: a box that jumps moves an embedding more than any rounding does.

        Raises:
            ModelError: the checkpoint is no detector, is damaged, or the device is not there.
        """
        self.identity = identity
        self.image_spec: ImageSpec = read_image_spec(folder)
        wanted = choose_device(device)
        self._device = wanted if wanted.type == "cuda" else torch.device("cpu")  # on Apple's MPS it was never tried
        self._cars = torch.tensor(sorted(cars))
        self._processor = _load_processor(folder)
        self._model = _load_model(folder, config)
        with room_for_a_model(self._device):
            self._model.to(self._device)
        self._passes = Passes(self._device, on_core=_ON_CORE, on_gpu=_ON_GPU)

    def boxes(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See the protocol."""
        found: list[np.ndarray] = [np.empty((0, 5), np.float32)] * len(photos)
        with without_tf32(self._device):
            for alike in self._of_one_shape(photos):
                rows = self._passes.run(self._pass, [self._shown(photos[i]) for i in alike]).numpy()
                for i, said in zip(alike, rows, strict=True):
                    said = said[said[:, 4] > 0]
                    found[i] = kept(said[:, :4], said[:, 4])
        return found

    def _of_one_shape(self, photos: Sequence[np.ndarray]) -> list[list[int]]:
        """Which photos may share a pass: others would be padded to the largest, and padding moves boxes."""
        if self.image_spec.fit == "squash":
            return [list(range(len(photos)))] if photos else []
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, photo in enumerate(photos):
            groups.setdefault(photo.shape, []).append(i)
        return list(groups.values())

    def _shown(self, photo: np.ndarray) -> np.ndarray:
        return photo if self.image_spec.fit == "squash" else _stretched(photo)

    def _pass(self, photos: Sequence[np.ndarray]) -> torch.Tensor:
        """Float32 (n, MOST, 5): corners as fractions and confidence, the surest first; of what is no car zeros."""
        inputs = self._processor(images=list(photos), input_data_format="channels_last", return_tensors="pt")
        outputs = self._model(**inputs.to(self._device))
        whole = torch.ones((len(photos), 2), device=self._device)  # of such a size boxes are fractions
        said = self._processor.post_process_object_detection(outputs, threshold=THRESHOLD, target_sizes=whole)
        rows = torch.zeros(len(photos), MOST, 5)
        for row, one in zip(rows, said, strict=True):
            scores, labels, boxes = (one[key].cpu() for key in ("scores", "labels", "boxes"))
            # What is no number would be taken for the surest of all.
            is_car = torch.isin(labels, self._cars) & scores.isfinite() & boxes.isfinite().all(dim=1)
            surest = scores[is_car].argsort(descending=True, stable=True)[:MOST]
            row[: len(surest), :4] = boxes[is_car][surest]
            row[: len(surest), 4] = scores[is_car][surest]
        return rows


def _stretched(photo: np.ndarray) -> np.ndarray:
    """The photo; of a long, flat one (or a high, narrow one) its short side repeated."""
    height, width = photo.shape[:2]
    high, wide = max(height, -(-width // _FLATTEST)), max(width, -(-height // _FLATTEST))
    if (high, wide) == (height, width):
        return photo
    stretched: np.ndarray = photo[np.arange(high) * height // high][:, np.arange(wide) * width // wide]
    return stretched


def _load_model(folder: Path, config: dict[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING, AutoModelForObjectDetection
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with alone_at_loading():
            model, loading = AutoModelForObjectDetection.from_pretrained(
                folder,
                config=CONFIG_MAPPING[str(config["model_type"])].from_dict(config),
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as e:  # transformers raises whatever its parts raise
        raise ModelError(f"{folder}: cannot be loaded by transformers: {' '.join(str(e).split())[:300]}") from e
    if loading["missing_keys"]:  # transformers fills them with random numbers
        some = ", ".join(sorted(loading["missing_keys"])[:3])
        raise ModelError(f"{folder}: its weights lack {len(loading['missing_keys'])} tensors, such as {some}")
    if not all(bool(weights.isfinite().all()) for weights in model.state_dict().values()):
        raise ModelError(f"{folder}: some of its weights are no numbers; fetch it again or choose another detector")
    return model.eval()


def _load_processor(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    try:
        # Pillow resamples as it does for every encoder; torchvision's uint8 arithmetic differs by up to one level.
        processor = AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, backend="pil"
        )
    except Exception as e:  # likewise
        raise ModelError(f"{folder}: its processor cannot be loaded: {' '.join(str(e).split())[:300]}") from e
    if not hasattr(processor, "post_process_object_detection"):
        raise ModelError(f"{folder}: a {type(processor).__name__} makes no boxes; the folder is no detector's")
    return processor
