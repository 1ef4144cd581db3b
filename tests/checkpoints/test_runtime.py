"""Which runtime computes a bundled model, and that torch takes over, and says so once, where the other one cannot."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cartag import detector as detectors, encoder
from cartag.checkpoints import Graph, GraphError, resolve, resolve_detector, runtime, takes_graphs
from cartag.checkpoints.passes import CorePasses
from cartag.errors import ModelError
from cartag.progress import Silent
from cartag.resources import shipped

MINI, LOOK = (Path(__file__).resolve().parents[2] / "models" / name for name in ("mini", "look"))


@pytest.fixture(autouse=True)
def no_word_yet() -> None:
    runtime._say_once.cache_clear()


def loaded(which: str = "auto") -> tuple[str, str]:
    """What computes mini and look."""
    model = encoder.load(resolve("mini", Silent()), device="cpu", runtime=which)
    detector = detectors.load(resolve_detector("look", Silent()), device="cpu", runtime=which)
    return type(model).__name__, type(detector).__name__


@pytest.mark.parametrize(
    ("which", "device", "dtype", "takes"),
    [
        ("auto", "cpu", "auto", True),
        ("auto", "cpu", "float32", True),
        ("auto", "cpu", "bfloat16", False),
        ("auto", "cuda", "auto", False),
        ("auto", "mps", "auto", False),
        ("onnx", "cpu", "auto", True),
        ("onnx", "auto", "auto", True),
        ("torch", "cpu", "auto", False),
    ],
)
def test_a_cpu_in_float32_is_for_onnx_runtime(which: str, device: str, dtype: str, takes: bool) -> None:
    assert takes_graphs(which, device, dtype) is takes


@pytest.mark.parametrize(("device", "dtype"), [("cuda", "auto"), ("mps", "auto"), ("cpu", "bfloat16")])
def test_what_it_cannot_do_is_one_line(device: str, dtype: str) -> None:
    with pytest.raises(ModelError, match="use --runtime torch") as error:
        takes_graphs("onnx", device, dtype)
    assert "\n" not in str(error.value)


def test_torch_computes_where_a_gpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_has_gpu", lambda: True)
    assert not takes_graphs("auto", "auto")
    assert takes_graphs("onnx", "auto")


def test_whoever_asks_gets_what_she_asks_for() -> None:
    assert loaded("onnx") == loaded() == ("GraphEncoder", "GraphLook")
    assert loaded("torch") == ("DualEncoder", "LookDetector")


def test_without_onnx_runtime_torch_computes_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with caplog.at_level(logging.WARNING):
        assert loaded() == ("DualEncoder", "LookDetector")
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "ONNX Runtime cannot be used; torch computes instead, which takes seconds more to start"
    ]
    with pytest.raises(ModelError, match=r"runtime onnx: .*use --runtime torch"):
        loaded("onnx")


def _missing(graph: Path) -> None:
    graph.unlink()


def _cut_short(graph: Path) -> None:
    graph.write_bytes(graph.read_bytes()[:1000])


def _of_a_later_version(graph: Path) -> None:
    import onnx

    model = onnx.load(graph, load_external_data=False)
    model.opset_import[0].version = 9999
    graph.write_bytes(model.SerializeToString())


DAMAGES = [_missing, _cut_short, _of_a_later_version]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_graph_that_is_not_as_shipped_is_one_line_for_the_bundled_model(
    damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cartag.checkpoints import table

    theirs = Path(shutil.copytree(MINI, tmp_path / "mini"))
    monkeypatch.setattr(table, "shipped", lambda kind, name="": theirs if kind == "models" else shipped(kind, name))
    damage(theirs / "image.onnx")
    with pytest.raises(ModelError, match=r"image\.onnx: .*install cartag again") as error:
        resolve("mini", Silent())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_copy_goes_on_with_torch(
    damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, mine = (Path(shutil.copytree(LOOK, tmp_path / name)) for name in ("theirs", "mine"))
    monkeypatch.setattr(runtime, "shipped", lambda kind, name="": theirs)
    damage(theirs / "look.onnx")
    files = resolve_detector(str(mine), Silent())
    assert type(detectors.load(files, device="cpu")).__name__ == "LookDetector"
    with pytest.raises(ModelError, match=r"runtime onnx: .*look\.onnx"):
        detectors.load(files, device="cpu", runtime="onnx")


@pytest.mark.parametrize("damage", DAMAGES)
def test_onnx_runtime_refuses_a_damaged_graph(damage: Callable[[Path], None], tmp_path: Path) -> None:
    graph = Path(shutil.copy(LOOK / "look.onnx", tmp_path))
    damage(graph)
    with pytest.raises(GraphError, match=r"look\.onnx") as error:
        Graph(graph, {})
    assert "\n" not in str(error.value)


def test_passes_keep_the_order_of_items() -> None:
    passes = CorePasses(3, on_core=4)
    for count in (1, 2, 11, 40):
        found = passes.run(lambda part: np.array([[i] for i in part]), range(count))
        assert found.ravel().tolist() == list(range(count))
