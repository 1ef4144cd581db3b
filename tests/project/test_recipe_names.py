"""The classes of the recipe of `mini`: which pictures are of two of them, and which names are no negatives for a label."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from models.recipe.bank import described
from models.recipe.cuttings import Cutting
from models.recipe.labels import COLOURS, Item
from models.recipe.names import SAME_CAR, Names, same_car
from models.recipe.photos import Photo
from models.recipe.shots import is_again


def crop(name: str, year: str) -> Item:
    return Item(0, f"stanford/{name}.jpg", name, year, "", "", "")


def cutout(name: str) -> Item:
    return Item(0, "cut.jpg", name, "2010", "red", "", "", cutout=True)


def names_of(items: list[Item], *labels: str) -> Names:
    photos = [Photo(n, "a.jpg", (label,), ("other",), "group") for n, label in enumerate(labels)]
    return Names.fit(items, photos)


@pytest.mark.parametrize(
    ("key", "label", "wanted"),
    [
        ("Lamborghini Diablo Coupe 2001", "Lamborghini Diablo", True),
        ("Ferrari 458 Italia Coupe 2012", "Ferrari 458 Italia", True),
        ("Ferrari 458 Italia Convertible 2012", "Ferrari 458 Italia", False),  # it is a Spider
        ("Ferrari 458 Italia Convertible 2012", "Ferrari 458 Spider", True),
        ("smart fortwo Convertible 2012", "Smart Fortwo", True),
        ("Audi TT RS Coupe 2012", "Audi TT", False),
        ("Lamborghini Aventador Coupe 2012", "Lamborghini Aventador SVJ", False),
        ("Ford GT Coupe 2006", "Ford GT (2017)", False),
        ("BMW M5 Sedan 2010", "BMW M5 (E60)", True),
        ("BMW M5 Sedan 2010", "BMW M5", True),
    ],
)
def test_a_crop_is_of_the_label_of_the_same_car(key: str, label: str, wanted: bool) -> None:
    assert same_car(key, [label, "Pagani Huayra"]) == ((label,) if wanted else ())


def test_a_crop_of_the_same_car_is_of_both_classes_and_of_neither_a_negative() -> None:
    item = crop("Lamborghini Aventador Coupe", "2012")
    names = names_of([item], "Lamborghini Aventador", "Lamborghini Aventador SVJ")
    assert names.keys_of(item) == ("Lamborghini Aventador Coupe 2012", "Lamborghini Aventador")
    assert names.keys_of(Cutting(0, "Lamborghini Aventador", 3)) == ("Lamborghini Aventador",)
    stanford, plain, svj = (
        names.keys.index(key)
        for key in ("Lamborghini Aventador Coupe 2012", "Lamborghini Aventador", "Lamborghini Aventador SVJ")
    )
    assert names.kin[stanford, plain]
    assert names.kin[plain, stanford]
    assert names.kin[stanford, svj]
    assert names.labels(item, names.keys[plain])["name"] == plain
    assert names.labels(item, names.keys[stanford])["make"] == names.labels(item, names.keys[plain])["make"]


def test_labels_of_photographs_are_told_apart_but_for_generations_and_makes() -> None:
    labels = ["Pagani Zonda", "Pagani Zonda Cinque", "Ford GT", "Ford GT (2017)", "Lotus", "Lotus Elise"]
    names = names_of([cutout("Pagani Zonda Roadster")], *labels)

    def kin(a: str, b: str) -> bool:
        return bool(names.kin[names.keys.index(a), names.keys.index(b)])

    assert not kin("Pagani Zonda", "Pagani Zonda Cinque")
    assert not kin("Pagani Zonda Cinque", "Pagani Zonda")
    assert kin("Pagani Zonda", "Pagani Zonda Roadster"), "no photograph has that label"
    assert kin("Ford GT", "Ford GT (2017)"), "the first says nothing of its generation"
    assert kin("Lotus Elise", "Lotus"), "a make alone"


def test_what_is_known_to_be_one_car_names_labels_in_full() -> None:
    assert len(set(SAME_CAR)) == len(SAME_CAR)
    assert all(crop[-4:].isdigit() for crop, _ in SAME_CAR)


def test_a_crop_of_two_classes_is_drawn_as_either() -> None:
    from models.recipe.draws import Draws, Mix

    item = crop("Lamborghini Diablo Coupe", "2001")
    names = names_of([item], "Lamborghini Diablo")
    pictures: Any = SimpleNamespace(
        pixels=np.zeros((1, 12, 16, 3), np.uint8), alphas=np.zeros((1, 12, 16), np.uint8), aspects=np.ones(1)
    )

    class OnlyCrops(Draws):
        def chosen(self, rng: np.random.Generator) -> Any:
            return [(pictures, [item] * 40)]

    world: Any = SimpleNamespace(names=names, scenery=lambda count, rng: np.zeros((count, 12, 16, 3), np.uint8))
    roofs = {"Lamborghini Diablo Coupe 2001": 1, "Lamborghini Diablo": 0}
    draws = OnlyCrops(world, [], np.zeros(0), Mix(), roofs, np.zeros(0))
    _, wanted = draws.batch((12, 16), 0.3, np.random.default_rng(1))
    drawn = [names.keys[name] for name in wanted["name"].tolist()]
    assert set(drawn) == set(names.keys_of(item))
    assert 10 < drawn.count("Lamborghini Diablo") < 30
    assert set(wanted["roof"].tolist()) == {1}, "what the crop itself shows"


def test_the_bank_has_a_picture_of_two_classes_twice() -> None:
    item = crop("Lamborghini Diablo Coupe", "2001")
    names = names_of([item], "Lamborghini Diablo")
    world: Any = SimpleNamespace(names=names)
    seen = {"features": torch.eye(3)[:2], "kept": torch.tensor([True, True])}
    things = [item, Cutting(1, "Lamborghini Diablo", 7)]
    bank = described(world, things, seen, np.array([0.1, 1.0]), torch.zeros(2, len(COLOURS)))
    assert [names.keys[key] for key in bank.key] == [
        "Lamborghini Diablo Coupe 2001",
        "Lamborghini Diablo",
        "Lamborghini Diablo",
    ]
    assert bank.share.tolist() == [0.1, 0.1, 1.0]
    assert bank.photo.tolist() == [-1, -1, 7]
    assert bank.features.argmax(1).tolist() == [0, 0, 1]
    assert bank.make == ["Lamborghini"] * 3


def test_a_crop_keeps_its_body_under_the_name_of_a_car_with_another() -> None:
    item = crop("Chevrolet Camaro Convertible", "2012")
    names = names_of([item], "Chevrolet Camaro")
    world: Any = SimpleNamespace(names=names)
    seen = {"features": torch.eye(3)[:2], "kept": torch.tensor([True, True])}
    things = [item, Cutting(1, "Chevrolet Camaro", 7)]
    bank = described(world, things, seen, np.ones(2), torch.zeros(2, len(COLOURS)))
    assert bank.body == ["convertible", "convertible", "coupe"]


def test_a_crop_of_a_photograph_is_known_whatever_is_around_it() -> None:
    rng = np.random.default_rng(4)
    photo = np.kron(rng.integers(0, 256, (15, 20, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    box = (0.2, 0.3, 0.5, 0.4)
    other = np.kron(rng.integers(0, 256, (15, 20, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    brighter = (0.6 * photo[72:168, 64:224] + 80).astype(np.uint8)
    looser = photo[66:174, 56:232]
    assert is_again(photo, [box], [other, brighter])
    assert is_again(photo, [(0.8, 0.8, 0.1, 0.1), box], [looser])
    assert is_again(photo, [box], [looser[:, ::-1]]), "mirrored"
    assert not is_again(photo, [box], [other])
    assert not is_again(photo, [box], [])
    assert is_again(photo, [], [photo]), "where no car is found it is compared as a whole"


def test_photographs_that_are_crops_too_are_in_no_figure() -> None:
    from models.recipe.world import World, folds

    rng = np.random.default_rng(5)
    wholes = np.kron(rng.integers(0, 256, (6, 18, 24, 3)), np.ones((1, 24, 24, 1))).astype(np.uint8)
    photos = [Photo(n, f"{n}.jpg", ("Lamborghini Diablo",), ("other",), f"group {n}") for n in range(6)]
    item = crop("Lamborghini Diablo Coupe", "2001")
    world = World(
        items=[item],
        crops=SimpleNamespace(pixels=wholes[2:3]),  # type: ignore[arg-type]
        photos=photos,
        wholes=SimpleNamespace(pixels=wholes),  # type: ignore[arg-type]
        drawings=[],
        drawing_wholes=None,
        names=Names.fit([item], photos),
        work=None,  # type: ignore[arg-type]
        seed=0,
    )
    world.photo_boxes = {n: [] for n in range(6)}
    assert world.again == {2}
    parts = folds(world, 3)
    assert sorted(p.row for part in parts for p in part.test) == [0, 1, 3, 4, 5]
    assert sum(2 in {p.row for p in part.train} for part in parts) == 2
