"""The locator, a program: trains what finds the car in a whole photograph.

Nobody has drawn boxes, so it learns from crops pasted on scenery, on the first stages of the tower of stage 1.
"""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.recipe import checkpoints, options
from models.recipe.closeups import CLOSE_UP, untrained_locator
from models.recipe.labels import Item
from models.recipe.pictures import PHOTO_HW, Pictures
from models.recipe.progress import say
from models.recipe.towers import round_weights, stage1_tower
from models.recipe.views import recolour, view_matrix, warped
from models.recipe.world import World

VIEWS, STEPS = 8320, 2000  # of pictures pasted together, and of training the head on them
AT_ONCE = 32  # pictures that are pasted and looked at in one go
GLANCE_HW = (PHOTO_HW[0] // CLOSE_UP.reduction, PHOTO_HW[1] // CLOSE_UP.reduction)


def pasted(world: World, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Made-up photographs (B, 3, H, W), normalised, of a car of any size on scenery, and where it is (B, H, W) in 0..1.

    One in eight shows none.
    """
    views = np.empty((AT_ONCE, *GLANCE_HW, 3), dtype=np.uint8)
    places = np.zeros((AT_ONCE, *GLANCE_HW), dtype=np.float32)
    nothing = [i.row for i in world.nothing]
    for j in range(AT_ONCE):
        behind = cv2.resize(world.crops.pixels[rng.choice(nothing)], GLANCE_HW[::-1], interpolation=cv2.INTER_AREA)
        if rng.random() < 0.2:
            behind[:] = rng.integers(0, 256, 3)
        views[j] = behind[:, ::-1] if rng.random() < 0.5 else behind
        if rng.random() < 0.12:
            continue
        item = world.cars[rng.integers(len(world.cars))]
        car, places[j], soft = placed(item, world.crops, rng)
        views[j] = (soft[..., None] * car + (1 - soft[..., None]) * views[j]).round().astype(np.uint8)
    return recolour(torch.from_numpy(views).permute(0, 3, 1, 2).float(), 0.4, rng)[0], torch.from_numpy(places)


def placed(item: Item, crops: Pictures, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A car somewhere in a photograph (H, W, 3), where it is (H, W), and how much of it is to be seen there (H, W).

    Its edges are blurred at random, or else the locator would learn to find cuts.
    """
    ratio = float(crops.aspects[item.row]) * math.exp(rng.uniform(-0.1, 0.1))
    w, h = 1.0, 4 / 3 * math.exp(rng.uniform(-0.15, 0.3)) / ratio
    scale = math.exp(rng.uniform(math.log(0.25), math.log(1.15))) / max(w, h)
    w, h = w * scale, h * scale
    cx, cy = rng.uniform(-1, 1) * (abs(1 - w) + 0.05), rng.uniform(-0.7, 1) * (abs(1 - h) + 0.05)
    matrix = view_matrix(w, h, cx, cy, rng)
    car = warped(crops.pixels[item.row], matrix, GLANCE_HW, cv2.BORDER_REFLECT)
    alpha = np.asarray(crops.alphas[item.row])
    place = warped(alpha, matrix, GLANCE_HW, cv2.BORDER_CONSTANT).astype(np.float32) / 255
    soft = cv2.GaussianBlur(place, (0, 0), rng.uniform(0.3, 3)) if rng.random() < 0.7 else place
    if not item.cutout and rng.random() < 0.5:
        soft = np.minimum(place, cv2.blur(place, (2 * int(rng.integers(4, 14)) + 1,) * 2))
    return car, place, soft


def seen(world: World, trunk: nn.Module, count: int) -> tuple[Tensor, Tensor]:
    """What the trunk sees (N, F, h, w) in pictures pasted together, and how much of each cell is car (N, 1, h, w)."""

    @torch.inference_mode()
    def look(batch: int) -> tuple[Tensor, Tensor]:
        views, places = pasted(world, np.random.default_rng([world.seed, 6, batch]))
        features = trunk(views)
        return features, functional.adaptive_avg_pool2d(places[:, None], features.shape[2:])

    torch.set_num_threads(1)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        done = list(pool.map(look, range(count // AT_ONCE)))
    torch.set_num_threads(os.cpu_count() or 1)
    return torch.cat([f for f, _ in done]).clone(), torch.cat([p for _, p in done]).clone()


def train_head(features: Tensor, places: Tensor, steps: int, seed: int) -> tuple[nn.Sequential, Tensor]:
    """A head for normalised features, and its last loss."""
    torch.manual_seed(seed)
    head = untrained_locator().head
    adam = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / steps)
    rng = np.random.default_rng([seed, 7])
    loss = torch.zeros(())
    for _ in range(steps):
        chosen = rng.integers(0, len(features), 64)
        loss = functional.binary_cross_entropy_with_logits(head(features[chosen]), places[chosen])
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        cycle.step()
    return head, loss.detach()


def train(world: World, views: int, steps: int) -> None:
    """Trains a head on the first five stages of the tower of stage 1, which stay as they are."""
    saved = world.work / checkpoints.LOCATOR
    if saved.exists():
        return
    began, tower = time.time(), stage1_tower(world.work)
    round_weights(tower)
    trunk = nn.Sequential(tower.body.conv_stem, tower.body.bn1, *tower.body.blocks[: CLOSE_UP.stages]).eval()
    trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    features, places = seen(world, trunk, views)
    mean, std = features.mean((0, 2, 3)), features.std((0, 2, 3)) + 1e-3
    features = (features - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
    test = max(32, views // 25)
    head, loss = train_head(features[:-test], places[:-test], steps, world.seed)
    with torch.no_grad():
        found, true = head(features[-test:]) > 0, places[-test:] > 0.5
        head[0].bias -= head[0].weight[:, :, 0, 0] @ (mean / std)  # the first layer takes features as they are
        head[0].weight /= std.view(1, -1, 1, 1)
    overlap = int((found & true).sum()) / max(1, int((found | true).sum()))
    say(
        f"locator: loss {float(loss):.3f}, intersection over union on others of its pictures {overlap:.3f}, "
        f"{time.time() - began:.0f} s"
    )
    locator = untrained_locator()
    locator.trunk.load_state_dict(trunk.state_dict())
    locator.head.load_state_dict(head.state_dict())
    round_weights(locator)
    checkpoints.keep(locator.state_dict(), saved)


def run(world: World) -> None:
    """As long as the shipped one was trained."""
    train(world, VIEWS, STEPS)


if __name__ == "__main__":
    options.run(options.parser(__doc__), lambda world, args: run(world), drawings=False)
