"""What `mini`'s image tower, or `look`, loses and gains in eight bits: static quantisation by ONNX Runtime.

    python -m benchmarks.eightbit PHOTOS [--of look] [--sample 300]

Half of the sample calibrates the ranges (least and greatest value of each tensor, weights by channel), the other half
is shown to both. It needs what the recipe needs (`pip install 'cartag[train]'`): ONNX writes the graph with its weights
in it. Whether eight bits are quicker is a matter of the processor: those with VNNI or AMX have instructions for them.
Without these the sums of a product of eight bits by eight may overflow, and weights of seven are the surer ones.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring
from benchmarks.measuring import Report
from cartag.checkpoints import read_weights, resolve, resolve_detector
from cartag.detector.peaks import boxes_of
from cartag.detector.spec import glance_spec, read_look_spec, sure_enough
from cartag.encoder.processor import read_image_spec
from cartag.errors import PhotoError
from cartag.photos import decode, read_bytes
from cartag.progress import Silent
from cartag.state import matched, overlap
from cartag.values import ImageSpec

_KINDS = (".jpg", ".jpeg", ".png", ".webp")
_AT_ONCE = 4
_STEM = 12  # nodes of mini: the first convolutions, where pixels differ finely
Exact = Callable[[Any, int], bool]
"""Whether a node, the n-th, stays in float32."""


@dataclass(frozen=True)
class Way:
    """A way to write a graph in eight bits."""

    exact: Exact = lambda node, n: False
    seven: bool = False
    """Whether weights have seven bits."""


@dataclass(frozen=True)
class Subject:
    """A bundled network."""

    graph: str
    input: str
    ways: dict[str, Way]


MINI = Subject(
    "image.onnx",
    "pixels",
    {
        "all of it": Way(),
        "without depthwise convolutions": Way(lambda node, n: _groups(node) > 1),
        "without stem and projection": Way(lambda node, n: n < _STEM or node.op_type == "MatMul"),
    },
)
_FIRST, _LAST = 14, 75  # nodes of look: before it the first six convolutions, which see pixels; from it on the answer
LOOK = Subject(
    "look.onnx",
    "glances",
    {
        "all of it": Way(),
        "all of it, weights of seven bits": Way(seven=True),
        "without first and last, weights of seven bits": Way(lambda node, n: not _FIRST <= n < _LAST, seven=True),
    },
)


def measure_mini(folder: Path, sample: int, work: Path) -> Report:
    """Embeds half of the sample in float32 and in eight bits, calibrated on the other half."""
    files = Path(resolve("mini", Silent()).folder)
    spec = read_image_spec(files, "auto")
    ranges, held = _halves(folder, spec, sample)
    report = Report("eightbit", ("way", "mean cosine", "least cosine", "core-ms a photo", "times as quick"))
    scale = {f"pixel_{name}": _as_pixels(values) for name, values in (("mean", spec.mean), ("std", spec.std))}
    for name, exact, found, slow, quick in _both(MINI, files, scale, ranges, held, work):
        cosines = (exact * found).sum(axis=1)
        report.add(name, f"{cosines.mean():.4f}", f"{cosines.min():.4f}", quick, slow / quick)
    report.notes.append(
        f"{len(held)} photos as wholes, ranges from {len(ranges)} others; passes of {_AT_ONCE}, medians."
    )
    return report


def measure_look(folder: Path, sample: int, work: Path) -> Report:
    """Has half of the sample looked at in float32 and in eight bits, calibrated on the other half."""
    files = Path(resolve_detector("look", Silent()).folder)
    spec = read_look_spec(files)
    ranges, held = _halves(folder, replace(glance_spec(files), narrow=None), sample)  # in one shape, to be stacked
    heads = ("way", "boxes", "mean overlap", "of 95 % at least", "lost", "new", "core-ms a glance", "times as quick")
    report = Report("eightbit", heads)
    for name, exact, found, slow, quick in _both(LOOK, files, {}, ranges, held, work):
        overlaps, all_, lost, new = [], 0, 0, 0
        for cells, others in zip(exact, found, strict=True):
            boxes, instead = (sure_enough(boxes_of(answer, spec.least), spec) for answer in (cells, others))
            pairs = matched(boxes[:, :4].tolist(), instead[:, :4].tolist())
            overlaps += [overlap(boxes[i, :4].tolist(), instead[j, :4].tolist()) for i, j in pairs.items()]
            all_, lost, new = all_ + len(boxes), lost + len(boxes) - len(pairs), new + len(instead) - len(pairs)
        told = (f"{np.mean(overlaps):.3f}", f"{np.percentile(overlaps, 5):.3f}")
        report.add(name, str(all_), *told, str(lost), str(new), quick, slow / quick)
    report.notes.append(
        f"{len(held)} photos, ranges from {len(ranges)} others; passes of {_AT_ONCE}, medians. A box is lost, or new, "
        "where the other has none that overlaps it by half (intersection over union)."
    )
    return report


def _both(
    subject: Subject,
    files: Path,
    scale: dict[str, np.ndarray],
    ranges: list[np.ndarray],
    held: list[np.ndarray],
    work: Path,
) -> Iterator[tuple[str, np.ndarray, np.ndarray, float, float]]:
    """In float32, then by each way: its name, what float32 answers, what it answers, the core-ms of both."""
    whole, eight = work / "whole.onnx", work / "eight.onnx"
    _write_whole(files / subject.graph, read_weights(files / "model.safetensors") | scale, whole)
    exact, slow = _answers(whole, subject.input, held)
    yield "float32", exact, exact, slow, slow
    for name, way in subject.ways.items():
        _quantise(whole, eight, subject.input, ranges, way)
        found, quick = _answers(eight, subject.input, held)
        yield name, exact, found, slow, quick


def _halves(folder: Path, spec: ImageSpec, sample: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of photos by chance one half and the other."""
    pixels = _pictures(folder, spec, sample)
    if len(pixels) < 2:
        raise SystemExit(f"{folder}: fewer than two photos that can be read")
    return pixels[::2], pixels[1::2]


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


def _as_pixels(values: Sequence[float]) -> np.ndarray:
    """A mean or a deviation of 0 to 1 as those of pixels, as the graph has them among its weights."""
    return (np.array(values, np.float32) * 255).reshape(1, 3, 1, 1)


def _write_whole(graph: Path, weights: dict[str, np.ndarray], to: Path) -> None:
    """The graph with its weights in it, batch norms folded into the convolutions."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    model = onnx.load(graph, load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.external_data:
            values = np.asarray(weights[tensor.name], np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
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


def _quantise(whole: Path, to: Path, name: str, ranges: Sequence[np.ndarray], way: Way) -> None:
    """Writes the graph, whose input has this name, in eight bits, but for the nodes that are to stay exact."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Ranges(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(ranges)

        def get_next(self) -> dict[str, np.ndarray] | None:
            pixels = next(self._left, None)
            return None if pixels is None else {name: pixels[None]}

    nodes = onnx.load(whole).graph.node
    quantize_static(
        whole,
        to,
        Ranges(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=way.seven,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "MatMul", "Add", "Clip", "Relu", "Resize"],
        nodes_to_exclude=[node.name for n, node in enumerate(nodes) if way.exact(node, n)],
    )


def _answers(graph: Path, name: str, pixels: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """What it says of each picture, and core-milliseconds a picture on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    answers, seconds = [], []
    for start in range(0, len(pixels), _AT_ONCE):
        some = np.stack(pixels[start : start + _AT_ONCE])
        began = time.thread_time()
        answers.append(session.run(None, {name: some})[0])
        seconds.append((time.thread_time() - began) / len(some))
    return np.concatenate(answers), 1000 * float(np.median(seconds))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("eightbit", __doc__ or "")
    parser.add_argument("photos", type=Path, help="a folder of photographs")
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="so many of the photos, by chance")
    parser.add_argument("--of", choices=("mini", "look"), default="mini", help="mini's image tower, or look")
    options = parser.parse_args(arguments)
    measure = measure_look if options.of == "look" else measure_mini
    with measuring.workplace(options.work) as work:
        report = measure(options.photos, 40 if options.quick else options.sample, work)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
