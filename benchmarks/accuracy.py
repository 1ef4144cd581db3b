"""What decoding small and computing in another dtype change, on a folder of photos.

The reference decodes every photo in full, resizes it with the checkpoint's own processor, and computes in float32.
Photos are looked at as wholes. Shown are the cosine of the embeddings to the reference's, and on how many photos the
likeliest car is another one.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks import measuring
from benchmarks.measuring import Report
from cartag import checkpoints, encoder
from cartag.catalogs import catalog
from cartag.catalogs.prompts import prompt_classes
from cartag.encoder import Encoder
from cartag.photos import images
from cartag.progress import Silent
from cartag.scoring import scoring
from cartag.values import ModelFiles

_AT_ONCE = 32


def measure(photos: Sequence[bytes], model: str, catalog_name: str) -> Report:
    """Compares cartag's way in every dtype with the reference."""
    files = checkpoints.resolve(model, Silent())
    report = Report("accuracy", ("way", "photos", "mean cosine", "least cosine", "top-1 changes"))
    reference = _in_full(files, photos)
    exact = encoder.load(files, device="cpu", dtype="float32")
    classes = prompt_classes(catalog.load_catalog(catalog_name))
    texts = exact.embed_texts([text for c in classes for text in c.texts])
    cars = scoring.class_set(classes, texts)
    best = (reference @ cars.embeddings[: len(cars.cars)].T).argmax(axis=1)
    for dtype in ("float32", "bfloat16"):
        ours = _fast(encoder.load(files, device="cpu", dtype=dtype), photos)
        cosines = (ours * reference).sum(axis=1)
        changed = ((ours @ cars.embeddings[: len(cars.cars)].T).argmax(axis=1) != best).mean()
        figures = (f"{cosines.mean():.4f}", f"{cosines.min():.4f}", f"{100 * changed:.2f} %")
        report.add(f"decoded small, {dtype}", len(photos), *figures)
    return report


def _fast(model: Encoder, photos: Sequence[bytes]) -> np.ndarray:
    pixels = [images.decode(photo, model.image_spec).pixels for photo in photos]
    parts = range(0, len(pixels), _AT_ONCE)
    return np.concatenate([model.embed_images([p for p in pixels[i : i + _AT_ONCE] if p is not None]) for i in parts])


def _in_full(files: ModelFiles, photos: Sequence[bytes]) -> np.ndarray:
    import torch
    from transformers import AutoImageProcessor, AutoModel

    from cartag.checkpoints import one_thread

    opened = (ImageOps.exif_transpose(Image.open(io.BytesIO(photo))).convert("RGB") for photo in photos)
    model = AutoModel.from_pretrained(files.folder, local_files_only=True).eval()
    processor = AutoImageProcessor.from_pretrained(files.folder, local_files_only=True, backend="pil")
    vectors = []
    with torch.inference_mode(), one_thread():
        for picture in opened:
            features = model.get_image_features(**processor(images=picture, return_tensors="pt"))
            vectors.append(getattr(features, "pooler_output", features))
    found: np.ndarray = torch.nn.functional.normalize(torch.cat(vectors), dim=-1).numpy()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("accuracy", __doc__ or "")
    parser.add_argument("photos", type=Path, help="a folder of JPEGs")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--catalog", default="sports-cars")
    options = parser.parse_args(arguments)
    paths = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    paths = paths[:: max(1, len(paths) // 100)] if options.quick else paths
    measuring.publish(measure([path.read_bytes() for path in paths], options.model, options.catalog), options)


if __name__ == "__main__":
    main()
