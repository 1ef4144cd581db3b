"""Prompts: which texts stand for a class."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_catalog

import cartag
from cartag.catalogs import catalog as catalogs
from cartag.catalogs.prompts import car_texts, prompt_classes, query_texts
from cartag.values import Car

TEMPLATES = ("a photo of a {name}.", "a {year} {name}", "{name}!")


def car(**fields: object) -> Car:
    return Car(**{"id": "x", "name": "Red Racer", "make": "Red"} | fields)  # type: ignore[arg-type]


def test_a_year_template_is_for_cars_whose_years_are_known() -> None:
    assert car_texts(car(years="2011-2018"), TEMPLATES) == ("a photo of a Red Racer.", "a 2011 Red Racer", "Red Racer!")
    assert car_texts(car(), TEMPLATES) == ("a photo of a Red Racer.", "Red Racer!")


@pytest.mark.parametrize("years", ["2011-", "c. 2011", "2011", "from 2011 to 2018"])
def test_the_first_model_year_counts(years: str) -> None:
    assert car_texts(car(years=years), ("{year}",)) == ("2011",)


def test_with_year_templates_only_a_car_without_years_still_has_a_text() -> None:
    assert car_texts(car(), ("a photo of a {year} {name}.",)) == ("a photo of a Red Racer.",)


def test_prompts_of_a_car_stand_in_place_of_its_name() -> None:
    assert car_texts(car(prompts=("GT", "Roadster")), ("my {name}",)) == ("my GT", "my Roadster")


def test_braces_in_a_name_are_no_field() -> None:
    assert car_texts(car(name="{year} {0}"), ("my {name}",))[0].startswith("my ")


def test_classes_are_the_cars_then_other_cars_then_what_is_no_car(tmp_path: Path) -> None:
    classes = prompt_classes(catalogs.load_catalog(write_catalog(tmp_path)))
    assert [(c.kind, c.label) for c in classes] == [
        ("car", "red-racer"),
        ("car", "yellow-yeti"),
        ("car", "blue-bolt"),
        ("other-car", "orange-other"),
        ("no-car", "a photo of green grass."),
        ("no-car", "a photo of a white wall."),
    ]
    assert classes[0].texts == ("a photo of a Red Racer.",)
    assert classes[-1].texts == ("a photo of a white wall.",)


def test_other_cars_go_by_the_first_template_alone() -> None:
    """Hundreds of cars in ten templates are minutes of a large model, and one class is made of all of them."""
    catalog = cartag.cars("mille-miglia-2013")
    names = {car.id: car.prompts or (car.name,) for car in catalog.other_cars}
    for c in prompt_classes(catalog):
        if c.kind == "other-car":
            assert c.texts == tuple(f"a photo of a {name}." for name in names[c.label])
        elif c.kind == "car":
            assert len(c.texts) >= len(catalog.templates) - 2  # less those with a year, where none is known


@pytest.mark.parametrize("name", ["mille-miglia-2013", "sports-cars"])
def test_every_class_of_a_shipped_catalog_has_texts_with_every_field_filled_in(name: str) -> None:
    for c in prompt_classes(cartag.cars(name)):
        assert c.texts
        assert not any("{" in text or "  " in text for text in c.texts), c


def test_a_query_is_asked_as_it_is_and_as_a_caption() -> None:
    assert query_texts("red convertible") == ("red convertible", "a photo of red convertible.")
