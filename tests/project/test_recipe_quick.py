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
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler")


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
    tower.is_half = True
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
    for norm in tower.modules():
        if isinstance(norm, BatchNormAct2d):
            for values in (norm.weight, norm.running_var):
                nn.init.uniform_(values, 0.5, 2)
            for values in (norm.bias, norm.running_mean):
                nn.init.normal_(values)
    pixels = torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        assert torch.allclose(quick.fused(tower._front())(pixels), tower._seen(pixels), rtol=1e-4, atol=1e-3)


@needs_compiler
def test_a_team_trains_in_bfloat16_and_repeats_itself() -> None:
    from models.recipe.heads import Heads, heads_loss
    from models.recipe.loop import Team
    from models.recipe.towers import FROZEN2, ImageTower

    def gradients(*, is_half: bool) -> Tensor:
        torch.manual_seed(9)
        tower = ImageTower(FROZEN2, pretrained=False).to(memory_format=LAST)
        tower.is_half = is_half
        heads = Heads({"name": 5}, {"name": 4.0})

        def draw(step: int, worker: int) -> Any:
            seed = torch.Generator().manual_seed(10 * step + worker)
            return torch.randn(4, 3, 64, 80, generator=seed).contiguous(memory_format=LAST), {"name": torch.arange(4)}

        team = Team(tower, heads, heads_loss)
        for _ in team.steps(draw, range(2)):
            pass
        return heads.weights["name"].grad.clone()

    exact, own, again = gradients(is_half=False), gradients(is_half=True), gradients(is_half=True)
    assert torch.equal(own, again)
    assert far(exact, own) < 0.5  # weights at random make much of the last bits; another network's are 1.4 away


@pytest.mark.parametrize(("stride", "padding"), [(2, 1), (1, 0)])
@needs_compiler
def test_convolutions_with_another_padding_are_left_alone(stride: int, padding: int) -> None:
    other = nn.Conv2d(16, 16, 3, stride, padding, groups=16, bias=False)
    quick.quicken(other)
    assert "forward" not in vars(other)


def test_without_a_compiler_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="needs a C\\+\\+ compiler"):
        quick.library.__wrapped__()
