"""Classifiers that the image tower is trained through: their labels, their weights and their losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.recipe.labels import BODIES, COLOURS, NO_CAR_GROUPS, Item
from models.recipe.towers import DIM

HEAD_SCALES = {"name": 24.0, "make": 16.0, "colour": 12.0, "body": 12.0, "roof": 12.0, "car": 10.0}
HEAD_SHARES = {"name": 1.0, "make": 0.3, "colour": 0.15, "body": 0.15, "roof": 0.2, "car": 0.3}


class Heads(nn.Module):
    """Cosine-softmax classifiers on the embedding, one per kind of label."""

    def __init__(self, sizes: dict[str, int], scales: dict[str, float], dims: int = DIM) -> None:
        super().__init__()
        self.weights = nn.ParameterDict({k: nn.Parameter(torch.randn(n, dims) / 16) for k, n in sizes.items()})
        self.scales = scales

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Logits (B, classes) per kind."""
        return {k: self.scales[k] * embedding @ functional.normalize(w, dim=-1).T for k, w in self.weights.items()}


@dataclass
class Targets:
    """The classes of stage 1 per head, and their numbers: -100 where a picture has no such label."""

    classes: dict[str, list[str]]

    def of(self, item: Item) -> dict[str, int]:
        """Of one picture."""
        value = {
            "name": item.key,
            "make": item.make,
            "colour": item.colour,
            "body": item.body,
            "car": "car" if item.name else "no car",
        }
        return {k: self.classes[k].index(v) if v in self.classes[k] else -100 for k, v in value.items()}

    @classmethod
    def fit(cls, items: list[Item]) -> Targets:
        """All classes that pictures of `train.csv` have."""
        stanford = {f"{i.name} {i.year}" for i in items if i.file.startswith("stanford/")}
        names = {i.name for i in items if i.name and not i.file.startswith("stanford/")} | stanford
        return cls(
            {
                "name": sorted(names) + [f"no car: {g}" for g, _ in NO_CAR_GROUPS],
                "make": sorted({i.make for i in items if i.name}),
                "colour": COLOURS,
                "body": BODIES,
                "car": ["car", "no car"],
            }
        )


def heads_loss(logits: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    """Sum over the heads of `targets` of the mean cross entropy, smoothed, of the pictures that have such a label."""
    total = next(iter(logits.values())).new_zeros(())
    for head, share in HEAD_SHARES.items():
        if head in targets:
            total = total + share * functional.cross_entropy(logits[head], targets[head], label_smoothing=0.1)
    return total


def labelled(targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the heads for which no picture has a label. Asked where batches are drawn: a GPU would have to be waited
    for."""
    return {head: classes for head, classes in targets.items() if (classes >= 0).any()}


def among_loss(logits: Tensor, row: Tensor, among: Tensor) -> Tensor:
    """How unlikely the names are that a picture without one may have: rows `row` (B,) of `among` (rows, names), bool,
    -100 where nothing is known (Jin and Ghahramani, "Learning with Multiple Labels", 2002)."""
    known = row >= 0
    log_p = functional.log_softmax(logits, dim=1).masked_fill(~among[row.clamp(min=0)], -1e4).logsumexp(1)
    return -(log_p * known).sum() / known.sum().clamp(min=1)


def masked_cross_entropy(logits: Tensor, target: Tensor, kin: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross entropy with smoothing over the classes that are certainly wrong; kin of the target are left out."""
    known, some = target >= 0, target.clamp(min=0)
    out = kin[some]
    log_p = functional.log_softmax(logits.masked_fill(out, -1e4), dim=1)
    right = log_p.gather(1, some[:, None]).squeeze(1)
    rest = log_p.masked_fill(out, 0).sum(1) / (~out).sum(1)
    loss = -((1 - smoothing) * right + smoothing * rest)
    return (loss * known).sum() / known.sum().clamp(min=1)
