"""What regions are worth to the whole tool: photographs alone and two in one picture, tagged by `cartag.tag`.

Every photograph is looked at by the network of its fold, which never saw it, and so it is named: by the encoder of its
fold, where the recipe of `mini` left one in the scratch folder, else by the one that ships.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import cartag
from cartag.settings import Settings
from cartag.values import PhotoRecord
from models.recipe.checkpoints import exported
from models.recipe.labels import TWO_WORD_MAKES
from models.recipe.look.sources import Sources
from models.recipe.photos import Photo
from models.recipe.progress import say
from models.recipe.unlisted import is_right
from models.recipe.world import World

PAIRS = 120
_HEIGHT = 480  # pixels of a picture of two photographs


def measure(world: World, sources: Sources, data: Path, detectors: list[Path]) -> dict[str, Any]:
    """Counts by mode of regions, and seconds. ``detectors`` are folders, one a fold."""
    counts: dict[str, Counter[str]] = {"all": Counter(), "main": Counter(), "off": Counter()}
    seconds: dict[str, float] = dict.fromkeys(counts, 0.0)
    folds = {scene.row: scene.fold for scene in sources.scenes}
    visible = {scene.row: len(scene.cars) for scene in sources.scenes}
    eleven = {car.id for car in cartag.cars().cars}
    models = [exported(world.work, f"fold{fold}of{len(detectors)}") for fold in range(len(detectors))]
    is_blind = all((model / "calibration.json").is_file() for model in models)
    for fold, detector in enumerate(detectors):
        gallery = world.work / "look-tool" / f"fold{fold}"
        photos = [p for p in world.photos if folds[p.row] == fold and p.row not in world.again]
        pairs = _made(gallery, photos, data, eleven, np.random.default_rng([world.seed, 24, fold]), len(detectors))
        for mode, count in counts.items():
            began = time.time()
            index = _tagged(gallery, detector, str(models[fold]) if is_blind else "mini", mode)
            seconds[mode] += time.time() - began
            _count(count, index, photos, pairs, eleven, visible)
        say(f"tool: fold {fold}: {dict(counts['all'])}")
    sorted_counts = {mode: dict(sorted(count.items())) for mode, count in counts.items()}
    return {"counts": sorted_counts, "seconds": seconds, "encoder": "of the fold" if is_blind else "the one that ships"}


def _made(
    gallery: Path, photos: list[Photo], data: Path, eleven: set[str], rng: np.random.Generator, folds: int
) -> dict[str, tuple[Photo, Photo]]:
    """A gallery of a fold's photographs, and pictures of two of different cars of the catalog side by side."""
    shutil.rmtree(gallery, ignore_errors=True)
    (gallery / "pairs").mkdir(parents=True)
    for photo in photos:
        shutil.copyfile(data / "photos" / photo.file, gallery / photo.file)
    ours = [p for p in photos if p.car in eleven]
    able = [(a, b) for a, b in itertools.combinations(ours, 2) if a.car != b.car]
    pairs: dict[str, tuple[Photo, Photo]] = {}
    for number, chosen in enumerate(rng.permutation(len(able))[: PAIRS // folds]):
        pair = able[chosen]
        halves = []
        for photo in pair:
            with Image.open(data / "photos" / photo.file) as opened:
                image = opened.convert("RGB")
            halves.append(image.resize((max(1, round(image.width * _HEIGHT / image.height)), _HEIGHT)))
        both = Image.new("RGB", (sum(h.width for h in halves), _HEIGHT))
        both.paste(halves[0], (0, 0))
        both.paste(halves[1], (halves[0].width, 0))
        both.save(gallery / "pairs" / f"{number:03}.jpg", quality=90)
        pairs[f"pairs/{number:03}.jpg"] = pair
    return pairs


def _tagged(gallery: Path, detector: Path, model: str, mode: str) -> cartag.Index:
    """The index of a run that starts from nothing."""
    shutil.rmtree(gallery / ".cartag", ignore_errors=True)
    (gallery / "cartag.json").unlink(missing_ok=True)
    settings = Settings(model=model, detector=str(detector), regions=mode, text_cache=str(gallery.parent / "texts"))
    return cartag.tag(gallery, catalog="mille-miglia-2013", settings=settings).index


def _count(
    count: Counter[str],
    index: cartag.Index,
    photos: list[Photo],
    pairs: dict[str, tuple[Photo, Photo]],
    eleven: set[str],
    visible: dict[int, int],
) -> None:
    records = index.photos
    for photo in photos:
        record = records[photo.file]
        tags = _cars(record)
        number = "one" if visible[photo.row] < 2 else "several"
        if photo.car in eleven:
            count[f"eleven, {number} in the photo"] += 1
            count[f"eleven, {number}: right"] += photo.car in tags
            count[f"eleven, {number}: wrong"] += bool(tags - {photo.car})
        elif photo.car == "other":
            count[f"others, {number} in the photo"] += 1
            count[f"others, {number}: tagged"] += bool(tags)
            _count_other(count, record, photo)
        elif photo.car in ("none", "detail"):
            count[photo.car] += 1
            count[f"{photo.car}: no-car"] += record.outcome == "no-car"
            count[f"{photo.car}: tagged"] += bool(tags)
            count[f"{photo.car}: with a region"] += bool(record.regions)
    for path, pair in pairs.items():
        found = _cars(records[path])
        alone = [photo.car in _cars(records[photo.file]) for photo in pair]
        count["pairs"] += 1
        count["pairs: both alone"] += all(alone)
        count["pairs: both"] += all(photo.car in found for photo in pair)
        count["pairs: both, of those that are both alone"] += all(alone) and all(p.car in found for p in pair)
        count["pairs: cars alone"] += sum(alone)
        count["pairs: cars"] += sum(photo.car in found for photo in pair)
        count["pairs: a wrong one"] += bool(found - {photo.car for photo in pair})


def _cars(record: PhotoRecord) -> set[str]:
    return {tag.car for tag in record.tags}


def _count_other(count: Counter[str], record: PhotoRecord, photo: Photo) -> None:
    """How right the names of other cars are, where the largest region is given one and the photograph's is known."""
    if not record.regions or len(photo.labels) != 1:
        return
    said = record.regions[0].other
    if not said:
        return
    is_make = " " not in said.name or said.name in TWO_WORD_MAKES
    kind = "make" if is_make else "name"
    count[f"other by {kind}"] += 1
    count[f"other by {kind}: right"] += is_right(said.name, photo.labels[0])
