"""What `mini`'s image tower loses and gains in eight bits: static quantisation by ONNX Runtime, calibrated on photos.

    python -m benchmarks.eightbit PHOTOS [--sample 300]

Half of the sample calibrates the ranges (least and greatest value of each tensor, weights by channel), the other half
is embedded by both towers. It needs what the recipe needs (`pip install 'cartag[train]'`): ONNX writes the graph with
its weights in it. Whether eight bits are quicker is a matter of the processor: those with VNNI or AMX have instructions
for them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring
from benchmarks.measuring import Report
from cartag.checkpoints import read_weights, resolve
from cartag.encoder.processor import read_image_spec
from cartag.errors import PhotoError
from cartag.photos import decode, read_bytes
from cartag.progress import Silent
from cartag.values import ImageSpec

_KINDS = (".jpg", ".jpeg", ".png", ".webp")
_AT_ONCE = 4
_WAYS: dict[str, dict[str, Any]] = {
    "all of it": {},
    "without depthwise convolutions": {"exact": lambda node, n: _groups(node) > 1},
    "without stem and projection": {"exact": lambda node, n: n < _STEM or node.op_type == "MatMul"},
}
_STEM = 12  # nodes: the first convolutions, where pixels differ finely


def measure(folder: Path, sample: int, work: Path) -> Report:
    """Embeds half of the sample in float32 and in eight bits, calibrated on the other half."""
    files = resolve("mini", Silent())
    spec = read_image_spec(Path(files.folder), "auto")
    pixels = _pictures(folder, spec, sample)
    ranges, held = pixels[::2], pixels[1::2]
    if not held:
        raise SystemExit(f"{folder}: fewer than two photos that can be read")
    report = Report("eightbit", ("way", "mean cosine", "least cosine", "core-ms a photo", "times as quick"))
    whole = work / "whole.onnx"
    _write_whole(Path(files.folder), spec, whole)
    exact, slow = _embedded(whole, held)
    report.add("float32", "1", "1", slow, 1.0)
    for name, way in _WAYS.items():
        eight = work / "eight.onnx"
        _quantise(whole, eight, ranges, **way)
        found, quick = _embedded(eight, held)
        cosines = (exact * found).sum(axis=1)
        report.add(name, f"{cosines.mean():.4f}", f"{cosines.min():.4f}", quick, slow / quick)
    report.notes.append(
        f"{len(held)} photos as wholes, ranges from {len(ranges)} others; passes of {_AT_ONCE}, medians."
    )
    return report


def _pictures(folder: Path, spec: ImageSpec, sample: int) -> list[np.ndarray]:
    """Photos by chance, as the model wants them."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _KINDS)
    found = []
    for path in random.Random(0).sample(paths, min(sample, len(paths))):
        try:
            pixels = decode(read_bytes(path), spec).pixels
        except PhotoError:
            continue
        if pixels is not None:
            found.append(pixels)
    return found


def _write_whole(folder: Path, spec: ImageSpec, to: Path) -> None:
    """The graph with its weights in it, batch norms folded into the convolutions."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    weights = read_weights(folder / "model.safetensors")
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        weights[f"pixel_{name}"] = (np.array(values, np.float32) * 255).reshape(1, 3, 1, 1)
    model = onnx.load(folder / "image.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.external_data:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(to)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    folded = onnx.load(to)
    for n, node in enumerate(folded.graph.node):
        node.name = f"node{n}"
    onnx.save(folded, to)


def _groups(node: Any) -> int:
    return next((a.i for a in node.attribute if a.name == "group"), 1)


def _quantise(
    whole: Path,
    to: Path,
    ranges: Sequence[np.ndarray],
    *,
    exact: Callable[[Any, int], bool] = lambda node, n: False,
) -> None:
    """Writes the graph in eight bits, but for the nodes that are to stay ``exact``."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Ranges(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(ranges)

        def get_next(self) -> dict[str, np.ndarray] | None:
            pixels = next(self._left, None)
            return None if pixels is None else {"pixels": pixels[None]}

    nodes = onnx.load(whole).graph.node
    quantize_static(
        whole,
        to,
        Ranges(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "MatMul", "Add", "Clip"],
        nodes_to_exclude=[node.name for n, node in enumerate(nodes) if exact(node, n)],
    )


def _embedded(graph: Path, pixels: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Unit vectors (n, d), and core-milliseconds a photo on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    vectors, seconds = [], []
    for start in range(0, len(pixels), _AT_ONCE):
        some = np.stack(pixels[start : start + _AT_ONCE])
        began = time.thread_time()
        vectors.append(session.run(None, {"pixels": some})[0])
        seconds.append((time.thread_time() - began) / len(some))
    return np.concatenate(vectors), 1000 * float(np.median(seconds))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("eightbit", __doc__ or "")
    parser.add_argument("photos", type=Path, help="a folder of photographs")
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="so many of the photos, by chance")
    options = parser.parse_args(arguments)
    with measuring.workplace(options.work) as work:
        report = measure(options.photos, 40 if options.quick else options.sample, work)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
