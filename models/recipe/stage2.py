"""Stage 2, a program: trains the image tower on photographs cut around their cars, with a share of crops and drawings.

The tower that ships is the mean of those of all folds; with --fold only these are trained.
"""

from __future__ import annotations

import copy
import os
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.recipe import checkpoints, options
from models.recipe.bank import first_bank
from models.recipe.draws import Draws, Mix
from models.recipe.heads import HEAD_SCALES, Heads, among_loss, heads_loss, masked_cross_entropy
from models.recipe.labels import BODIES, COLOURS, ROOFS, roof_of
from models.recipe.loop import Batch, Team, optimiser
from models.recipe.pictures import RUN_HW
from models.recipe.progress import say
from models.recipe.projections import discriminants
from models.recipe.towers import DISCRIMINANTS, FROZEN2, ImageTower, stage1_tower
from models.recipe.world import Part, World, everything, folds

STRONG, MILD = 0.7, 0.4  # augmentation, at first and at the end
NORM_BATCHES = 80
AMONG_SHARE = 0.15  # of the loss: pictures that nobody named, a part of a batch


@dataclass(frozen=True)
class Cycle:
    """One cycle of the learning rate."""

    name: str  # of its checkpoint
    sizes: list[tuple[tuple[int, int], int]]  # of the input, and steps at each
    rates: tuple[float, float]  # the highest, of the body and of what is on it
    number: int  # in the seeds of its draws
    mix: Mix


# In the first the heads find their places. Some 600 names with a few pictures each, half of them with one, take longer
# to learn, and meanwhile crops and colours are forgotten, so the later ones have more of them, and more of cycles,
# trains and boats.
FIRST = Cycle("first", [((160, 208), 300), ((192, 256), 130)], (4e-4, 3e-3), 2, Mix())
AGAIN = Cycle("again", [((160, 208), 450), ((192, 256), 200)], (3e-4, 2e-3), 6, Mix(2.0, (5, 3), rooted=True))
LAST = Cycle("last", [((192, 256), 250), (RUN_HW, 300)], (2.5e-4, 1.5e-3), 7, Mix(2.0, (5, 3), rooted=True))
CYCLES = (FIRST, AGAIN)
# The last one is gone through several times, from where the one before ended and with other draws, for the mean of the
# weights: with a few pictures of each name, trainings of the same pictures are right and wrong on different ones.
BRANCHES = (LAST, replace(LAST, name="last2", number=17), replace(LAST, name="last3", number=27))
_KEPT_EVERY = 100  # steps


def train(world: World, part: Part, cycles: Sequence[Cycle] = CYCLES, branches: Sequence[Cycle] = BRANCHES) -> None:
    """Trains the tower of stage 1, and heads on it, on the photographs of a part: through the cycles, then from there
    through each of the branches, of which it takes the mean (Wortsman et al., "Model soups", 2022)."""
    saved = checkpoints.stage2(world.work, part.tag)
    if saved.exists():
        return
    tower, heads = begun(world, part)
    for cycle in cycles:
        descend(world, part, tower, heads, cycle)
    both = nn.ModuleDict({"tower": tower, "heads": heads})
    start, ends = copy.deepcopy(both.state_dict()), []
    for branch in branches:
        both.load_state_dict(start)
        descend(world, part, tower, heads, branch)
        ends.append(copy.deepcopy(both.state_dict()))
    both.load_state_dict(mean_of(ends))
    measure_norms(tower, world, part, branches[-1])
    checkpoints.keep({"heads": heads.state_dict()}, checkpoints.heads(world.work, part.tag))
    checkpoints.keep(tower.state_dict(), saved)


def merge(world: World, whole: Part, parts: Sequence[Part], cycle: Cycle = LAST) -> None:
    """The mean of the towers and heads of several parts, which began as one, as branches do, but saw other photographs.
    One training's luck is worth more photographs than most settings, and of three folds every photograph was seen by
    two.

    Each part's discriminants are its own, so its projection and its heads are first turned onto the first part's
    (Schoenemann, "A generalized solution of the orthogonal Procrustes problem", 1966): no cosine changes by that.
    """
    saved = checkpoints.stage2(world.work, whole.tag)
    if saved.exists():
        return
    towers = [checkpoints.read(checkpoints.stage2(world.work, part.tag), "stage2") for part in parts]
    heads = [checkpoints.read(checkpoints.heads(world.work, part.tag), "stage2")["heads"] for part in parts]
    first = towers[0]["project.weight"]
    for own, classes in zip(towers, heads, strict=True):
        left, _, right = torch.linalg.svd(first @ own["project.weight"].T)
        turn = left @ right
        own["project.weight"] = turn @ own["project.weight"]
        classes |= {name: weights @ turn.T for name, weights in classes.items()}
    mean = mean_of(towers)
    tower = ImageTower(FROZEN2, pretrained=False)
    tower.set_projection(mean["project.weight"])
    tower.load_state_dict(mean)
    tower.to(device=world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    measure_norms(tower, world, whole, cycle)
    checkpoints.keep({"heads": mean_of(heads)}, checkpoints.heads(world.work, whole.tag))
    checkpoints.keep(tower.state_dict(), saved)


def measure_norms(tower: ImageTower, world: World, part: Part, cycle: Cycle) -> None:
    """Gives the batch norms the statistics that the tower's own weights make, of pictures as the cycle ended with:
    those met in training are of earlier weights, and the mean of several towers' is not that of their mean (Izmailov
    et al., "Averaging Weights Leads to Wider Optima", 2018)."""
    draws, rng, hw = Draws.of(world, part.train, cycle.mix), np.random.default_rng([world.seed, 8]), cycle.sizes[-1][0]
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


def begun(world: World, part: Part) -> tuple[ImageTower, Heads]:
    """The tower of stage 1 with the discriminants of its features as its projection, and heads on them: every class
    starts as the mean of its pictures (Qi et al., "Weight Imprinting", 2018)."""
    names = world.names
    tower = stage1_tower(world.work, FROZEN2)
    tower.is_half = world.bfloat16
    torch.manual_seed(world.seed)
    sizes = {"name": len(names.keys), "make": len(names.makes), "colour": len(COLOURS), "body": len(BODIES)}
    sizes |= {"roof": len(ROOFS), "car": 2}
    heads = Heads(sizes, HEAD_SCALES, DISCRIMINANTS)
    bank = first_bank(world).of(part.train)
    tower.set_projection(discriminants(bank))
    vectors = functional.normalize(bank.features @ tower.project.weight.detach().T, dim=1)
    classes: list[tuple[str, Sequence[Any], np.ndarray]] = [
        ("name", range(len(names.keys)), bank.key),
        ("make", names.makes, np.array(bank.make)),
        ("colour", COLOURS, np.array(bank.colour)),
        ("body", BODIES, np.array(bank.body)),
        ("roof", ROOFS, np.array([roof_of(body) for body in bank.body])),
        ("car", [False, True], bank.empty.astype(bool)),
    ]
    with torch.no_grad():
        for kind, values, of_bank in classes:
            for i, value in enumerate(values):
                if (of_bank == value).any():
                    heads.weights[kind][i] = functional.normalize(vectors[of_bank == value].mean(0), dim=0)
    return tower, heads


def descend(world: World, part: Part, tower: ImageTower, heads: Heads, cycle: Cycle) -> None:
    """Trains tower and heads through a cycle, or what is left of it."""
    size_of = [hw for hw, count in cycle.sizes for _ in range(count)]
    steps, draws = len(size_of), Draws.of(world, part.train, cycle.mix)
    tower.to(device=world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    heads.to(world.device)
    kin, among = (torch.from_numpy(known).to(world.device) for known in (world.names.kin, world.names.among))
    adam, rates = optimiser(tower, heads, *cycle.rates, steps)
    parts: dict[str, Any] = {"tower": tower, "heads": heads, "adam": adam, "cycle": rates}
    saved, done = world.work / f"stage2-{part.tag}-{cycle.name}.pt", 0
    if saved.exists():
        state = checkpoints.read(saved, "stage2")
        done = int(state["done"])
        for name, one in parts.items():
            if done < steps or name in ("tower", "heads"):
                one.load_state_dict(state[name])

    def draw(step: int, worker: int) -> Batch:
        rng = np.random.default_rng([world.seed, cycle.number, step, worker])
        return draws.batch(size_of[step], STRONG if step < 0.6 * steps else MILD, rng)

    def loss_of(logits: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
        rest = {k: v for k, v in wanted.items() if k != "name"}
        loss = masked_cross_entropy(logits["name"], wanted["name"], kin) + heads_loss(logits, rest)
        return loss + AMONG_SHARE * among_loss(logits["name"], wanted["among"], among) if "among" in wanted else loss

    total, began, team = torch.zeros(()), time.time(), Team(tower, heads, loss_of)
    for step, (loss, _) in enumerate(team.train(draw, range(done, steps), adam, rates), done + 1):
        total = total + loss
        if step % 25 == 0:
            mean, seconds = float(total) / 25, time.time() - began
            say(f"stage 2 {part.tag} {cycle.name} step {step}/{steps} loss {mean:.3f} {seconds:.0f} s")
            total = torch.zeros(())
        if step % _KEPT_EVERY == 0 or step == steps:
            checkpoints.keep({name: one.state_dict() for name, one in parts.items()} | {"done": step}, saved)


def run(world: World, args: Namespace) -> None:
    """Every fold, and the mean of all; or some folds."""
    parts = folds(world, args.folds, args.fold)
    for part in parts:
        train(world, part)
    if args.fold is None:
        merge(world, everything(world), parts)


if __name__ == "__main__":
    options.run(options.with_folds(options.parser(__doc__)), run)
