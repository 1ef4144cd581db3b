"""How the classes are written: names, first years and bodies, with what the shipped catalogs know of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cartag.values import Car
from models.recipe.labels import body_of
from models.recipe.names import OWN_CATALOG, WIDE_CATALOG, Names, by_name, catalog_named, plain_words, words_of


@dataclass(frozen=True)
class Spelling:
    """How one class of `Names` is written: its names, first year and body, where known."""

    names: tuple[str, ...]
    year: str
    body: str


def spellings(names: Names) -> dict[str, Spelling]:
    """Spellings of every car with pictures, with aliases, years and bodies of the shipped catalogs."""
    catalog, wide = catalog_named(OWN_CATALOG), catalog_named(WIDE_CATALOG)
    known = by_name((*wide.cars, *catalog.cars)) | by_name(catalog.cars)  # the catalog's own cars come first
    wider: dict[str, Car] = {}
    for car in (*catalog.cars, *wide.cars):
        wider.setdefault(" ".join(words_of(car.name)), car)
    result = {}
    for key in names.keys:
        if key.startswith("no car"):
            continue
        if key in names.stanford:
            name, year = key.rsplit(" ", 1)
            twins = sum(k.rsplit(" ", 1)[0] == name for k in names.stanford)
            result[key] = Spelling((key, name) if twins == 1 else (key,), year, body_of(name))
            continue
        car = known.get(" ".join(plain_words(key))) or (wider.get(" ".join(words_of(key))) if "(" not in key else None)
        same = car and words_of(car.name) == words_of(key)  # an alias may be wider than the label
        written = dict.fromkeys([key, *((car.name, *car.prompts, *car.aliases) if same else ())])
        found = re.search(r"\d{4}", (car.years or "") if car else "")
        result[key] = Spelling(tuple(written), found.group() if found else "", (car.body or "") if car else "")
    return result


def fitting(spelling: Spelling, templates: tuple[str, ...]) -> list[str]:
    """A car's first name in every template that fits."""
    return [
        t.replace("{name}", spelling.names[0]).replace("{year}", spelling.year)
        for t in templates
        if spelling.year or "{year}" not in t
    ]
