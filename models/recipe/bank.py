"""The bank: what an image tower sees in views of the training pictures, with what is known of each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.recipe import checkpoints
from models.recipe.cuts import shown
from models.recipe.cuttings import Cutting
from models.recipe.heads import HEAD_SCALES
from models.recipe.labels import COLOURS, Item, make_of
from models.recipe.names import family_of
from models.recipe.photos import Photo
from models.recipe.pictures import FIRST_HW, RUN_HW, Pictures
from models.recipe.spellings import spellings
from models.recipe.towers import FROZEN1, ImageTower, embed, round_weights
from models.recipe.views import Sources, random_views
from models.recipe.world import World

VIEWS = 2  # of each cutting of a photograph
MADE_UP = 0.1  # what a crop, a cut-out or a drawing counts for beside photographs of the same name
CROPS_A_NAME = 20
AT_ONCE = 32


@dataclass
class Bank:
    """Views of the training pictures, to learn the projection and the texts from, with what is known of each."""

    features: Tensor  # (N, F) of unit length, before the projection
    photo: np.ndarray  # number of the whole photograph, -1 for anything else
    key: np.ndarray  # class number, -100 for a car nobody named
    colour: list[str]
    body: list[str]
    make: list[str]
    family: list[str]
    empty: np.ndarray  # no car
    share: np.ndarray  # what it counts for in the mean of its name

    def of(self, photos: list[Photo]) -> Bank:
        """What is left when the only whole photographs are these."""
        keep = np.isin(self.photo, [-1, *(p.row for p in photos)])
        lists = [
            [v for v, k in zip(values, keep, strict=True) if k]
            for values in (self.colour, self.body, self.make, self.family)
        ]
        return Bank(self.features[keep], self.photo[keep], self.key[keep], *lists, self.empty[keep], self.share[keep])

    def with_more(self, more: Bank) -> Bank:
        """These and others."""
        return Bank(
            torch.cat([self.features, more.features]),
            np.concatenate([self.photo, more.photo]),
            np.concatenate([self.key, more.key]),
            self.colour + more.colour,
            self.body + more.body,
            self.make + more.make,
            self.family + more.family,
            np.concatenate([self.empty, more.empty]),
            np.concatenate([self.share, more.share]),
        )


def first_bank(world: World) -> Bank:
    """The bank of the tower of stage 1, which saw no whole photograph, so that every fold may take its own from it."""
    tower = ImageTower(FROZEN1, pretrained=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    first = checkpoints.read(world.work / checkpoints.STAGE1_LAST, "stage1")
    tower.load_state_dict(first["tower"])
    round_weights(tower)
    checkpoints.keep({"heads": first["heads"]}, checkpoints.heads(world.work, checkpoints.FIRST))
    return fill_bank(world, tower, world.photos, checkpoints.FIRST, FIRST_HW)


def fill_bank(world: World, tower: ImageTower, train: list[Photo], tag: str, hw: tuple[int, int] = RUN_HW) -> Bank:
    """Features of augmented views of photographs, crops (at most 20 a name), pictures without a car, and drawings.

    `tower` has the projection it was trained through, which the colour head needs. The features are kept under `tag`,
    and under a digest of what was looked at and by whom: other cuttings, or another tower, make another bank.
    """
    tower.eval()
    portions = portions_of(world, train)
    saved = checkpoints.bank(world.work, f"{tag}-{_digest_of(tower, portions, hw)}")
    if not saved.exists():
        checkpoints.keep(looked_at(world, tower, portions, hw), saved)
    seen = checkpoints.read(saved, "stage2")
    things = [thing for portion in portions for thing in portion.things]
    share = np.where([is_made_up(thing) for thing in things], MADE_UP, 1.0)
    return described(world, things, seen, share, colours_of(world, tower, tag, seen["features"]))


def is_made_up(thing: Item | Cutting) -> bool:
    """Whether it is a car, and no part of a photograph."""
    return bool(thing.name) if isinstance(thing, Item) else thing.photo < 0 and not thing.no_car


def as_shown(world: World, tower: ImageTower, train: list[Photo], tag: str) -> Bank:
    """The named cars of photographs as the tool will show them, without augmentation: what a new photograph will be
    compared with. Augmented views alone lie elsewhere."""
    named = [c for c in world.cuttings_of(train) if c.photo >= 0 and c.key and not c.no_car]
    parts = [[c.photo for c in named[i : i + AT_ONCE]] for i in range(0, len(named), AT_ONCE)]
    looked = [
        embed(tower, shown(world.wholes, rows, [world.photo_boxes[r] for r in rows]), RUN_HW, pooled=True)
        for rows in parts
    ]
    features = functional.normalize(torch.cat(looked), dim=1).clone()
    seen = {"features": features, "kept": torch.ones(len(named), dtype=torch.bool)}
    share = np.full(len(named), float(VIEWS))
    return described(world, named, seen, share, colours_of(world, tower, tag, features))


def colours_of(world: World, tower: ImageTower, tag: str, features: Tensor) -> Tensor:
    """(N, colours) how likely each is, by the colour head that the tower was trained through."""
    heads = checkpoints.read(checkpoints.heads(world.work, tag), "stage2")["heads"]
    learnt = functional.normalize(features @ tower.project.weight.detach().T, dim=1)
    colours = functional.normalize(heads["weights.colour"], dim=-1)
    return (HEAD_SCALES["colour"] * learnt @ colours.T).softmax(-1)


class Portion(NamedTuple):
    """Pictures that are looked at in one go, and the seed of how."""

    pictures: Pictures
    things: list[Item] | list[Cutting]
    seed: list[int]


def portions_of(world: World, train: list[Photo]) -> list[Portion]:
    """All that is in the bank when the whole photographs are these."""
    rng = np.random.default_rng([world.seed, 3])
    by_name: dict[str, list[Item]] = {}
    for i in world.cars:
        by_name.setdefault(f"{i.name} {i.year}" if not i.cutout else i.name, []).append(i)
    crops = [i for group in by_name.values() for i in (group[j] for j in rng.permutation(len(group))[:CROPS_A_NAME])]
    jobs: list[tuple[Pictures, list[Item] | list[Cutting], int]] = [
        (world.photo_cuttings[0], world.cuttings_of(train), VIEWS),
        (world.crops, [*crops, *world.nothing], 1),
    ]
    if world.drawing_cuttings:
        jobs.append((*world.drawing_cuttings, 1))
    return [
        Portion(pictures, things[i : i + AT_ONCE], [world.seed, 3, n, i, v])
        for n, (pictures, things, times) in enumerate(jobs)
        for v in range(times)
        for i in range(0, len(things), AT_ONCE)
    ]


def _digest_of(tower: ImageTower, portions: list[Portion], hw: tuple[int, int]) -> str:
    looked = [(part.pictures.name, [thing.row for thing in part.things], part.seed) for part in portions]
    found = hashlib.sha256(repr((hw, looked)).encode())
    for name, weights in sorted(tower.body.state_dict().items()):
        found.update(name.encode() + weights.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def looked_at(world: World, tower: ImageTower, portions: list[Portion], hw: tuple[int, int]) -> dict[str, Tensor]:
    """Features of a view of every picture at input size `hw`, and whether it kept its colours."""

    def run(portion: Portion) -> tuple[Tensor, Tensor]:
        own = np.random.default_rng(portion.seed)
        behind = world.scenery(len(portion.things), own)
        view, kept = random_views(Sources.of(portion.pictures, portion.things), behind, hw, 0.3, own)
        with torch.inference_mode():
            return functional.normalize(tower.pooled(view), dim=1), kept

    torch.set_num_threads(1)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        done = list(pool.map(run, portions))
    torch.set_num_threads(os.cpu_count() or 1)
    return {"features": torch.cat([v for v, _ in done]).clone(), "kept": torch.cat([k for _, k in done])}


def described(
    world: World, things: Sequence[Item | Cutting], seen: dict[str, Tensor], share: np.ndarray, told: Tensor
) -> Bank:
    """What is known of every picture that was `seen`. A colour that its label does not know is taken from what the
    colour head has `told` (N, colours), where that is sure."""
    names, spelled = world.names, spellings(world.names)
    known = [(n, thing, key) for n, thing in enumerate(things) for key in names.keys_of(thing)]
    row = np.array([n for n, _, _ in known])  # a picture of two classes has one of each
    labels = [names.labels(thing, key) for _, thing, key in known]
    keys = [names.keys[v["name"]] if v["name"] >= 0 and not v["car"] else "" for v in labels]  # of the cars
    make = [make_of(key) if key else "" for key in keys]
    sure, best = told[row].max(-1)
    colour = []
    of_each = zip(known, seen["kept"][row].tolist(), labels, sure.tolist(), best.tolist(), strict=True)
    for (_, thing, _), kept, v, p, i in of_each:
        written = thing.colour if isinstance(thing, Item) and kept else ""
        colour.append(written or (COLOURS[int(i)] if p > 0.6 and not v["car"] else ""))
    return Bank(
        features=seen["features"][row],
        photo=np.array([thing.photo if isinstance(thing, Cutting) else -1 for _, thing, _ in known]),
        key=np.array([v["name"] for v in labels]),
        colour=colour,
        # Of the picture itself: a crop of an open car may teach the name of a car that a catalog knows as a coupe.
        body=[spelled[thing.key].body if key else "" for (_, thing, _), key in zip(known, keys, strict=True)],
        make=make,
        family=[family_of(key) if m else "" for key, m in zip(keys, make, strict=True)],
        empty=np.array([v["car"] for v in labels]),
        share=share[row],
    )
