"""How right the model is over a wide catalog, which is what people without a list of their own get: `sports-cars`."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from cartag.scoring.calibration import Calibration
from models.recipe.calibrating import decisions, scores_of
from models.recipe.held import Held
from models.recipe.names import WIDE_CATALOG, by_name, catalog_named, family_of, plain_words, shows
from models.recipe.photos import Photo

MOST_WRONG = 0.05  # of the photographs of its cars


def as_listed(photos: list[Photo]) -> list[Photo]:
    """The photographs with the cars that the wide catalog has; what it does not have is `other`.

    A label that is wider or narrower than one of its names (a "Porsche 911" of no generation), or of another body or
    generation of the same car, is `unnamed`: no answer to it is right or wrong.
    """
    known = by_name(catalog_named(WIDE_CATALOG).cars)
    families = {family_of(name) for car in catalog_named(WIDE_CATALOG).cars for name in (car.name, *car.aliases)}

    @functools.cache
    def car_of(label: str) -> str:
        if (car := known.get(" ".join(plain_words(label)))) is not None:
            return car.id
        own = family_of(label)
        return "unnamed" if any(shows(own, f) or shows(f, own) for f in families) else "other"

    def cars(photo: Photo) -> tuple[str, ...]:
        return photo.cars if photo.no_car else tuple(car_of(label) for label in photo.labels) or ("unnamed",)

    return [replace(photo, cars=cars(photo)) for photo in photos]


def wide_figures(held: list[Held], fits: list[Calibration]) -> dict[str, Any]:
    """Of each fold by what was fitted to the other folds.

    Once as the tool decides, by the calibration of the own catalog, and once from the score on at which of the other
    folds' photographs of its cars no more than 5 % are tagged wrongly.
    """
    cars, count = held[0].wide.cars, dict.fromkeys(_COUNTS, 0)
    for k, (h, fitted) in enumerate(zip(held, fits, strict=True)):
        rest = [x for j, x in enumerate(held) if j != k]
        photos = as_listed(h.photos)
        cosines = h.vectors @ h.wide.embeddings.T
        top = scores_of(cosines, h.wide, fitted).cars
        least = _least([_top(x, fitted) for x in rest])
        for i, (photo, verdict) in enumerate(zip(photos, decisions(cosines, h.wide, fitted), strict=True)):
            tags, best = {tag.car for tag in verdict.tags}, cars[int(top[i].argmax())]
            if photo.car in cars:
                order = np.argsort(-cosines[i, : len(cars)])
                rank = list(order).index(cars.index(photo.car))
                count["photos"] += 1
                count["top1"] += rank == 0
                count["top5"] += rank < 5
                count["right"] += photo.car in tags
                count["wrong"] += bool(tags - {photo.car})
                count["sure_right"] += bool(top[i].max() >= least and best == photo.car)
                count["sure_wrong"] += bool(top[i].max() >= least and best != photo.car)
            elif photo.car == "other":
                count["others"] += 1
                count["others_tagged"] += bool(tags)
                count["others_sure"] += bool(top[i].max() >= least)
    return {"cars": len(cars), **count}


_COUNTS = (
    *("photos", "top1", "top5", "right", "wrong", "sure_right", "sure_wrong"),
    *("others", "others_tagged", "others_sure"),
)


def _top(held: Held, fitted: Calibration) -> list[tuple[float, bool]]:
    """Of its photographs of the catalog's cars the score of the likeliest car, and whether it is the right one."""
    scores = scores_of(held.vectors @ held.wide.embeddings.T, held.wide, fitted).cars
    return [
        (float(own.max()), held.wide.cars[int(own.argmax())] == photo.car)
        for photo, own in zip(as_listed(held.photos), scores, strict=True)
        if photo.car in held.wide.cars
    ]


def _least(folds: list[list[tuple[float, bool]]]) -> float:
    """The lowest score from which on so few are wrong."""
    found = sorted((pair for fold in folds for pair in fold), reverse=True)
    wrong, least = 0, float("inf")
    for score, is_right in found:
        wrong += not is_right
        if wrong > MOST_WRONG * len(found):
            break
        least = score
    return least
