"""Graphs in ONNX: what a network computes. The weights are put in from the safetensors file, so there is one copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np


class GraphError(Exception):
    """ONNX Runtime, a graph, or weights that do not go with it; torch may still do."""


class Graph:
    """A graph with its weights, run by ONNX Runtime on the thread that calls it; several may, at the same time."""

    def __init__(self, path: Path, weights: Mapping[str, np.ndarray]) -> None:
        """Puts ``weights`` (float32) in where the graph has their names, all of which it has.

        Raises:
            GraphError: ONNX Runtime is not there, or does not take the graph, or not with these weights.
        """
        try:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 4  # what goes wrong is raised
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
            options.add_external_initializers(list(weights), values)
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # a library of the system's may be missing, and the runtime raises kinds of its own
            raise GraphError(f"{path.name}: {' '.join(str(e).split())[:200] or type(e).__name__}") from e

    def run(self, **inputs: np.ndarray) -> np.ndarray:
        """Its one output."""
        (output,) = self._session.run(None, inputs)
        found: np.ndarray = output
        return found


def read_weights(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    """Tensors of a safetensors file in float32, by name.

    Raises:
        GraphError: the file is damaged, or some of it is no number.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="np") as file:
            weights = {
                name: np.asarray(file.get_tensor(name), np.float32)
                for name in file.keys()  # noqa: SIM118 - not a dictionary
                if wanted(name)
            }
    except Exception as e:  # safetensors raises an error of its own
        raise GraphError(f"{path.name}: {' '.join(str(e).split())[:200]}") from e
    if not all(bool(np.isfinite(values).all()) for values in weights.values()):
        raise GraphError(f"{path.name}: some of its weights are no numbers")
    return weights
