"""Everything that is read: crops, photographs, drawings and names, and which photographs a training sees."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cartag.values import Box
from models.recipe.cuts import Cuts
from models.recipe.cuttings import Cutting, cut_out, cuts_of_nothing, cuts_of_photos
from models.recipe.drawings import TRAIN_SEED, draw
from models.recipe.labels import Item, held_out, read_train
from models.recipe.names import Names
from models.recipe.photos import Photo, folds_of, read_photos
from models.recipe.pictures import CROP_HW, PHOTO_HW, Pictures, build_cache
from models.recipe.shots import OTHERWISE_NAMED, is_again

FOLDS = 3  # as those of `look`, whose detectors cut the photographs that they never saw


@dataclass
class World:
    """Everything read: crops, photographs, drawings, names and the catalog."""

    items: list[Item]
    crops: Pictures
    photos: list[Photo]
    wholes: Pictures  # of the photographs, squashed to PHOTO_HW
    drawings: list[Photo]
    drawing_wholes: Pictures | None
    names: Names
    work: Path
    seed: int
    device: str = "cpu"  # where image towers are trained; all else is quick enough on a processor
    bfloat16: bool = False  # what image towers compute in while they are trained
    folds: int = FOLDS
    is_trial: bool = False  # photographs may be cut by the detector that ships, which saw them

    @functools.cached_property
    def cuts(self) -> Cuts:
        """What finds the cars in all that is no photograph of these."""
        return Cuts()

    @functools.cached_property
    def photo_boxes(self) -> dict[int, list[Box]]:
        """The cars that are found in each photograph, by its number, by a detector that saw nothing of its fold.

        Raises:
            SystemExit: the detectors of the folds are not trained.
        """
        looks = [self.work / f"look-fold{k}of{self.folds}" for k in range(self.folds)]
        if missing := [folder.name for folder in looks if not folder.exists() and not self.is_trial]:
            raise SystemExit(f"{missing[0]}: missing in {self.work}; run python -m models.recipe.look first")
        fold = folds_of(self.photos, self.wholes.pixels, self.folds)
        of_fold = [[p.row for p, f in zip(self.photos, fold, strict=True) if f == k] for k in range(self.folds)]
        kept = self.work / f"photo-boxes-{_digest_of(looks, of_fold, self.wholes.aspects)}.json"
        if not kept.exists():
            found: dict[int, list[Box]] = {}
            for look, rows in zip(looks, of_fold, strict=True):
                cuts = self.cuts if self.is_trial else Cuts(look)
                found |= dict(zip(rows, cuts.boxes(self.wholes, rows), strict=True))
            with tempfile.NamedTemporaryFile("w", dir=self.work, encoding="utf-8", delete=False) as part:
                json.dump(found, part)
            Path(part.name).replace(kept)
        read = json.loads(kept.read_text(encoding="utf-8"))
        return {int(row): [(x, y, w, h) for x, y, w, h in boxes] for row, boxes in read.items()}

    @functools.cached_property
    def photo_cuttings(self) -> tuple[Pictures, list[Cutting]]:
        """Of the photographs, and of what is taken for a car in pictures without any."""
        of_photos = cuts_of_photos(self.photos, [self.photo_boxes[p.row] for p in self.photos])
        rows = [i.row for i in self.nothing]
        of_nothing = cuts_of_nothing(self.nothing, self.cuts.boxes(self.crops, rows))
        return cut_out([(self.wholes, of_photos), (self.crops, of_nothing)], self.work / "photo-cuttings")

    @functools.cached_property
    def drawing_cuttings(self) -> tuple[Pictures, list[Cutting]] | None:
        """Of the drawings: all folds share them."""
        if self.drawing_wholes is None:
            return None
        rows = [d.row for d in self.drawings]
        boxes = self.cuts.boxes(self.drawing_wholes, rows)
        cuts = [replace(cut, photo=-1) for cut in cuts_of_photos(self.drawings, boxes)]
        return cut_out([(self.drawing_wholes, cuts)], self.work / "drawing-cuttings")

    @functools.cached_property
    def again(self) -> set[int]:
        """Numbers of the photographs that a crop shows too. Such a crop may have taught their name, so that they say
        nothing of how well it is known: they are in no figure."""
        crops: dict[str, list[np.ndarray]] = {}
        for item in self.items:
            for label in self.names.also.get(item.key, ()):
                crops.setdefault(label, []).append(self.crops.pixels[item.row])
        return {
            p.row
            for p in self.photos
            if p.file in OTHERWISE_NAMED
            or any(is_again(self.wholes.pixels[p.row], self.photo_boxes[p.row], crops.get(n, [])) for n in p.labels)
        }

    def cuttings_of(self, train: list[Photo]) -> list[Cutting]:
        """Those that a training on these photographs may see."""
        rows = {-1, *(p.row for p in train)}
        return [cutting for cutting in self.photo_cuttings[1] if cutting.photo in rows]

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


def _digest_of(looks: list[Path], of_fold: list[list[int]], aspects: np.ndarray) -> str:
    """Of detectors, of the photographs that each is shown, and of their shapes: others make other boxes."""
    found = hashlib.sha256(repr(of_fold).encode() + aspects.tobytes())
    for folder in looks:
        for file in sorted(folder.glob("*")) if folder.exists() else ():
            found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()[:12]


def read_world(data: Path, work: Path, seed: int, drawings: int, device: str = "cpu", folds: int = FOLDS) -> World:
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
        folds=folds,
    )


@dataclass(frozen=True)
class Part:
    """The photographs that one training of stages 2 and 3 sees, and those it is measured on."""

    tag: str  # of its checkpoints
    train: list[Photo]
    test: list[Photo]
    fold: int = -1  # -1: none


def everything(world: World) -> Part:
    """What the model that ships saw."""
    return Part("all", world.photos, [])


def folds(world: World, count: int, wanted: list[int] | None = None) -> list[Part]:
    """Every fold, or the `wanted` ones."""
    fold = folds_of(world.photos, world.wholes.pixels, count)
    parts = []
    for k in wanted or range(count):
        train = [p for p, f in zip(world.photos, fold, strict=True) if f != k]
        test = [p for p, f in zip(world.photos, fold, strict=True) if f == k and p.row not in world.again]
        parts.append(Part(f"fold{k}of{count}", train, test, k))
    return parts


def chosen_parts(world: World, count: int, wanted: list[int] | None) -> list[Part]:
    """All photographs and every fold, or the `wanted` folds."""
    return [*([] if wanted else [everything(world)]), *folds(world, count, wanted)]
