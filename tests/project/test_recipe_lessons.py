"""What the recipe of `mini` makes a lesson of, what it takes for right, and the bounds it fits to names of other cars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cartag.scoring import Scores, calibration_of
from cartag.scoring.calibration import Calibration
from cartag.scoring.scoring import ClassSet
from cartag.values import Car
from models.recipe import __main__ as recipe, figures, report, unlisted, wide
from models.recipe.bank import MADE_UP, Bank, is_made_up
from models.recipe.captions import CALLED, attribute_captions
from models.recipe.cuttings import Cutting, cuts_of_photos
from models.recipe.figures import ece_of_tags
from models.recipe.heads import among_loss
from models.recipe.held import Held
from models.recipe.labels import BODIES, OPEN, is_called, roof_of
from models.recipe.model import Model
from models.recipe.names import OWN_CATALOG, WIDE_CATALOG, by_name, catalog_named
from models.recipe.photos import Photo
from models.recipe.presence import Boxes
from models.recipe.projections import prototypes
from models.recipe.towers import DIMS
from models.recipe.wide import as_listed

BOXES = [(0.1, 0.2, 0.5, 0.4), (0.7, 0.4, 0.2, 0.2)]


def photo(car: str, *labels: str, no_car: str = "") -> Photo:
    return Photo(0, "a.jpg", labels, tuple(car.split("|")), "group", no_car)


def test_the_largest_car_has_the_name_and_cars_around_other_cars_are_other_cars() -> None:
    listed, other, nameless, nothing, several = (
        cuts_of_photos([one], [BOXES])
        for one in (
            photo("pagani-huayra", "Pagani Huayra"),
            photo("other", "Ferrari F40"),
            photo("other"),
            photo("none", no_car="building"),
            photo("pagani-huayra|other", "Pagani Huayra", "Ferrari F40"),
        )
    )
    # The car beside one of the list's may be of the list too: nobody said so.
    assert [(cut.box, cut.key) for cut in listed] == [(BOXES[0], "Pagani Huayra")]
    assert [(cut.box, cut.key, cut.is_another) for cut in other] == [
        (BOXES[0], "Ferrari F40", False),
        (BOXES[1], "", True),
    ]
    assert [(cut.key, cut.is_another) for cut in nameless] == [("", True), ("", True)]
    assert [(cut.box, cut.no_car) for cut in nothing] == [(None, "building"), *((box, "building") for box in BOXES)]
    assert several == []


def test_a_picture_without_a_name_is_judged_by_all_that_it_may_be_called() -> None:
    torch.manual_seed(0)
    logits, among = torch.randn(3, 5), torch.tensor([[True, True, False, True, False], [False] * 4 + [True]])
    p = logits.softmax(1)
    wanted = -(p[0, [0, 1, 3]].sum().log() + p[2, 4].log()) / 2
    assert among_loss(logits, torch.tensor([0, -100, 1]), among) == pytest.approx(float(wanted), rel=1e-5)
    assert among_loss(logits, torch.full((3,), -100), among) == 0


def test_every_car_of_the_wide_catalog_is_found_by_its_own_name() -> None:
    cars = catalog_named(WIDE_CATALOG).cars
    found = as_listed([photo("other", car.name) for car in cars])
    assert [one.car for one in found] == [car.id for car in cars]


@pytest.mark.parametrize(
    ("label", "car"),
    [
        ("Pagani Huayra", "pagani-huayra"),
        ("Ford GT", "ford-gt"),
        ("Tesla Roadster (2020)", "unnamed"),  # the catalog has the one of 2008
        ("Dodge Challenger (1970)", "unnamed"),
        ("Trabant 601", "other"),
    ],
)
def test_another_body_or_generation_of_a_car_is_neither_it_nor_another_car(label: str, car: str) -> None:
    assert as_listed([photo("other", label)])[0].car == car


def test_an_alias_is_no_other_cars_name() -> None:
    one = Car(id="one", make="Ford", name="Ford GT", aliases=("GT40", "GT"))
    other = Car(id="other", make="Ford", name="GT", aliases=("GT40",))
    assert {words: car.id for words, car in by_name([one, other]).items()} == {"ford gt": "one", "gt": "other"}


def test_photographs_are_of_the_wide_catalogs_cars_by_any_of_their_names() -> None:
    known, unknown, unnamed, nothing = as_listed(
        [photo("other", "Ferrari F40"), photo("other", "Trabant 601"), photo("other"), photo("none", no_car="dog")]
    )
    assert known.car == "ferrari-f40"
    assert (unknown.car, unnamed.car, nothing.car) == ("other", "unnamed", "none")


@pytest.mark.parametrize(
    ("said", "label", "right"),
    [
        ("Porsche 911 (997)", "Porsche 911", True),
        ("Porsche 911", "Porsche 911 (997)", True),
        ("Porsche 911 Turbo", "Porsche 911", True),
        ("Porsche 911 Turbo (997)", "Porsche 911 (997)", True),
        ("BMW M3 (E30)", "BMW M3 (E92)", False),
        ("Ferrari F40", "Ferrari F50", False),
        ("Ferrari", "Ferrari F40", True),
        ("Ferrari 45", "Ferrari 458", False),
    ],
)
def test_a_name_is_right_that_is_as_wide_or_as_narrow(said: str, label: str, right: bool) -> None:
    assert unlisted.is_right(said, label) is right


def held(seed: int, often: float, count: int = 300) -> Held:
    """Photographs of other cars of which the model is surest of the right one this often, else of another one."""
    rng = np.random.default_rng(seed)
    catalog = catalog_named(OWN_CATALOG)
    cars, others = len(catalog.cars), len(catalog.other_cars)
    classes = ClassSet(tuple(c.id for c in catalog.cars), np.eye(cars + others + 5, dtype=np.float32), others)
    cosines = rng.normal(0, 0.1, (count, cars + others + 5)).astype(np.float32)
    photos = []
    for row in cosines:
        true, other = rng.choice(others, 2, replace=False)
        sure = float(rng.uniform(0.3, 0.9))
        row[cars + (true if rng.random() < often * (0.5 + sure) else other)] += sure
        photos.append(photo("other", catalog.other_cars[true].name))
    return Held(
        seed,
        photos,
        cosines,
        classes,
        np.full(count, -1),
        np.zeros(count, int),
        np.zeros(count, bool),
        {},
        classes,
        classes,
    )


def test_names_and_makes_are_said_from_where_enough_of_them_are_right() -> None:
    calibration = Calibration(temperature=1.0, spread=1.5)
    found = unlisted.fitted([held(1, 0.8), held(2, 0.8)], calibration)
    assert 0 < found.other_name < 1
    said = [s for h in (held(1, 0.8), held(2, 0.8)) for s in unlisted.sayings(h, calibration)]
    named = [s.name_is_right for s in said if s.name >= found.other_name]
    assert len(named) > 50
    assert np.mean(named) >= unlisted.RIGHT - 0.01  # the bound is rounded down
    counts = unlisted.figures([held(1, 0.8), held(2, 0.8), held(3, 0.8)], [calibration] * 3)
    assert counts["photos"] == len(said) + len(list(unlisted.sayings(held(3, 0.8), calibration)))
    assert counts["named_right"] / counts["named"] > 0.7


def test_where_names_are_guesses_none_is_said() -> None:
    calibration = Calibration(temperature=1.0, spread=1.5)
    found = unlisted.fitted([held(1, 0.0)], calibration)
    assert found.other_name == 1.0
    assert unlisted.figures([held(1, 0.0), held(2, 0.0)], [calibration] * 2)["named"] == 0


def test_a_mean_of_towers_does_not_hang_on_how_each_was_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.recipe import checkpoints, stage2
    from models.recipe.towers import FROZEN2, ImageTower, stage2_tower
    from models.recipe.world import Part

    monkeypatch.setattr(stage2, "measure_norms", lambda *args: None)
    monkeypatch.setattr(stage2.Draws, "of", lambda *args: None)
    torch.manual_seed(0)
    tower = ImageTower(FROZEN2, pretrained=False).eval()
    tower.set_projection(torch.randn(64, tower.project.weight.shape[1]))
    turn = torch.linalg.qr(torch.randn(64, 64))[0]
    heads = {"weights.name": torch.randn(5, 64)}
    parts = [Part("one", [], []), Part("other", [], [])]
    for part, by in zip(parts, (torch.eye(64), turn), strict=True):
        state = tower.state_dict() | {"project.weight": by @ tower.project.weight.detach()}
        checkpoints.keep(state, checkpoints.stage2(tmp_path, part.tag))
        kept = {name: weights @ by.T for name, weights in heads.items()}
        checkpoints.keep({"heads": kept}, checkpoints.heads(tmp_path, part.tag))
    world: Any = SimpleNamespace(work=tmp_path, device="cpu", seed=1)
    stage2.merge(world, Part("all", [], []), parts)
    merged = stage2_tower(tmp_path, "all")
    pixels = torch.rand(2, 3, 64, 80)
    with torch.inference_mode():
        assert torch.allclose(merged(pixels), tower(pixels), atol=1e-4)
    found = checkpoints.read(checkpoints.heads(tmp_path, "all"), "stage2")["heads"]["weights.name"]
    assert torch.allclose(found, heads["weights.name"], atol=1e-3)


def test_the_error_of_the_scores_is_that_of_a_gallery_with_as_many_cars_of_the_catalog_as_others() -> None:
    def said(score: float) -> Any:
        return SimpleNamespace(tags=[SimpleNamespace(car="pagani-huayra", score=score)])

    silent: Any = SimpleNamespace(tags=[])
    # In such a gallery eight tags of ten are right, as the scores say; here there are ten times as many others.
    photos = [photo("pagani-huayra")] * 100 + [photo("other")] * 1000
    verdicts = [said(score) for score in np.linspace(0.79, 0.81, 80)] + [silent] * 20
    verdicts += [said(score) for score in np.linspace(0.79, 0.81, 200)] + [silent] * 800
    assert ece_of_tags(photos, verdicts, ("pagani-huayra",)) < 0.02
    assert ece_of_tags(photos[:100], verdicts[:100], ("pagani-huayra",)) == pytest.approx(0.2)
    assert ece_of_tags(photos, [silent] * 1100, ("pagani-huayra",)) == 0.0


def test_a_score_is_sure_from_where_few_enough_of_all_photographs_are_wrong() -> None:
    found = [(0.9, True), (0.8, False), (0.7, True), (0.6, False), (0.5, True)]
    assert wide._least([found, [(0.1, False)] * 15]) == 0.7  # one of twenty may be wrong
    assert wide._least([[(0.9, False), (0.8, True)]]) == float("inf")


def test_a_fold_is_decided_by_what_was_fitted_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """To what either catalog was asked; the wide one has other cars of its own."""
    monkeypatch.setattr(figures, "fit_calibration", lambda *asked: asked)
    folds = [
        replace(held(k, 0.5, 3), photos=[replace(photo("other", "Ferrari F40"), file=f"{k}")] * 3) for k in range(3)
    ]
    for fits, others in zip(figures.fits_without(folds), ({"1", "2"}, {"0", "2"}, {"0", "1"}), strict=True):
        own, listed = fits  # type: ignore[misc, attr-defined]
        assert {p.file for p in own.photos} == {p.file for p in listed.photos} == others
        assert len(own.cosines) == len(listed.cosines) == 6
        assert ({p.car for p in own.photos}, {p.car for p in listed.photos}) == ({"other"}, {"ferrari-f40"})


def test_what_ships_without_a_fold_weighs_boxes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own networks and detector, each half of the fold with the calibration of the other."""
    part = SimpleNamespace(tag="fold0of3")
    seen: list[tuple[Any, ...]] = []

    def boxes(world: Any, half: str, model: str, look: Path, calibration: str) -> Boxes:
        seen.append((half, model, look, calibration))
        no_car = np.array([0.9, 0.8, 0.3, 0.1])
        scores = Scores(np.zeros((4, 1)), 1 - no_car, no_car)
        return Boxes(scores, np.array([0.3, 0.5, 0.6, 0.9]), np.array([0.9, 0.7, 0.2, np.nan]), no_car > 0.5)

    for module, name, value in (
        (recipe, "folds", lambda *a: [part]),
        (recipe, "towers_of", lambda *a: None),
        (recipe.export, "run", lambda *a: None),
        (recipe.measure, "measure", lambda *a: "held"),
        (recipe.held, "halves", lambda h: ["one", "two"]),
        (Model, "read", lambda world, tag: f"model of {tag}"),
        (report, "fits_without", lambda halves: ["fitted to two", "fitted to one"]),
        (report, "cross_validated", lambda halves: ({"photos": 8, "cars": [], "confusion": []}, Calibration())),
        (report, "boxes_of", boxes),
        *((report, f"{name}_figures", lambda *a: {}) for name in ("stanford", "colour", "drawing")),
        *((report, name, lambda *a: "") for name in ("confusion_picture", "write_card", "tables")),
    ):
        monkeypatch.setattr(module, name, value)
    recipe.holdout(SimpleNamespace(work=tmp_path, seed=0), SimpleNamespace(folds=3, out=tmp_path))  # type: ignore[arg-type]
    of = "model of fold0of3", tmp_path / "look-fold0of3"
    assert seen == [("one", *of, "fitted to two"), ("two", *of, "fitted to one")]
    presence = calibration_of(tmp_path).presence
    assert presence
    assert presence.cut > 0


def test_a_name_lies_amid_its_photographs_where_it_has_some() -> None:
    photograph, drawing = torch.eye(DIMS)[0], torch.eye(DIMS)[1]
    features = torch.stack([photograph, drawing, drawing, drawing])
    share = np.array([1.0, MADE_UP, MADE_UP, MADE_UP])
    blank, photo = [""] * 4, np.array([7, -1, -1, -1])
    bank = Bank(features, photo, np.array([0, 0, 0, 1]), blank, blank, blank, blank, np.zeros(4), share)
    names = SimpleNamespace(keys=["drawn too", "only drawn", "never seen"])
    first, second, third = prototypes(bank, torch.eye(DIMS), names)  # type: ignore[arg-type]
    assert first @ photograph > 0.95
    assert second @ drawing == pytest.approx(1.0)
    assert not third.any()


def test_what_is_made_up_is_a_car_that_is_no_photograph() -> None:
    assert is_made_up(Cutting(0, "Pagani Huayra", -1))  # a drawing
    assert not is_made_up(Cutting(0, "Pagani Huayra", 3))
    assert not is_made_up(Cutting(0, "no car: dog", -1, "dog"))


def test_banks_that_are_joined_keep_what_is_known_of_each() -> None:
    def bank(count: int, photo: int) -> Bank:
        said = [f"{photo} {i}" for i in range(count)]
        numbers = np.full(count, photo)
        return Bank(torch.full((count, 3), float(photo)), numbers, numbers, said, said, said, said, numbers, numbers)

    both = bank(2, -1).with_more(bank(3, 5))
    assert both.features[:, 0].tolist() == [-1, -1, 5, 5, 5]
    assert both.make == ["-1 0", "-1 1", "5 0", "5 1", "5 2"]
    left = both.of([])
    assert (left.share.tolist(), left.body) == ([-1, -1], ["-1 0", "-1 1"])


def test_names_are_counted_by_what_taught_them() -> None:
    def held(*rows: tuple[int, int, bool]) -> Any:
        ranks, taught, by_crops = (np.array(column) for column in zip(*rows, strict=True))
        return SimpleNamespace(ranks=ranks, taught=taught, by_crops=by_crops)

    first = held((0, 1, False), (7, 1, False), (-1, 0, False), (3, 2, True))
    second = held((0, 12, False), (0, 0, True), (-1, 0, True))
    rows = figures.names_by_photographs([first, second])
    counts = {row.get("least", "crops"): (row["names_photos"], row["names_top1"], row["names_top5"]) for row in rows}
    assert counts == {
        1: (2, 1, 1),
        2: (0, 0, 0),
        3: (0, 0, 0),
        4: (0, 0, 0),
        6: (0, 0, 0),
        10: (1, 1, 1),
        "crops": (2, 1, 2),
    }


def test_a_picture_with_a_body_is_often_described_by_that_alone() -> None:
    n = 40
    red, pagani, body = ["red"] * n, ["Pagani"] * n, ["roadster"] * n
    bank = Bank(torch.zeros(n, 3), np.zeros(n), np.zeros(n), red, body, pagani, pagani, np.zeros(n), np.ones(n))
    texts, _, _ = attribute_captions(bank, np.arange(n), 1000, np.random.default_rng(0))
    alone = [text for text in texts if "red" not in text and "Pagani" not in text]
    assert 0.2 < len(alone) / len(texts) < 0.5


@pytest.mark.parametrize(
    ("body", "word", "wanted"),
    [
        ("spider", "roadster", True),
        ("roadster", "convertible", True),
        ("roadster", "spider", False),
        ("convertible", "roadster", None),  # it may be small enough for one
        ("targa", "convertible", None),
        ("coupe", "roadster", False),
        ("roadster", "coupe", False),
        ("", "coupe", None),
    ],
)
def test_what_a_word_for_a_body_is_true_of(body: str, word: str, wanted: bool | None) -> None:
    assert is_called(body, word) is wanted


def test_every_open_car_has_no_roof_and_a_word() -> None:
    assert {body for body in (*BODIES, *OPEN) if roof_of(body) == "open"} == set(CALLED) == set(OPEN)
    assert roof_of("targa") == ""
    assert all(is_called(body, word) for body, words in CALLED.items() for word in words)


def test_a_caption_leaves_out_pictures_of_which_nobody_knows() -> None:
    bodies = ["roadster", "coupe", "targa", "convertible", ""]
    n = len(bodies)
    nothing, empty = [""] * n, np.array([0, 0, 0, 0, 1])
    bank = Bank(torch.zeros(n, 3), np.zeros(n), np.zeros(n), nothing, bodies, nothing, nothing, empty, np.ones(n))
    texts, truth, unsure = attribute_captions(bank, np.arange(n), 200, np.random.default_rng(0))
    assert truth.shape == unsure.shape == (200, n)
    assert truth.any(axis=1).all(), "of one picture of the batch each is true"
    assert not (truth & unsure).any()
    roadster = next(i for i, text in enumerate(texts) if "roadster" in text)
    assert truth[roadster].tolist() == [True, False, False, False, False]
    assert unsure[roadster].tolist() == [False, False, True, True, False], "no car is no roadster for sure"


def test_texts_read_in_two_halves_are_read_as_in_one() -> None:
    from models.recipe.text import TextTower, written_of

    torch.manual_seed(6)
    text = TextTower(50).eval()
    ids = torch.randint(5, 50, (7, 12))
    mask = (torch.arange(12) < torch.tensor([3, 12, 5, 2, 9, 4, 7])[:, None]).long()
    tokens: Any = {"input_ids": ids * mask, "attention_mask": mask}
    with torch.inference_mode():
        assert torch.allclose(written_of(text, tokens), text(**tokens), atol=1e-5)


def test_a_classifier_says_the_same_after_another_projection() -> None:
    from models.recipe.projections import classifiers

    torch.manual_seed(7)
    features = torch.nn.functional.normalize(torch.randn(400, 24), dim=1)
    bank: Any = SimpleNamespace(features=features)
    trained, weights = torch.randn(12, 24), torch.randn(5, 12)
    project = torch.linalg.qr(torch.randn(24, 24))[0]
    found = classifiers(bank, project, trained, weights)
    assert found.norm(dim=1).allclose(torch.ones(5))
    unit = torch.nn.functional.normalize
    said = unit(features @ trained.T, dim=1) @ unit(weights, dim=1).T
    again = unit(features @ project.T, dim=1) @ found.T
    for name in range(5):
        assert float(torch.corrcoef(torch.stack([said[:, name], again[:, name]]))[0, 1]) > 0.97


def test_a_text_belongs_between_its_pictures_and_its_classifier(tmp_path: Path) -> None:
    from models.recipe import checkpoints, stage3
    from models.recipe.projections import classifiers
    from models.recipe.world import Part

    torch.manual_seed(8)
    features = torch.nn.functional.normalize(torch.randn(60, 300), dim=1)
    rest = {name: [""] * 60 for name in ("colour", "body", "make", "family")}
    bank = Bank(features, np.full(60, -1), np.arange(60) % 3, empty=np.zeros(60), share=np.ones(60), **rest)
    trained, project, weights = torch.randn(40, 300), torch.randn(DIMS, 300), torch.randn(4, 40)
    checkpoints.keep({"heads": {"weights.name": weights}}, checkpoints.heads(tmp_path, "part"))
    world: Any = SimpleNamespace(work=tmp_path, names=SimpleNamespace(keys=["a", "b", "c", "without a picture"]))
    found = stage3.places(world, Part("part", [], []), bank, project, trained)
    means, points = prototypes(bank, project, world.names), classifiers(bank, project, trained, weights)
    assert not found[3].any()
    assert found[:3].norm(dim=1).allclose(torch.ones(3))
    assert (found[:3] * means[:3]).sum(1).allclose((found[:3] * points[:3]).sum(1), atol=1e-5)
