"""Graphs in ONNX, node by node: what a network computes, without its weights.

A weight stands in a graph by its name in the safetensors file beside it, with its shape and nothing else: cartag puts
in what that file holds. So there is one copy of the weights, and a graph is good for any weights of the same shapes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from timm.layers import Conv2dSame
from torch import nn

_OPSET, _IR = 17, 8  # what ONNX Runtime has understood since 1.12; nothing newer is needed
_SYMMETRIC = 2


class Nodes:
    """The nodes of a graph, in the order in which they are added; every one gives one value, known by its name."""

    def __init__(self, weights: Path) -> None:
        """Over the weights in a safetensors file."""
        with safe_open(weights, framework="np") as file:
            self._shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        self._file = weights.name
        self._nodes: list[Any] = []
        self._values: dict[str, Any] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node; gives the name of its value."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: Any, kind: Any = np.float32) -> str:
        """A value that is the same whatever the weights are."""
        array = np.asarray(value, kind)
        name = f"c_{array.dtype}_{'x'.join(map(str, array.shape))}_{'_'.join(map(str, array.ravel().tolist()))}"
        self._values[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, name: str, shape: list[int] | None = None) -> str:
        """What the file holds under this name, as float32; with a ``shape`` what cartag puts in from elsewhere."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape or self._shapes[name])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=self._file)
        self._values[name] = tensor
        return name

    def save(self, to: Path, inputs: dict[str, tuple[int, list[str | int]]], output: str, shape: list[str]) -> None:
        """Writes the graph, whose value ``output`` is called so."""
        last = self._nodes[-1]
        last.output[0] = output
        graph = helper.make_graph(
            self._nodes,
            to.stem,
            [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
            [self._values[name] for name in sorted(self._values)],
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, producer_name="cartag", opset_imports=opsets, ir_version=_IR)
        onnx.save_model(model, to)

    # --- parts of networks

    def linear(self, x: str, name: str, *, bias: bool = True) -> str:
        """A linear layer on the last axis."""
        turned = self.add("Transpose", self.weight(f"{name}.weight"), perm=[1, 0])
        product = self.add("MatMul", x, turned)
        return self.add("Add", product, self.weight(f"{name}.bias")) if bias else product

    def unit(self, x: str) -> str:
        """Rows of unit length, as `torch.nn.functional.normalize` makes them."""
        length = self.add("ReduceL2", x, axes=[-1], keepdims=1)
        return self.add("Div", x, self.add("Max", length, self.constant(1e-12)))

    def convolution(self, x: str, name: str, layer: nn.Conv2d) -> str:
        """A convolution, with TensorFlow's padding where the layer has that."""
        size = list(layer.kernel_size)
        pads = (
            {"auto_pad": "SAME_UPPER"}
            if isinstance(layer, Conv2dSame)
            else {"pads": [int(side) for side in layer.padding] * _SYMMETRIC}
        )
        biases = [] if layer.bias is None else [self.weight(f"{name}.bias")]
        return self.add(
            "Conv",
            *(x, self.weight(f"{name}.weight"), *biases),
            kernel_shape=size,
            strides=list(layer.stride),
            group=layer.groups,
            **pads,
        )

    def normed(self, x: str, name: str, layer: Any) -> str:
        """A batch norm of timm's with its activation. The runtime folds it into the convolution before it."""
        parts = ("weight", "bias", "running_mean", "running_var")
        y = self.add("BatchNormalization", x, *(self.weight(f"{name}.{p}") for p in parts), epsilon=layer.eps)
        if isinstance(layer.act, nn.ReLU6):
            return self.add("Clip", y, self.constant(0), self.constant(6))
        if isinstance(layer.act, nn.Identity):
            return y
        raise ValueError(f"{name}: no node for {type(layer.act).__name__}")

    def stage(self, x: str, name: str, blocks: Any) -> str:
        """A stage of an EfficientNet-Lite: blocks of convolutions, each with its batch norm, some with a way around."""
        for i, block in enumerate(blocks):
            y = x
            layers = [part for part in block.named_children() if part[0].startswith(("conv", "bn"))]
            for part, layer in layers:
                step = self.convolution if isinstance(layer, nn.Conv2d) else self.normed
                y = step(y, f"{name}.{i}.{part}", layer)
            x = self.add("Add", y, x) if block.has_skip else y
        return x
