"""The vectors that stand for photos when something is learned from them: of the car that a label speaks of, mostly."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cartag.state import Store
from cartag.values import Box, PhotoRecord, shown_regions


def main_vectors(records: Iterable[PhotoRecord], store: Store) -> dict[str, np.ndarray]:
    """The cached embedding (d,) of each photo, by its path: of its largest region, or of the whole where it has none.

    A label names the cars of a photo, not where they stand: where there are several, it is taken to mean the largest.
    """
    readable = [record for record in records if record.sha256]
    hashes = sorted({str(record.sha256) for record in readable})
    wholes = store.get(hashes)
    regions = {h: dict(found) for h, found in store.regions_of([h for h in hashes if h not in wholes]).items()}
    named = {str(r.sha256) for r in readable if shown_regions(r)} & wholes.keys()
    regions |= {h: dict(found) for h, found in store.regions_of(sorted(named)).items()}
    vectors: dict[str, np.ndarray] = {}
    for record in readable:
        cached, whole = regions.get(str(record.sha256), {}), wholes.get(str(record.sha256))
        boxes = [tuple(round(v, 4) for v in region.box) for region in shown_regions(record)]
        found = next((cached[box] for box in boxes if box in cached), None)
        if found is None:
            found = whole if whole is not None else _largest(cached)
        if found is not None:
            vectors[record.path] = found
    return vectors


def _largest(cached: dict[Box, np.ndarray]) -> np.ndarray | None:
    """Of boxes that hold no car, as the model says: nothing else was embedded of that photo."""
    box = max(cached, key=lambda box: box[2] * box[3], default=None)
    return None if box is None else cached[box]
