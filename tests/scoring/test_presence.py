"""Whether a box holds a car: what the detector, the cut-out and the photo as a whole say, weighed together."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, strategies as st

from cartag.checkpoints import known_detectors, resolve_detector
from cartag.progress import Silent
from cartag.scoring import Calibration, Presence, Scores, Sight, calibration_of, is_doubtful, presence_of, weighed

PRESENCE = Presence(detector="look", cut=0.4, whole=0.8, found=-2.4, bias=0.8, sure=0.7)
probability = st.floats(0.0, 1.0)


def sight(name: str) -> Sight:
    return Sight(resolve_detector(name, Silent()), "of no matter", "all", 12, 0.05)


def one(no_car: float, found: float, whole: float, presence: Presence = PRESENCE) -> Scores:
    left = 1 - no_car
    scores = Scores(
        np.array([[0.5 * left, 0.2 * left]], np.float32),
        np.array([0.3 * left], np.float32),
        np.array([no_car], np.float32),
    )
    return weighed(scores, np.array([found]), np.array([whole]), presence)


@given(no_car=probability, found=probability, whole=st.one_of(probability, st.just(float("nan"))))
def test_cars_keep_their_proportions_and_all_adds_up(no_car: float, found: float, whole: float) -> None:
    new = one(no_car, found, whole)
    assert 0 <= float(new.no_car[0]) <= 1
    everything = np.append(new.cars[0], [new.other[0], new.no_car[0]])
    assert np.isfinite(everything).all()
    assert (everything >= 0).all()
    assert (everything <= 1).all()
    if no_car < 0.99:  # where next to nothing was left for cars there is nothing to share out
        assert everything.sum() == pytest.approx(1, abs=1e-4)
        assert new.cars[0, 0] * 2 == pytest.approx(new.cars[0, 1] * 5, abs=1e-5)
        assert new.cars[0, 0] * 3 == pytest.approx(new.other[0] * 5, abs=1e-5)


@given(no_car=probability, whole=probability, found=st.tuples(probability, probability))
def test_a_surer_detector_and_a_photo_that_shows_cars_speak_for_one(
    no_car: float, whole: float, found: tuple[float, float]
) -> None:
    low, high = sorted(found)
    assert one(no_car, high, whole).no_car[0] <= one(no_car, low, whole).no_car[0] + 1e-6
    assert one(no_car, low, whole / 2).no_car[0] <= one(no_car, low, whole).no_car[0] + 1e-6
    assert one(no_car, low, float("nan")).no_car[0] <= one(no_car, low, max(whole, 0.02)).no_car[0] + 1e-6


def test_where_the_detector_has_no_say_the_model_alone_has() -> None:
    scores = Scores(
        np.array([[0.5, 0.2]] * 3, np.float32), np.array([0.1] * 3, np.float32), np.array([0.2] * 3, np.float32)
    )
    nan = float("nan")
    new = weighed(scores, np.array([nan, 0.5, nan]), np.array([0.9, 0.9, nan]), PRESENCE)
    assert [column[[0, 2]].tolist() for column in (new.cars, new.other, new.no_car)] == [
        column[[0, 2]].tolist() for column in (scores.cars, scores.other, scores.no_car)
    ]
    alone = weighed(
        Scores(scores.cars[:1], scores.other[:1], scores.no_car[:1]), np.array([0.5]), np.array([0.9]), PRESENCE
    )
    assert new.no_car[1] == alone.no_car[0] != scores.no_car[1]
    assert np.array_equal(new.cars[1], alone.cars[0])


def test_the_same_cut_out_is_a_car_or_none_by_what_surrounds_it() -> None:
    assert one(0.3, 0.45, whole=0.95).no_car[0] > 0.5  # a propeller that looks like a wheel
    assert one(0.3, 0.45, whole=0.05).no_car[0] < 0.5
    assert one(0.6, 0.9, whole=float("nan")).no_car[0] < 0.5  # the detector knows better


def test_a_photo_is_asked_as_a_whole_where_no_box_is_sure() -> None:
    assert is_doubtful([0.3, 0.69], PRESENCE)
    assert not is_doubtful([0.3, 0.7], PRESENCE)
    assert not is_doubtful([], PRESENCE)  # it is asked anyhow
    assert not is_doubtful([0.3], None)


def test_weights_hold_for_the_kind_of_detector_they_were_fitted_for() -> None:
    calibration = msgspec.structs.replace(Calibration(), presence=PRESENCE)
    assert presence_of(calibration, sight("look")) == PRESENCE
    assert presence_of(calibration, sight("fake")) is None
    assert presence_of(calibration, None) is None
    assert presence_of(Calibration(), sight("look")) is None


def test_a_copy_of_the_bundled_detector_elsewhere_is_of_its_kind(tmp_path: Path) -> None:
    folder = tmp_path / "carried"
    folder.mkdir()
    for file in Path(resolve_detector("look", Silent()).folder).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    calibration = msgspec.structs.replace(Calibration(), presence=PRESENCE)
    assert str(folder) not in known_detectors()
    assert presence_of(calibration, sight(str(folder))) == PRESENCE


def test_a_calibration_without_weights_says_what_it_always_said(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"temperature": 2.0}')
    found = calibration_of(tmp_path)
    assert found.presence is msgspec.UNSET
    assert b"presence" not in msgspec.json.encode(found)
    with_some = msgspec.structs.replace(found, presence=PRESENCE)
    assert msgspec.json.decode(msgspec.json.encode(with_some), type=Calibration) == with_some
    assert with_some.digest() != found.digest()
