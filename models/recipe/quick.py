"""Quicker training steps on a processor: in bfloat16, with gradients of our own where torch's are slow in it.

torch leaves depthwise convolutions to oneDNN, whose gradients in bfloat16 take ten to fifty times as long as they
could for kernels of 5 x 5 and for strides: a network that computes in bfloat16 would wait for them most of its time.
`gradients.cpp` has quick ones, and a batch norm that does ReLU6 in the same pass; a C++ compiler makes it when it is
wanted. What is frozen needs no gradient: there the batch norms go into the weights of the convolutions.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from ctypes import POINTER, c_float, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

SOURCE = Path(__file__).with_name("gradients.cpp")
LANES = 16  # channels come in so many
KERNELS = (3, 5)
_LAST = torch.channels_last


class _Shape(ctypes.Structure):
    _fields_ = [
        (name, c_int64)
        for name in ("pictures", "channels", "rows", "columns", "out_rows", "out_columns", "stride", "above", "left")
    ]


class _Norm(ctypes.Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("gamma", "beta", "mean", "variance", "inverse")),
        *((name, c_int64) for name in ("pixels", "channels")),
        ("epsilon", c_float),
        ("has_relu6", c_int),
    ]


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled `gradients.cpp`, for this processor.

    Raises:
        SystemExit: there is no C++ compiler, or it does not take the file.
    """
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise SystemExit("--bfloat16 needs a C++ compiler on a processor: install one (g++), or leave the option out")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "gradients.so"
        options = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC")
        told = subprocess.run(
            [compiler, *options, str(SOURCE), "-o", str(made)], capture_output=True, text=True, check=False
        )
        if told.returncode:
            said = [line for line in told.stderr.splitlines() if "error" in line]
            raise SystemExit(f"{SOURCE}: {compiler} cannot compile it: {(said or [told.stderr])[0].strip()}")
        found = ctypes.CDLL(str(made))
    found.depthwise_of_weights.argtypes = [c_void_p, c_void_p, c_void_p, c_int, POINTER(_Shape)]
    found.depthwise_of_inputs.argtypes = [c_void_p, c_void_p, c_void_p, c_int, POINTER(_Shape)]
    found.norm_forward.argtypes = [c_void_p, c_void_p, POINTER(_Norm)]
    found.norm_backward.argtypes = [*[c_void_p] * 5, POINTER(_Norm)]
    for name in ("depthwise_of_weights", "depthwise_of_inputs", "norm_forward", "norm_backward"):
        getattr(found, name).restype = None
    return found


def quicken(network: nn.Module) -> None:
    """Gives the depthwise convolutions and batch norms of a network that are trained their quick gradients, for where
    they compute in bfloat16. What they say stays the same but for the last bits; so does all else.

    Raises:
        SystemExit: as `library` does.
    """
    library()  # now: no thread waits for it later, and nobody hears of a missing compiler after an hour
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if weight is None or not weight.requires_grad or len(weight) % LANES:
            continue
        if isinstance(module, nn.Conv2d) and _is_depthwise(module):
            module.forward = functools.partial(_convolved, module)  # type: ignore[method-assign]
        elif type(module) is BatchNormAct2d and isinstance(module.act, (nn.ReLU6, nn.Identity)):
            module.forward = functools.partial(_normed, module)  # type: ignore[method-assign]


def _is_depthwise(module: nn.Conv2d) -> bool:
    size, stride = module.kernel_size, module.stride
    is_same = isinstance(module, Conv2dSame) or (stride == (1, 1) and module.padding == (size[0] // 2, size[0] // 2))
    return (
        is_same
        and module.padding_mode == "zeros"
        and module.groups == module.in_channels == module.out_channels
        and module.bias is None
        and size[0] == size[1] in KERNELS
        and stride[0] == stride[1]
        and module.dilation == (1, 1)
    )


def fused(parts: Sequence[nn.Module], dtype: torch.dtype = torch.float32) -> nn.Module:
    """Frozen parts of a network, one after the other, with every batch norm in the weights of the convolution before
    it; the parts themselves stay as they are."""

    def fuse(module: nn.Module) -> nn.Module:
        children = list(module.named_children())
        for (name, one), (after, other) in itertools.pairwise(children):
            if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(one, other))
                setattr(module, after, getattr(other, "act", nn.Identity()))
        for _, child in module.named_children():
            fuse(child)
        return module

    found = fuse(nn.Sequential(*copy.deepcopy(list(parts))).eval())
    return found.requires_grad_(False).to(dtype).to(memory_format=_LAST)  # type: ignore[call-overload, no-any-return]


def _convolved(module: nn.Conv2d, x: Tensor) -> Tensor:
    """The forward of a depthwise convolution, padded as TensorFlow does it ("same")."""
    weight = module.weight
    if torch.is_autocast_enabled("cpu"):
        x, weight = (value.to(torch.get_autocast_dtype("cpu")) for value in (x, weight))
    kernel, stride = module.kernel_size[0], module.stride[0]
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or not torch.is_grad_enabled():
        return type(module).forward(module, x)
    above, below = _same(x.shape[2], kernel, stride)
    left, right = _same(x.shape[3], kernel, stride)
    found: Tensor = _Depthwise.apply(x.contiguous(memory_format=_LAST), weight, stride, (left, right, above, below))
    return found


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """How many zeros come before and after so many pixels, for an answer to every `stride` of them."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


class _Depthwise(torch.autograd.Function):
    """The convolution is torch's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int, int, int]) -> Tensor:
        left, right, above, below = padding
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        if (left, above) != (right, below):
            x, left, above = functional.pad(x, padding), 0, 0
        return functional.conv2d(x, weight, None, stride, (above, left), 1, x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        left, _, above, _ = ctx.padding
        grad = grads[0].contiguous(memory_format=_LAST)
        kernel, (count, channels, *size) = weight.shape[-1], x.shape
        shape = _Shape(count, channels, *size, *grad.shape[2:], ctx.stride, above, left)
        of_weights, of_inputs = torch.empty(kernel, kernel, channels), None
        library().depthwise_of_weights(x.data_ptr(), grad.data_ptr(), of_weights.data_ptr(), kernel, shape)
        if ctx.needs_input_grad[0]:
            of_inputs = torch.empty_like(x)
            own = weight.detach().float().permute(2, 3, 0, 1).contiguous()
            library().depthwise_of_inputs(own.data_ptr(), grad.data_ptr(), of_inputs.data_ptr(), kernel, shape)
        return of_inputs, of_weights.permute(2, 0, 1)[:, None].to(weight.dtype), None, None


def _normed(module: BatchNormAct2d, x: Tensor) -> Tensor:
    """The forward of a batch norm."""
    is_half = x.dtype == torch.bfloat16 and x.device.type == "cpu" and module.weight.dtype == torch.float32
    if not (is_half and module.training and module.momentum is not None and torch.is_grad_enabled()):
        return type(module).forward(module, x)  # type: ignore[no-any-return]
    x = x.contiguous(memory_format=_LAST)
    found, mean, variance = _Normed.apply(x, module.weight, module.bias, module.eps, isinstance(module.act, nn.ReLU6))
    with torch.no_grad():
        pixels = x.numel() // x.shape[1]
        module.running_mean.lerp_(mean, module.momentum)
        module.running_var.lerp_(variance * (pixels / (pixels - 1)), module.momentum)
        module.num_batches_tracked.add_(1)
    return found  # type: ignore[no-any-return]


class _Normed(torch.autograd.Function):
    """Gives mean and variance (C,) of its inputs too."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float, has_relu6: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        count, channels, height, width = x.shape
        found, (mean, variance, inverse) = torch.empty_like(x), torch.empty(3, channels)
        sizes = (count * height * width, channels, epsilon, has_relu6)
        norm = _Norm(*(v.data_ptr() for v in (gamma, beta, mean, variance, inverse)), *sizes)
        library().norm_forward(x.data_ptr(), found.data_ptr(), norm)
        ctx.save_for_backward(x, gamma, beta, mean, variance, inverse)
        ctx.sizes = sizes
        ctx.mark_non_differentiable(mean, variance)
        return found, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, gamma, beta, mean, variance, inverse = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=_LAST)
        of_inputs, of_gamma, of_beta = torch.empty_like(x), torch.empty_like(gamma), torch.empty_like(beta)
        norm = _Norm(*(v.data_ptr() for v in (gamma, beta, mean, variance, inverse)), *ctx.sizes)
        given = (x, grad, of_inputs, of_gamma, of_beta)
        library().norm_backward(*(v.data_ptr() for v in given), norm)
        return of_inputs, of_gamma, of_beta, None, None
