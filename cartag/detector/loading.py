"""From a detector's files to a working detector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cartag.checkpoints import (
    BUNDLED_DETECTOR,
    FAKE_MODEL,
    GraphError,
    graphs_for,
    known_detectors,
    takes_graphs,
    without_graphs,
)
from cartag.detector.config import LOOK, car_classes, read_config
from cartag.detector.fake import FakeDetector
from cartag.detector.keeping import DOUBLE, THRESHOLD
from cartag.detector.processor import read_image_spec
from cartag.detector.protocol import Detector
from cartag.detector.several import SeveralDetectors
from cartag.errors import ModelError
from cartag.values import ImageSpec, ModelFiles


def load(files: ModelFiles, *, device: str = "auto", runtime: str = "auto") -> Detector:
    """Loads a detector; takes seconds where torch has to be loaded for it.

    ``runtime`` says what computes it: ``torch``, ``onnx`` (a CPU, bundled detectors only), or ``auto``, whichever of
    the two starts sooner and can.

    Raises:
        ModelError: the checkpoint is no detector of cars, is damaged, would load something from elsewhere, or the
            device or the runtime is not there.
        SettingsError: there is no device of that name.
    """
    if files.spec.source == FAKE_MODEL:
        return FakeDetector()
    folder = Path(files.folder)
    config = read_config(folder)
    if _is_look(files, config):
        return _look(files, device, runtime)
    if runtime == "onnx":
        raise ModelError(f"runtime onnx: has no graph of {files.spec.name}, only of look; use --runtime torch")
    cars = car_classes(folder, config.get("id2label"))
    from cartag.detector.hub import HubDetector

    return _on_each(device, lambda name: HubDetector(folder, config, cars, identity(files), device=name))


def _on_each(device: str, load_on: Callable[[str], Detector]) -> Detector:
    """A detector, or one on every GPU that ``device`` stands for."""
    from cartag.checkpoints import devices_of  # torch's

    detectors = [load_on(name) for name in devices_of(device)]
    return SeveralDetectors(detectors) if len(detectors) > 1 else detectors[0]


def _look(files: ModelFiles, device: str, runtime: str) -> Detector:
    why: GraphError | None = None
    if takes_graphs(runtime, device):
        from cartag.detector.graph import DECIDED_BY, GraphLook

        try:
            graphs = graphs_for(Path(files.folder), BUNDLED_DETECTOR, DECIDED_BY, runtime)
            if graphs is not None:
                return GraphLook(files, graphs, identity(files))
        except GraphError as e:
            why = e
    from cartag.detector.look import LookDetector

    detector = _on_each(device, lambda name: LookDetector(files, identity(files), device=name))
    if why is not None:
        without_graphs(runtime, why)
    return detector


def identity(files: ModelFiles) -> str:
    """The key of a detector's boxes in the cache, known before anything is loaded.

    Whatever decides boxes is in it: the files (by the revision), how photos are fitted, and what is kept.

    Raises:
        ModelError: the checkpoint has no processor config.
    """
    if files.spec.source == FAKE_MODEL:
        return FakeDetector.identity
    spec = read_image_spec(Path(files.folder))
    name = files.spec.name.replace("/", "--")
    narrow = f"+{spec.narrow[1]}x{spec.narrow[0]}" if spec.narrow else ""
    return f"{name}@{files.revision}/{spec.fit}{spec.width}x{spec.height}{narrow}/{THRESHOLD:g}-{DOUBLE:g}"


def kind(files: ModelFiles) -> str:
    """What kind of detector it is, by its config: ``look``, ``d_fine``, ``rt_detr_v2`` ..., or ``fake``.

    Raises:
        ModelError: the checkpoint has no config.
    """
    return FAKE_MODEL if files.spec.source == FAKE_MODEL else str(read_config(Path(files.folder)).get("model_type"))


def image_spec(files: ModelFiles) -> ImageSpec:
    """How the detector wants its photos, known before it is loaded, so that decoding can begin at once.

    Raises:
        ModelError: the checkpoint has no processor config.
    """
    return FakeDetector.image_spec if files.spec.source == FAKE_MODEL else read_image_spec(Path(files.folder))


def _is_look(files: ModelFiles, config: dict[str, object]) -> bool:
    """The bundled detector, or a copy of it that was carried to another machine."""
    return files.spec == known_detectors()[BUNDLED_DETECTOR] or config.get("model_type") == LOOK
