"""What the batches of stage 2 are drawn from: cuttings of photographs and of drawings, and crops as in stage 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.recipe.cuttings import Cutting
from models.recipe.heads import HEAD_SHARES, labelled
from models.recipe.labels import ROOFS, Item, roof_of
from models.recipe.loop import PER_WORKER, Batch
from models.recipe.names import Names
from models.recipe.photos import Photo
from models.recipe.pictures import Pictures
from models.recipe.spellings import spellings
from models.recipe.views import Sources, random_views
from models.recipe.world import World

NAMELESS_WEIGHT = 4.0  # how much more often what nobody named is drawn, which is many things
SKETCHES = 0.1  # share of the drawings


@dataclass(frozen=True)
class Mix:
    """How much there is of what."""

    listed: float = 4.0  # how much more often a car of the catalog is drawn
    replayed: tuple[int, int] = (3, 2)  # of a worker's part: crops of cars as in stage 1, and pictures without a car
    rooted: bool = False  # of those, each group as the root of its number of pictures: cycles and trains have few


def weights_of(cuttings: list[Cutting], names: Names, listed: float) -> np.ndarray:
    """Sampling weights: the square root of a name's number of cuttings, shared out over them; more for a catalog's car,
    for what has no name, and for what is no car."""
    keys = [cutting.key or ("another" if cutting.is_another else "unknown") for cutting in cuttings]
    counts: dict[str, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1

    def more(key: str) -> float:
        if key in names.listed:
            return listed
        return 1.0 if key in names.keys and not key.startswith("no car") else NAMELESS_WEIGHT

    weights = np.array([counts[key] ** -0.5 * more(key) for key in keys])
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class Draws:
    """What the batches of stage 2 are drawn from."""

    world: World
    train: list[Cutting]
    weights: np.ndarray
    mix: Mix
    roofs: dict[str, int]  # of a name whose body says so, its class
    nothing: np.ndarray  # weights of the pictures without a car

    @classmethod
    def of(cls, world: World, train: list[Photo], mix: Mix) -> Draws:
        """All there is beside these photographs."""
        cuttings = world.cuttings_of(train)
        roofs = {key: ROOFS.index(roof) for key, s in spellings(world.names).items() if (roof := roof_of(s.body))}
        groups = [item.group for item in world.nothing]
        nothing = np.array([groups.count(group) ** (-0.5 if mix.rooted else 0.0) for group in groups])
        weights = weights_of(cuttings, world.names, mix.listed)
        return cls(world, cuttings, weights, mix, roofs, nothing / nothing.sum())

    def batch(self, hw: tuple[int, int], strength: float, rng: np.random.Generator) -> Batch:
        """A worker's part of a batch."""
        names = self.world.names
        views, kept, target = [], [], {k: [] for k in (*HEAD_SHARES, "among")}  # type: ignore[var-annotated]
        for pictures, things in self.chosen(rng):
            if not things:
                continue
            behind = self.world.scenery(len(things), rng)
            view, keep = random_views(Sources.of(pictures, things), behind, hw, strength, rng)
            views.append(view)
            kept.append(keep)
            for thing in things:
                keys = names.keys_of(thing)  # what is of two classes is now of the one, now of the other
                key = keys[rng.integers(len(keys))] if len(keys) > 1 else keys[0]
                for k, v in names.labels(thing, key).items():
                    target[k].append(v)
                target["roof"].append(self.roofs.get(thing.key, -100))
        wanted = {k: torch.tensor(v) for k, v in target.items()}
        wanted["colour"][~torch.cat(kept)] = -100
        return torch.cat(views).contiguous(memory_format=torch.channels_last), labelled(wanted)

    def chosen(self, rng: np.random.Generator) -> list[tuple[Pictures, list[Item] | list[Cutting]]]:
        """Photographs and drawings; crops and pictures without a car, so that stage 1 is not forgotten."""
        world, drawn = self.world, self.world.drawing_cuttings
        cars, nothing = self.mix.replayed
        split = rng.multinomial(PER_WORKER - cars - nothing, [1 - SKETCHES, SKETCHES] if drawn else [1.0, 0.0])
        some = [self.train[i] for i in rng.choice(len(self.train), split[0], p=self.weights)]
        replay = [world.cars[i] for i in rng.choice(len(world.cars), cars)]
        replay += [world.nothing[i] for i in rng.choice(len(world.nothing), nothing, p=self.nothing)]
        parts: list[tuple[Pictures, list[Item] | list[Cutting]]] = [
            (world.photo_cuttings[0], some),
            (world.crops, replay),
        ]
        if drawn:
            parts.append((drawn[0], [drawn[1][i] for i in rng.choice(len(drawn[1]), split[1])]))
        return parts
