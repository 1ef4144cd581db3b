"""What the network is to answer to a view, and how wrong an answer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cartag.detector.network import STRIDE
from models.recipe.look.scenes import VIEW_HW, View

CELLS_HW = (VIEW_HW[0] // STRIDE, VIEW_HW[1] // STRIDE)
_SPREAD = 0.54  # of the middle of a car, as a share of its size (Liu et al. 2020, alpha and beta)
_BLIND = 0.0  # weight of the background of a photograph whose car nobody drew a box around


@dataclass(frozen=True)
class Targets:
    """Of a batch: heat (B, h, w) in 0..1 and its weights, sides (B, 4, h, w) in cells and their weights (B, h, w)."""

    heat: Tensor
    asked: Tensor
    sides: Tensor
    near: Tensor

    def of(self, rows: Sequence[int] | np.ndarray) -> Targets:
        """Those of some rows, as float32."""
        return Targets(*(part[rows].float() for part in (self.heat, self.asked, self.sides, self.near)))


def targets_of(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Heat, its weights, sides and their weights of one view, float16."""
    height, width = CELLS_HW
    heat, near = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    asked = np.full((height, width), _BLIND if view.is_blind else 1.0, np.float32)
    sides = np.zeros((4, height, width), np.float32)
    ys, xs = np.arange(height) + 0.5, np.arange(width) + 0.5
    for left, top, right, bottom in view.unclear:
        inside = ((xs > left * width) & (xs < right * width))[None] & ((ys > top * height) & (ys < bottom * height))[
            :, None
        ]
        asked[inside] = 0
    for left, top, right, bottom in sorted(
        view.cars, key=lambda r: -(r[2] - r[0]) * (r[3] - r[1])
    ):  # small ones over large
        x0, y0, x1, y1 = left * width, top * height, right * width, bottom * height
        column, row = min(width - 1, int((x0 + x1) / 2)), min(height - 1, int((y0 + y1) / 2))
        spreads = [max(_SPREAD * side / 6, 0.3) for side in (x1 - x0, y1 - y0)]
        bump = np.exp(
            -((xs - column - 0.5) ** 2)[None] / (2 * spreads[0] ** 2)
            - ((ys - row - 0.5) ** 2)[:, None] / (2 * spreads[1] ** 2)
        )
        bump[bump < 1e-2] = 0
        bump[row, column] = 1
        np.maximum(heat, bump, out=heat)
        here = bump > 0
        area = (x1 - x0) * (y1 - y0)
        near[here] = (np.log(max(area, 2.0)) * bump / bump.sum())[here]
        for side, value in enumerate((xs[None] - x0, ys[:, None] - y0, x1 - xs[None], y1 - ys[:, None])):
            sides[side][here] = np.broadcast_to(value, (height, width))[here]
        asked[heat > 0.1] = 1
    return heat.astype(np.float16), asked.astype(np.float16), sides.astype(np.float16), near.astype(np.float16)


def loss_of(cells: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Focal loss of the heat (Law and Deng, "CornerNet", 2018) and loss of the sides by generalised overlap
    (Rezatofighi et al. 2019), of answers (B, 5, h, w)."""
    logits = cells[:, 0]
    probability = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
    is_middle = (targets.heat > 0.999).float()
    hit = is_middle * (1 - probability) ** 2 * functional.logsigmoid(logits)
    miss = (1 - is_middle) * (1 - targets.heat) ** 4 * probability**2 * functional.logsigmoid(-logits)
    count = is_middle.sum().clamp(min=1)
    heat = -((hit + miss) * targets.asked).sum() / count
    left, top, right, bottom = cells[:, 1:].unbind(1)
    l_, t_, r_, b_ = targets.sides.unbind(1)
    both = (torch.minimum(left, l_) + torch.minimum(right, r_)).clamp(min=0) * (
        torch.minimum(top, t_) + torch.minimum(bottom, b_)
    ).clamp(min=0)
    either = (left + right) * (top + bottom) + (l_ + r_) * (t_ + b_) - both
    around = (torch.maximum(left, l_) + torch.maximum(right, r_)) * (torch.maximum(top, t_) + torch.maximum(bottom, b_))
    overlap = both / either.clamp(min=1e-6) - (around - either) / around.clamp(min=1e-6)
    sides = ((1 - overlap) * targets.near).sum() / targets.near.sum().clamp(min=1e-6)
    return heat, sides
