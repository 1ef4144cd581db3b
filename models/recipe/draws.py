"""What the batches of stage 2 are drawn from: photographs, a share of drawings, and crops as in stage 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.recipe.heads import HEAD_SHARES, labelled
from models.recipe.labels import Item
from models.recipe.loop import PER_WORKER, Batch
from models.recipe.photos import Photo
from models.recipe.pictures import Pictures
from models.recipe.views import Sources, random_views
from models.recipe.world import World

ELEVEN_WEIGHT = 2.5  # how much more often a photo of a car of the catalog is drawn
REPLAYED, REPLAYED_CARS = 6, 4  # of a worker's part: pictures of stage 1, and those of cars among them


def photo_weights(photos: list[Photo]) -> np.ndarray:
    """Sampling weights: the square root of a name's number of photos, shared out over them; more for the catalog's."""
    counts: dict[str, int] = {}
    for p in photos:
        key = p.labels[0] if p.labels else p.car
        counts[key] = counts.get(key, 0) + 1
    weights = [
        counts[p.labels[0] if p.labels else p.car] ** -0.5
        * (ELEVEN_WEIGHT if p.car not in ("other", "none", "variant", "several", "detail") else 1.0)
        * (1.0 if p.is_plain else 0.0)
        for p in photos
    ]
    return np.array(weights) / sum(weights)


@dataclass(frozen=True)
class Draws:
    """What the batches of stage 2 are drawn from."""

    world: World
    train: list[Photo]
    weights: np.ndarray
    drawn: list[Photo]

    @classmethod
    def of(cls, world: World, train: list[Photo]) -> Draws:
        """All there is beside these photographs."""
        return cls(world, train, photo_weights(train), [d for d in world.drawings if len(d.cars) == 1])

    def batch(self, hw: tuple[int, int], strength: float, rng: np.random.Generator) -> Batch:
        """A worker's part of a batch."""
        views, kept, target = [], [], {k: [] for k in HEAD_SHARES}  # type: ignore[var-annotated]
        for pictures, things in self.chosen(rng):
            if not things or pictures is None:
                continue
            behind = self.world.scenery(len(things), rng)
            view, keep = random_views(Sources.of(pictures, things), behind, hw, strength, rng)
            views.append(view)
            kept.append(keep)
            for thing in things:
                for k, v in self.world.names.labels(thing).items():
                    target[k].append(v)
        wanted = {k: torch.tensor(v) for k, v in target.items()}
        wanted["colour"][~torch.cat(kept)] = -100
        return torch.cat(views).contiguous(memory_format=torch.channels_last), labelled(wanted)

    def chosen(self, rng: np.random.Generator) -> list[tuple[Pictures | None, list[Item] | list[Photo]]]:
        """Photographs and drawings; crops and pictures without a car, so that stage 1 is not forgotten."""
        world, drawn = self.world, self.drawn
        split = rng.multinomial(PER_WORKER - REPLAYED, [0.85, 0.15]) if drawn else np.array([PER_WORKER - REPLAYED, 0])
        some = [self.train[i] for i in rng.choice(len(self.train), split[0], p=self.weights)]
        replay = [world.cars[i] for i in rng.choice(len(world.cars), REPLAYED_CARS)]
        replay += [world.nothing[i] for i in rng.choice(len(world.nothing), REPLAYED - REPLAYED_CARS)]
        sketches = [drawn[i] for i in rng.choice(len(drawn), split[1])] if split[1] else []
        return [(world.photo_pictures, some), (world.crops, replay), (world.drawing_pictures, sketches)]
