"""What is embedded of many photos, as one array: a row a car that stands in one, or the photo as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Error
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET

from cartag.state.boxes import in_digits
from cartag.state.store import Store
from cartag.values import Box, PhotoRecord, shown_regions

if TYPE_CHECKING:
    from cartag.state.shards.columns import Looks


@dataclass(frozen=True, eq=False)
class Views:
    """Rows of photos, in the order of the photos; the cars of one photo largest first."""

    vectors: np.ndarray
    """Float32 of shape (n, d), unit length."""
    paths: tuple[str, ...]
    boxes: tuple[Box | None, ...]
    """Where the car stands, in the four digits of the index; None: the photo as a whole."""


def views_of(records: Iterable[PhotoRecord], folder: Path, identity: str) -> Views:
    """The cached embeddings of photos, read without writing anything; of photos without any there is no row.

    A photo whose cars are embedded has no row as a whole. A cache that is missing or damaged holds nothing.
    """
    readable = [record for record in records if record.sha256 is not UNSET]
    hashes = sorted({str(record.sha256) for record in readable})
    try:
        regions = {key: dict(found) for key, found in Store.read_regions(folder, identity, hashes).items()}
        wholes = Store.read_photos(folder, identity, hashes)
    except Error:
        regions, wholes = {}, {}
    return _views(readable, wholes, regions)


def views_among(records: Iterable[PhotoRecord], looks: Iterable[Mapping[str, Looks]]) -> Views:
    """The same of the embeddings of a folder of shards, which come some thousand photos at a time, by content."""
    readable = [record for record in records if record.sha256 is not UNSET]
    hashes = {str(record.sha256) for record in readable}
    wholes: dict[str, np.ndarray] = {}
    regions: dict[str, dict[Box, np.ndarray]] = {}
    for some in looks:
        for key in some.keys() & hashes:
            regions[key] = {in_digits(box): vector for box, vector in some[key] if box is not None}
            wholes.update((key, vector) for box, vector in some[key] if box is None)
    return _views(readable, wholes, regions)


def _views(
    records: Iterable[PhotoRecord], wholes: Mapping[str, np.ndarray], regions: Mapping[str, Mapping[Box, np.ndarray]]
) -> Views:
    vectors: list[np.ndarray] = []
    paths: list[str] = []
    boxes: list[Box | None] = []
    for record in records:
        for box, vector in _of_one(record, wholes, regions.get(str(record.sha256), {})):
            vectors.append(vector)
            paths.append(record.path)
            boxes.append(box)
    return Views(np.stack(vectors) if vectors else np.zeros((0, 0), np.float32), tuple(paths), tuple(boxes))


def _of_one(
    record: PhotoRecord, wholes: Mapping[str, np.ndarray], cached: Mapping[Box, np.ndarray]
) -> list[tuple[Box | None, np.ndarray]]:
    digits = [in_digits(region.box) for region in shown_regions(record)]
    found: list[tuple[Box | None, np.ndarray]] = [(box, cached[box]) for box in digits if box in cached]
    if found:
        return found
    whole = wholes.get(str(record.sha256))
    if whole is None and cached:  # boxes that hold no car, and a whole that was not asked: nothing else was embedded
        whole = cached[max(cached, key=lambda box: box[2] * box[3])]
    return [] if whole is None else [(None, whole)]
