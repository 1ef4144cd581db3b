"""Stanford Cars as torchvision lays it out, with a devkit of three classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import paint
from scipy.io import savemat
from typer.testing import CliRunner

import cartag
from cartag.cli import app
from cartag.encoder.fake import FakeEncoder
from cartag.errors import UsageError

NAMES = ["Red Racer Coupe 2012", "Blue Bolt Sedan 2010", "Yellow Yeti SUV 2009"]
PHOTOS = [
    ("red", 1),
    ("blue", 2),
    ("yellow", 3),
    ("red", 2),
    ("blue", 2),
]  # the fourth is labelled otherwise than it looks


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    base = tmp_path / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    (base / "cars_test").mkdir()
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array(NAMES, object)})
    kinds = [("fname", object), ("class", int)]
    rows = np.zeros(len(PHOTOS), kinds)
    for i, (colour, number) in enumerate(PHOTOS):
        paint(base / "cars_test" / f"{i:05}.jpg", colour, mark=i)
        rows[i] = (f"{i:05}.jpg", number)
    savemat(base / "cars_test_annos_withlabels.mat", {"annotations": rows})
    return tmp_path


@pytest.mark.parametrize("inside", [False, True])
def test_top1_is_counted_over_all_photos(devkit: Path, inside: bool) -> None:
    found = cartag.evaluate_dataset(devkit / "stanford_cars" if inside else devkit, model="fake")
    assert (found.photos, found.classes, found.unreadable) == (5, 3, 0)
    assert found.top1.value == 4 / 5
    assert found.top1.low <= 0.8 <= found.top1.high


def test_photos_are_decoded_a_batch_at_a_time(devkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []

    def embed_images(self: FakeEncoder, photos: Sequence[np.ndarray]) -> np.ndarray:
        batches.append(len(photos))
        return embed(self, photos)

    embed = FakeEncoder.embed_images
    monkeypatch.setattr(FakeEncoder, "embed_images", embed_images)
    monkeypatch.setattr("cartag.photos.reading._SMALLEST_BATCH", 2)
    monkeypatch.setattr("cartag.photos.reading._PHOTOS_A_CORE", 1)
    monkeypatch.setattr("cartag.photos.reading._LARGEST_BATCH", 2)
    assert cartag.evaluate_dataset(devkit, model="fake").top1.value == 4 / 5
    assert batches == [2, 2, 1]


def test_a_photo_that_cannot_be_read_counts_as_wrong(devkit: Path) -> None:
    (devkit / "stanford_cars" / "cars_test" / "00000.jpg").write_bytes(b"no photo")
    found = cartag.evaluate_dataset(devkit, model="fake")
    assert (found.top1.value, found.unreadable) == (3 / 5, 1)


def test_another_folder_is_refused_with_the_layout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected stanford_cars/ with devkit/cars_meta\.mat"):
        cartag.evaluate_dataset(tmp_path, model="fake")
    with pytest.raises(UsageError, match="known is stanford-cars"):
        cartag.evaluate_dataset(tmp_path, "imagenet", model="fake")


def test_the_command_prints_it(devkit: Path) -> None:
    done = CliRunner().invoke(app, ["eval", "--dataset", "stanford-cars", str(devkit), "--model", "fake"])
    assert done.exit_code == 0, done.output
    assert "80.0 %" in done.stdout
    done = CliRunner().invoke(app, ["eval", str(devkit)])
    assert done.exit_code != 0
