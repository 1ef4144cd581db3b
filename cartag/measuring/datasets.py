"""Published test sets: zero-shot top-1 the way open_clip measures it, to hold a model against the published tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from cartag import checkpoints, encoder as encoders
from cartag.encoder import Encoder
from cartag.errors import PhotoError, UsageError
from cartag.measuring import metrics
from cartag.measuring.metrics import Interval
from cartag.photos import batch_size, decode, read_bytes
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings

# The eight templates of CLIP for Stanford Cars (Radford et al. 2021), used by open_clip.
TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of my {}.",
    "i love my {}!",
    "a photo of my dirty {}.",
    "a photo of my clean {}.",
    "a photo of my new {}.",
    "a photo of my old {}.",
)


@dataclass(frozen=True)
class DatasetResult:
    """Zero-shot accuracy on a published test set."""

    dataset: str
    model: str
    photos: int
    classes: int
    top1: Interval
    unreadable: int
    """Photos that could not be read; they count as wrong."""
    published: float | None
    """Percent, as the model's authors published it."""


def evaluate_dataset(
    folder: Path | str,
    dataset: str = "stanford-cars",
    *,
    model: str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> DatasetResult:
    """Zero-shot top-1 on the test split: class names in eight templates, embeddings averaged, cosine, no rejection.

    Args:
        folder: holds `stanford_cars/` as torchvision lays it out: `devkit/`, `cars_test/`,
            `cars_test_annos_withlabels.mat`; or is that folder.
        dataset: `stanford-cars`.
        model: as for `tag`; None: as `--model auto`.
        settings: the rarer settings.
        progress: hears how far it is.

    Raises:
        UsageError: the folder is not laid out so, or the data set is not known.
        ModelError: see `cartag.errors`.
    """
    if dataset != "stanford-cars":
        raise UsageError(f"no data set {dataset!r}: known is stanford-cars")
    settings = (settings or load_settings()).overridden({"model": model})
    progress = progress or Silent()
    names, samples = _stanford_cars(Path(folder))
    files = (
        checkpoints.resolve_auto(None, progress, settings.model, settings.device)
        if checkpoints.is_auto(settings.model)
        else checkpoints.resolve(settings.model, progress)
    )
    encoder = encoders.load(
        files, device=settings.device, dtype=settings.dtype, fit=settings.fit, runtime=settings.runtime
    )
    prototypes = _prototypes(encoder, names)
    progress.start("embedding", len(samples))
    hits = np.zeros(len(samples), bool)
    unreadable, at = 0, 0
    photos = iter(samples)
    while batch := list(islice(photos, batch_size(settings))):
        pixels = list(_pixels(batch, encoder, settings.max_pixels))
        rows = [i for i, p in enumerate(pixels) if p is not None]
        unreadable += len(batch) - len(rows)
        if rows:
            embeddings = encoder.embed_images([p for p in pixels if p is not None])
            answers = (embeddings @ prototypes.T).argmax(axis=1)
            hits[[at + i for i in rows]] = answers == np.array([batch[i][1] for i in rows])
        at += len(batch)
        progress.advance(len(batch))
    progress.finish()
    top1 = metrics.intervals({"top1": metrics.rate(hits, np.ones(len(hits), bool))}, len(hits))["top1"]
    assert top1 is not None  # there are photos
    return DatasetResult(
        dataset, files.spec.name, len(samples), len(names), top1, unreadable, files.spec.stanford_cars_top1
    )


def _stanford_cars(folder: Path) -> tuple[list[str], list[tuple[str, int]]]:
    from torchvision.datasets import StanfordCars

    root = folder.parent if folder.name == "stanford_cars" and (folder / "devkit").is_dir() else folder
    try:
        found = StanfordCars(root, split="test", loader=str)  # the path itself: photos are read as everywhere else
    except (RuntimeError, OSError, ValueError, KeyError, TypeError) as e:
        raise UsageError(
            f"{folder}: not Stanford Cars as torchvision lays it out: expected stanford_cars/ with "
            "devkit/cars_meta.mat, "
            f"cars_test/ and cars_test_annos_withlabels.mat ({e})"
        ) from e
    samples = [(str(path), int(target)) for path, target in (found[i] for i in range(len(found)))]
    if not samples:
        raise UsageError(f"{folder}: the test split holds no photo")
    return [str(name) for name in found.classes], samples


def _prototypes(encoder: Encoder, names: list[str]) -> np.ndarray:
    """(classes, d): the mean of a class's texts, unit length."""
    texts = [template.format(name) for name in names for template in TEMPLATES]
    means = encoder.embed_texts(texts).reshape(len(names), len(TEMPLATES), -1).mean(axis=1)
    unit: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


def _pixels(batch: list[tuple[str, int]], encoder: Encoder, max_pixels: int) -> Iterator[np.ndarray | None]:
    for path, _ in batch:
        try:
            yield decode(read_bytes(Path(path)), encoder.image_spec, max_pixels).pixels
        except PhotoError:
            yield None
