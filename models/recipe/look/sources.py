"""What views are made of: photographs with their boxes, cut-outs and crops of cars, and scenery, each with its fold."""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.recipe.labels import Item
from models.recipe.photos import Photo, folds_of
from models.recipe.world import World

COMMON = -1
"""Instead of a fold: what all networks see, and none is measured on."""
FOR_ALL = 4  # one in so many of the pictures without a car
_SURE = 0.5  # of the teacher: a second box on a photograph of one car is believed from here on
_WITHIN = 0.7  # of a box that lies so far in a larger one: a piece of that car, or the same one twice


@dataclass(frozen=True)
class Place:
    """A box of the teacher, (x, y, w, h) in fractions of the photograph."""

    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Scene:
    """A photograph: where its cars stand, what nobody knows, and the fold that it is held out in."""

    row: int
    fold: int
    cars: tuple[Place, ...]
    unclear: tuple[Place, ...]  # neither car nor background
    is_blind: bool  # it shows a car and the teacher found none: nothing can be told of its background
    is_empty: bool  # it shows no car, or a mere detail


@dataclass(frozen=True)
class Sources:
    """Everything that views are made of."""

    scenes: list[Scene]
    pixels: np.ndarray  # (N, H, W, 3) uint8: the photographs
    aspects: np.ndarray
    crops: list[Item]
    crop_pixels: np.ndarray
    crop_alphas: np.ndarray
    crop_aspects: np.ndarray
    nothing: list[Item]
    by_fold: dict[int, list[Scene]] = field(default_factory=dict)
    """Photographs; there is none that is `COMMON`."""


def read_boxes(data: Path) -> dict[str, list[tuple[str, Place]]]:
    """Rows of boxes.csv by file: kind (`car` or `ignore`) and place."""
    boxes: dict[str, list[tuple[str, Place]]] = {}
    with (data / "boxes.csv").open(encoding="utf-8") as lines:
        for r in csv.DictReader(lines):
            box = (float(r["x"]), float(r["y"]), float(r["w"]), float(r["h"]))
            boxes.setdefault(r["file"], []).append((r["kind"], Place(box, float(r["score"]))))
    return boxes


def read_sources(world: World, data: Path, folds: int) -> Sources:
    """Photographs with boxes, dealt to folds as those of the encoder are; pictures without a car go by their name."""
    boxes = read_boxes(data)
    with (data / "photos.csv").open(encoding="utf-8") as lines:
        counts = {r["file"]: r["n_cars_visible"] for r in csv.DictReader(lines)}
    fold = folds_of(world.photos, world.wholes.pixels, folds)
    scenes = [_scene(p, f, boxes.get(p.file, []), counts[p.file]) for p, f in zip(world.photos, fold, strict=True)]
    by_fold: dict[int, list[Scene]] = {}
    for scene in scenes:
        by_fold.setdefault(scene.fold, []).append(scene)
    crops = world.crops
    return Sources(
        scenes,
        world.wholes.pixels,
        world.wholes.aspects,
        world.cars,
        crops.pixels,
        np.asarray(crops.alphas),
        crops.aspects,
        world.nothing,
        by_fold,
    )


def fold_of_nothing(item: Item, folds: int) -> int:
    """The fold of a picture without a car, or `COMMON`."""
    number = zlib.crc32(item.file.encode())
    return COMMON if number % FOR_ALL == 0 else number // FOR_ALL % folds


def _scene(photo: Photo, fold: int, rows: list[tuple[str, Place]], count: str) -> Scene:
    """What the teacher says of a photograph, corrected by what a person said of it."""
    found = sorted((p for kind, p in rows if kind == "car"), key=lambda p: -p.score * p.box[2] * p.box[3])
    unclear = [p for kind, p in rows if kind != "car"]
    is_empty = photo.cars in (("none",), ("detail",))
    if is_empty:
        return Scene(photo.row, fold, (), (), is_blind=False, is_empty=True)
    cars: list[Place] = []
    for place in found:
        is_piece = any(_inside(place.box, car.box) > _WITHIN for car in cars)
        is_doubtful = count == "1" and bool(cars) and place.score < _SURE
        (unclear if is_piece or is_doubtful else cars).append(place)
    return Scene(photo.row, fold, tuple(cars), tuple(unclear), is_blind=not cars, is_empty=False)


def _inside(box: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Share of a box that lies in another, or all but that if they are one."""
    w = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    h = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(0.0, w) * max(0.0, h) / (box[2] * box[3]) if box[2] * box[3] > 0 else 1.0
