"""Steps of training an image tower: batches drawn in parts, gradients added in a fixed order, one cycle of the rate."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.recipe import quick
from models.recipe.towers import ImageTower

WORKERS, PER_WORKER = 2, 20  # threads, each with one core and its share of the batch
Batch = tuple[Tensor, dict[str, Tensor]]  # views (B, 3, H, W), normalised, and class numbers (B,) per head with labels
Draw = Callable[[int, int], Batch]  # of a step and a worker: the worker's part of that step's batch
Adam, Rates = torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler
Loss = Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Steps(torch.utils.data.Dataset[list[Batch]]):
    """The parts of the batch of every step, for a loader."""

    draw: Draw
    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> list[Batch]:
        return [self.draw(self.numbers[i], worker) for worker in range(WORKERS)]


class Team:
    """Gradients of batches of which every worker has drawn a part. They are added in a fixed order, so that runs on one
    processor repeat exactly.

    There the workers are threads with replicas that share the weights: on two cores two single-threaded replicas are as
    fast as one with two threads, and do not stall when other programs want a core. On a GPU all parts go through one
    model, in turn, and are drawn ahead by as many processes as there are cores.
    """

    def __init__(self, tower: ImageTower, heads: nn.Module, loss: Loss) -> None:
        torch.set_num_threads(1)
        self.heads, self.loss = heads, loss
        self.device = next(tower.parameters()).device
        self.towers = [tower]
        for _ in range(WORKERS - 1):
            twin = copy.deepcopy(tower) if self.device.type == "cpu" else tower
            for (name, _), own in zip(tower.named_parameters(), list(tower.parameters()), strict=True):
                owner, _, leaf = name.rpartition(".")
                setattr(twin.get_submodule(owner), leaf, own)
            self.towers.append(twin)
        if tower.is_half and self.device.type == "cpu":
            for one in self.towers:
                quick.quicken(one)
        self.weights = [p for m in (tower, heads) for p in m.parameters() if p.requires_grad]
        self.pool = ThreadPoolExecutor(WORKERS)

    def steps(self, draw: Draw, numbers: range) -> Iterator[tuple[Tensor, Tensor]]:
        """For one step after the other leaves the mean gradient in .grad, and gives loss and share of names right."""
        for parts in self._drawn(draw, numbers):
            at_once = self.pool.map if self.device.type == "cpu" else map
            results = list(at_once(self._gradient, range(WORKERS), parts))
            for weight, *grads in zip(self.weights, *(r[2] for r in results), strict=True):
                present = [g for g in grads if g is not None]
                weight.grad = sum(present[1:], present[0]).div_(WORKERS) if present else None
            loss, right = (sum((r[i] for r in results), torch.zeros(())) / WORKERS for i in (0, 1))
            yield loss, right

    def train(self, draw: Draw, numbers: range, adam: Adam, rates: Rates) -> Iterator[tuple[Tensor, Tensor]]:
        """Takes one step after the other, gradients of the tower clipped, and gives what `steps` does."""
        for found in self.steps(draw, numbers):
            nn.utils.clip_grad_norm_(self.towers[0].parameters(), 5.0)
            adam.step()
            rates.step()
            yield found

    def _drawn(self, draw: Draw, numbers: range) -> Iterator[list[Callable[[], Batch]]]:
        """Of every step what its parts are got by: on a processor each thread draws its own, and then trains on it."""
        if self.device.type == "cpu":
            for step in numbers:
                yield [functools.partial(draw, step, worker) for worker in range(WORKERS)]
            return
        loader = torch.utils.data.DataLoader(
            Steps(draw, numbers),
            batch_size=None,
            num_workers=os.cpu_count() or 1,
            prefetch_factor=4,
            pin_memory=True,
            multiprocessing_context="fork",
        )
        for parts in loader:
            yield [functools.partial(self._moved, *part) for part in parts]

    def _moved(self, views: Tensor, wanted: dict[str, Tensor]) -> Batch:
        moved = views.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        return moved, {k: v.to(self.device, non_blocking=True) for k, v in wanted.items()}

    def _gradient(self, worker: int, part: Callable[[], Batch]) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
        views, wanted = part()
        logits = self.heads(self.towers[worker].train()(views))
        loss = self.loss(logits, wanted)
        right = (logits["name"].detach().argmax(1) == wanted["name"]).float().mean()
        return loss.detach(), right, torch.autograd.grad(loss, self.weights, allow_unused=True)


def optimiser(
    tower: ImageTower, heads: nn.Module, body_rate: float, head_rate: float, steps: int
) -> tuple[Adam, Rates]:
    """AdamW and one cycle; no weight decay on norms and biases."""

    def split(module: nn.Module, rate: float) -> list[dict[str, Any]]:
        flat = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
        deep = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
        return [{"params": flat, "lr": rate, "weight_decay": 0.0}, {"params": deep, "lr": rate, "weight_decay": 0.03}]

    groups = split(tower.body, body_rate) + split(tower.project, head_rate) + split(heads, head_rate)
    groups = [g for g in groups if g["params"]]
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        adam, [g["lr"] for g in groups], total_steps=steps, pct_start=0.15, div_factor=20, final_div_factor=200
    )
    return adam, cycle
