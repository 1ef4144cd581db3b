"""Everything that is read: crops, photographs, drawings and names, and which photographs a training sees."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.recipe.cuts import Cuts, cut_around
from models.recipe.drawings import TRAIN_SEED, draw
from models.recipe.labels import Item, held_out, read_train
from models.recipe.names import Names
from models.recipe.photos import Photo, folds_of, read_photos
from models.recipe.pictures import CROP_HW, PHOTO_HW, Pictures, build_cache


@dataclass
class World:
    """Everything read: crops, photographs, drawings, names and the catalog."""

    items: list[Item]
    crops: Pictures
    photos: list[Photo]
    wholes: Pictures  # of the photographs, as the tool decodes them
    drawings: list[Photo]
    drawing_wholes: Pictures | None
    names: Names
    work: Path
    seed: int
    device: str = "cpu"  # where image towers are trained; all else is quick enough on a processor

    @functools.cached_property
    def cuts(self) -> Cuts:
        """What finds the cars."""
        return Cuts()

    @functools.cached_property
    def photo_pictures(self) -> Pictures:
        """Of the photographs, around the cars."""
        return cut_around(self.cuts, self.wholes, self.work / "photos-around")

    @functools.cached_property
    def drawing_pictures(self) -> Pictures | None:
        """Of the drawings, around the cars."""
        return self.drawing_wholes and cut_around(self.cuts, self.drawing_wholes, self.work / "drawings-around")

    @functools.cached_property
    def cars(self) -> list[Item]:
        """Crops and cut-outs that may be trained on."""
        return [i for i in self.items if i.name and not held_out(i)]

    @functools.cached_property
    def nothing(self) -> list[Item]:
        """Pictures without a car."""
        return [i for i in self.items if not i.name]

    def scenery(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Random pictures without a car (count, h, w, 3) uint8, to go behind cars."""
        rows = np.array([i.row for i in self.nothing])
        return self.crops.pixels[rng.choice(rows, size=count)]


def read_world(data: Path, work: Path, seed: int, drawings: int, device: str = "cpu") -> World:
    """Reads and caches everything under `data`; `drawings` random ones are made where wanted."""
    rows = list(csv.DictReader((data / "train.csv").open(encoding="utf-8")))
    build_cache(
        data / "train", [r["file"] for r in rows], CROP_HW, [r["kind"] == "cut-out" for r in rows], work / "train"
    )
    listed = list(csv.DictReader((data / "photos.csv").open(encoding="utf-8")))
    build_cache(data / "photos", [r["file"] for r in listed], PHOTO_HW, [False] * len(listed), work / "photos")
    items, photos = read_train(data), read_photos(data)
    drawn = draw(drawings, TRAIN_SEED, work / "drawings-train") if drawings else []
    return World(
        items=items,
        crops=Pictures.open(work / "train"),
        photos=photos,
        wholes=Pictures.open(work / "photos"),
        drawings=drawn,
        drawing_wholes=Pictures.open(work / "drawings-train-cache") if drawings else None,
        names=Names.fit(items, photos),
        work=work,
        seed=seed,
        device=device,
    )


@dataclass(frozen=True)
class Part:
    """The photographs that one training of stages 2 and 3 sees, and those it is measured on."""

    tag: str  # of its checkpoints
    train: list[Photo]
    test: list[Photo]


def everything(world: World) -> Part:
    """The training that ships: of all photographs."""
    return Part("all", world.photos, [])


def folds(world: World, count: int, wanted: list[int] | None = None) -> list[Part]:
    """Every fold, or the `wanted` ones."""
    fold = folds_of(world.photos, world.wholes.pixels, count)
    parts = []
    for k in wanted or range(count):
        train = [p for p, f in zip(world.photos, fold, strict=True) if f != k]
        test = [p for p, f in zip(world.photos, fold, strict=True) if f == k]
        parts.append(Part(f"fold{k}of{count}", train, test))
    return parts


def chosen_parts(world: World, count: int, wanted: list[int] | None) -> list[Part]:
    """All photographs and every fold, or the `wanted` folds."""
    return [*([] if wanted else [everything(world)]), *folds(world, count, wanted)]
