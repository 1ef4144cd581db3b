"""Photos per second of the parts of tagging, and of the other ways, in one process, each once everything is loaded.

Run as ``python -m benchmarks.rates MODEL DEVICE CATALOG RUNS GALLERY...``; answers with JSON. Where cartag does a
gallery in seconds and others in minutes, this is how they are compared: without start-up, the others on a few photos.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import cartag
from cartag import checkpoints, encoder
from cartag.encoder import Encoder
from cartag.photos import images
from cartag.photos.reading import batch_size
from cartag.progress import Silent
from cartag.settings import Settings, usable_cores
from cartag.values import ImageSpec

_FEW = {"web": 96, "camera": 24}
"""Photos for the other ways, of which some do four camera photos a second."""
_DECODED = {"web": 2048, "camera": 384}
_SIZES = (1, 8, 32)
_SECONDS = 1.5
"""So long the model is run."""


def measure(model: str, device: str, catalog: Path, runs: int, galleries: list[Path]) -> dict[str, Any]:
    """All rates: those of cartag, its decoders and the other ways per gallery, that of the model once."""
    files = checkpoints.resolve(model, Silent())
    spec = encoder.image_spec(files)
    photos = {gallery.name: sorted(gallery.glob("*.jpg")) for gallery in galleries}
    found: dict[str, Any] = {
        name: decoders(paths[: _DECODED.get(name.split("-")[0], 64)], spec) for name, paths in photos.items()
    }
    found |= the_model(encoder.load(files, device=device), next(iter(photos.values())))
    for gallery in galleries:
        found[gallery.name]["tag"] = median(tagging(gallery, model, device, catalog) for _ in range(runs))
    from benchmarks import contestants

    pipeline, loop = contestants.make_pipeline(model, device), contestants.make_loop(model, device)
    small = min((paths[0] for paths in photos.values()), key=lambda path: path.stat().st_size)
    for name, paths in photos.items():
        few = paths[: _FEW.get(name.split("-")[0], 24)]
        tried = {size: _rate(pipeline, few, size, small) for size in _SIZES}
        best = max(tried, key=lambda size: tried[size])
        rates = {"pipeline_batch": best, "pipeline": tried[best], "loop": _rate(loop, few, 32, small)}
        found[name] |= {**rates, "few": len(few)}
    return found | {"device": _name_of(device)}


def decoders(photos: list[Path], spec: ImageSpec) -> dict[str, float]:
    """Reading, hashing and decoding with all cores busy: in threads, as cartag does it, and in processes."""
    spawned = multiprocessing.get_context("spawn")
    pools = {
        "threads": ThreadPoolExecutor(usable_cores()),
        "processes": ProcessPoolExecutor(usable_cores(), mp_context=spawned),
    }
    return {name: _decoded(pool, photos, spec) for name, pool in pools.items()}


def _decoded(pool: Executor, photos: list[Path], spec: ImageSpec) -> float:
    with pool:
        read = partial(_read, spec=spec)
        list(pool.map(read, photos[: 4 * usable_cores()]))  # processes start; the disk's cache is warmed for both
        began = time.perf_counter()
        # Few at a time, or the last worker would have many left when the others have none.
        list(pool.map(read, photos, chunksize=max(1, len(photos) // (32 * usable_cores()))))
        return len(photos) / (time.perf_counter() - began)


def _read(path: Path, spec: ImageSpec) -> None:
    data = images.read_bytes(path)
    images.content_hash(data)
    images.decode(data, spec)


def tagging(gallery: Path, model: str, device: str, catalog: Path) -> float:
    """All of `cartag.tag`, from the walk to the index, in a process that has imported what it needs."""
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        options = {"model": model, "regions": "off", "device": device, "catalog": catalog}  # the others see wholes
        report = cartag.tag(gallery, index=Path(folder) / "cartag.json", **options)
        return report.embedded / (time.perf_counter() - began)


def the_model(loaded: Encoder, photos: list[Path]) -> dict[str, Any]:
    """The model alone, on photos that are decoded: batches as of `tag`, the way to the device and back included."""
    size = batch_size(Settings())
    some = [images.decode(path.read_bytes(), loaded.image_spec).pixels for path in photos[:16]]
    batch: list[np.ndarray] = [pixels for pixels in some * size if pixels is not None][:size]
    loaded.embed_images(batch)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        loaded.embed_images(batch)
        done += size
    return {"model": done / (time.perf_counter() - began), "dtype": loaded.dtype}


def _rate(ask: Callable[[list[Path], int], list[str]], photos: list[Path], batch: int, small: Path) -> float:
    ask([small] * batch, batch)  # kernels are chosen anew for every batch size
    began = time.perf_counter()
    ask(photos, batch)
    return len(photos) / (time.perf_counter() - began)


def _name_of(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


if __name__ == "__main__":
    _, the_name, the_device, the_catalog, the_runs, *the_galleries = sys.argv
    answer = measure(the_name, the_device, Path(the_catalog), int(the_runs), [Path(g) for g in the_galleries])
    print(json.dumps(answer))
