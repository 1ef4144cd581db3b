"""The gazetteer: the cars that an article may name, those of the shipped catalogs and of `configs/gazetteer.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cartag import plainyaml
from cartag.catalogs import catalog as catalogs
from cartag.catalogs.catalog import normalise, slug
from cartag.errors import CatalogError
from cartag.resources import shipped
from cartag.values import Car

BODIES = frozenset(
    "coupe convertible roadster spider targa sedan hatchback wagon suv pickup racer van".split()  # noqa: SIM905
)
_CATALOG = "mille-miglia-2013"  # with the other cars it rejects by, it holds all that the shipped catalogs hold
_FULL_NAME = "="  # marks an alias that stands without its make: "=Karmann Ghia"


@dataclass(frozen=True, slots=True)
class Gazetteer:
    """Cars by name, and what keeps other words from being taken for cars."""

    cars: tuple[Car, ...]
    makes: dict[str, tuple[str, ...]]
    """Every make with its other spellings."""
    spellings: dict[str, tuple[str, ...]]
    """By car id: further wordings of articles, not worth an alias in a catalog (a family's word for its best known)."""
    words: frozenset[str]
    """Normalised model names that are also places, people or everyday words."""
    not_cars: tuple[str, ...]
    """Phrases that look like cars and are none."""
    list_words: frozenset[str]
    """What links the items of a list ("and", "und", "cùng"), normalised."""
    units: frozenset[str]
    """What follows a number that counts something ("km", "Jahre"), normalised."""


def load_gazetteer() -> Gazetteer:
    """Reads the shipped gazetteer and the shipped catalogs, which give their cars their ids."""
    raw = read()
    shipped_cars = catalogs.load_catalog(_CATALOG)
    cars = {car.id: car for car in (*shipped_cars.cars, *shipped_cars.other_cars, *entries(raw))}
    makes = {car.make: tuple(raw["makes"].get(car.make, ())) for car in cars.values()}
    return Gazetteer(
        cars=tuple(cars.values()),
        makes=makes,
        spellings={car_id: tuple(texts) for car_id, texts in raw["spellings"].items()},
        words=frozenset(normalise(word) for word in raw["words"]),
        not_cars=tuple(raw["not_cars"]),
        list_words=frozenset(raw["list_words"]),
        units=frozenset(raw["units"]),
    )


def read() -> dict[str, Any]:
    """The file as it is: every value a text (the car ``911`` is no number)."""
    raw: dict[str, Any] = plainyaml.read(shipped("configs", "gazetteer.yaml"), CatalogError, trusted=True)
    return raw


def entries(raw: dict[str, Any]) -> list[Car]:
    """The cars of the file, each from its line ``[model, years, body, alias...]`` under its make."""
    return [_car(make, *line) for make, lines in raw["cars"].items() for line in lines]


def _car(make: str, model: str, years: str, body: str, *aliases: str) -> Car:
    name = f"{make} {model}"
    return Car(
        id=slug(name),
        name=name,
        make=make,
        aliases=tuple(a.removeprefix(_FULL_NAME) if a.startswith(_FULL_NAME) else f"{make} {a}" for a in aliases),
        years=years,
        body=body,
    )
