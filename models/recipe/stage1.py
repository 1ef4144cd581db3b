"""Stage 1, a program: trains the image tower on single-car crops, and keeps it after every epoch.

It is three cycles of the learning rate (Loshchilov and Hutter, "SGDR", 2017).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models.recipe import checkpoints, options
from models.recipe.heads import HEAD_SCALES, Heads, Targets, heads_loss, labelled
from models.recipe.labels import Item, held_out
from models.recipe.loop import PER_WORKER, WORKERS, Batch, Team, optimiser
from models.recipe.pictures import Pictures
from models.recipe.progress import say
from models.recipe.towers import FROZEN1, ImageTower, embed
from models.recipe.views import Sources, random_views
from models.recipe.world import World

BATCH = WORKERS * PER_WORKER
Look = tuple[tuple[int, int], float]  # input size of an epoch, and strength of its augmentation


@dataclass(frozen=True)
class Cycle:
    """One cycle of the learning rate: how every epoch looks at the crops, and where it begins and ends."""

    looks: list[Look]
    rate: float
    number: int  # in the seeds of its draws
    saved: str
    start: str = ""  # what the cycle before it saved; "" begins with ImageNet's weights


# Input sizes grow (progressive, as in Tan and Le, "EfficientNetV2", 2021), and the augmentation is strong at first, so
# that the tower does not start by colour and place; then milder, to learn details.
FIRST = Cycle(
    [((112, 144), 1.0), ((112, 144), 0.7), *[((128, 160), 0.5)] * 4, *[((144, 192), 0.5)] * 3, ((160, 208), 0.4)],
    rate=1e-3,
    number=1,
    saved=checkpoints.STAGE1,
)
AGAIN = Cycle(
    [*[((160, 208), 0.6)] * 4, *[((192, 256), 0.5)] * 2],
    rate=5e-4,
    number=5,
    saved=checkpoints.STAGE1_AGAIN,
    start=checkpoints.STAGE1,
)
# After the second it still knows hardly more of the crops it trains on than of those held out.
LAST = Cycle(
    [*[((160, 208), 0.6)] * 14, *[((192, 256), 0.5)] * 3],
    rate=7e-4,
    number=9,
    saved=checkpoints.STAGE1_LAST,
    start=checkpoints.STAGE1_AGAIN,
)
CYCLES = (FIRST, AGAIN, LAST)


def stage1_order(items: list[Item], rng: np.random.Generator) -> np.ndarray:
    """Item numbers of one epoch: every car once, of the cut-outs (a quarter of the pictures, all of one make) every
    other, and one picture without a car to eight of them."""
    cutouts = np.array([i for i, item in enumerate(items) if item.cutout], dtype=int)
    cars = np.array([i for i, item in enumerate(items) if item.name and not item.cutout and not held_out(item)])
    cars = np.concatenate([cars, rng.permutation(cutouts)[: (len(cutouts) + 1) // 2]])
    rest = np.array([i for i, item in enumerate(items) if not item.name])
    order = np.concatenate([cars, rng.choice(rest, size=len(cars) // 8, replace=len(rest) < len(cars) // 8)])
    return np.asarray(rng.permutation(order))


@dataclass(frozen=True)
class Epoch:
    """What the batches of one epoch are drawn from."""

    world: World
    labels: list[dict[str, int]]
    order: np.ndarray
    look: Look
    seed: list[int]

    def part(self, step: int, worker: int) -> Batch:
        """A worker's part of a batch."""
        own = np.random.default_rng([*self.seed, step, worker])
        start = step * BATCH + worker * PER_WORKER
        chosen = self.order[start : start + PER_WORKER]
        behind = self.world.scenery(len(chosen), own)
        sources = Sources.of(self.world.crops, [self.world.items[i] for i in chosen])
        views, kept = random_views(sources, behind, *self.look, own)
        wanted = {k: torch.tensor([self.labels[i][k] for i in chosen]) for k in self.labels[chosen[0]]}
        wanted["colour"][~kept] = -100
        return views, labelled(wanted)


@dataclass
class Training:
    """Tower and heads on their way through a cycle."""

    tower: ImageTower
    heads: Heads
    adam: torch.optim.Optimizer
    rates: torch.optim.lr_scheduler.LRScheduler
    losses: list[float]

    def load(self, state: dict[str, Any], *, whole: bool) -> None:
        """Goes on from a checkpoint: from its weights alone, or as if it had never stopped."""
        self.tower.load_state_dict(state["tower"])
        self.heads.load_state_dict(state["heads"])
        if whole:
            self.adam.load_state_dict(state["adam"])
            self.rates.load_state_dict(state["cycle"])
            self.losses = state["losses"]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        parts = {"tower": self.tower, "heads": self.heads, "adam": self.adam, "cycle": self.rates}
        return {name: part.state_dict() for name, part in parts.items()} | {"losses": self.losses}


def begun(world: World, cycle: Cycle, targets: Targets, steps: int, *, pretrained: bool) -> Training:
    """A training at the start of a cycle, or where it was stopped."""
    torch.manual_seed(world.seed)
    tower = ImageTower(FROZEN1, pretrained).to(device=world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    tower.is_half = world.bfloat16
    heads = Heads({k: len(v) for k, v in targets.classes.items()}, HEAD_SCALES).to(world.device)
    training = Training(tower, heads, *optimiser(tower, heads, cycle.rate, 4 * cycle.rate, steps), [])
    saved = world.work / cycle.saved
    if saved.exists():
        training.load(checkpoints.read(saved, "stage1"), whole=True)
    elif cycle.start:
        training.load(checkpoints.read(world.work / cycle.start, "stage1"), whole=False)
    return training


def train(world: World, cycle: Cycle, *, pretrained: bool = True) -> list[float]:
    """Trains through a cycle, or what is left of it, and returns the loss per epoch."""
    items, targets = world.items, Targets.fit(world.items)
    per_epoch = len(stage1_order(items, np.random.default_rng(0))) // BATCH
    training = begun(world, cycle, targets, per_epoch * len(cycle.looks), pretrained=pretrained)
    labels = [targets.of(i) for i in items]
    team = Team(training.tower, training.heads, heads_loss)
    for number in range(len(training.losses), len(cycle.looks)):
        seed = [world.seed, cycle.number, number]
        order = stage1_order(items, np.random.default_rng(seed))
        epoch = Epoch(world, labels, order, cycle.looks[number], seed)
        name = f"epoch {number + 1}/{len(cycle.looks)}"
        training.losses.append(train_epoch(team, training, epoch, per_epoch, name))
        checkpoints.keep(training.state() | {"classes": targets.classes}, world.work / cycle.saved)
        if any(held_out(i) for i in items):
            right = stanford_top1(training, items, targets, world.crops, (160, 208))
            say(f"stage 1 epoch {number + 1}: held-out Stanford crops top-1 {right:.3f}")
    return training.losses


def train_epoch(team: Team, training: Training, epoch: Epoch, steps: int, name: str) -> float:
    """Trains through one epoch and returns its mean loss."""
    total, right, began = torch.zeros(()), torch.zeros(()), time.time()
    for step, (loss, hits) in enumerate(team.train(epoch.part, range(steps), training.adam, training.rates), 1):
        total, right = total + loss, right + hits
        if step % 25 == 0:
            say(
                f"stage 1 {name} step {step}/{steps} loss {float(total) / step:.3f} "
                f"name {float(right) / step:.3f} {step * BATCH / (time.time() - began):.1f} img/s"
            )
    return float(total) / steps


def stanford_top1(
    training: Training, items: list[Item], targets: Targets, pictures: Pictures, hw: tuple[int, int]
) -> float:
    """Share of held-out Stanford crops whose name with year scores highest among all names of the head."""
    test = [i for i in items if held_out(i)]
    rows, device = [i.row for i in test], training.tower.project.weight.device
    with torch.inference_mode():
        vectors = embed(training.tower, pictures.pixels[rows], hw).to(device)
        found = training.heads(vectors)["name"].argmax(1)
    return float((found.cpu() == torch.tensor([targets.of(i)["name"] for i in test])).float().mean())


def run(world: World) -> None:
    """All cycles."""
    for cycle in CYCLES:
        train(world, cycle)


if __name__ == "__main__":
    options.run(options.parser(__doc__), lambda world, args: run(world), drawings=False)
