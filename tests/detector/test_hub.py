"""Detectors of `transformers`: the boxes of its own pipeline, whatever the family, the batch and the shape of a photo."""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import COMMIT, Touch, copy_of, edit_json, put_in_cache
from detectors import (
    ID2LABEL,
    MAKERS,
    SIDE,
    made_detectors,  # noqa: F401 - a fixture
    painted,
)
from hubs import (
    bad_config,
    bad_processor,
    empty_hub,  # noqa: F401 - a fixture
    half_the_weights,
    list_for_config,
    no_config,
    no_processor,
    no_safetensors,
    odd_processor,
    one_line,
    one_thread,  # noqa: F401 - a fixture
    unknown_type,
)
from PIL import Image
from torchvision.ops import nms

from cartag import detector
from cartag.checkpoints import resolve_detector, table
from cartag.detector.hub import HubDetector
from cartag.detector.keeping import DOUBLE, THRESHOLD
from cartag.errors import ModelError, SettingsError
from cartag.progress import Silent

Detectors = Callable[[str], Path]
KINDS = list(MAKERS)
CARS = {"car", "bus", "truck"}
pytestmark = pytest.mark.usefixtures("one_thread")


def loaded(folder: Path) -> detector.Detector:
    return detector.load(resolve_detector(str(folder), Silent()), device="cpu")


def photos(count: int = 4) -> list[np.ndarray]:
    return [painted(70 + 9 * seed, 110 - 13 * seed, seed) for seed in range(count)]


# --- the pipeline of transformers -------------------------------------------------------------------------------


def pipelines_boxes(folder: Path, photo: np.ndarray) -> np.ndarray:
    """x, y, width, height as fractions and score: all that `transformers`' pipeline finds, before it rounds to pixels."""
    from transformers import AutoImageProcessor, AutoModelForObjectDetection, ObjectDetectionPipeline

    class Exact(ObjectDetectionPipeline):  # type: ignore[misc]
        def _get_bounding_box(self, box: torch.Tensor) -> Any:
            return box.tolist()

    pipeline = Exact(
        model=AutoModelForObjectDetection.from_pretrained(folder, dtype=torch.float32),
        image_processor=AutoImageProcessor.from_pretrained(folder, backend="pil"),
        device="cpu",
    )
    found = pipeline(Image.fromarray(photo), threshold=THRESHOLD)
    height, width = photo.shape[:2]
    corners = np.array([one["box"] for one in found if one["label"] in CARS]).reshape(-1, 4)
    corners = (corners / [width, height, width, height]).clip(0, 1)
    scores = np.array([one["score"] for one in found if one["label"] in CARS])
    stay = nms(torch.from_numpy(corners), torch.from_numpy(scores), DOUBLE).numpy()
    return np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2], scores])[stay]


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_and_scores_are_those_of_the_pipeline(kind: str, detectors: Detectors) -> None:
    folder = detectors(kind)
    found = loaded(folder).boxes(photos())
    wanted = [pipelines_boxes(folder, photo) for photo in photos()]
    assert sum(map(len, wanted)) >= 4, "a checkpoint that says nothing proves nothing"
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_no_photo_feels_its_neighbours(kind: str, detectors: Detectors) -> None:
    model, some = loaded(detectors(kind)), photos(6)
    together = model.boxes(some)
    for photo, boxes in zip(some, together, strict=True):
        np.testing.assert_allclose(model.boxes([photo])[0], boxes, rtol=0, atol=1e-5)
    back = model.boxes(some[::-1])[::-1]
    assert [len(boxes) for boxes in back] == [len(boxes) for boxes in together]
    assert model.boxes([]) == []


def test_a_pass_on_a_gpu_holds_photos_of_one_shape_only(detectors: Detectors, monkeypatch: pytest.MonkeyPatch) -> None:
    """DETR's processor would pad the smaller ones. What runs one by one on a CPU is put together here."""
    model: Any = loaded(detectors("detr"))
    alone = [model.boxes([photo])[0] for photo in photos()]
    shapes: list[set[tuple[int, ...]]] = []
    one_pass = model._pass

    def seen(items: list[np.ndarray]) -> torch.Tensor:
        shapes.append({item.shape for item in items})
        answer: torch.Tensor = one_pass(items)
        return answer

    monkeypatch.setattr(model, "_pass", seen)
    model._passes._on_core, model._passes._workers = 32, 1
    together = model.boxes([*photos(), *photos()])
    assert len(shapes) == 4
    assert all(len(of_a_pass) == 1 for of_a_pass in shapes)
    for boxes, wanted in zip(together, alone * 2, strict=True):
        np.testing.assert_allclose(boxes, wanted, rtol=0, atol=1e-5)


# --- odd photos -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (500, 20000), (3, 900), (900, 1), (1, 3), (3, 3), (2, 1)])
def test_a_photo_of_any_shape_has_boxes_within_it(kind: str, height: int, width: int, detectors: Detectors) -> None:
    """Of three rows or columns a library takes one side for the channels, if nobody tells it."""
    boxes = loaded(detectors(kind)).boxes([painted(height, width)])[0]
    assert (boxes.dtype, boxes.shape[1]) == (np.float32, 5)
    assert np.isfinite(boxes).all()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:4] > 0).all()
    assert (boxes[:, :2].astype(np.float64) + boxes[:, 2:4] <= 1 + 1e-6).all()


def test_a_photo_that_is_squashed_already_has_the_same_boxes(detectors: Detectors) -> None:
    """It may be decoded at the detector's own size: boxes are fractions."""
    model = loaded(detectors("rtdetr"))
    assert (model.image_spec.fit, model.image_spec.height, model.image_spec.width) == ("squash", SIDE, SIDE)
    photo = painted(96, 128)
    small = np.asarray(Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling(model.image_spec.resample)))
    np.testing.assert_allclose(model.boxes([small])[0], model.boxes([photo])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("size", "fit"),
    [
        ({"height": 640, "width": 640}, "squash"),
        ({"height": 480, "width": 640}, "squash"),
        ({"shortest_edge": 800, "longest_edge": 1333}, "native"),
        ({"longest_edge": 1024}, "native"),
        ({"max_height": 800, "max_width": 1333}, "native"),
        ({"shortest_edge": 800, "longest_edge": 1333, "height": None, "width": None}, "native"),
        (800, "native"),
    ],
)
def test_how_photos_are_wanted_is_known_before_anything_is_loaded(
    size: Any, fit: str, detectors: Detectors, tmp_path: Path
) -> None:
    folder = copy_of(detectors("rtdetr"), tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"")
    edit_json(folder / "preprocessor_config.json", size=size)
    files = resolve_detector(str(folder), Silent())
    spec = detector.image_spec(files)
    assert spec.fit == fit
    side = (size["height"], size["width"]) if fit == "squash" else (1024, 1024)
    assert (spec.height, spec.width) == side
    assert f"/{fit}{side[1]}x{side[0]}/" in detector.identity(files)


# --- classes ----------------------------------------------------------------------------------------------------


def with_names(folder: Path, to: Path, names: dict[Any, str]) -> Path:
    copy_of(folder, to)
    edit_json(
        to / "config.json", id2label={str(k): v for k, v in names.items()}, label2id={v: k for k, v in names.items()}
    )
    return to


def test_classes_are_those_of_the_checkpoint(detectors: Detectors, tmp_path: Path) -> None:
    folder = detectors("rtdetr")
    own = loaded(folder).boxes(photos())
    spelled = with_names(folder, tmp_path / "spelled", {**ID2LABEL, 2: "Car", 3: " BUS ", 5: "TRUCK"})
    for ours, theirs in zip(loaded(spelled).boxes(photos()), own, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    every = with_names(folder, tmp_path / "every", dict.fromkeys(ID2LABEL, "car"))
    fewer = with_names(folder, tmp_path / "fewer", {**ID2LABEL, 3: "tram", 5: "tram"})
    counts = [sum(map(len, loaded(names).boxes(photos()))) for names in (fewer, folder, every)]
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


@pytest.mark.parametrize("names", [dict.fromkeys(ID2LABEL, "person"), {0: "cars", 1: "carriage", 2: "minibus"}])
def test_a_detector_that_knows_no_car_is_refused_before_its_weights_are_read(
    names: dict[int, str], detectors: Detectors, tmp_path: Path
) -> None:
    folder = with_names(detectors("rtdetr"), tmp_path / "model", names)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="finds no car, truck or bus") as error:
        loaded(folder)
    assert str(folder) in one_line(error)
    assert names[0] in one_line(error)


@pytest.mark.parametrize("table", [None, ["person", "car"], {"two": "car"}])
def test_a_damaged_table_of_classes_is_one_line(table: Any, detectors: Detectors, tmp_path: Path) -> None:
    folder = copy_of(detectors("rtdetr"), tmp_path / "model")
    edit_json(folder / "config.json", id2label=table)
    with pytest.raises(ModelError, match="id2label") as error:
        loaded(folder)
    assert str(folder) in one_line(error)


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        half_the_weights,
        no_safetensors,
        no_config,
        bad_config,
        list_for_config,
        unknown_type,
        no_processor,
        bad_processor,
        odd_processor,
    ],
)
def test_a_damaged_folder_is_one_line_with_its_name(
    damage: Callable[[Path], None], detectors: Detectors, tmp_path: Path
) -> None:
    folder = copy_of(detectors("rtdetr"), tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError) as error:
        loaded(folder)
    assert str(folder) in one_line(error)


@pytest.mark.parametrize(
    "size", [None, {}, {"height": 0, "width": 0}, {"height": "wide", "width": 3}, [640, 640], 10**9]
)
def test_a_processor_without_a_size_is_one_line(size: Any, detectors: Detectors, tmp_path: Path) -> None:
    folder = copy_of(detectors("rtdetr"), tmp_path / "model")
    edit_json(folder / "preprocessor_config.json", size=size)
    with pytest.raises(ModelError, match="processor config") as error:
        loaded(folder)
    one_line(error)


def _weights_changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_that_lack_a_tensor_are_refused(detectors: Detectors, tmp_path: Path) -> None:
    """`transformers` fills a gap with random numbers, other ones in every run."""
    folder = copy_of(detectors("detr"), tmp_path / "model")
    _weights_changed(folder, lambda weights: weights.pop("class_labels_classifier.weight"))
    with pytest.raises(ModelError, match=r"class_labels_classifier\.weight") as error:
        loaded(folder)
    assert str(folder) in one_line(error)


def test_weights_that_are_no_numbers_are_refused(detectors: Detectors, tmp_path: Path) -> None:
    folder = copy_of(detectors("yolos"), tmp_path / "model")
    _weights_changed(folder, lambda weights: next(iter(weights.values())).view(-1)[:1].fill_(float("nan")))
    with pytest.raises(ModelError, match="no numbers") as error:
        loaded(folder)
    assert str(folder) in one_line(error)


def test_what_is_no_number_never_comes_out(detectors: Detectors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what the network says overflowed: of the rest the boxes are there."""
    model: Any = loaded(detectors("detr"))
    forward, before = model._model.forward, model.boxes(photos(1))[0]

    def overflown(**inputs: Any) -> Any:
        outputs = forward(**inputs)
        outputs.logits[:, ::3], outputs.pred_boxes[:, 1::3] = float("nan"), float("inf")
        return outputs

    monkeypatch.setattr(model._model, "forward", overflown)
    after = model.boxes(photos(1))[0]
    assert 0 < len(after) < len(before)
    assert np.isfinite(after).all()


def test_a_folder_with_nothing_but_a_pickle_is_refused(detectors: Detectors, tmp_path: Path) -> None:
    folder, trap = copy_of(detectors("rtdetr"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(trap)))
    with pytest.raises(ModelError, match="pickle formats are never loaded") as error:
        loaded(folder)
    one_line(error)
    assert not trap.exists()


def test_code_of_a_checkpoint_is_never_run(detectors: Detectors, tmp_path: Path) -> None:
    folder, trap = copy_of(detectors("rtdetr"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(trap)!r}).touch()\nclass Evil: pass\n")
    edit_json(folder / "config.json", auto_map={"AutoModelForObjectDetection": "evil.Evil", "AutoConfig": "evil.Evil"})
    edit_json(folder / "preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.Evil"})
    loaded(folder)
    assert not trap.exists()


def test_another_kind_of_checkpoint_is_refused(tmp_path: Path) -> None:
    """A classifier that even knows cars."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        id2label={0: "car"},
    )
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    with pytest.raises(ModelError) as error:
        loaded(tmp_path / "vit")
    assert str(tmp_path / "vit") in one_line(error)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta"])
def test_a_device_nobody_knows_is_a_wrong_setting(device: str, detectors: Detectors) -> None:
    with pytest.raises(SettingsError, match="use auto, cpu, cuda"):
        detector.load(resolve_detector(str(detectors("yolos")), Silent()), device=device)


# --- nothing from elsewhere -------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What somebody tried to reach."""
    tried: list[str] = []

    def refuse(self: socket.socket, address: Any, *rest: Any) -> None:
        tried.append(str(address))
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **more: refuse(None, where))  # type: ignore[arg-type]
    return tried


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "detr",
            {"use_pretrained_backbone": True, "use_timm_backbone": False, "backbone": None, "backbone_kwargs": None},
        ),
        ("detr-of-timm", {"use_pretrained_backbone": True, "use_timm_backbone": True}),
        ("dfine", {"use_pretrained_backbone": False, "use_timm_backbone": False, "backbone": None}),
        ("rtdetr-v2", {"use_pretrained_backbone": False, "use_timm_backbone": False, "backbone": None}),
        ("rtdetr", {"use_pretrained_backbone": True, "backbone": None, "backbone_kwargs": {}}),
    ],
)
def test_what_published_configs_hold_is_taken_and_fetches_nothing(
    kind: str, said: dict[str, Any], detectors: Detectors, tmp_path: Path, no_network: list[str]
) -> None:
    folder = copy_of(detectors(kind), tmp_path / "model")
    edit_json(folder / "config.json", **said)
    for ours, theirs in zip(loaded(folder).boxes(photos()), loaded(detectors(kind)).boxes(photos()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not no_network


def test_a_backbone_by_name_alone_is_built_by_timm(detectors: Detectors, tmp_path: Path, no_network: list[str]) -> None:
    """As `facebook/detr-resnet-50` has it: a name, no config, and "pretrained"."""
    folder = copy_of(detectors("detr-of-timm"), tmp_path / "model")
    edit_json(
        folder / "config.json",
        backbone="test_resnet",
        backbone_config=None,
        use_timm_backbone=True,
        use_pretrained_backbone=True,
    )
    for ours, theirs in zip(
        loaded(folder).boxes(photos()), loaded(detectors("detr-of-timm")).boxes(photos()), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert not no_network


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("detr", {"backbone": "someone/resnet", "backbone_config": None}),
        ("detr", {"backbone": "resnet50", "backbone_config": None, "use_timm_backbone": False}),
        ("detr", {"backbone": "resnet50", "backbone_config": None, "backbone_kwargs": {"out_indices": [1]}}),
        ("detr", {"backbone": "resnet50", "backbone_kwargs": {"pretrained": True}}),
        ("rtdetr", {"backbone": "resnet50", "backbone_config": None}),
        ("dfine", {"backbone": "microsoft/resnet-50", "backbone_config": None}),
        ("detr", {"backbone_config": {"model_type": "timm_backbone", "backbone": "hf-hub:someone/else"}}),
        ("detr", {"backbone_config": {"model_type": "resnet", "use_pretrained_backbone": True}}),
        ("yolos", {"attn_implementation": "someone/kernel"}),
        ("yolos", {"transformers_weights": "others.safetensors"}),
    ],
)
def test_a_config_that_leads_elsewhere_is_refused_before_a_library_sees_it(
    kind: str,
    said: dict[str, Any],
    detectors: Detectors,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_network: list[str],
) -> None:
    import transformers

    folder = copy_of(detectors(kind), tmp_path / "model")
    edit_json(folder / "config.json", **said)
    monkeypatch.setattr(transformers, "AutoModelForObjectDetection", None)  # to touch it would be another error
    with pytest.raises(ModelError, match="never does") as error:
        loaded(folder)
    assert str(folder / "config.json") in one_line(error)
    assert not no_network


# --- names and identities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dfine-nano", "dfine-small", "someone/cars-detector"])
def test_a_detector_in_the_hubs_cache_loads_without_network(
    name: str, hub: Path, detectors: Detectors, no_network: list[str]
) -> None:
    spec = table.known_detectors().get(name)
    put_in_cache(hub, spec.source if spec else name, detectors("rtdetr"))
    files = resolve_detector(name, Silent())
    assert (files.spec.kind, files.revision) == ("detector", COMMIT)
    assert detector.identity(files).startswith(f"{name.replace('/', '--')}@{COMMIT}/squash{SIDE}x{SIDE}/")
    model = detector.load(files, device="cpu")
    assert isinstance(model, HubDetector)
    assert model.identity == detector.identity(files)
    for ours, theirs in zip(model.boxes(photos()), loaded(detectors("rtdetr")).boxes(photos()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not no_network


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_change_of_any_file_changes_the_identity(name: str, detectors: Detectors, tmp_path: Path) -> None:
    folder = copy_of(detectors("yolos"), tmp_path / "model")
    before = detector.identity(resolve_detector(str(folder), Silent()))
    if name.endswith(".json"):
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()), indent=7))
    else:
        _weights_changed(folder, lambda weights: next(iter(weights.values())).view(-1)[:1].add_(1))
    assert detector.identity(resolve_detector(str(folder), Silent())) != before
