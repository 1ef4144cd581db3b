"""Galleries without photos: the files, the index and the cached embeddings that a run of `tag` would have left."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from msgspec import UNSET
from PIL import Image

import cartag
from cartag import checkpoints, detector as detectors, encoder
from cartag.progress import Silent
from cartag.state import index
from cartag.state.index import Index
from cartag.state.place import Place
from cartag.state.store import Store
from cartag.values import Box, Candidate, IndexHeader, Outcome, PhotoRecord, Region, Tag

_A_FOLDER = 1000
_OUTCOMES: tuple[Outcome, ...] = ("tagged", "unknown", "no-car")
_WRITTEN_AT_ONCE = 10_000
_FOUND = 0.875  # a number that float32 holds


def make_gallery(folder: Path, count: int, model: str, catalog: str, *, files: bool = True) -> Path:
    """A gallery of ``count`` photos as a run with this model and catalog leaves it, unless it is there.

    The files are empty, for a second run looks at their names, sizes and times only. One photo in three shows no car,
    the others one, every tenth of them a second one behind it; each of these, and the photo where there is none, has an
    embedding of random direction. The fake model sees wholes, so there a photo has one. With ``files`` False there is
    an index and nothing else, enough for `find`.
    """
    place = index.place_of(folder)
    if place.index.is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    header, dimension = _tag_one_photo(folder, model, catalog)
    looks = header.detector is not UNSET
    mtimes = _make_files(folder, count) if files else np.zeros(count, np.int64)
    if files:
        _embed(place, model, count, dimension, looks)
    place.index.unlink()
    cars = [car.id for car in header.catalog.cars]
    photos = {_name(i): _record(i, cars, int(mtimes[i]), looks) for i in range(count)}
    index.write_index(Index(header, photos, place.index))
    return folder


def _tag_one_photo(folder: Path, model: str, catalog: str) -> tuple[IndexHeader, int]:
    """A real run, which leaves the text side in the cache; its header and the length of its embeddings."""
    photo = folder / "one.png"
    Image.new("RGB", (64, 64), "grey").save(photo)
    header = cartag.tag(folder, model=model, catalog=catalog).index.header
    place = index.place_of(folder)
    with Store(place.state, _identity(model)) as store:
        (vector,) = store.get(sorted(store.hashes())).values()
    photo.unlink()
    return header, len(vector)


def _make_files(folder: Path, count: int) -> np.ndarray:
    mtimes = np.zeros(count, np.int64)
    for i in range(count):
        path = folder / _name(i)
        if i % _A_FOLDER == 0:
            path.parent.mkdir()
        file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        mtimes[i] = os.fstat(file).st_mtime_ns
        os.close(file)
    return mtimes


def _embed(place: Place, model: str, count: int, dimension: int, looks: bool) -> None:
    rng = np.random.default_rng(0)
    detector = detectors.identity(checkpoints.resolve_detector(checkpoints.BUNDLED_DETECTOR, Silent()))
    with Store(place.state, _identity(model)) as store:
        for start in range(0, count, _WRITTEN_AT_ONCE):
            photos = range(start, min(start + _WRITTEN_AT_ONCE, count))
            seen = {i: _boxes(i) if looks else [] for i in photos}
            if looks:
                store.put_seen(detector, {_hash(i): np.array([(*b, _FOUND) for b in own]) for i, own in seen.items()})
            boxes = [(_hash(i), box) for i, own in seen.items() for box in own]
            wholes = [_hash(i) for i, own in seen.items() if not own]
            vectors = rng.normal(size=(len(boxes) + len(wholes), dimension)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            store.put_regions(dict(zip(boxes, vectors, strict=False)))
            store.put(dict(zip(wholes, vectors[len(boxes) :], strict=True)))


def _identity(model: str) -> str:
    return encoder.identity(checkpoints.resolve(model, Silent()))


def _boxes(i: int) -> list[Box]:
    """Of the cars in a photo, largest first."""
    if _OUTCOMES[i % 3] == "no-car":
        return []
    return [(0.1, 0.3, 0.6, 0.5), (0.7, 0.4, 0.25, 0.2)][: 2 if i % 10 == 0 else 1]


def _record(i: int, cars: list[str], mtime_ns: int, looks: bool) -> PhotoRecord:
    ranked = [cars[(i + k) % len(cars)] for k in range(5)]
    outcome = _OUTCOMES[i % 3]
    shown = outcome == "tagged"
    candidates = tuple(Candidate(car=car, score=round(0.2 / (k + 2), 4)) for k, car in enumerate(ranked[shown:]))
    boxes = _boxes(i) if looks else []
    tags = (Tag(car=ranked[0], score=0.9312, box=boxes[0] if looks else UNSET),) if shown else ()
    regions = tuple(
        Region(
            box=box,
            found=_FOUND,
            outcome="tagged" if shown and not behind else "unknown",
            tags=(Tag(car=ranked[0], score=0.9312),) if shown and not behind else (),
            candidates=candidates,
        )
        for behind, box in enumerate(boxes)
    )
    return PhotoRecord(
        path=_name(i),
        sha256=_hash(i),
        size=0,
        mtime_ns=mtime_ns,
        width=6000,
        height=4000,
        outcome=outcome,
        tags=tags,
        candidates=candidates,
        regions=regions if looks else UNSET,
    )


def _name(i: int) -> str:
    return f"{i // _A_FOLDER:04d}/IMG_{i:07d}.jpg"


def _hash(i: int) -> str:
    return hashlib.sha256(i.to_bytes(8, "big")).hexdigest()
