"""Figures of the model that ships, on pictures that are no held-out photographs: crops, cut-outs and drawings."""

from __future__ import annotations

from typing import Any

import numpy as np

from cartag.scoring.calibration import Calibration
from models.recipe.calibrating import decisions
from models.recipe.drawings import TEST_SEED, draw
from models.recipe.figures import decision_figures
from models.recipe.labels import COLOURS, held_out
from models.recipe.model import Model
from models.recipe.names import OWN_CATALOG, catalog_named, family_of
from models.recipe.pictures import Pictures
from models.recipe.world import World

STYLES = ("coupe", "convertible", "sedan", "wagon", "suv", "hatchback", "minivan", "van", "cab")


def stanford_figures(world: World, model: Model) -> dict[str, Any]:
    """Held-out Stanford crops by text against the 196 names, and precision at ten of body styles on them."""
    test = [i for i in world.items if held_out(i)]
    keys = sorted(world.names.stanford)
    vectors = model.see(world, world.crops, [i.row for i in test])
    cosines = vectors @ model.names(world.names, keys).T
    own = np.array([keys.index(f"{i.name} {i.year}") for i in test])
    ranks = (cosines > cosines[np.arange(len(own)), own][:, None]).sum(1)
    styles = {}
    for style in STYLES:
        said = "pickup" if style == "cab" else style
        if sum(i.body == style for i in test) >= 10:
            styles[said] = model.precision_at_ten(
                vectors, f"a photo of a {style}.", np.array([i.body == style for i in test])
            )
    return {
        "crops": len(test),
        "top1": int((ranks == 0).sum()),
        "top5": int((ranks < 5).sum()),
        "body_precision_at_10": styles,
    }


def colour_figures(world: World, model: Model) -> dict[str, float]:
    """Precision at ten of queries such as 'red Porsche Boxster' among the cut-outs, the only pictures whose colour is
    written down; they are training pictures, and the card says so."""
    cutouts = [i for i in world.items if i.cutout]
    vectors = model.see(world, world.crops, [i.row for i in cutouts])
    counts: dict[tuple[str, str], int] = {}
    for i in cutouts:
        counts[i.colour, family_of(i.name)] = counts.get((i.colour, family_of(i.name)), 0) + 1
    common = sorted((k for k, n in counts.items() if n >= 20 and k[0] in COLOURS), key=lambda k: (-counts[k], k))[:20]
    return {
        f"{colour} {family}": model.precision_at_ten(
            vectors,
            f"{colour} {family}",
            np.array([i.colour == colour and family_of(i.name) == family for i in cutouts]),
        )
        for colour, family in common
    }


def drawing_figures(world: World, model: Model, calibration: Calibration, count: int) -> dict[str, Any]:
    """The shipped model on random drawings that it was not trained on."""
    folder = world.work / "drawings-test"
    drawn = draw(count, TEST_SEED, folder)
    pictures = Pictures.open(folder.parent / "drawings-test-cache")
    classes = model.classes(catalog_named(OWN_CATALOG))
    cosines = model.see(world, pictures, [d.row for d in drawn]) @ classes.embeddings.T
    named = [i for i, d in enumerate(drawn) if d.car in classes.cars]
    right = sum(classes.cars[int(cosines[i, : len(classes.cars)].argmax())] == drawn[i].car for i in named)
    verdicts = decisions(cosines, classes, calibration)
    return {
        "drawings": len(drawn),
        "one_car": len(named),
        "top1": right,
        "decisions": decision_figures(drawn, verdicts, classes.cars),
    }
