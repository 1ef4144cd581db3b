"""The classes of stages 2 and 3: names of cars with pictures, which of them may be true at once, and who has which."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cartag.catalogs.catalog import load_catalog
from cartag.values import Car, Catalog
from models.recipe.cuttings import Cutting
from models.recipe.labels import BODIES, COLOURS, NO_CAR_GROUPS, Item, make_of
from models.recipe.photos import Photo

OWN_CATALOG, WIDE_CATALOG = "mille-miglia-2013", "sports-cars"
SAME_CAR = [
    ("Bugatti Veyron 16.4 Convertible 2009", "Bugatti Veyron Grand Sport"),
    ("Ferrari 458 Italia Convertible 2012", "Ferrari 458 Spider"),
    ("Lamborghini Gallardo LP 570-4 Superleggera 2012", "Lamborghini Gallardo"),
    ("Jaguar XK XKR 2012", "Jaguar XK"),
    ("FIAT 500 Abarth 2012", "Abarth 500"),
    ("Mercedes-Benz SL-Class Coupe 2009", "Mercedes-Benz SL 65 AMG Black Series"),
    ("Bentley Continental Supersports Conv. Convertible 2012", "Bentley Continental GT"),
    ("Chrysler 300 SRT-8 2010", "Chrysler 300C"),
]
ALIAS = {
    "Ferrari F12berlinetta": "Ferrari F12 Berlinetta",
    "Range Rover": "Land Rover Range Rover",
    "Pagani Zonda|Pagani Huayra": "Pagani Huayra",
}


@functools.cache
def catalog_named(name: str) -> Catalog:
    """A catalog that ships, read once."""
    return load_catalog(name)


def plain_words(name: str) -> list[str]:
    """A car's name in plain words, all of them."""
    return re.sub(r"[^a-z0-9.+/-]+", " ", ALIAS.get(name, name).lower()).split()


def by_name(cars: Iterable[Car]) -> dict[str, Car]:
    """Cars by their plain words; an alias counts where it is no car's own name, and no other car's alias."""
    cars, found, shared = list(cars), dict[str, Car](), set[str]()
    for car in cars:
        for alias in {" ".join(plain_words(alias)) for alias in car.aliases}:
            shared |= {alias} & found.keys()
            found[alias] = car
    for alias in shared:
        del found[alias]
    return found | {" ".join(plain_words(car.name)): car for car in cars}


def words_of(name: str) -> list[str]:
    """A car's name in plain words, without its body and year."""
    plain = plain_words(name)
    while len(plain) > 2 and (plain[-1] in BODIES or re.fullmatch(r"(19|20)\d\d", plain[-1])):
        plain.pop()
    return plain


def family_of(key: str) -> str:
    """A car's name without generation, body and year: 'Porsche Boxster (987)' is a 'porsche boxster'."""
    return " ".join(words_of(re.sub(r"\s*\(.*?\)", "", key)))


def shows(family: str, wanted: str) -> bool:
    """Whether a car of one family is one of another, wider or equal: every 'pagani zonda f' is a 'pagani zonda'."""
    return family == wanted or family.startswith(wanted + " ")


@dataclass
class Names:
    """All names with pictures. `kin[a, b]`: a picture labelled a may well show b too, so b is no negative for it."""

    keys: list[str]
    stanford: set[str]
    listed: set[str]  # those of the catalog's cars
    kin: np.ndarray

    @classmethod
    def fit(cls, items: list[Item], photos: list[Photo]) -> Names:
        """Names of all pictures, and groups of what is no car."""
        stanford = {f"{i.name} {i.year}" for i in items if i.file.startswith("stanford/")}
        cutouts = {i.name for i in items if i.cutout}
        cars = sorted(stanford | cutouts | {n for p in photos for n in p.labels})
        keys = cars + [f"no car: {g}" for g, _ in NO_CAR_GROUPS]
        kin = np.zeros((len(keys), len(keys)), dtype=bool)
        words = [words_of(k) for k in cars]
        for a in range(len(cars)):
            for b in range(len(cars)):
                short = min(len(words[a]), len(words[b]))
                prefix = words[a][:short] == words[b][:short]
                kin[a, b] = a != b and prefix and not (cars[a] in stanford and cars[b] in stanford)
        for a, b in SAME_CAR:
            if a in keys and b in keys:
                kin[keys.index(a), keys.index(b)] = kin[keys.index(b), keys.index(a)] = True
        ours = {car.id for car in catalog_named(OWN_CATALOG).cars}
        listed = {p.labels[0] for p in photos if p.car in ours and len(p.labels) == 1}
        return cls(keys, stanford, listed, kin)

    @functools.cached_property
    def makes(self) -> list[str]:
        """Makes of the cars among them."""
        return sorted({make_of(k) for k in self.keys if not k.startswith("no car")})

    @functools.cached_property
    def among(self) -> np.ndarray:
        """(2, names) bool: what a car that is none of the catalog's may be called, and what no car may be called."""
        nothing = np.array([k.startswith("no car") for k in self.keys])
        own = np.array([k in self.listed for k in self.keys])
        stanford = np.array([k in self.stanford for k in self.keys])
        own |= stanford & self.kin[own].any(0)
        return np.stack([~nothing & ~own, nothing])

    def labels(self, thing: Item | Cutting) -> dict[str, int]:
        """Class numbers of one picture per head, -100 where unknown; `among` is the row of what it may be called where
        nobody named it."""
        is_item = isinstance(thing, Item)
        colour, body = (thing.colour, thing.body) if is_item else ("", "")
        empty = not thing.name if is_item else bool(thing.no_car)
        named = thing.key in self.keys
        return {
            "name": self.keys.index(thing.key) if named else -100,
            "make": self.makes.index(make_of(thing.key)) if named and not empty else -100,
            "colour": COLOURS.index(colour) if colour in COLOURS else -100,
            "body": BODIES.index(body) if body else -100,
            "car": 1 if empty else 0,
            "among": -100 if named else 1 if empty else 0 if not is_item and thing.is_another else -100,
        }
