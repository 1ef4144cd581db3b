"""How well networks find the cars of photographs that they never saw: those of their fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from cartag.detector.network import Look
from cartag.detector.peaks import boxes_of, by_shape
from cartag.detector.spec import LookSpec, glance_of, sure_enough
from cartag.photos import PICTURE, decode, shaped
from models.recipe.cuts import as_seen
from models.recipe.labels import held_out
from models.recipe.look.scenes import View, pasted
from models.recipe.look.sources import Place, Sources, fold_of_nothing, read_boxes
from models.recipe.look.train import normalised
from models.recipe.photos import Photo
from models.recipe.world import World

# What the network sees of a photo: a third fewer pixels than what it is trained on, at three quarters of the cost. Of
# photographs that loses one car of a hundred, which a square for those that are narrow brings back; of composites four.
GLANCE = glance_of((128, 192), (160, 160))
FAINTEST = 0.05  # from which on boxes are kept, so that every threshold above can be read off
WIDTHS = (0.08, 0.15, 0.3)
COMPOSITES = 400  # a fold
_SAME = 0.5
Box = tuple[float, float, float, float]
_T = TypeVar("_T")


@dataclass
class Seen:
    """A picture: what is there, what nobody knows, and the boxes (n, 5) that were found."""

    kind: str  # photo, composite, empty or scenery: the last two hold no car
    cars: list[Box]
    unclear: list[Box]
    is_blind: bool
    found: np.ndarray
    several: bool = False


@dataclass
class Figures:
    """Counts at one threshold."""

    found: dict[float, int] = field(default_factory=lambda: dict.fromkeys(WIDTHS, 0))
    there: dict[float, int] = field(default_factory=lambda: dict.fromkeys(WIDTHS, 0))
    boxes: int = 0
    no_car: int = 0

    def recall(self, width: float) -> float:
        """Share of the cars of this width and more that were found."""
        return self.found[width] / max(1, self.there[width])

    @property
    def wrong(self) -> float:
        """Share of the boxes that are no car."""
        return self.no_car / max(1, self.boxes)


Finder = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def finder(network: Look, least: float = FAINTEST) -> Finder:
    """Boxes of pictures (H, W, 3) uint8 as the tool finds them."""

    def cells_of(pixels: Sequence[np.ndarray]) -> np.ndarray:
        parts = [np.stack(pixels[start : start + 32]) for start in range(0, len(pixels), 32)]
        return np.concatenate([network(normalised(part)).numpy() for part in parts])

    def find(pixels: Sequence[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            return [boxes_of(cells, least) for cells in by_shape(cells_of, pixels)]

    return find


def glance(picture: np.ndarray) -> np.ndarray:
    """A picture as the tool shows it to the detector, in one of two shapes; of a panorama that shows tiles."""
    return shaped(picture, GLANCE)


def seen_of(world: World, sources: Sources, data: Path, fold: int, folds: int, find: Finder) -> list[Seen]:
    """What a network finds in the photographs of a fold, in composites made of them, and in pictures without a car."""
    boxes = read_boxes(data)
    files = {p.row: p for p in world.photos}
    seen: list[Seen] = []
    for scene, found in _found(sources.by_fold[fold], lambda s: glance(_read(data, files[s.row])), find):
        rows = boxes.get(files[scene.row].file, [])
        cars = [p.box for kind, p in rows if kind == "car"]
        unclear = [p.box for kind, p in rows if kind != "car"]
        kind = "empty" if files[scene.row].cars == ("none",) else "photo"
        seen.append(Seen(kind, cars, unclear, scene.is_blind, found, len(_large(rows)) > 1))
    nothing = [item for item in sources.nothing if fold_of_nothing(item, folds) == fold]
    scenery = _found(nothing, lambda item: as_seen(world.crops, item.row, GLANCE), find)
    seen += [Seen("scenery", [], [], False, found) for _, found in scenery]
    return seen + composites(world, sources, fold, folds, find)


def composites(world: World, sources: Sources, fold: int, folds: int, find: Finder) -> list[Seen]:
    """Cars that no network was taught, pasted into the fold's photographs and scenery."""
    rng = np.random.default_rng([world.seed, 23, fold])
    own = [item for item in world.items if held_out(item)]
    apart = Sources(**{**sources.__dict__, "crops": own})
    views = [pasted(apart, fold, folds, rng) for _ in range(COMPOSITES)]
    found = find([glance(view.pixels) for view in views])
    return [_of_view(v, f) for v, f in zip(views, found, strict=True)]


def _of_view(view: View, found: np.ndarray) -> Seen:
    def box(r: tuple[float, float, float, float]) -> Box:
        return r[0], r[1], r[2] - r[0], r[3] - r[1]

    return Seen("composite", [box(r) for r in view.cars], [box(r) for r in view.unclear], view.is_blind, found)


def _found(things: Sequence[_T], glance_at: Callable[[_T], np.ndarray], find: Finder) -> list[tuple[_T, np.ndarray]]:
    found: list[np.ndarray] = []
    for start in range(0, len(things), 128):
        found += find([glance_at(thing) for thing in things[start : start + 128]])
    return list(zip(things, found, strict=True))


def _read(data: Path, photo: Photo) -> np.ndarray:
    """A photograph as the tool reads it, and not as it is kept to train on."""
    pixels = decode((data / "photos" / photo.file).read_bytes(), PICTURE).pixels
    assert pixels is not None
    return pixels


def _large(rows: Sequence[tuple[str, Place]]) -> list[Place]:
    return [p for kind, p in rows if kind == "car" and p.box[2] >= WIDTHS[0]]


def kept(found: np.ndarray, spec: LookSpec, narrowest: float) -> np.ndarray:
    """The boxes that are sure enough, and no narrower than that."""
    return sure_enough(found[found[:, 2] >= narrowest], spec)


def figures(seen: Sequence[Seen], spec: LookSpec, narrowest: float) -> Figures:
    """Counts over pictures, of boxes that are sure enough and no narrower than that."""
    total = Figures()
    for picture in seen:
        boxes = kept(picture.found, spec, narrowest)
        overlaps = _overlaps(boxes, picture.cars)
        taken: set[int] = set()
        hit: set[int] = set()
        for i, j in sorted(zip(*np.nonzero(overlaps >= _SAME), strict=True), key=lambda ij: -overlaps[ij]):
            if i not in taken and j not in hit:
                taken.add(int(i))
                hit.add(int(j))
        for width in WIDTHS:
            wanted = [j for j, car in enumerate(picture.cars) if car[2] >= width]
            total.there[width] += len(wanted)
            total.found[width] += sum(j in hit for j in wanted)
        if picture.is_blind:
            continue
        total.boxes += len(boxes)
        total.no_car += sum(i not in taken and not _is_unclear(box, picture) for i, box in enumerate(boxes))
    return total


def _is_unclear(box: np.ndarray, picture: Seen) -> bool:
    """Whether most of a box lies on what nobody knows, or it is one car's second box that is counted apart."""
    return any(_inside(box, other) > 0.5 for other in picture.unclear)


def _inside(box: np.ndarray, other: Box) -> float:
    w = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    h = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return float(max(0.0, w) * max(0.0, h) / (box[2] * box[3]))


def _overlaps(boxes: np.ndarray, cars: Sequence[Box]) -> np.ndarray:
    """Intersection over union (n, m)."""
    if not len(boxes) or not cars:
        return np.zeros((len(boxes), len(cars)))
    a, b = boxes[:, None, :4], np.array(cars, float)[None]
    sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.prod(np.maximum(sides, 0), axis=-1)
    return np.asarray(both / (np.prod(a[..., 2:], -1) + np.prod(b[..., 2:], -1) - both))
