"""A model without a calibration says so in one line and names `learn`; one that has one, or has learned, says nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import checkpoints, copy_of  # noqa: F401 - a fixture
from conftest import Gallery
from hubs import one_thread  # noqa: F401 - a fixture
from notes import tag

from cartag.scoring.calibration import UNCALIBRATED, Calibration, calibration_of

Folders = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_it_is_said_when_something_was_scored(gallery: Gallery, checkpoints: Folders, tmp_path: Path) -> None:  # noqa: F811
    gallery.paint("red.jpg")
    model = copy_of(checkpoints("clip"), tmp_path / "model")
    options = {"model": str(model), "device": "cpu", "regions": "off"}
    (said,) = tag(gallery, **options)
    assert "model has no calibration" in said
    assert f"'cartag learn {gallery.path} LABELS'" in said
    assert not tag(gallery, **options), "nothing was scored"
    (model / "calibration.json").write_text('{"temperature": 2.0, "fitted_on": "photographs"}')
    assert not tag(gallery, **options)


def test_the_bundled_and_the_fake_model_say_nothing(gallery: Gallery) -> None:
    gallery.paint("red.jpg")
    assert not tag(gallery, model="mini", device="cpu", regions="off")
    assert not tag(gallery)


def test_where_there_is_nothing_to_reject_with_scores_are_the_authors() -> None:
    assert calibration_of(Path("/nowhere"), rejects=False) == Calibration()
    assert UNCALIBRATED.fitted_on == Calibration().fitted_on
    assert UNCALIBRATED.digest() != Calibration().digest(), "an index that the old default made is scored again"
