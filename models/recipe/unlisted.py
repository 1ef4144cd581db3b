"""From which probability on a car outside the catalog is called by its name or its make: by held-out photographs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from cartag.scoring.calibration import Calibration
from cartag.scoring.others import others_of
from cartag.scoring.scoring import ClassSet
from models.recipe.calibrating import decisions, scores_of
from models.recipe.held import Held
from models.recipe.labels import make_of
from models.recipe.names import OWN_CATALOG, catalog_named, family_of, shows
from models.recipe.photos import Photo
from models.recipe.text import LOGIT_SCALE

RIGHT = 0.8  # of what is said; three of four are promised
_FEWEST = 10  # names that have to be said before their share says anything
_NEVER = 1.0


class Said(NamedTuple):
    """What could be said of one photograph of another car, how likely it is, and whether that would be right."""

    name: float
    name_is_right: bool
    make: float
    make_is_right: bool


def is_right(said: str, label: str) -> bool:
    """Whether a car's name in a catalog is that of a label, one of which may be wider: a '911' is a '911 Turbo'.

    One generation, which stands in brackets, is not another.
    """
    generations = [set(re.findall(r"\((.*?)\)", name.lower())) for name in (said, label)]
    if all(generations) and generations[0] != generations[1]:
        return False
    ours, theirs = family_of(said), family_of(label)
    return shows(ours, theirs) or shows(theirs, ours)


def fitted(held: Sequence[Held], calibration: Calibration) -> Calibration:
    """The calibration with the lowest bounds from which on so many names, and so many makes where no name is said, are
    right."""
    found = [said for h in held for said in sayings(h, calibration)]
    name = _least([(s.name, s.name_is_right) for s in found])
    make = _least([(s.make, s.make_is_right) for s in found if s.name < name])
    return msgspec.structs.replace(calibration, other_name=name, other_make=make)


def figures(held: Sequence[Held], calibrations: Sequence[Calibration]) -> dict[str, int]:
    """Counts of the photographs of other cars, each fold by bounds that were fitted to the others, as its calibration
    was."""
    counts = dict.fromkeys(("photos", "named", "named_right", "made", "made_right"), 0)
    for k, (own, calibration) in enumerate(zip(held, calibrations, strict=True)):
        bounds = fitted([h for j, h in enumerate(held) if j != k], calibration)
        for said in sayings(own, calibration):
            counts["photos"] += 1
            if said.name >= bounds.other_name:
                counts["named"] += 1
                counts["named_right"] += said.name_is_right
            elif said.make >= bounds.other_make:
                counts["made"] += 1
                counts["made_right"] += said.make_is_right
    return counts


def sayings(held: Held, calibration: Calibration) -> Iterator[Said]:
    """Of every photograph of another car with a label of which the tool says `unknown`."""
    cars = catalog_named(OWN_CATALOG).other_cars
    names, makes = [car.name for car in cars], [car.make for car in cars]
    scores = scores_of(held.cosines, held.classes, calibration)
    unit = ClassSet(held.classes.cars, np.eye(held.cosines.shape[1], dtype=np.float32), held.classes.others)
    found = others_of(
        held.cosines.astype(np.float32), unit, scores, makes, logit_scale=LOGIT_SCALE, calibration=calibration
    )
    verdicts = decisions(held.cosines, held.classes, calibration)
    for i, (photo, verdict) in enumerate(zip(held.photos, verdicts, strict=True)):
        if _is_asked(photo, verdict):
            label, make = photo.labels[0], makes[int(found.make_car[i])]
            yield Said(
                name=float(found.probability[i]),
                name_is_right=is_right(names[int(found.car[i])], label),
                make=float(found.make_probability[i]),
                make_is_right=make.casefold() == make_of(label).casefold(),
            )


def _is_asked(photo: Photo, verdict: Any) -> bool:
    return photo.car == "other" and len(photo.labels) == 1 and verdict.outcome == "unknown"


def _least(said: Sequence[tuple[float, bool]]) -> float:
    """The lowest probability from which on enough of what is said is right; one that nothing reaches, if there is
    none."""
    least, right = _NEVER, 0
    for count, (probability, is_true) in enumerate(sorted(said, reverse=True), 1):
        right += is_true
        if count >= _FEWEST and right >= RIGHT * count:
            least = probability
    return min(_NEVER, np.floor(1000 * least) / 1000)
