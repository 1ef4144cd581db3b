"""Whole photographs: what `photos.csv` says of them, and the folds in which they are held out."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from models.recipe.labels import no_car_group

SAME_AS_TRAIN = "fmejbah/car_dataset1"  # these photos are Stanford crops that train/ holds too: left out altogether
# Groups of what is no car (as in `labels.NO_CAR_GROUPS`), by words of a note.
NOTED = [
    ("wheel", r"interior|seats|badge|mascot|wheel|grille|engine"),
    ("cycle", r"bike|motorcycle"),
    ("boat", r"aircraft|rocket"),
    ("person", r"portrait"),
    ("building", r"town|city|hall"),
]


@dataclass(frozen=True)
class Photo:
    """One whole photograph or drawing: its row in the cache, its labels, and the group that shares a fold."""

    row: int
    file: str
    labels: tuple[str, ...]  # names; () for no car or a car nobody named
    cars: tuple[str, ...]  # catalog ids, "variant", "other", "none" or "detail"
    group: str
    no_car: str = ""  # no-car group where there is none
    kind: ClassVar[str] = "whole"  # as what it is augmented

    @property
    def car(self) -> str:
        return self.cars[0] if len(self.cars) == 1 else "several"

    @property
    def key(self) -> str:
        """Its class, if it has one: its first name, or a group of what is no car."""
        return self.labels[0] if self.labels else f"no car: {self.no_car}"

    @property
    def is_plain(self) -> bool:
        """Whether it can be trained on: one car or none."""
        return len(self.labels) <= 1


def read_photos(data: Path) -> list[Photo]:
    """Rows of photos.csv. The group is the source repository; in the two repositories that merely collect, it is the
    press set (one car's page), the advert, or the single picture (ImageNet's, one a class)."""
    photos = []
    for row, r in enumerate(csv.DictReader((data / "photos.csv").open(encoding="utf-8"))):
        if r["source_repo"] == SAME_AS_TRAIN:
            continue
        group = r["source_repo"]
        if group.startswith("carsnet/"):
            group += " " + r["label"]
        elif "DVM-CAR" in r["note"]:
            group += " " + r["source_path"].split("$$image")[0]
        elif "ImageNet" in r["note"]:
            group += " " + r["source_path"]
        named = () if r["label"] in ("none", "unknown", "detail") else tuple(r["label"].split("|"))
        nothing = nothing_of(r["note"], r["source_path"]) if r["label"] in ("none", "detail") else ""
        photos.append(Photo(row, r["file"], named, tuple(r["car"].split("|")), group, nothing))
    return photos


def nothing_of(note: str, source_path: str) -> str:
    """Group of what a photograph shows that is no car, or a detail of one; it is trained on as no car."""
    if "ImageNet" in note:
        return no_car_group("imagenet/" + Path(source_path).name)
    return next((group for group, words in NOTED if re.search(words, note)), "landscape")


def near_duplicates(pixels: np.ndarray, photos: list[Photo]) -> list[tuple[int, int]]:
    """Pairs of photos that are one shot twice: correlation of 18 x 24 thumbnails, colour and all, above 0.95."""
    rows = [p.row for p in photos]
    small = np.stack([pixels[r].reshape(18, 24, 24, 24, 3).mean((1, 3), dtype=np.float32) for r in rows])
    flat = small.reshape(len(photos), -1)
    flat = flat - flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    near = flat @ flat.T > 0.95
    return [(i, j) for i, j in zip(*np.nonzero(near), strict=True) if i < j]


def joined_groups(photos: list[Photo], pixels: np.ndarray) -> list[str]:
    """Group of every photo, groups joined by near-duplicates."""
    parent = {p.group: p.group for p in photos}

    def root(g: str) -> str:
        while parent[g] != g:
            g = parent[g]
        return g

    for i, j in near_duplicates(pixels, photos):
        parent[root(photos[i].group)] = root(photos[j].group)
    return [root(p.group) for p in photos]


def folds_of(photos: list[Photo], pixels: np.ndarray, count: int) -> list[int]:
    """Fold number of every photo: joined groups, the largest first, each to the fold that then lacks its cars most."""
    joined = joined_groups(photos, pixels)
    groups: dict[str, list[Photo]] = {}
    for name, p in zip(joined, photos, strict=True):
        groups.setdefault(name, []).append(p)
    loads: list[dict[str, float]] = [{} for _ in range(count)]
    weight: dict[str, float] = {}
    for p in photos:
        weight[p.car] = weight.get(p.car, 0) + 1
    chosen: dict[str, int] = {}
    for name, members in sorted(groups.items(), key=lambda kv: (-len(kv[1]), kv[0])):
        best = min(
            range(count),
            key=lambda f: (
                sum(loads[f].get(p.car, 0) / weight[p.car] for p in members) / len(members)
                + sum(loads[f].values()) / len(photos)
            ),
        )
        for p in members:
            loads[best][p.car] = loads[best].get(p.car, 0) + 1
        chosen[name] = best
    return [chosen[name] for name in joined]
