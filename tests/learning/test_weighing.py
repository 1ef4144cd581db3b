"""What is learned is of the scores that `tag` gives: whether a box holds a car is weighed here as it is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import Gallery
from msgspec import UNSET
from PIL import Image, ImageDraw
from test_fitting import world

import cartag
from cartag.checkpoints import resolve_detector
from cartag.detector.fake import FakeDetector
from cartag.encoder.fake import COLOURS
from cartag.learning import fitting, learning
from cartag.learning.fitting import Examples, Unlabelled, ZeroShot, fit
from cartag.learning.judging import cross_validate
from cartag.learning.learned import learned_files, load_learned
from cartag.learning.splits import groups_of
from cartag.learning.vectors import Example, examples_of, main_vectors, weighing_of
from cartag.learning.weighing import Weighing
from cartag.measuring import Label
from cartag.progress import Silent
from cartag.scoring import Chooser, Presence, Sight, passing
from cartag.scoring.calibration import Calibration
from cartag.settings import Settings
from cartag.state.place import place_of
from cartag.state.store import Store
from cartag.tagging import run
from cartag.values import Box, PhotoRecord, Region

PRESENCE = Presence(detector="fake", cut=0.4, whole=0.5, found=-1.2, bias=0.6, sure=0.9)
ROOT = Path(__file__).resolve().parents[2]
HASH = "ab" * 32
LEFT, RIGHT = (0.05, 0.3, 0.4, 0.4), (0.55, 0.3, 0.35, 0.35)


# --- the same scores ----------------------------------------------------------------------------------------------


@pytest.fixture
def weighing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Presence], None]:
    """Gives the fake model a calibration that weighs what the fake detector finds."""

    def give(presence: Presence) -> None:
        def calibrated(folder: Path | None, **rejects: bool) -> Calibration:
            return Calibration(temperature=3.0, presence=presence)

        monkeypatch.setattr(run, "calibration_of", calibrated)
        monkeypatch.setattr(learning, "calibration_of", calibrated)

    monkeypatch.setattr("cartag.learning.splits.NEAR_DUPLICATE", 2)  # to the fake model all photos of a colour are one
    monkeypatch.setattr(learning, "_helps", lambda *arguments: True)
    return give


def street(gallery: Gallery, name: str, *cars: tuple[str, str], ground: tuple[int, int, int] = (128, 128, 128)) -> None:
    """A photo of cars side by side, of which the fake detector is sure (a `box`) or not (a `ball`)."""
    image = Image.new("RGB", (900, 400), ground)
    for i, (shape, colour) in enumerate(cars):
        corners = (40 + 420 * i, 60 + 20 * i, 400 + 420 * i, 340 - 20 * i)
        draw = ImageDraw.Draw(image)
        (draw.rectangle if shape == "box" else draw.ellipse)(corners, fill=COLOURS[colour])
    image.save(gallery.path / name, quality=95)


def streets(gallery: Gallery) -> Path:
    """Photos with sure boxes, doubtful ones, some that hold no car, and none at all; the file of their labels."""
    for i in range(3):
        shade = (110 + 20 * i, 128, 128)
        street(gallery, f"red-{i}.jpg", ("box", "red"), ground=shade)
        street(gallery, f"doubtful-red-{i}.jpg", ("ball", "red"), ground=shade)
        street(gallery, f"doubtful-blue-{i}.jpg", ("ball", "blue"), ground=shade)
        street(gallery, f"orange-{i}.jpg", ("ball", "orange"), ground=shade)
        street(gallery, f"grass-{i}.jpg", ("ball", "green"), ground=shade)
    street(gallery, "lawn.jpg", ("box", "green"))
    street(gallery, "nothing.jpg")
    street(gallery, "two.jpg", ("ball", "yellow"), ("ball", "blue"))
    street(gallery, "mixed.jpg", ("box", "yellow"), ("ball", "blue"))
    gallery.tag(detector="fake")
    rows = [f"red-{i}.jpg,Red Racer" for i in range(3)] + [f"doubtful-red-{i}.jpg,Red Racer" for i in range(3)]
    rows += [f"doubtful-blue-{i}.jpg,Blue Bolt" for i in range(3)] + [f"orange-{i}.jpg,unknown" for i in range(3)]
    rows += [f"{name}.jpg,none" for name in ("grass-0", "grass-1", "grass-2", "lawn", "nothing")]
    rows = [row + ",,,," for row in rows]
    for name in ("two.jpg", "mixed.jpg"):
        cars = {"yellow-yeti": "Yellow Yeti", "blue-bolt": "Blue Bolt"}
        for region in gallery.record(name)["regions"]:
            best = max([*region.get("tags", ()), *region.get("candidates", ())], key=lambda said: said["score"])
            rows.append(f"{name},{cars[best['car']]},{','.join(map(str, region['box']))}")
    labels = gallery.path.parent / "labels.csv"
    labels.write_text("file,label,x,y,w,h\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return labels


class Watched:
    """What `learn` had before it, and the scores that it chose thresholds by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: list[Example] = []
        self.judged: list[np.ndarray] = []
        self.fits: list[tuple[Examples, ZeroShot, fitting.Fit]] = []
        examples, fitted, thresholds = learning._examples, fitting.fit, fitting.with_thresholds

        def _examples(found: list[Example], *rest: Any) -> Any:
            self.found = found
            return examples(found, *rest)

        def _fit(of: Examples, zero: ZeroShot, **options: Any) -> fitting.Fit:
            self.judged.clear()  # of the cross-validation, which comes before
            self.fits.append((of, zero, fitted(of, zero, **options)))
            return self.fits[-1][2]

        def _with_thresholds(calibration: Calibration, scores: np.ndarray, *rest: Any) -> Calibration:
            self.judged.append(scores)
            return thresholds(calibration, scores, *rest)

        monkeypatch.setattr(learning, "_examples", _examples)
        monkeypatch.setattr(fitting, "fit", _fit)
        monkeypatch.setattr(fitting, "with_thresholds", _with_thresholds)


def scores_in_index(gallery: Path, example: Example, cars: tuple[str, ...], store: Store) -> np.ndarray:
    """What the index says of the region whose vector an example has, or of the photo, of which no region is left."""
    record = cartag.load(gallery).photos[example.record.path]
    said: Any = record
    for region in record.regions or ():
        (vector,) = store.regions([(str(record.sha256), region.box)]).values()
        if np.array_equal(vector, example.vector):
            said = region if region.by_model is UNSET else region.by_model
    scores = {of.car: of.score for of in (*said.tags, *said.candidates)}
    return np.array([scores[car] for car in cars])


def all_on_both_sides(strata: np.ndarray, *rest: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Judged on what was learned from, as the index will be."""
    return [(np.arange(len(strata)), np.arange(len(strata)))]


def test_learn_judges_by_the_very_scores_that_tag_then_gives(
    gallery: Gallery, weighing: Callable[[Presence], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    weighing(PRESENCE)
    labels = streets(gallery)
    watched = Watched(monkeypatch)
    monkeypatch.setattr(fitting, "splits", all_on_both_sides)
    report = cartag.learn(gallery.path, labels)
    assert report.kept
    gallery.tag()
    ((examples, zero, fitted),) = watched.fits
    assert examples.weighing is not None
    said = fitted.scores(examples.photos, zero, examples.weighing)
    (judged,) = watched.judged
    with Store(gallery.path / ".cartag", "fake@1/squash32x32") as store:
        indexed = np.array([scores_in_index(gallery.path, e, zero.classes.cars, store) for e in watched.found])
    np.testing.assert_allclose(said.cars, indexed, atol=1e-4)
    np.testing.assert_allclose(judged, indexed, atol=0.01)  # of the same adapter, as near as it is fitted

    of_cut_outs = fitted.scores(examples.photos, zero).cars
    assert np.abs(of_cut_outs - indexed).max() > 0.05, "it is another thing to be weighed"
    assert len(examples.weighing.asked) >= 12
    kinds = {e.record.path: (bool(np.isnan(e.seen.found)), e.seen.whole is None) for e in watched.found}
    assert kinds["red-0.jpg"] == kinds["lawn.jpg"] == kinds["mixed.jpg"] == (False, True), (
        "sure: the whole is not asked"
    )
    assert kinds["grass-0.jpg"] == kinds["two.jpg"] == kinds["orange-0.jpg"] == (False, False)
    assert kinds["nothing.jpg"] == (True, True), "no box: nothing is weighed"


def test_so_it_does_with_the_bundled_model_and_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawings = ROOT / "data" / "gallery"
    for name in sorted(path.name for path in drawings.glob("*.jpg"))[:16]:
        shutil.copy(drawings / name, tmp_path / name)
    settings = Settings(candidates=12)
    cartag.tag(tmp_path, model="mini", settings=settings)
    watched = Watched(monkeypatch)
    monkeypatch.setattr(fitting, "splits", all_on_both_sides)
    monkeypatch.setattr(learning, "_helps", lambda *arguments: True)
    cartag.learn(tmp_path, drawings / "labels.csv", settings=settings)
    cartag.tag(tmp_path, model="mini", settings=settings)
    ((examples, zero, fitted),) = watched.fits
    assert examples.weighing is not None
    said = fitted.scores(examples.photos, zero, examples.weighing)
    facts = load_learned(place_of(tmp_path)).facts  # type: ignore[union-attr]
    with Store(tmp_path / ".cartag", facts.model) as store:
        indexed = np.array([scores_in_index(tmp_path, e, zero.classes.cars, store) for e in watched.found])
    np.testing.assert_allclose(said.cars, indexed, atol=2e-4)
    np.testing.assert_allclose(watched.judged[0], indexed, atol=0.02)  # of the same adapter, as near as it is fitted
    assert (~np.isnan(examples.weighing.found)).sum() >= 12, "all but the photos without a box are weighed"
    assert 0 < len(examples.weighing.asked) < len(examples)


def test_a_box_that_a_person_drew_is_learned_from_as_it_is_scored(
    gallery: Gallery, weighing: Callable[[Presence], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    weighing(PRESENCE)
    labels = streets(gallery)
    (region,) = gallery.record("doubtful-red-0.jpg")["regions"]
    hers = {"box": [0.5, 0.1, 0.3, 0.7], "outcome": "tagged", "source": "human"}
    tag = {"car": "red-racer", "score": 1.0, "source": "human"}
    gallery.edit_photo("doubtful-red-0.jpg", regions=[region | {"tags": [tag], "source": "human"}])
    gallery.edit_photo("doubtful-blue-0.jpg", regions=[{**hers, "tags": [tag | {"car": "blue-bolt"}]}])
    deleted = gallery.record("mixed.jpg")["regions"][0]
    gallery.edit_photo("mixed.jpg", regions=[{"box": deleted["box"], "outcome": "no-car", "source": "human"}])
    gallery.tag(retag=True)
    watched = Watched(monkeypatch)
    cartag.learn(gallery.path, labels)
    gallery.tag()
    ((examples, zero, fitted),) = watched.fits
    said = fitted.scores(examples.photos, zero, examples.weighing)
    paths = [e.record.path for e in watched.found]
    mine, drawn, left = (paths.index(f"{n}.jpg") for n in ("doubtful-red-0", "doubtful-blue-0", "mixed"))
    assert watched.found[mine].seen.found == pytest.approx(region["found"], abs=1e-4)
    assert np.isnan(watched.found[drawn].seen.found), "nobody weighs what she drew"
    assert watched.found[left].seen.whole is not None, "the box that she deleted made it sure"
    with Store(gallery.path / ".cartag", "fake@1/squash32x32") as store:
        for row in (mine, drawn, left):
            indexed = scores_in_index(gallery.path, watched.found[row], zero.classes.cars, store)
            np.testing.assert_allclose(said.cars[row], indexed, atol=1e-4)


def test_the_other_photos_are_weighed_too_before_their_mixture_is_estimated(
    gallery: Gallery, weighing: Callable[[Presence], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    weighing(PRESENCE)
    labels = streets(gallery)
    street(gallery, "grass-9.jpg", ("ball", "green"), ground=(90, 128, 128))
    street(gallery, "red-9.jpg", ("box", "red"), ground=(90, 128, 128))
    gallery.tag()
    assert gallery.record("grass-9.jpg")["regions"] == []
    seen: list[Unlabelled] = []
    fitted = fitting.fit
    monkeypatch.setattr(fitting, "fit", lambda *a, **k: seen.append(k["unlabelled"]) or fitted(*a, **k))
    cartag.learn(gallery.path, labels)
    (unlabelled,) = seen
    assert unlabelled.weighing is not None
    assert unlabelled.weighing.presence == PRESENCE
    found = unlabelled.weighing.found.tolist()
    assert sorted(found) == pytest.approx([0.79, 1.0], abs=0.02), "the dropped box is what it was found to show none by"
    assert unlabelled.weighing.asked.tolist() == [int(np.argmin(found))]


def learned_of(gallery: Gallery) -> tuple[dict[str, Any], bytes]:
    facts, tensors = (path.read_bytes() for path in learned_files(place_of(gallery.path)))
    raw = msgspec.json.decode(facts)
    raw["calibration"].pop("presence", None)
    return raw, tensors


@pytest.mark.parametrize("regions", ["all", "off"])
def test_where_nothing_is_weighed_what_is_learned_is_as_it_was(
    gallery: Gallery, weighing: Callable[[Presence], None], monkeypatch: pytest.MonkeyPatch, regions: str
) -> None:
    """With weights for another detector, or for photos as wholes, to the last bit what is learned without weights."""
    labels = streets(gallery)
    found = []
    for presence in (UNSET, msgspec.structs.replace(PRESENCE, detector="look" if regions == "all" else "fake")):
        weighing(presence)  # type: ignore[arg-type]
        gallery.tag(retag=True, regions=regions, detector="auto" if regions == "off" else "fake")
        with monkeypatch.context() as patched:
            watched = Watched(patched)
            report = cartag.learn(gallery.path, labels)
        assert watched.fits[-1][0].weighing is None
        found.append((learned_of(gallery), replace(report, files=())))
        for path in learned_files(place_of(gallery.path)):
            path.unlink()
    assert found[0] == found[1]


def test_what_was_learned_of_scores_before_they_were_weighed_is_learned_again(
    gallery: Gallery, weighing: Callable[[Presence], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    weighing(PRESENCE)
    labels = streets(gallery)
    with monkeypatch.context() as before:
        before.setattr(learning, "_chooser", lambda *arguments: None)
        cartag.learn(gallery.path, labels)
    place = place_of(gallery.path)
    old = load_learned(place)
    assert old is not None
    assert old.facts.seen == "fake@1-all"
    gallery.tag()
    new = load_learned(place)
    assert new is not None
    assert new.facts.seen == "fake@1-all-weighed"
    assert new.facts.calibration != old.facts.calibration
    cartag.learn(gallery.path, labels)
    again = load_learned(place)
    assert again is not None
    assert again.facts == new.facts


# --- what a vector is weighed with --------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with Store(tmp_path, "fake@1") as opened:
        opened.put_regions(
            {(HASH, LEFT): np.eye(4, dtype=np.float32)[0], (HASH, RIGHT): np.eye(4, dtype=np.float32)[1]}
        )
        yield opened


def record(*regions: Region) -> PhotoRecord:
    return PhotoRecord(path="a.jpg", sha256=HASH, size=1, mtime_ns=1, outcome="unknown", regions=regions)


def region(box: Box, found: float, **fields: Any) -> Region:
    return Region(box=box, found=found, outcome="unknown", **fields)


def chooser() -> Chooser:
    return Chooser(Sight(resolve_detector("fake", Silent()), FakeDetector.identity, "all", 12, 0.05), PRESENCE)


def taught(of: PhotoRecord, store: Store) -> tuple[int, float, int | None]:
    """Number of the vector, how sure the detector is, and number of the whole."""
    by = chooser()
    by.heed(of, of)
    (example,) = examples_of([(Label("a.jpg", frozenset(["a"]), ()), of)], store, by).found
    assert np.array_equal(main_vectors([of], store, by)["a.jpg"].vector, example.vector)
    whole = None if example.seen.whole is None else int(example.seen.whole.argmax())
    return int(example.vector.argmax()), round(example.seen.found, 4), whole


def saw(store: Store, *boxes: tuple[Box, float]) -> None:
    store.put_seen(FakeDetector.identity, {HASH: np.array([[*box, found] for box, found in boxes])})


def test_a_region_is_weighed_as_the_cache_has_it_else_as_the_index_has_it(store: Store) -> None:
    shown = record(region(LEFT, 0.8), region(RIGHT, 0.95))
    assert taught(shown, store) == (0, 0.8, None), "out of a folder of shards"
    saw(store, (LEFT, 0.81), (RIGHT, 0.95))
    assert taught(shown, store) == (0, 0.81, None)


def test_where_the_whole_has_to_be_asked_and_is_not_there_nothing_is_weighed(store: Store) -> None:
    saw(store, (LEFT, 0.6))
    number, found, whole = taught(record(region(LEFT, 0.6)), store)
    assert (number, whole) == (0, None)
    assert np.isnan(found)
    store.put({HASH: np.eye(4, dtype=np.float32)[3]})
    assert taught(record(region(LEFT, 0.6)), store) == (0, 0.6, 3)


def test_a_photo_whose_boxes_were_found_to_hold_none_is_its_largest_box(store: Store) -> None:
    store.put({HASH: np.eye(4, dtype=np.float32)[3]})
    saw(store, (RIGHT, 0.5), (LEFT, 0.6))
    assert taught(record(), store) == (0, 0.6, 3)
    deleted = region(LEFT, 0.6, source="human")
    assert taught(record(msgspec.structs.replace(deleted, outcome="no-car")), store) == (1, 0.5, 3)
    saw(store)
    number, found, whole = taught(record(), store)
    assert (number, whole) == (3, None), "no box at all"
    assert np.isnan(found)


def test_what_nobody_weighs_has_no_weighing(store: Store) -> None:
    mains = list(main_vectors([record(region(LEFT, 0.8))], store).values())
    assert weighing_of(mains, None) is weighing_of(mains, chooser()) is None
    assert np.isnan(mains[0].found)


def test_a_near_duplicate_of_a_whole_shares_its_side() -> None:
    x = np.eye(8, dtype=np.float32)
    photos, shows = x[[0, 1, 2, 3, 4]], np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], bool)
    folders, hashes = [""] * 5, list("abcde")

    def alone(wholes: tuple[np.ndarray, np.ndarray] | None) -> int:
        return len(np.unique(groups_of(folders, hashes, photos, shows, wholes)[0]))

    assert alone(None) == alone((np.array([], int), x[:0])) == alone((np.array([0, 2]), x[[6, 7]])) == 5
    assert alone((np.array([0]), x[[4]])) == 4, "of another photo"
    assert alone((np.array([0, 3]), x[[7, 7]])) == 4, "of another whole"


# --- fitting ------------------------------------------------------------------------------------------------------


def with_boxes(examples: Examples, rng: np.random.Generator, presence: Presence = PRESENCE) -> Examples:
    """The same with boxes: a detector that is a little surer of cars, and wholes that show what the cut-outs show."""
    is_car = examples.kind != "none"
    found = np.clip(rng.normal(0.65 + 0.15 * is_car, 0.15), 0.2, 0.98)
    blurred = examples.photos + 0.15 * rng.normal(size=examples.photos.shape)
    wholes = (blurred / np.linalg.norm(blurred, axis=1, keepdims=True)).astype(np.float32)
    wholes[found >= presence.sure] = np.nan
    return replace(examples, weighing=Weighing(presence, found, wholes))


def test_a_weighing_in_which_nothing_is_weighed_leaves_scores_as_they_are() -> None:
    examples, zero, _ = world(12, blur=1.4)
    nothing = Weighing(PRESENCE, np.full(len(examples), np.nan), np.full_like(examples.photos, np.nan))
    found = fit(examples, zero, precision=0.95, folds=4)
    one, other = (found.scores(examples.photos, zero, weighing) for weighing in (None, nothing))
    assert np.array_equal(one.cars, other.cars)
    assert np.array_equal(one.no_car, other.no_car)


def test_a_whole_is_judged_by_adapters_that_have_not_seen_its_photo() -> None:
    examples, zero, _ = world(12, blur=1.4)
    asked = np.arange(len(examples)) % 2 == 0
    wholes = np.where(asked[:, None], examples.photos, np.nan).astype(np.float32)
    weighed = replace(examples, weighing=Weighing(PRESENCE, np.full(len(examples), 0.5), wholes))
    base = fitting._group_logits(fitting._logits(examples.photos, zero), zero)
    sides = fitting.splits(examples.strata, examples.groups, 4)
    penalty, delta = fitting._best_out_of_fold(weighed, base, sides, None)
    plain, of_photos = fitting._best_out_of_fold(examples, base, sides, None)
    assert penalty == plain
    assert np.array_equal(delta[: len(examples)], of_photos), "the adapter is fitted as before"
    assert np.allclose(delta[len(examples) :], of_photos[asked], atol=1e-9)


def test_the_adapter_is_that_of_the_cut_outs() -> None:
    examples, zero, rng = world(12, blur=1.4)
    weighed = with_boxes(examples, rng)
    plain, found = (fit(of, zero, precision=0.95, folds=4) for of in (examples, weighed))
    assert np.array_equal(plain.adapter.weights, found.adapter.weights)
    assert plain.calibration != found.calibration


def loss(found: fitting.Fit, examples: Examples, zero: ZeroShot) -> float:
    said = found.scores(examples.photos, zero, examples.weighing)
    p = np.column_stack([said.cars, said.other, said.no_car])
    return float(-(examples.targets * np.log(np.clip(p, 1e-9, 1))).sum(axis=1).mean())


def test_what_is_fitted_to_weighed_scores_is_better_for_these_and_its_promise_comes_true() -> None:
    """On photos that nobody learned from, on average: likelier, and about as likely as the cross-validation said."""
    true, promised, right = ([], []), ([], []), []  # type: ignore[var-annotated]
    as_mini_weighs = Presence(detector="fake", cut=0.375, whole=0.76, found=-1.672, bias=1.205, sure=0.65)
    for seed in range(4):
        everything, zero, rng = world(60, seed=seed, blur=1.0, noise=0.2)
        everything = with_boxes(everything, rng, as_mini_weighs)
        order = rng.permutation(len(everything))
        known, unseen = everything.take(order[:120]), everything.take(order[120:])
        for i, of in enumerate((known, replace(known, weighing=None))):
            found = fit(of, zero, precision=0.95, folds=3)
            checked = cross_validate(of, zero, precision=0.95, folds=3)
            assert checked is not None
            true[i].append(loss(found, unseen, zero))
            promised[i].append(checked.loss_after)
            if of is known:
                tagged = passing(
                    found.scores(unseen.photos, zero, unseen.weighing), zero.classes.cars, found.calibration
                )
                right += unseen.shows[tagged].tolist()
    (weighed, of_cut_outs), (said, said_of_cut_outs) = np.mean(true, axis=1), np.mean(promised, axis=1)
    assert weighed < of_cut_outs
    assert abs(said - weighed) < 0.06 < 0.08 < abs(said_of_cut_outs - of_cut_outs)
    assert np.mean(right) > 0.93, "thresholds are of weighed scores"
