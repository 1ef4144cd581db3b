"""The vectors that something is learned from: each of one car in a photo, with what a person says of that car.

Where `tag` weighs whether a box holds a car, each has what it is weighed with, as `tag` has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import UNSET

from cartag.catalogs import UNKNOWN
from cartag.learning.weighing import Weighing
from cartag.measuring import BoxLabel, Label
from cartag.scoring import Chooser, Chosen
from cartag.state import Store, in_digits, matched
from cartag.values import Box, PhotoRecord, shown_regions


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """A vector, and what it is weighed with."""

    vector: np.ndarray
    """(d,)"""
    found: float = np.nan
    """How sure the detector is of the box; NaN where nothing is weighed."""
    whole: np.ndarray | None = None
    """(d,): of the photo as a whole, where it is asked."""


@dataclass(frozen=True, eq=False, slots=True)
class Example:
    """One car in a photo, or a photo without one, and what a person says of it."""

    label: Label
    record: PhotoRecord
    seen: Seen

    @property
    def vector(self) -> np.ndarray:
        return self.seen.vector


@dataclass(frozen=True)
class Placed:
    """What labels give to learn from."""

    found: list[Example]
    unplaced: frozenset[str]
    """Paths of photos of which nothing is learned, for nobody can tell which of their cars is which."""
    astray: frozenset[str] = frozenset()
    """Likewise, for the boxes of their labels are none of those that were found."""


@dataclass(frozen=True, eq=False, slots=True)
class _Views:
    """What is embedded of a photo."""

    regions: Mapping[Box, Seen]
    """Those that it shows, largest first."""
    main: Seen
    """Of its largest region; where it has none, of the largest box that is weighed, else of the photo as a whole."""


def examples_of(pairs: Sequence[tuple[Label, PhotoRecord]], store: Store, chooser: Chooser | None = None) -> Placed:
    """What is learned from labelled photos, as far as the cache has their embeddings.

    Where a label has boxes, or a person named boxes in a review, each box is an example of its own, and a name without
    a box belongs to the only box that is left over. A photo whose label names one car is an example of that, by its
    largest region. Where a label names several and there are several regions, nobody knows which is which: nothing is
    learned from it.

    ``chooser`` is what `tag` chooses boxes by, and has heeded all photos; None: it weighs nothing.
    """
    views = _views([record for _, record in pairs], store, chooser)
    found: list[Example] = []
    unplaced: set[str] = set()
    astray: set[str] = set()
    for label, record in pairs:
        if (view := views.get(record.path)) is None:
            continue
        boxes = (label.boxes or _named_boxes(record, label)) if view.regions else ()
        if boxes:
            some = [Example(said, record, seen) for said, seen in _by_box(label, boxes, view)]
        elif len(view.regions) > 1 and len(label.cars) + len(label.other) > 1:
            some = []
        else:
            some = [Example(label, record, view.main)]
        found += some
        if not some:
            (astray if label.boxes and view.regions else unplaced).add(record.path)
    return Placed(found, frozenset(unplaced), frozenset(astray))


def main_vectors(records: Iterable[PhotoRecord], store: Store, chooser: Chooser | None = None) -> dict[str, Seen]:
    """The cached embedding of each photo, by path: of its largest region, or of the whole where it has none.

    Where it is weighed (``chooser``, as of `examples_of`) and no region is left, of the largest box that was looked at:
    by that the photo was found to show none.
    """
    return {path: view.main for path, view in _views(records, store, chooser).items()}


def weighing_of(seen: Sequence[Seen], chooser: Chooser | None) -> Weighing | None:
    """What these are weighed with; None: nothing of them is."""
    if chooser is None or chooser.presence is None or all(np.isnan(one.found) for one in seen):
        return None
    nothing = np.full_like(seen[0].vector, np.nan)
    wholes = np.stack([nothing if one.whole is None else one.whole for one in seen])
    return Weighing(chooser.presence, np.array([one.found for one in seen]), wholes)


def _by_box(label: Label, boxes: Sequence[BoxLabel], view: _Views) -> list[tuple[Label, Seen]]:
    """What is said of each box, with the vector of the region that stands there."""
    there = list(view.regions)
    exact = {i: there.index(in_digits(of.box)) for i, of in enumerate(boxes) if in_digits(of.box) in view.regions}
    others = [i for i in range(len(boxes)) if i not in exact]
    free = [j for j in range(len(there)) if j not in exact.values()]
    near = matched([boxes[i].box for i in others], [there[j] for j in free])
    at = exact | {others[i]: free[j] for i, j in near.items()}
    said = [(Label(label.file, boxes[i].cars, boxes[i].other), view.regions[there[j]]) for i, j in sorted(at.items())]
    left = [j for j in range(len(there)) if j not in at.values()]
    cars = label.cars - {car for of in boxes for car in of.cars}
    other = tuple(name for name in label.other if all(name not in of.other for of in boxes))
    if len(cars) + len(other) == len(left) == 1:
        said.append((Label(label.file, cars, other), view.regions[there[left[0]]]))
    return said


def _named_boxes(record: PhotoRecord, label: Label) -> Sequence[BoxLabel]:
    """The boxes of which a person said something that the label of the photo says too."""
    boxes = []
    for region in shown_regions(record):
        cars = frozenset(tag.car for tag in region.tags)
        if region.source == "human" and cars <= label.cars and (cars or label.other):
            boxes.append(BoxLabel(region.box, cars, () if cars else (UNKNOWN,)))
    return boxes


def _views(records: Iterable[PhotoRecord], store: Store, chooser: Chooser | None) -> dict[str, _Views]:
    """By path, of the photos that have something in the cache."""
    readable = [record for record in records if record.sha256]
    hashes = sorted({str(record.sha256) for record in readable})
    wholes = store.get(hashes)
    seen = {} if chooser is None else chooser.seen(store, hashes)
    divided = {str(record.sha256) for record in readable if shown_regions(record)} | {h for h in seen if len(seen[h])}
    regions = store.regions_of([h for h in hashes if h in divided or h not in wholes])
    views: dict[str, _Views] = {}
    for record in readable:
        h = str(record.sha256)
        cached, whole = dict(regions.get(h, ())), wholes.get(h)
        chosen = None if chooser is None else _chosen(record, chooser, seen.get(h))
        weighed = {} if chosen is None else _weighed(chosen, cached, whole)
        shown = [in_digits(region.box) for region in shown_regions(record)]
        known = {box: weighed.get(box) or Seen(cached[box]) for box in shown if box in cached}
        main = next(iter(known.values()), None) or next(iter(weighed.values()), None)
        if main is None and (vector := whole if whole is not None else _largest(cached)) is not None:
            main = Seen(vector)
        if main is not None:
            views[record.path] = _Views(known, main)
    return views


def _chosen(record: PhotoRecord, chooser: Chooser, seen: np.ndarray | None) -> Chosen:
    """What `tag` looks at. Where the cache has nothing of the detector (a folder of shards keeps nothing of it), of the
    boxes that the index has."""
    if seen is None:
        there = [(*region.box, region.found) for region in record.regions or () if region.found is not UNSET]
        seen = np.array(there, float).reshape(-1, 5)
    return chooser.chosen(str(record.sha256), seen)


def _weighed(chosen: Chosen, cached: Mapping[Box, np.ndarray], whole: np.ndarray | None) -> dict[Box, Seen]:
    """The boxes that `tag` weighs, largest first, without those that a person deleted.

    None where the whole has to be asked and is not there, as in a cache of before it was.
    """
    if chosen.asks_whole and whole is None:
        return {}
    asked = whole if chosen.asks_whole else None
    return {
        box: Seen(cached[box], found, asked)
        for box, found in chosen.boxes
        if box in cached and box not in chosen.deleted
    }


def _largest(cached: Mapping[Box, np.ndarray]) -> np.ndarray | None:
    """Of boxes that hold no car, where the whole was not asked: nothing else was embedded of that photo."""
    box = max(cached, key=lambda box: box[2] * box[3], default=None)
    return None if box is None else cached[box]
