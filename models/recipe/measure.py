"""Measuring, a program: what the tool would answer on photographs that a fold did not train on.

Without --fold also what the model of stage 1 says of the photographs, for it saw none of them.
"""

from __future__ import annotations

from argparse import Namespace
from collections import Counter

import msgspec
import numpy as np

from cartag.values import Catalog
from models.recipe import checkpoints, export, held, options
from models.recipe.held import Held
from models.recipe.labels import is_called
from models.recipe.model import Model
from models.recipe.names import OWN_CATALOG, WIDE_CATALOG, Names, catalog_named, words_of
from models.recipe.photos import Photo
from models.recipe.progress import say
from models.recipe.spellings import spellings
from models.recipe.world import Part, World, folds

STRANGERS = 11


def strangers(names: Names) -> Catalog:
    """A catalog of cars without any training picture, every so many-th of the wide catalog's; the taught ones among
    its other cars."""
    wide = catalog_named(WIDE_CATALOG)
    taught = {" ".join(words_of(k)) for k in names.keys}
    unknown = [
        c
        for c in wide.cars
        if not {" ".join(words_of(n)) for n in (c.name, *c.aliases)} & taught
        and not any(" ".join(words_of(c.name)) in t or t in " ".join(words_of(c.name)) for t in taught)
    ]
    cars = tuple(unknown[:: max(1, len(unknown) // STRANGERS)][:STRANGERS])
    own = catalog_named(OWN_CATALOG)
    rest = tuple(c for c in (*own.cars, *wide.cars) if c.id not in {x.id for x in cars})
    return msgspec.structs.replace(own, cars=cars, other_cars=rest)


def ranks_of(model: Model, names: Names, part: Part, vectors: np.ndarray) -> np.ndarray:
    """(N,) rank of the right name of each photograph among all names with training photographs, -1 where none."""
    keys = sorted({n for p in part.train if len(p.labels) == 1 for n in p.labels})
    own = model.names(names, keys)
    ranks = np.full(len(part.test), -1)
    for i, p in enumerate(part.test):
        if len(p.labels) == 1 and p.labels[0] in keys:
            cosines = own @ vectors[i]
            ranks[i] = int((cosines > cosines[keys.index(p.labels[0])]).sum())
    return ranks


def free_text_of(model: Model, names: Names, photos: list[Photo], vectors: np.ndarray) -> dict[str, float]:
    """Precision at ten of descriptions that are true of five photographs or more."""
    spelled = spellings(names)
    bodies = [spelled[p.labels[0]].body if len(p.labels) == 1 else "" for p in photos]
    queries: dict[str, list[bool | None]] = {"not a car": [p.car == "none" for p in photos]}
    for word in ("coupe", "convertible", "roadster"):
        called = [False if p.no_car else is_called(b, word) for p, b in zip(photos, bodies, strict=True)]
        queries[f"a photo of a {word}"] = called
    found = {}
    for query, true in queries.items():
        known = np.array([one is not None for one in true])
        if sum(one is True for one in true) >= 5:
            found[query] = model.precision_at_ten(vectors[known], query, np.array(true)[known].astype(bool))
    return found


def measure(world: World, model: Model, part: Part) -> Held:
    """Answers of the model on the photographs that it is measured on."""
    vectors = model.see_photos(world, part.test)
    taught = Counter(p.labels[0] for p in part.train if len(p.labels) == 1)
    by_crops = {label for labels in world.names.also.values() for label in labels}
    return Held(
        fold=part.fold,
        photos=part.test,
        vectors=vectors,
        classes=model.classes(catalog_named(OWN_CATALOG)),
        ranks=ranks_of(model, world.names, part, vectors),
        taught=np.array([taught[p.labels[0]] if len(p.labels) == 1 else 0 for p in part.test]),
        by_crops=np.array([len(p.labels) == 1 and p.labels[0] in by_crops for p in part.test]),
        free_text=free_text_of(model, world.names, part.test, vectors),
        strangers=model.classes(strangers(world.names)),
        wide=model.classes(catalog_named(WIDE_CATALOG)),
    )


def run_first(world: World) -> None:
    """Of the model of stage 1, on the photographs that it did not see as crops."""
    part = Part(checkpoints.FIRST, world.photos, [p for p in world.photos if p.row not in world.again])
    held.write(measure(world, Model.read(world, part.tag), part), held.place(world.work, part.tag))


def run_part(world: World, part: Part) -> None:
    """Of a fold, on its own photographs."""
    model = Model.read(world, part.tag)
    found = measure(world, model, part)
    held.write(found, held.place(world.work, part.tag))
    folder = checkpoints.exported(world.work, part.tag)
    export.export(model, folder)  # the recipe of `look` measures the tool with it
    (folder / "calibration.json").unlink(missing_ok=True)  # of what was there before; the report writes its own
    cars, cosines = found.classes.cars, found.cosines
    own = [i for i, p in enumerate(part.test) if p.car in cars]
    right = sum(cars[int(cosines[i, : len(cars)].argmax())] == part.test[i].car for i in own)
    say(f"{part.tag}: eleven-way top-1 {right}/{len(own)}")


def run(world: World, args: Namespace) -> None:
    """The first one and every fold, or some folds."""
    if args.fold is None:
        run_first(world)
    for part in folds(world, args.folds, args.fold):
        run_part(world, part)


if __name__ == "__main__":
    options.run(options.with_folds(options.parser(__doc__)), run)
