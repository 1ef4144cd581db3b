"""`--device cuda` is every GPU, `cuda:0` is one: with fakes, for there may be none here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from conftest import COLOURS, Gallery
from hypothesis import given, settings, strategies as st

import cartag
from cartag import detector as detectors, encoder as encoders
from cartag.checkpoints import Replicas, devices_of, resolve, resolve_detector
from cartag.checkpoints.table import BUNDLED_DETECTOR
from cartag.detector.fake import FakeDetector
from cartag.detector.several import SeveralDetectors
from cartag.encoder.fake import FakeEncoder
from cartag.encoder.several import SeveralEncoders
from cartag.progress import Silent


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


class OnDevice(FakeEncoder):
    """A fake that remembers which device it was loaded on, and what it was asked."""

    made: ClassVar[list[OnDevice]] = []

    def __init__(self, *_: object, device: str = "", **__: object) -> None:
        self.device, self.asked = device, 0
        OnDevice.made.append(self)

    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        self.asked += len(pixels)
        return super().embed_images(pixels)


class LooksOnDevice(FakeDetector):
    made: ClassVar[list[str]] = []

    def __init__(self, *_: object, device: str = "", **__: object) -> None:
        LooksOnDevice.made.append(device)


def test_a_name_stands_for_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (0, 1):
        gpus(monkeypatch, count)
        assert [devices_of(name) for name in ("auto", "cuda", "cuda:0", "cpu")] == [
            ["auto"],
            ["cuda"],
            ["cuda:0"],
            ["cpu"],
        ]
    gpus(monkeypatch, 3)
    assert devices_of("cuda") == devices_of("auto") == ["cuda:0", "cuda:1", "cuda:2"]
    assert [devices_of(name) for name in ("cuda:1", "cpu", "mps")] == [["cuda:1"], ["cpu"], ["mps"]]


@pytest.mark.parametrize(("device", "on"), [("cuda", ["cuda:0", "cuda:1"]), ("cuda:1", ["cuda:1"]), ("cpu", ["cpu"])])
def test_a_run_uses_every_gpu_that_it_is_given(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, device: str, on: list[str]
) -> None:
    gpus(monkeypatch, 2)
    monkeypatch.setattr("cartag.encoder.dual.DualEncoder", OnDevice)
    monkeypatch.setattr("cartag.detector.look.LookDetector", LooksOnDevice)
    OnDevice.made, LooksOnDevice.made = [], []
    for i, colour in enumerate(COLOURS):
        gallery.paint(f"{colour}-{i}.png", colour)
    real = encoders.load
    monkeypatch.setattr("cartag.encoder.load", lambda files, **how: real(resolve("mini", Silent()), **how))
    gallery.tag(device=device, runtime="torch", batch_size=8)
    assert [encoder.device for encoder in OnDevice.made] == on
    asked = [encoder.asked for encoder in OnDevice.made]
    assert sum(asked) == len(COLOURS)
    assert max(asked) - min(asked) <= 1
    detectors.load(resolve_detector(BUNDLED_DETECTOR, Silent()), device=device, runtime="torch")
    assert LooksOnDevice.made == on


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.lists(st.sampled_from(sorted(COLOURS)), max_size=12))
def test_many_answer_as_one_does(count: int, colours: list[str]) -> None:
    pixels = [np.full((40, 60, 3), COLOURS[colour], np.uint8) for colour in colours]
    several = SeveralEncoders([FakeEncoder() for _ in range(count)])
    assert np.array_equal(several.embed_images(pixels), FakeEncoder().embed_images(pixels))
    assert np.array_equal(several.embed_texts(["red"]), FakeEncoder().embed_texts(["red"]))
    found = SeveralDetectors([FakeDetector() for _ in range(count)]).boxes(pixels)
    wanted = FakeDetector().boxes(pixels)
    assert len(found) == len(wanted)
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_no_two_work_on_one_item() -> None:
    assert Replicas(["a", "b", "c"]).run(lambda name, part: (name, list(part)), range(2)) == [("a", [0]), ("b", [1])]
    assert Replicas(["a"]).run(lambda name, part: (name, list(part)), []) == []


def test_what_goes_wrong_on_one_device_is_told(tmp_path: Path) -> None:
    def broken(name: str, part: Sequence[int]) -> int:
        if name == "b":
            raise cartag.errors.ModelError("device b: its memory does not hold this model")
        return len(part)

    with pytest.raises(cartag.errors.ModelError, match="device b"):
        Replicas(["a", "b"]).run(broken, [1, 2, 3])
