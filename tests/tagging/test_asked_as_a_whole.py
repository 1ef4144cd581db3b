"""Photos in which the detector is sure of no car are asked as wholes too, and only these."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import cartag
from cartag.checkpoints import resolve_detector
from cartag.detector.fake import FakeDetector
from cartag.encoder.fake import COLOURS, FakeEncoder
from cartag.engines.job import looks_as_bytes, looks_of_bytes
from cartag.progress import Silent
from cartag.scoring import Calibration, ClassSet, Presence, Sight, calibration_of
from cartag.settings import Settings
from cartag.state.place import place_of
from cartag.state.store import Store
from cartag.tagging import run, work
from cartag.tagging.judging import Judge
from cartag.tagging.looking import Eyes, Looked, Pixels
from cartag.values import PhotoRecord, Region

ROOT = Path(__file__).resolve().parents[2]
PRESENCE = Presence(detector="fake", cut=0.4, whole=0.8, found=-2.4, bias=0.8, sure=0.7)
SURE, DOUBTFUL, EMPTY = "aa" * 32, "bb" * 32, "cc" * 32
BOX = (0.25, 0.25, 0.5, 0.5)


class Detector(FakeDetector):
    """As sure as the photo's first pixel says."""

    def boxes(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.array([[*BOX, photo[0, 0, 0] / 100]] if photo[0, 0, 0] else []).reshape(-1, 5) for photo in photos]


class Counting(FakeEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def embed_images(self, photos: Sequence[np.ndarray]) -> np.ndarray:
        self.seen += len(photos)
        return super().embed_images(photos)


def photo(found: int, around: str) -> Pixels:
    """A red car on a ground of a colour, and what the detector is to say of it, in hundredths."""
    picture = np.full((80, 120, 3), COLOURS[around], np.uint8)
    picture[20:60, 30:90] = COLOURS["red"]
    glance = picture.copy()
    glance[0, 0] = found
    return Pixels(picture, (glance,))


PHOTOS = {SURE: photo(90, "blue"), DOUBTFUL: photo(40, "blue"), EMPTY: photo(0, "blue")}


def eyes(store: Store, encoder: FakeEncoder, presence: Presence | None = PRESENCE) -> Eyes:
    files = resolve_detector("fake", Silent())
    sight = Sight(files, FakeDetector.identity, "all", 12, 0.05)
    return Eyes(sight, encoder.image_spec, store, lambda: encoder, lambda: Detector(), presence=presence, anew=False)


def test_only_the_photo_without_a_sure_box_is_embedded_as_a_whole_too(tmp_path: Path) -> None:
    encoder = Counting()
    with Store(tmp_path, encoder.identity) as store:
        looking = eyes(store, encoder)
        looked = looking.look(PHOTOS)
        assert encoder.seen == 4  # a box each of two, the whole of two
        assert [looked[h].whole is not None for h in PHOTOS] == [False, True, False]
        assert set(store.get([*PHOTOS])) == {DOUBTFUL, EMPTY}
        again = looking.look(PHOTOS)
        looking.close()
    assert encoder.seen == 4
    whole, cached = looked[DOUBTFUL].whole, again[DOUBTFUL].whole
    assert whole is not None
    assert cached is not None
    np.testing.assert_array_equal(whole, cached)


def test_a_cache_of_before_lacks_the_whole_and_nothing_else_is_done_again(tmp_path: Path) -> None:
    encoder = Counting()
    with Store(tmp_path, encoder.identity) as store:
        before = eyes(store, encoder, presence=None)
        assert before.look(PHOTOS)[DOUBTFUL].whole is None
        before.close()
        now = eyes(store, encoder)
        assert now.complete() == {SURE, EMPTY}
        was = encoder.seen
        now.look({DOUBTFUL: PHOTOS[DOUBTFUL]})
        assert encoder.seen == was + 1
        assert now.complete() == set(PHOTOS)
        now.close()


def judge(presence: Presence | None) -> Judge:
    """Two directions: a car, and no car."""
    classes = ClassSet(("car",), np.eye(2, dtype=np.float32), 0)
    facts = {"logit_scale": 1.0, "logit_bias": None}
    return Judge(classes, facts, Calibration(), (), 5, True, presence)


def looked(found: float, cut_out: float, whole: float | None) -> Looked:
    """Of how likely a cut-out and the whole are no car."""

    def vector(no_car: float) -> np.ndarray:
        return np.array([0.0, np.log(no_car / (1 - no_car))], np.float32)

    return Looked(((BOX, found),), vector(cut_out)[None], whole=None if whole is None else vector(whole))


def test_the_photo_as_a_whole_decides_on_a_doubtful_box() -> None:
    photos = {
        "sure": looked(0.9, 0.3, None),
        "plane": looked(0.45, 0.3, 0.95),
        "road": looked(0.45, 0.3, 0.05),
        "nothing": Looked((), np.array([[0.0, 4.0]], np.float32)),
        "doubted": looked(0.9, 0.6, None),
    }
    verdicts = judge(PRESENCE).verdicts(photos)
    shows = {name: verdict.outcome != "no-car" for name, verdict in verdicts.items()}
    assert shows == {"sure": True, "plane": False, "road": True, "nothing": False, "doubted": True}
    assert verdicts["plane"].regions == ()
    before = judge(None).verdicts(photos)
    assert before["plane"].outcome != "no-car"
    assert before["doubted"].outcome == "no-car"


def test_a_box_that_a_person_drew_is_weighed_by_nobody() -> None:
    drawn = np.array([[0.0, np.log(0.3 / 0.7)]], np.float32)
    base = looked(0.45, 0.3, 0.95)
    hers = Looked(base.boxes, base.vectors, ((0.1, 0.1, 0.2, 0.2),), drawn, base.whole)
    verdict = judge(PRESENCE).verdicts({"plane": hers})["plane"]
    assert verdict.outcome == "no-car"
    assert {region.box: region.outcome for region in verdict.drawn} == {BOX: "no-car", (0.1, 0.1, 0.2, 0.2): "tagged"}


def test_photos_are_weighed_in_a_batch_as_each_by_itself() -> None:
    drawn = np.array([[0.0, 1.0]], np.float32)
    one, two = looked(0.45, 0.3, 0.95), looked(0.3, 0.6, 0.2)
    far = (0.1, 0.1, 0.2, 0.2)
    photos = {
        "first": one,
        "empty": Looked((), np.array([[0.0, 4.0]], np.float32)),
        "both": Looked((*one.boxes, (far, 0.9)), np.concatenate([one.vectors, two.vectors]), (far,), drawn, None),
        "last": Looked(two.boxes, two.vectors, (far,), drawn, two.whole),
    }
    together = judge(PRESENCE).verdicts(photos)
    assert together == {name: judge(PRESENCE).verdicts({name: photo})[name] for name, photo in photos.items()}


def test_a_box_that_a_person_deleted_makes_no_photo_sure(tmp_path: Path) -> None:
    encoder = Counting()
    record = PhotoRecord(
        path="a.jpg",
        sha256=SURE,
        size=1,
        mtime_ns=1,
        outcome="no-car",
        regions=(Region(box=BOX, outcome="no-car", source="human"),),
    )
    with Store(tmp_path, encoder.identity) as store:
        looking = eyes(store, encoder)
        looking.heed(record, record)
        assert looking.look({SURE: PHOTOS[SURE]})[SURE].whole is not None
        looking.close()


def test_a_run_weighs_by_the_models_own_weights_whatever_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Presence | None] = []
    plain = work.eyes_of
    monkeypatch.setattr(work, "eyes_of", lambda *a, **k: asked.append(k["presence"]) or plain(*a, **k))
    shutil.copy(next((ROOT / "data" / "gallery").glob("*.jpg")), tmp_path / "one.jpg")
    cartag.tag(tmp_path, model="mini")
    (own,) = asked
    assert own is not None
    assert own == calibration_of(ROOT / "models" / "mini").presence

    class Before:
        """What an older version learned."""

        facts = SimpleNamespace(calibration=Calibration())

    monkeypatch.setattr(run, "_learned", lambda *a: Before())
    place = place_of(tmp_path)
    assert run.basis_of(place, None, Settings(model="mini"), Silent()).presence == own


def test_what_a_worker_hands_back_holds_the_whole_too() -> None:
    found = looked(0.45, 0.3, 0.95)
    boxes, vectors = zip(*looks_of_bytes(looks_as_bytes(found)), strict=True)
    assert boxes == (BOX, None)
    assert found.whole is not None
    np.testing.assert_allclose(np.stack(vectors), np.stack([found.vectors[0], found.whole]), atol=1e-2)
