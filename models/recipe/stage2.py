"""Stage 2, a program: trains the image tower on photographs cut around their cars, with a share of crops and drawings.

Without --fold it trains on all photographs, which makes the tower that ships, and then on those of every fold.
"""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.recipe import checkpoints, options
from models.recipe.bank import first_bank
from models.recipe.draws import Draws
from models.recipe.heads import HEAD_SCALES, Heads, heads_loss, masked_cross_entropy
from models.recipe.labels import BODIES, COLOURS
from models.recipe.loop import Batch, Team, optimiser
from models.recipe.progress import say
from models.recipe.projections import discriminants
from models.recipe.towers import DISCRIMINANTS, FROZEN2, ImageTower, stage1_tower
from models.recipe.world import Part, World, chosen_parts

STRONG, MILD = 0.7, 0.4  # augmentation, at first and at the end
NORM_BATCHES = 80


@dataclass(frozen=True)
class Plan:
    """How long a tower is trained, and how often."""

    sizes: list[tuple[tuple[int, int], int]]  # of the input, and steps at each
    trainings: int  # of which the tower is the mean


PLAN = Plan([((160, 208), 270), ((192, 256), 130)], trainings=3)


def train(world: World, part: Part, plan: Plan = PLAN) -> None:
    """The mean of the weights of several trainings that differ in their draws alone (Wortsman et al., "Model soups",
    2022): one training's luck is worth more photographs than most settings, and the mean costs no more to use."""
    saved, heads_saved = checkpoints.stage2(world.work, part.tag), checkpoints.heads(world.work, part.tag)
    if saved.exists() and heads_saved.exists():
        return
    states = [fine_tuned(world, part, plan, n) for n in range(plan.trainings)]
    tower = ImageTower(FROZEN2, pretrained=False)
    mean = mean_of([state["tower"] for state in states])
    tower.set_projection(mean["project.weight"])
    tower.load_state_dict(mean)
    tower.to(device=world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    measure_norms(tower, Draws.of(world, part.train), np.random.default_rng([world.seed, 8]), plan.sizes[-1][0])
    checkpoints.keep(tower.state_dict(), saved)
    checkpoints.keep({"heads": mean_of([state["heads"] for state in states])}, heads_saved)


def measure_norms(tower: ImageTower, draws: Draws, rng: np.random.Generator, hw: tuple[int, int]) -> None:
    """Gives the batch norms the statistics that the tower's own weights make: the mean of several towers' statistics is
    not that of their mean (Izmailov et al., "Averaging Weights Leads to Wider Optima", 2018)."""
    tower.train()
    norms = [m for m in tower.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    torch.set_num_threads(os.cpu_count() or 1)
    with torch.no_grad():
        for _ in range(NORM_BATCHES):
            tower(draws.batch(hw, MILD, rng)[0].to(tower.project.weight.device))
    tower.eval()


def mean_of(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Weights and statistics averaged one by one; counters as the first has them."""
    return {
        key: torch.stack([state[key] for state in states]).mean(0) if value.is_floating_point() else value
        for key, value in states[0].items()
    }


def fine_tuned(world: World, part: Part, plan: Plan, number: int) -> dict[str, dict[str, Tensor]]:
    """The `number`-th training of the tower of stage 1: the weights of tower and heads, which are kept."""
    saved = world.work / f"stage2-{part.tag}-{number}.pt"
    if not saved.exists():
        tower, heads = begun(world, part)
        descend(world, part, (tower, heads), plan, number)
        checkpoints.keep({"tower": tower.state_dict(), "heads": heads.state_dict()}, saved)
    return checkpoints.read(saved, "stage2")


def begun(world: World, part: Part) -> tuple[ImageTower, Heads]:
    """The tower of stage 1 with the discriminants of its features as its projection, and heads on them: every class
    starts as the mean of its pictures (Qi et al., "Weight Imprinting", 2018)."""
    names = world.names
    tower = stage1_tower(world.work, FROZEN2)
    torch.manual_seed(world.seed)
    sizes = {"name": len(names.keys), "make": len(names.makes), "colour": len(COLOURS), "body": len(BODIES), "car": 2}
    heads = Heads(sizes, HEAD_SCALES, DISCRIMINANTS)
    bank = first_bank(world).of(part.train)
    tower.set_projection(discriminants(bank))
    vectors = functional.normalize(bank.features @ tower.project.weight.detach().T, dim=1)
    classes: list[tuple[str, Sequence[Any], np.ndarray]] = [
        ("name", range(len(names.keys)), bank.key),
        ("make", names.makes, np.array(bank.make)),
        ("colour", COLOURS, np.array(bank.colour)),
        ("body", BODIES, np.array(bank.body)),
        ("car", [False, True], bank.empty.astype(bool)),
    ]
    with torch.no_grad():
        for kind, values, of_bank in classes:
            for i, value in enumerate(values):
                if (of_bank == value).any():
                    heads.weights[kind][i] = functional.normalize(vectors[of_bank == value].mean(0), dim=0)
    return tower, heads


def descend(world: World, part: Part, begun: tuple[ImageTower, Heads], plan: Plan, number: int) -> None:
    """Trains tower and heads through the plan."""
    tower, heads = begun
    sizes = [hw for hw, count in plan.sizes for _ in range(count)]
    steps, draws = len(sizes), Draws.of(world, part.train)
    tower.to(device=world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    heads.to(world.device)
    kin = torch.from_numpy(world.names.kin).to(world.device)
    adam, rates = optimiser(tower, heads, 4e-4, 3e-3, steps)

    def draw(step: int, worker: int) -> Batch:
        rng = np.random.default_rng([world.seed + number, 2, step, worker])
        return draws.batch(sizes[step], STRONG if step < 0.6 * steps else MILD, rng)

    def loss_of(logits: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
        rest = {k: v for k, v in wanted.items() if k != "name"}
        return masked_cross_entropy(logits["name"], wanted["name"], kin) + heads_loss(logits, rest)

    total, began, team = torch.zeros(()), time.time(), Team(tower, heads, loss_of)
    for step, (loss, _) in enumerate(team.train(draw, range(steps), adam, rates), 1):
        total = total + loss
        if step % 25 == 0:
            mean, seconds = float(total) / 25, time.time() - began
            say(f"stage 2 {part.tag} {number + 1} step {step}/{steps} loss {mean:.3f} {seconds:.0f} s")
            total = torch.zeros(())


def run(world: World, args: Namespace) -> None:
    """On all photographs and in every fold, or in some folds."""
    for part in chosen_parts(world, args.folds, args.fold):
        train(world, part)


if __name__ == "__main__":
    options.run(options.with_folds(options.parser(__doc__)), run)
