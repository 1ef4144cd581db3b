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
# Crops that show the car of a photograph's label, where the names alone do not say so; or would say something else: the
# SL-Class is a Black Series, and no photograph shows one.
SAME_CAR = [
    ("Bugatti Veyron 16.4 Convertible 2009", "Bugatti Veyron Grand Sport"),
    ("Ferrari 458 Italia Convertible 2012", "Ferrari 458 Spider"),
    ("Lamborghini Gallardo LP 570-4 Superleggera 2012", "Lamborghini Gallardo"),
    ("Jaguar XK XKR 2012", "Jaguar XK"),
    ("FIAT 500 Abarth 2012", "Abarth 500"),
    ("Mercedes-Benz SL-Class Coupe 2009", "Mercedes-Benz SL 65 AMG Black Series"),
    ("Bentley Continental Supersports Conv. Convertible 2012", "Bentley Continental GT"),
    ("Chrysler 300 SRT-8 2010", "Chrysler 300C"),
    ("Audi TTS Coupe 2012", "Audi TT"),
    ("BMW M3 Coupe 2012", "BMW M3 (E92)"),
    ("BMW M5 Sedan 2010", "BMW M5 (E60)"),
    ("BMW M5 Sedan 2010", "BMW M5"),
    ("Dodge Challenger SRT8 2011", "Dodge Challenger"),
    ("Ford F-150 Regular Cab 2007", "Ford F-150"),
    ("Ford F-150 Regular Cab 2012", "Ford F-150"),
    ("GMC Canyon Extended Cab 2012", "GMC Canyon"),
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


def same_car(key: str, labels: Iterable[str]) -> tuple[str, ...]:
    """Which labels of photographs are true of one of Stanford's crops too: what `SAME_CAR` knows, or else its name
    without body and year. A label that names a generation is true of that one alone, one that names none is true of all
    (a "Volkswagen Beetle" is the old one and the new)."""
    known = {label for crop, label in SAME_CAR if crop == key}
    own = words_of(key)
    return tuple(sorted(x for x in labels if x in known or (not known and "(" not in x and plain_words(x) == own)))


@dataclass
class Names:
    """All names with pictures. `kin[a, b]`: a picture labelled a may well show b too, so b is no negative for it.

    Among labels of photographs that goes for makes, and for cars of which one label has a generation in brackets. A
    variant and the car it is one of are told apart: a few photographs have the plain name though they show a variant.
    """

    keys: list[str]
    stanford: set[str]
    listed: set[str]  # those of the catalog's cars
    kin: np.ndarray
    also: dict[str, tuple[str, ...]]  # of Stanford's crops: what photographs of the same car are labelled

    @classmethod
    def fit(cls, items: list[Item], photos: list[Photo]) -> Names:
        """Names of all pictures, and groups of what is no car."""
        stanford = {f"{i.name} {i.year}" for i in items if i.file.startswith("stanford/")}
        cutouts = {i.name for i in items if i.cutout}
        labels = {n for p in photos for n in p.labels}
        cars = sorted(stanford | cutouts | labels)
        keys = cars + [f"no car: {g}" for g, _ in NO_CAR_GROUPS]
        kin = np.zeros((len(keys), len(keys)), dtype=bool)
        words = [words_of(k) for k in cars]
        exact = np.array([k in labels and "(" not in k and len(own) > 1 for k, own in zip(cars, words, strict=True)])
        for a in range(len(cars)):
            for b in range(len(cars)):
                short = min(len(words[a]), len(words[b]))
                prefix = words[a][:short] == words[b][:short]
                apart = (cars[a] in stanford and cars[b] in stanford) or (exact[a] and exact[b])
                kin[a, b] = a != b and prefix and not apart
        also = {key: same for key in sorted(stanford) if (same := same_car(key, labels))}
        for a, b in ((keys.index(key), keys.index(label)) for key, same in also.items() for label in same):
            kin[a, b] = kin[b, a] = True
        ours = {car.id for car in catalog_named(OWN_CATALOG).cars}
        listed = {p.labels[0] for p in photos if p.car in ours and len(p.labels) == 1}
        return cls(keys, stanford, listed, kin, also)

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

    def keys_of(self, thing: Item | Cutting) -> tuple[str, ...]:
        """The classes that one picture is of; the first is its own."""
        return thing.key, *(self.also.get(thing.key, ()) if isinstance(thing, Item) else ())

    def labels(self, thing: Item | Cutting, key: str) -> dict[str, int]:
        """Class numbers of one picture per head, by one of its classes, -100 where unknown; `among` is the row of what
        it may be called where nobody named it."""
        is_item = isinstance(thing, Item)
        colour, body = (thing.colour, thing.body) if is_item else ("", "")
        empty = not thing.name if is_item else bool(thing.no_car)
        named = key in self.keys
        return {
            "name": self.keys.index(key) if named else -100,
            "make": self.makes.index(make_of(key)) if named and not empty else -100,
            "colour": COLOURS.index(colour) if colour in COLOURS else -100,
            "body": BODIES.index(body) if body else -100,
            "car": 1 if empty else 0,
            "among": -100 if named else 1 if empty else 0 if not is_item and thing.is_another else -100,
        }
