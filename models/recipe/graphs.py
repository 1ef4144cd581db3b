"""Graphs, a program: writes what the towers of an exported model compute, for ONNX Runtime.

`image.onnx` takes uint8 pictures, `text.onnx` tokens and which of them are no padding; both give unit vectors. They
hold no weights (see `nodes`), so they change only where the networks do. Mean and deviation of pixels are put in as
weights are.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import timm
from onnx import TensorProto

from models.recipe.nodes import Nodes

IMAGE, TEXT = "image.onnx", "text.onnx"
_FAR = float(np.finfo(np.float32).min)


def write(folder: Path) -> None:
    """Writes both graphs beside the config and the weights of a model."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _write_image(folder, config["vision_config"])
    _write_text(folder, config["text_config"])


def _write_image(folder: Path, config: dict[str, Any]) -> None:
    if config["model_args"] != {"global_pool": "avgmax"}:
        raise ValueError(f"{folder}: no nodes for {config['model_args']}")
    body: Any = timm.create_model(config["architecture"], num_classes=0)
    nodes, name = Nodes(folder / "model.safetensors"), "vision_model.timm_model"
    x = nodes.add("Transpose", nodes.add("Cast", "pixels", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    x = nodes.add("Sub", x, nodes.weight("pixel_mean", [1, 3, 1, 1]))
    x = nodes.add("Div", x, nodes.weight("pixel_std", [1, 3, 1, 1]))
    x = nodes.normed(nodes.convolution(x, f"{name}.conv_stem", body.conv_stem), f"{name}.bn1", body.bn1)
    for i, stage in enumerate(body.blocks):
        x = nodes.stage(x, f"{name}.blocks.{i}", stage)
    x = nodes.normed(nodes.convolution(x, f"{name}.conv_head", body.conv_head), f"{name}.bn2", body.bn2)
    both = nodes.add("Add", nodes.add("GlobalAveragePool", x), nodes.add("GlobalMaxPool", x))
    x = nodes.add("Flatten", nodes.add("Mul", both, nodes.constant(0.5)))
    nodes.unit(nodes.linear(x, "visual_projection", bias=False))
    nodes.save(
        folder / IMAGE, {"pixels": (TensorProto.UINT8, ["n", "height", "width", 3])}, "vectors", ["n", "dimensions"]
    )


def _write_text(folder: Path, config: dict[str, Any]) -> None:
    """A BERT as `transformers` computes it for a single text: all tokens are of its first part."""
    if config["hidden_act"] != "gelu" or config["model_type"] != "bert":
        raise ValueError(f"{folder}: no nodes for a {config['model_type']} with {config['hidden_act']}")
    nodes, name, eps = Nodes(folder / "model.safetensors"), "text_model.embeddings", config["layer_norm_eps"]
    one = nodes.constant([1], np.int64)
    length = nodes.add("Slice", nodes.add("Shape", "tokens"), one, nodes.constant([2], np.int64))
    places = nodes.add(
        "Slice", nodes.weight(f"{name}.position_embeddings.weight"), nodes.constant([0], np.int64), length
    )
    first = nodes.add("Gather", nodes.weight(f"{name}.token_type_embeddings.weight"), nodes.constant([0], np.int64))
    words = nodes.add("Gather", nodes.weight(f"{name}.word_embeddings.weight"), "tokens")
    x = _layer_norm(nodes, nodes.add("Add", nodes.add("Add", words, first), places), f"{name}.LayerNorm", eps)
    is_padding = nodes.add("Equal", "mask", nodes.constant(0, np.int64))
    masked = nodes.add("Unsqueeze", is_padding, nodes.constant([1, 2], np.int64))  # (n, 1, 1, length)
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    for i in range(config["num_hidden_layers"]):
        layer = f"text_model.encoder.layer.{i}"
        seen = _attention(nodes, x, f"{layer}.attention.self", masked, hidden, heads)
        seen = nodes.linear(seen, f"{layer}.attention.output.dense")
        x = _layer_norm(nodes, nodes.add("Add", seen, x), f"{layer}.attention.output.LayerNorm", eps)
        inner = _gelu(nodes, nodes.linear(x, f"{layer}.intermediate.dense"))
        inner = nodes.linear(inner, f"{layer}.output.dense")
        x = _layer_norm(nodes, nodes.add("Add", inner, x), f"{layer}.output.LayerNorm", eps)
    x = nodes.add("Gather", x, nodes.constant(0, np.int64), axis=1)
    x = nodes.add("Tanh", nodes.linear(x, "text_model.pooler.dense"))
    nodes.unit(nodes.linear(x, "text_projection", bias=False))
    tokens: tuple[int, list[str | int]] = (TensorProto.INT64, ["n", "length"])
    nodes.save(folder / TEXT, {"tokens": tokens, "mask": tokens}, "vectors", ["n", "dimensions"])


def _attention(nodes: Nodes, x: str, name: str, masked: str, hidden: int, heads: int) -> str:
    each = hidden // heads
    apart = nodes.constant([0, 0, heads, each], np.int64)
    q, k, v = (nodes.add("Reshape", nodes.linear(x, f"{name}.{what}"), apart) for what in ("query", "key", "value"))
    product = nodes.add(
        "MatMul", nodes.add("Transpose", q, perm=[0, 2, 1, 3]), nodes.add("Transpose", k, perm=[0, 2, 3, 1])
    )
    scores = nodes.add("Mul", product, nodes.constant(1 / math.sqrt(each)))
    weights = nodes.add("Softmax", nodes.add("Where", masked, nodes.constant(_FAR), scores), axis=-1)
    mixed = nodes.add("MatMul", weights, nodes.add("Transpose", v, perm=[0, 2, 1, 3]))
    return nodes.add(
        "Reshape", nodes.add("Transpose", mixed, perm=[0, 2, 1, 3]), nodes.constant([0, 0, hidden], np.int64)
    )


def _layer_norm(nodes: Nodes, x: str, name: str, eps: float) -> str:
    return nodes.add(
        "LayerNormalization", x, nodes.weight(f"{name}.weight"), nodes.weight(f"{name}.bias"), axis=-1, epsilon=eps
    )


def _gelu(nodes: Nodes, x: str) -> str:
    erf = nodes.add("Erf", nodes.add("Div", x, nodes.constant(math.sqrt(2))))
    return nodes.add("Mul", nodes.add("Mul", x, nodes.add("Add", erf, nodes.constant(1))), nodes.constant(0.5))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "mini")
    write(parser.parse_args().out)
