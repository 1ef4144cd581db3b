"""Makes an image tower fast without changing what it computes: memory layout, folded batch norms, and its dtype."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from cartag.checkpoints import folded, has_batch_norms, one_thread

_MUST_GAIN = 0.9
_ROWS = 200  # four photos of ViT-B/32
_SIDE = 14
_SAME = 0.999  # cosine; folding in float32 gives 0.9999999


def prepared(tower: nn.Module) -> nn.Module:
    """The tower with channels last and its batch norms folded into the convolutions before them.

    Together they make EfficientNet-Lite more than twice as fast on a CPU. Which batch norm follows which convolution
    is a guess by the order of the modules, so the folded tower has to give the same answer as the tower itself.
    """
    tower = tower.to(memory_format=torch.channels_last)
    if not has_batch_norms(tower):
        return tower
    with one_thread(), torch.no_grad():
        light = folded(tower)
        pixels = torch.rand(1, 3, _SIDE * 8, _SIDE * 8, generator=torch.Generator().manual_seed(0)).sub(0.5).mul(4)
        one, other = (_answer(t, pixels) for t in (tower, light))
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=0)
    return light if cosine >= _SAME else tower


def _answer(tower: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    dtype = next(tower.parameters()).dtype
    answer: torch.Tensor = tower(pixel_values=pixels.to(dtype)).pooler_output
    return answer.float().flatten()


def to_dtype(model: nn.Module, dtype: torch.dtype) -> None:
    """Lets a model in float32 compute in another dtype, but for the first layers of a tower like timm's EfficientNets.

    Of `mini` these take a twentieth of the time and make most of bfloat16's error: pixels differ finely there, and
    every later layer averages over many of them. Towers built in another way are converted as a whole.
    """
    body = getattr(model.vision_model, "timm_model", None)
    stem = [getattr(body, name, None) for name in ("conv_stem", "bn1")]
    blocks = getattr(body, "blocks", None)
    is_alike = isinstance(blocks, nn.Sequential) and len(blocks) > 1 and all(isinstance(m, nn.Module) for m in stem)
    if dtype == torch.float32 or not is_alike or blocks is None:
        model.to(dtype)
        return
    first = nn.ModuleList([*stem, blocks[0]])  # type: ignore[list-item]
    exact = copy.deepcopy(first.state_dict())
    model.to(dtype)
    first.float().load_state_dict(exact)
    blocks[1].register_forward_pre_hook(lambda _, arguments: (arguments[0].to(dtype), *arguments[1:]))


def faster_dtype(tower: nn.Module) -> str:
    """``bfloat16`` or ``float32``, whichever this processor computes the tower's largest layers faster in.

    A few ten milliseconds. bfloat16 has to be a tenth faster to be taken; with AMX it is several times faster, with
    AVX512-BF16 alone it can be slower. Timed in this thread's own processor time, so that others do not disturb.
    """
    layers = list(_typical_layers(tower))
    if not layers:
        return "float32"
    half = [(copy.deepcopy(layer).bfloat16(), x.bfloat16()) for layer, x in layers]
    with one_thread():
        _seconds(layers), _seconds(half)  # the first time also chooses and compiles kernels
        timed = [(_seconds(layers), _seconds(half)) for _ in range(3)]
    full, fast = (min(column) for column in zip(*timed, strict=True))
    return "bfloat16" if fast < _MUST_GAIN * full else "float32"


def _typical_layers(tower: nn.Module) -> Iterator[tuple[nn.Module, torch.Tensor]]:
    """The layers that make up most of the tower's work, each with an input: a transformer's are linear."""
    modules = list(tower.modules())
    linear = [m for m in modules if isinstance(m, nn.Linear)]
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    if len(linear) > len(convolutions):
        largest = max(linear, key=_weights)
        yield nn.Sequential(largest, nn.GELU()), torch.ones(_ROWS, largest.in_features)
        return
    depthwise = [m for m in convolutions if m.groups > 1]
    dense = [m for m in convolutions if m.groups == 1]
    for some in (depthwise, dense):
        if some:
            largest_conv = max(some, key=_weights)
            x = torch.ones(4, largest_conv.in_channels, _SIDE, _SIDE)
            yield nn.Sequential(largest_conv, nn.ReLU6()), x.to(memory_format=torch.channels_last)


def _weights(module: Any) -> int:
    return int(module.weight.numel())


@torch.inference_mode()
def _seconds(layers: list[tuple[nn.Module, torch.Tensor]]) -> float:
    began = time.thread_time()
    for layer, x in layers:
        layer(x)
    return time.thread_time() - began
