"""Learning on made-up embeddings: it helps where labels hold something, and leaves things alone where they do not."""

from __future__ import annotations

import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from cartag.learning import fitting
from cartag.learning.fitting import Examples, Unlabelled, ZeroShot, fit
from cartag.learning.judging import cross_validate
from cartag.learning.splits import NEAR_DUPLICATE, groups_of, splits
from cartag.learning.thresholds import with_thresholds
from cartag.measuring import metrics
from cartag.scoring.calibration import Calibration
from cartag.scoring.scoring import ClassSet, pooled, score

CARS, OTHERS, NONE, WIDTH = 4, 6, 3, 48


def world(
    per_car: int, seed: int = 0, blur: float = 1.0, noise: float = 0.11
) -> tuple[Examples, ZeroShot, np.random.Generator]:
    """Photos around true directions; the text prototypes are these directions, blurred."""
    rng = np.random.default_rng(seed)

    def unit(x: np.ndarray) -> np.ndarray:
        out: np.ndarray = x / np.linalg.norm(x, axis=-1, keepdims=True)
        return out

    centres = unit(rng.normal(size=(CARS + OTHERS + NONE, WIDTH)))
    texts = unit(centres + blur * unit(rng.normal(size=centres.shape)))
    of = np.r_[
        np.repeat(np.arange(CARS), per_car),
        rng.integers(CARS, CARS + OTHERS, 3 * per_car),
        rng.integers(CARS + OTHERS, len(centres), per_car),
    ]
    photos = unit(centres[of] + noise * rng.normal(size=(len(of), WIDTH))).astype(np.float32)
    shows = np.eye(len(centres), dtype=bool)[of][:, :CARS]
    kind = np.array(["car" if i < CARS else "unknown" if i < CARS + OTHERS else "none" for i in of], object)
    classes = ClassSet(tuple(f"car-{i}" for i in range(CARS)), texts.astype(np.float32), OTHERS)
    return Examples(photos, shows, kind, np.arange(len(of))), ZeroShot(classes, Calibration(), 12.0), rng


def test_few_labels_raise_recall_at_the_chosen_precision() -> None:
    examples, zero, _ = world(25, blur=1.4)
    found = cross_validate(examples, zero, precision=0.95, folds=5, most=5, most_rejected=15)
    assert found is not None
    assert found.loss_after < found.loss_before
    gain = metrics.differences(metrics.headline(found.after), metrics.headline(found.before), len(examples))
    recall = gain["recall_at_95_precision"]
    assert recall is not None
    assert recall.low > 0


def test_where_the_model_is_right_already_nothing_gets_worse() -> None:
    """Labels drawn from the model's own probabilities: no adapter can be better, and none may be much worse."""
    examples, zero, rng = world(40, blur=0.3)
    scores = fitting.zero_scores(examples.photos, zero)
    p = np.hstack([scores.cars, scores.other[:, None], scores.no_car[:, None]]).astype(float)
    drawn = (rng.random((len(p), 1)) < np.cumsum(p / p.sum(axis=1, keepdims=True), axis=1)).argmax(axis=1)
    shows = np.eye(CARS + 2, dtype=bool)[drawn][:, :CARS]
    kind = np.array(["car" if i < CARS else "unknown" if i == CARS else "none" for i in drawn], object)
    true = Examples(examples.photos, shows, kind, examples.groups)
    found = cross_validate(true, zero, precision=0.95, folds=5)
    assert found is not None
    assert found.loss_after <= found.loss_before + 0.02
    fitted = fit(true, zero, precision=0.95, folds=5)
    assert 0.75 < fitted.sharpness < 1.33, "it was calibrated"
    assert np.abs(fitted.adapter.weights).max() < 1.0


def test_a_car_with_no_label_keeps_its_prototype() -> None:
    examples, zero, _ = world(10, blur=1.4)
    some = examples.take(np.flatnonzero(~examples.shows[:, 2]))
    found = fit(some, zero, precision=0.95, folds=4)
    assert not found.adapted[2]
    assert np.array_equal(found.applied(zero).embeddings[2], zero.classes.embeddings[2])


def test_one_photo_of_a_new_car_helps_to_find_it() -> None:
    examples, zero, _ = world(12, blur=6.0)  # its name means nothing to the model
    mine = np.flatnonzero(examples.shows[:, 0])
    train = np.r_[mine[:1], np.flatnonzero(~examples.shows[:, 0])[::2]]
    found = fit(examples.take(train), zero, precision=0.95, folds=4)
    assert not found.checked[0]
    before = fitting.zero_scores(examples.photos[mine[1:]], zero).cars[:, 0]
    after = found.scores(examples.photos[mine[1:]], zero).cars[:, 0]
    assert np.median(after) > 2 * np.median(before)


def test_one_label_alone_is_taken_on_trust() -> None:
    examples, zero, _ = world(5, blur=6.0)
    found = fit(examples.take(np.array([0])), zero, precision=0.95, folds=5)
    assert found.calibration == zero.calibration
    assert found.adapted.tolist() == [True, False, False, False]
    assert cross_validate(examples.take(np.array([0])), zero, precision=0.95, folds=5) is None


def test_the_adapter_in_the_embeddings_gives_the_logits_it_was_fitted_with() -> None:
    examples, zero, _ = world(10, blur=1.4)
    zero = replace(zero, calibration=Calibration(spread=2.0))
    found = fit(examples, zero, precision=0.95, folds=4)
    c, sharpness = found.calibration, found.sharpness
    logits = examples.photos @ zero.classes.embeddings.T * zero.logit_scale / sharpness
    other, none = (
        np.log(part.shape[1]) + c.spread * np.log(np.exp(part / c.spread).mean(axis=1))
        for part in (logits[:, CARS : CARS + OTHERS], logits[:, CARS + OTHERS :])
    )
    groups = np.column_stack([logits[:, :CARS], other + c.other_bias, none + c.no_car_bias])
    groups += (examples.photos @ found.adapter.weights.T + found.adapter.biases) / sharpness
    p = np.exp(groups - groups.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    assert np.allclose(found.scores(examples.photos, zero).cars, p[:, :CARS], atol=1e-4)


def test_groups_are_pooled_as_scoring_pools_them_and_empty_ones_have_no_weight() -> None:
    _, zero, rng = world(4)
    alone = replace(zero, classes=ClassSet(zero.classes.cars, zero.classes.embeddings[:CARS], 0))
    logits = rng.normal(0, 200, (5, len(zero.classes.embeddings)))  # of a model as sharp as can be: nothing is cut off
    groups = fitting._group_logits(logits, zero)
    assert np.allclose(groups[:, CARS], pooled(logits[:, CARS : CARS + OTHERS], 1.0))
    assert np.allclose(groups[:, CARS + 1], pooled(logits[:, CARS + OTHERS :], 1.0))
    assert (fitting._group_logits(logits[:, :CARS], alone)[:, CARS:] == -50).all()


def test_the_gradient_is_that_of_the_loss() -> None:
    """The optimum: no small step is better."""
    examples, zero, rng = world(6)
    base = fitting._group_logits(fitting._logits(examples.photos, zero), zero)
    adapter = fitting._adapter(examples, base, 1.0, None, None)
    mean = examples.photos.mean(axis=0)

    def loss(w: np.ndarray, b: np.ndarray) -> float:
        centred = (b + w @ mean) / 0.3
        added = examples.photos @ w.T + b
        return fitting._loss(base + added, examples.targets) + 0.5 * float((w * w).sum() + (centred * centred).sum())

    best = loss(adapter.weights, adapter.biases)
    for _ in range(20):
        step = 0.02 * rng.normal(size=adapter.weights.shape)
        assert loss(adapter.weights + step, adapter.biases) > best


@pytest.mark.parametrize("precision", [0.8, 0.95])
def test_thresholds_keep_the_precision_they_were_chosen_for(precision: float) -> None:
    rng = np.random.default_rng(5)
    shows = rng.random((300, 3)) < 0.3
    scores = np.clip(rng.normal(0.3 + 0.4 * shows, 0.18), 0, 1)
    found = with_thresholds(Calibration(), scores, shows, ("a", "b", "c"), precision)
    for c, car in enumerate("abc"):
        tagged = scores[:, c] >= found.threshold_of(car)
        assert shows[tagged, c].mean() >= precision - 1e-9
        assert tagged.any()


def test_a_car_that_is_often_taken_for_another_gets_a_higher_threshold() -> None:
    shows = np.zeros((100, 3), bool)
    shows[:40, 0] = shows[40:60, 1] = shows[60:63, 2] = True
    scores = np.where(shows, 0.8, 0.1)
    scores[63:65, 1], scores[50:60, 1], scores[65, 2] = 0.7, 0.75, 0.6
    found = with_thresholds(Calibration(), scores, shows, ("many", "mixed", "few"), 0.95)
    assert set(found.car_thresholds) == {"mixed"}
    assert found.threshold_of("mixed") == pytest.approx(0.725)
    assert found.threshold_of("few") == found.threshold_of("many") == found.threshold < 0.7


def test_a_handful_of_labels_moves_no_threshold() -> None:
    shows = np.eye(5, 2, dtype=bool)
    found = with_thresholds(Calibration(), np.where(shows, 0.9, 0.1), shows, ("a", "b"), 0.95)
    assert (found.threshold, found.car_thresholds) == (0.5, {})


@pytest.mark.parametrize("weights", [(4.0, 0.25), (0.1, 1.6)])
def test_nor_does_a_handful_that_stands_for_many(weights: tuple[float, float]) -> None:
    shows = np.repeat([[True, False], [False, True], [False, False]], [4, 4, 4], axis=0)
    scores = np.where(shows, 0.9, 0.1)
    found = with_thresholds(Calibration(), scores, shows, ("a", "b"), 0.95, np.where(shows.any(axis=1), *weights))
    assert (found.threshold, found.car_thresholds) == (0.5, {})


def test_a_photo_that_stands_for_many_counts_as_many_in_a_threshold() -> None:
    shows = np.repeat([[True], [False]], 500, axis=0)
    scores = np.r_[np.linspace(0.9, 0.4, 500), np.linspace(0.6, 0.1, 500)][:, None]
    weights = np.where(shows[:, 0], 1, 4)
    by_weight = with_thresholds(Calibration(), scores, shows, ("a",), 0.9, weights)
    copies = np.repeat(np.arange(1000), weights)
    by_copies = with_thresholds(Calibration(), scores[copies], shows[copies], ("a",), 0.9)
    assert by_weight.threshold == pytest.approx(by_copies.threshold, abs=0.02)  # four wrong ones unseen, or one
    assert by_weight.threshold > with_thresholds(Calibration(), scores, shows, ("a",), 0.9).threshold


def test_scores_of_a_gallery_of_other_cars_expect_other_cars() -> None:
    """Half of the labels show cars of the catalog, of the gallery one photo in thirteen."""
    known, zero, _ = world(5, blur=0.8, noise=0.25)
    gallery, _, rng = world(300, blur=0.8, noise=0.25)
    cars = np.flatnonzero(gallery.kind == "car")
    rare = np.setdiff1d(np.arange(len(gallery)), rng.permutation(cars)[len(cars) // 12 :])
    gallery = gallery.take(rare)
    learned = fit(known, zero, precision=0.95, folds=5, unlabelled=Unlabelled(gallery.photos, len(gallery)))
    assert learned.mixture is not None
    share = float((gallery.kind == "car").mean())
    assert learned.mixture.gallery[0] == pytest.approx(share, abs=0.05)
    of_labels = fit(known, zero, precision=0.95, folds=5)

    def miscounted(found: fitting.Fit) -> float:
        return abs(float(found.scores(gallery.photos, zero).cars.sum(axis=1).mean()) - share)

    assert miscounted(learned) < 0.02 < 0.04 < miscounted(of_labels)
    assert of_labels.mixture is not None
    assert of_labels.mixture.is_drawn_by_chance


def test_labels_drawn_by_chance_move_nothing() -> None:
    everything, zero, rng = world(60, blur=0.8)
    drawn = rng.permutation(len(everything))
    known, rest = everything.take(drawn[:40]), everything.take(drawn[40:])
    learned = fit(known, zero, precision=0.95, folds=5, unlabelled=Unlabelled(rest.photos, len(rest)))
    alone = fit(known, zero, precision=0.95, folds=5)
    assert learned.mixture is not None
    assert learned.mixture.is_drawn_by_chance
    assert learned.calibration == alone.calibration


def test_near_duplicates_and_folders_share_a_side() -> None:
    x = np.eye(6, dtype=np.float32)[[0, 0, 1, 2, 3, 4]]
    shows = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], bool)
    hashes = list("abcdef")
    groups, by = groups_of([""] * 6, hashes, x, shows)
    assert by == "near-duplicates"
    assert groups[0] == groups[1]
    assert len(np.unique(groups)) == 5
    groups, by = groups_of(["d1", "d1", "d2", "d1", "d2", "d3"], hashes, x, shows)
    assert by == "folders and near-duplicates"
    assert groups[0] == groups[1] == groups[3] != groups[2]
    by_car, by = groups_of(["a", "a", "a", "b", "b", "b"], hashes, x, shows)
    assert by == "near-duplicates", "folders named after cars would leave each car whole on one side"
    assert len(np.unique(by_car)) == 5


def test_groups_hold_together_whoever_is_joined_by_photo_bytes_or_folder() -> None:
    rng = np.random.default_rng(5)
    for count, kinds in ((700, 500), (700, 20), (1, 1)):
        x = rng.normal(size=(kinds, 16))[rng.integers(0, kinds, count)] + rng.normal(scale=0.05, size=(count, 16))
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        hashes = [str(n) for n in rng.integers(0, count, count)]
        folders = [str(n) for n in rng.integers(0, 200, count)]
        shows = np.eye(2, dtype=bool)[np.arange(count) % 2]
        found, by = groups_of(folders, hashes, x, shows)
        same = x @ x.T >= NEAR_DUPLICATE
        same |= np.equal.outer(hashes, hashes)
        if by != "near-duplicates":
            same |= np.equal.outer(folders, folders)
        assert (found == connected_components(csr_array(same), directed=False)[1]).all()


def test_the_groups_of_many_labels_take_little_memory() -> None:
    """All pairs of 20,000 photos in one folder would be 12 GB."""
    count = 4000
    x = np.random.default_rng(0).normal(size=(count, 32)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[: count // 2] = x[0]  # and as many as look alike
    tracemalloc.start()
    groups, _ = groups_of([""] * count, [str(i) for i in range(count)], x, np.eye(2, dtype=bool)[np.arange(count) % 2])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(np.unique(groups)) == 1 + count // 2
    assert peak < 60 * 2**20


def test_a_split_never_tears_a_group_apart() -> None:
    examples, _, _ = world(10)
    grouped = Examples(examples.photos, examples.shows, examples.kind, np.arange(len(examples)) // 3)
    seen = []
    for train, held in splits(grouped.strata, grouped.groups, 4):
        assert not set(grouped.groups[train]) & set(grouped.groups[held])
        seen += held.tolist()
    assert sorted(seen) == list(range(len(examples)))


def test_rare_cars_are_split_without_a_warning_in_many_threads_too() -> None:
    examples, _, _ = world(4)
    rare = np.r_[np.arange(1), np.arange(4, len(examples))]  # one label of the first car
    some = examples.take(rare)
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen, ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("always")
        list(pool.map(lambda _: splits(some.strata, some.groups, 4), range(200)))
    assert [str(warning.message) for warning in seen] == []
    assert list(warnings.filters) == before


def test_learned_classes_score_like_any_others() -> None:
    examples, zero, _ = world(8, blur=1.4)
    found = fit(examples, zero, precision=0.95, folds=4)
    scores = score(examples.photos, found.applied(zero), logit_scale=12.0, calibration=found.calibration)
    assert np.allclose(scores.cars.sum(axis=1) + scores.other + scores.no_car, 1, atol=1e-5)
