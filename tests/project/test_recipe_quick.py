"""The recipe's own gradients are those of torch, in bfloat16."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn

from models.recipe import quick

LAST = torch.channels_last
needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return made.bfloat16().contiguous(memory_format=LAST)


def steps(module: nn.Module, x: Tensor, grad: Tensor, *, half: bool) -> Iterator[Tensor]:
    """What it says, and the gradients of its input and of its weights; in float32 or in bfloat16."""
    x = (x if half else x.float()).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = module(x)
    yield found.detach().float()
    for one in torch.autograd.grad(found, (x, *module.parameters()), grad if half else grad.float()):
        yield one.float()


def far(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm())


@needs_compiler
@pytest.mark.parametrize(
    ("channels", "height", "width", "kernel", "stride"),
    [
        (16, 9, 12, 3, 1),
        (32, 9, 12, 5, 1),
        (16, 10, 13, 3, 2),
        (16, 11, 12, 5, 2),
        (48, 3, 4, 5, 1),
        (16, 2, 1, 5, 2),
    ],
)
def test_depthwise_gradients(channels: int, height: int, width: int, kernel: int, stride: int) -> None:
    torch.manual_seed(1)
    exact = Conv2dSame(channels, channels, kernel, stride, groups=channels, bias=False)
    own = copy.deepcopy(exact)
    quick.quicken(own)
    x, grad = drawn(3, channels, height, width), drawn(3, channels, -(-height // stride), -(-width // stride), seed=1)
    for one, other in zip(steps(exact, x, grad, half=False), steps(own, x, grad, half=True), strict=True):
        assert far(one, other) < 0.006


@needs_compiler
@pytest.mark.parametrize("act", [nn.ReLU6, None])
@pytest.mark.parametrize(("channels", "pixels"), [(16, 3), (48, 70)])
def test_batch_norm_and_its_gradients(act: Any, channels: int, pixels: int) -> None:
    torch.manual_seed(2)
    exact = BatchNormAct2d(channels, apply_act=act is not None, act_layer=act or nn.Identity)
    nn.init.uniform_(exact.weight, 0.5, 2)
    nn.init.normal_(exact.bias)
    own = copy.deepcopy(exact)
    quick.quicken(own)
    x, grad = 3 * drawn(4, channels, pixels, 5) + 50, drawn(4, channels, pixels, 5, seed=1)
    x = x.bfloat16().contiguous(memory_format=LAST)
    for one, other in zip(steps(exact, x, grad, half=False), steps(own, x, grad, half=True), strict=True):
        assert far(one, other) < 0.006
    assert far(exact.running_mean, own.running_mean) < 1e-5
    assert far(exact.running_var, own.running_var) < 1e-3
    assert int(own.num_batches_tracked) == 1


@needs_compiler
def test_a_quick_network_is_the_same_network_where_it_is_not_trained(tmp_path: Path) -> None:
    from models.recipe.towers import FROZEN2, ImageTower

    torch.manual_seed(3)
    tower = ImageTower(FROZEN2, pretrained=False).to(memory_format=LAST)
    pixels = torch.randn(3, 3, 64, 80).contiguous(memory_format=LAST)
    said, names = tower.eval()(pixels), list(tower.state_dict())
    tower.bfloat16 = True
    quick.quicken(tower)
    twin = copy.deepcopy(tower)
    tower.train()(pixels).sum().backward()
    assert tower.body.conv_head.weight.grad is not None
    assert torch.equal(twin.eval()(pixels), said)
    assert list(tower.state_dict()) == names


@needs_compiler
@pytest.mark.parametrize("stage", [2, 3, 5])
def test_a_stage_with_quick_gradients_is_as_near_to_float32_as_with_torch_s(stage: int) -> None:
    from models.recipe.towers import FROZEN2, ImageTower

    torch.manual_seed(4)
    exact = ImageTower(FROZEN2, pretrained=False).to(memory_format=LAST).train().body.blocks[stage][:2]
    exact.requires_grad_(True)
    own = copy.deepcopy(exact)
    quick.quicken(own)
    x = drawn(6, exact[0].conv_pw.in_channels, 20, 26)
    grad = drawn(*exact(x.float()).shape, seed=1)
    wanted, theirs, found = (
        [*steps(m, x, grad, half=half)] for m, half in ((exact, False), (exact, True), (own, True))
    )
    apart = [(far(one, two), far(one, three)) for one, two, three in zip(wanted, theirs, found, strict=True)]
    assert all(three < 1.5 * two + 0.005 for two, three in apart)
    assert far(*(torch.cat([one.flatten() for one in all_of]) for all_of in (wanted, found))) < 0.1


def test_frozen_parts_say_the_same_in_one_pass() -> None:
    from models.recipe.towers import FROZEN2, ImageTower

    torch.manual_seed(5)
    tower = ImageTower(FROZEN2, pretrained=False).eval()
    pixels = torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        assert torch.allclose(quick.fused(tower._front())(pixels), tower._seen(pixels), atol=1e-4)


def test_without_a_compiler_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="needs a C\\+\\+ compiler"):
        quick.library.__wrapped__()
