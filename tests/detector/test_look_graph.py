"""`look` on ONNX Runtime finds the boxes that it finds by torch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cartag import detector as detectors
from cartag.checkpoints import GraphError, resolve_detector
from cartag.detector.graph import GraphLook
from cartag.errors import ModelError
from cartag.photos import images
from cartag.progress import Silent

ROOT = Path(__file__).resolve().parents[2]
LOOK = ROOT / "models" / "look"


@pytest.fixture(scope="module")
def glances() -> list[np.ndarray]:
    spec = detectors.image_spec(resolve_detector("look", Silent()))
    drawings = []
    for number, path in enumerate(sorted((ROOT / "data" / "gallery").glob("*.jpg"))):
        with Image.open(path) as image:
            square = (0, 0, image.height, image.height)
            drawings.append(np.asarray(image.crop(square) if number % 4 == 1 else image))
    shown = [images.shaped(drawing, spec) for drawing in drawings]
    assert len({glance.shape for glance in shown}) == 2  # wide ones and narrow ones in turns
    return shown


def test_its_boxes_are_those_of_torch(glances: list[np.ndarray]) -> None:
    files = resolve_detector("look", Silent())
    graph, by_torch = (detectors.load(files, device="cpu", runtime=r) for r in ("onnx", "torch"))
    assert (type(graph).__name__, type(by_torch).__name__) == ("GraphLook", "LookDetector")
    assert graph.identity == by_torch.identity
    assert graph.image_spec == by_torch.image_spec
    found = graph.boxes(glances)
    assert sum(map(len, found)) > 30
    for one, other in zip(found, by_torch.boxes(glances), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_a_photo_does_not_depend_on_those_beside_it(count: int, glances: list[np.ndarray]) -> None:
    graph = detectors.load(resolve_detector("look", Silent()), device="cpu", runtime="onnx")
    for one, other in zip(graph.boxes(glances[:count]), graph.boxes(glances)[:count], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_other_detectors_have_no_graph(tmp_path: Path) -> None:
    mine = Path(shutil.copytree(LOOK, tmp_path / "mine"))
    assert isinstance(detectors.load(resolve_detector(str(mine), Silent()), device="cpu", runtime="onnx"), GraphLook)
    text = (mine / "config.json").read_text(encoding="utf-8")
    (mine / "config.json").write_text(text.replace("tf_efficientnet_lite0", "tf_efficientnet_lite1"), encoding="utf-8")
    with pytest.raises(ModelError, match="has no graph of"):
        detectors.load(resolve_detector(str(mine), Silent()), device="cpu", runtime="onnx")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    mine = Path(shutil.copytree(LOOK, tmp_path / "mine"))
    weights: Any = bytearray((mine / "model.safetensors").read_bytes())
    (mine / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    files = resolve_detector(str(mine), Silent())
    with pytest.raises(GraphError, match=r"model\.safetensors"):
        GraphLook(files, LOOK, "mine@1")
    with pytest.raises(ModelError, match="cannot be loaded") as error:  # as torch says it
        detectors.load(files, device="cpu")
    assert "\n" not in str(error.value)
