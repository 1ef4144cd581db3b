"""The network of `look`: where the middles of cars are, and how far from there their sides.

A centre heat map with sizes (Zhou, Wang and Krähenbühl, "Objects as Points", 2019), sides learned by their overlap all
over the middle of a car (Liu et al., "Training-Time-Friendly Network for Real-Time Object Detection", 2020), on the
first five stages of an EfficientNet-Lite0 (Tan and Le, 2019).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

ARCHITECTURE = "tf_efficientnet_lite0"
FRONT = 2  # stages that see edges and textures; what they say is a quarter as wide as the photo
STRIDE = 8  # pixels of a photo to a cell of the answer
_MIDDLE, _DEEP, _WIDTH = 40, 112, 64  # channels of the stages 3 and 5, and of the head


class Look(nn.Module):
    """Glances (N, 3, H, W), normalised, H and W multiples of 16, to cells (N, 5, H / 8, W / 8).

    The first is the logit of "here is the middle of a car", the others are the distances from the middle of the cell to
    the left, top, right and bottom of that car, in cells.
    """

    def __init__(self, architecture: str = ARCHITECTURE) -> None:
        """Builds it with random weights.

        Raises:
            RuntimeError, AttributeError: timm knows no such network, or it is of another kind.
        """
        import timm

        super().__init__()
        body: Any = timm.create_model(architecture, pretrained=False, num_classes=0)
        self.front = nn.Sequential(body.conv_stem, body.bn1, *body.blocks[:FRONT])
        self.middle = body.blocks[FRONT]
        self.deep = nn.Sequential(*body.blocks[FRONT + 1 : FRONT + 3])
        self.from_middle = nn.Conv2d(_MIDDLE, _WIDTH, 1)
        self.from_deep = nn.Conv2d(_DEEP, _WIDTH, 1)
        last = nn.Conv2d(_WIDTH, 5, 1)
        nn.init.constant_(cast(torch.Tensor, last.bias)[:1], -4.0)  # most cells hold no middle of a car
        self.head = nn.Sequential(
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
            last,
        )

    def forward(self, glances: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.answer(self.front(glances))

    def answer(self, fronts: torch.Tensor) -> torch.Tensor:
        """What follows from what the front says (N, 24, H / 4, W / 4): training computes that once."""
        return self.cells(self.features(fronts))

    def features(self, fronts: torch.Tensor) -> torch.Tensor:
        """Those that cells are made of (N, 64, H / 8, W / 8)."""
        middle = self.middle(fronts)
        deep = functional.interpolate(self.from_deep(self.deep(middle)), scale_factor=2.0, mode="nearest")
        found: torch.Tensor = self.head[:-1](functional.relu(self.from_middle(middle) + deep))
        return found

    def cells(self, features: torch.Tensor) -> torch.Tensor:
        """The answer (N, 5, H / 8, W / 8)."""
        found: torch.Tensor = self.head[-1](features)
        return torch.cat([found[:, :1], functional.softplus(found[:, 1:]) * 4], dim=1)
