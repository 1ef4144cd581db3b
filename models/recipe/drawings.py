"""Random drawings by `data/draw_gallery.py`, labelled and cached like photographs."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

from models.recipe.names import OWN_CATALOG, catalog_named
from models.recipe.photos import Photo
from models.recipe.pictures import PHOTO_HW, build_cache

TRAIN_SEED, TEST_SEED = 101, 202


def draw(count: int, seed: int, to: Path) -> list[Photo]:
    """Random drawings by data/draw_gallery.py as photos, labels in the names of the catalog."""
    if not (to / "labels.csv").exists():
        tool = Path(__file__).resolve().parents[2] / "data" / "draw_gallery.py"
        subprocess.run(
            [sys.executable, str(tool), "--random", str(count), "--seed", str(seed), "--to", str(to), "--width", "512"],
            check=True,
        )
    names = {c.id: c.name for c in catalog_named(OWN_CATALOG).cars}
    photos = []
    for row, r in enumerate(csv.DictReader((to / "labels.csv").open(encoding="utf-8"))):
        ids = r["label"].split("|")
        cars = ("other",) if ids == ["unknown"] else tuple(ids)
        labels, no_car = tuple(names[i] for i in ids if i in names), "landscape" if ids == ["none"] else ""
        photos.append(Photo(row, r["file"], labels, cars, "drawing", no_car))
    build_cache(to, [p.file for p in photos], PHOTO_HW, [False] * len(photos), to.parent / (to.name + "-cache"))
    return photos
