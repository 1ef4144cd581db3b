"""How else one would do it: run as ``python -m benchmarks.contestants WAY GALLERY MODEL BATCH DEVICE``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

LABELS = (
    "Pagani Huayra",
    "Ferrari 458 Italia",
    "Wiesmann GT",
    "Porsche Carrera GT",
    "Ferrari F12 Berlinetta",
    "Porsche 911 Carrera GTS",
    "Ferrari 599 SA Aperta",
    "Bugatti Veyron Grand Sport Vitesse",
    "Mercedes-Benz SLR McLaren",
    "Pagani Zonda F",
    "Lamborghini Countach",
)
TEMPLATE = "a photo of a {}."


Ask = Callable[[list[Path], int], list[str]]
"""From photos and a batch size to the best label of every photo."""


def make_pipeline(model: str, device: str) -> Ask:
    """`transformers`' zero-shot pipeline, as its documentation shows it."""
    from transformers import pipeline as make

    classifier = make("zero-shot-image-classification", model=model, device=device)

    def ask(photos: list[Path], batch: int) -> list[str]:
        answers = classifier(
            [str(photo) for photo in photos],
            candidate_labels=list(LABELS),
            hypothesis_template=TEMPLATE,
            batch_size=batch,
        )
        return [answer[0]["label"] for answer in answers]

    return ask


def make_loop(model: str, device: str) -> Ask:
    """The loop of open_clip's README: Pillow, the checkpoint's processor, float32, texts embedded once."""
    import torch
    from transformers import AutoModel, AutoProcessor

    network, processor = AutoModel.from_pretrained(model).eval().to(device), AutoProcessor.from_pretrained(model)
    words = processor(text=[TEMPLATE.format(label) for label in LABELS], return_tensors="pt", padding=True)
    with torch.inference_mode():
        texts = _unit(network.get_text_features(**words.to(device)))

    @torch.inference_mode()
    def ask(photos: list[Path], batch: int) -> list[str]:
        answers: list[str] = []
        for some in _batches(photos, batch):
            images = [Image.open(photo).convert("RGB") for photo in some]
            pixels = processor(images=images, return_tensors="pt").to(device)
            best = (_unit(network.get_image_features(**pixels)) @ texts.T).argmax(dim=-1)
            answers += [LABELS[i] for i in best.tolist()]
        return answers

    return ask


def pipeline(photos: list[Path], model: str, batch: int, device: str) -> list[str]:
    """All photos through the pipeline."""
    return make_pipeline(model, device)(photos, batch)


def loop(photos: list[Path], model: str, batch: int, device: str) -> list[str]:
    """All photos through the loop."""
    return make_loop(model, device)(photos, batch)


def best_batch(photos: list[Path], model: str, batch: int, device: str) -> list[str]:
    """The batch size, of those up to ``batch``, with which the pipeline takes least time; the answer is its number."""
    ask = make_pipeline(model, device)
    ask(photos[:1], 1)

    def seconds(size: int) -> float:
        began = time.perf_counter()
        ask(photos, size)
        return time.perf_counter() - began

    return [str(min((size for size in (1, 8, 32) if size <= batch), key=seconds))]


def _unit(features: Any) -> Any:
    tensor = getattr(features, "pooler_output", features)
    return tensor / tensor.norm(dim=-1, keepdim=True)


def _batches(photos: list[Path], size: int) -> Iterator[list[Path]]:
    for start in range(0, len(photos), size):
        yield photos[start : start + size]


WAYS = {"pipeline": pipeline, "best-batch": best_batch, "loop": loop}

if __name__ == "__main__":
    way, gallery, model, batch, device = sys.argv[1:]
    print(json.dumps(WAYS[way](sorted(Path(gallery).glob("*.jpg")), model, int(batch), device)))
