"""Writes what `look` computes, for ONNX Runtime: `look.onnx`, without weights (see `models.recipe.nodes`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from cartag.detector.network import FRONT, Look
from cartag.detector.spec import read_look_spec
from models.recipe.nodes import Nodes

GRAPH = "look.onnx"


def write(folder: Path) -> None:
    """Writes it beside the config and the weights of a detector."""
    network = Look(read_look_spec(folder).architecture)
    nodes = Nodes(folder / "model.safetensors")
    x = nodes.add("Transpose", nodes.add("Cast", "glances", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    half = nodes.constant(0.5)
    x = nodes.add("Div", nodes.add("Sub", nodes.add("Div", x, nodes.constant(255)), half), half)
    stem, norm, *stages = network.front
    x = nodes.normed(nodes.convolution(x, "front.0", stem), "front.1", norm)
    for i, stage in enumerate(stages):
        x = nodes.stage(x, f"front.{FRONT + i}", stage)
    middle = deep = nodes.stage(x, "middle", network.middle)
    for i, stage in enumerate(network.deep):
        deep = nodes.stage(deep, f"deep.{i}", stage)
    deep = nodes.convolution(deep, "from_deep", network.from_deep)
    twice = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    deep = nodes.add("Resize", deep, "", nodes.constant([1, 1, 2, 2]), **twice)
    x = nodes.add("Relu", nodes.add("Add", nodes.convolution(middle, "from_middle", network.from_middle), deep))
    for i in (0, 2):
        x = nodes.add("Relu", nodes.convolution(x, f"head.{i}", network.head[i]))
    x = nodes.convolution(x, "head.4", network.head[4])
    axis, ends = nodes.constant([1], np.int64), [nodes.constant([i], np.int64) for i in (0, 1, 5)]
    heat, sides = (nodes.add("Slice", x, ends[i], ends[i + 1], axis) for i in (0, 1))
    sides = nodes.add("Mul", nodes.add("Softplus", sides), nodes.constant(4))
    nodes.add("Concat", heat, sides, axis=1)
    glances: tuple[int, list[str | int]] = (TensorProto.UINT8, ["n", "height", "width", 3])
    nodes.save(folder / GRAPH, {"glances": glances}, "cells", ["n", 5, "rows", "columns"])
