"""Calibration: read with its model, adjusted by settings, told apart by its digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartag.errors import ModelError
from cartag.scoring.calibration import UNCALIBRATED, Calibration, adjusted, calibration_of

OUT_OF_BOUNDS = [b'{"other_name": 1.1}', b'{"other_make": -0.1}', b'{"other_name": NaN}']
FITTED = Calibration(temperature=2.0, threshold=0.4, car_thresholds={"red-racer": 0.7}, fitted_on="labels")


def test_a_model_without_calibration_has_the_default(tmp_path: Path) -> None:
    assert calibration_of(None) == calibration_of(tmp_path, rejects=False) == Calibration()
    assert calibration_of(tmp_path) == UNCALIBRATED


def test_a_calibration_comes_with_its_model(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"temperature": 2.0, "car_thresholds": {"red-racer": 0.7}}')
    found = calibration_of(tmp_path)
    assert (found.temperature, found.threshold) == (2.0, 0.5)
    assert (found.threshold_of("red-racer"), found.threshold_of("blue-bolt")) == (0.7, 0.5)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"temperature": "hot"}', b'{"fitted_on": "\xff"}', *OUT_OF_BOUNDS])
def test_a_damaged_calibration_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "calibration.json").write_bytes(data)
    with pytest.raises(ModelError, match=r"calibration\.json: damaged calibration"):
        calibration_of(tmp_path)


def test_settings_go_over_a_calibration_and_a_threshold_goes_for_every_car() -> None:
    assert adjusted(FITTED, threshold=None, margin=None, temperature=None) == FITTED
    found = adjusted(FITTED, threshold=0.2, margin=0.1, temperature=3.0)
    assert (found.threshold_of("red-racer"), found.margin, found.temperature) == (0.2, 0.1, 3.0)
    assert adjusted(FITTED, threshold=0.0, margin=0.0, temperature=None).threshold_of("red-racer") == 0.0


def test_equal_calibrations_have_equal_digests_and_others_do_not() -> None:
    same = Calibration(threshold=0.4, temperature=2.0, car_thresholds={"red-racer": 0.7}, fitted_on="labels")
    assert same.digest() == FITTED.digest()
    ordered = [
        Calibration(car_thresholds=dict(items)) for items in ([("a", 0.1), ("b", 0.2)], [("b", 0.2), ("a", 0.1)])
    ]
    assert ordered[0].digest() == ordered[1].digest()
    for change in ({"threshold": 0.3}, {"margin": 0.1}, {"temperature": 1.5}):
        options = {"threshold": None, "margin": None, "temperature": None} | change
        assert adjusted(FITTED, **options).digest() != FITTED.digest()  # type: ignore[arg-type]


def test_an_older_calibration_says_when_another_car_is_named_and_a_newer_one_says_it_itself(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"temperature": 2.0}')
    assert (calibration_of(tmp_path).other_name, calibration_of(tmp_path).other_make) == (0.5, 0.3)
    (tmp_path / "calibration.json").write_text('{"other_name": 0.8, "other_make": 1}')
    found = calibration_of(tmp_path)
    assert (found.other_name, found.other_make) == (0.8, 1.0)
    assert found.digest() != Calibration().digest()
