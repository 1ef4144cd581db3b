"""Whether a box holds a car at all: how the detector, the model's word on the cut-out and that on the photograph as a
whole are weighed, fitted to the boxes of held-out photographs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from scipy.optimize import minimize

from cartag.detector.config import LOOK
from cartag.scoring.calibration import Calibration, Presence
from cartag.scoring.presence import is_doubtful, weighed
from cartag.scoring.scoring import ClassSet, Scores, score
from cartag.values import Box
from models.recipe.cuts import Cuts, as_seen, spec_of
from models.recipe.held import Held
from models.recipe.model import Model
from models.recipe.pictures import RUN_HW, Pictures
from models.recipe.text import LOGIT_SCALE
from models.recipe.towers import embed
from models.recipe.world import World

LENIENT = (0.2, 0.45)  # confidences from which boxes are lessons, below the detector's own: few that it takes are none
SURE = 0.65  # confidence of a box from which a photograph is not asked as a whole: one in eight is
_RIDGE = 1e-3


@dataclass(frozen=True)
class Boxes:
    """Of a fold: what is said of boxes (n,) by its own networks, which saw nothing of it, and what they are."""

    scores: Scores
    found: np.ndarray  # how sure the detector is
    whole: np.ndarray  # probability that the photograph shows no car; NaN where a box is sure
    empty: np.ndarray  # bool: it is no car


def boxes_of(world: World, held: Held, model: Model, detector: Path, calibration: Calibration) -> Boxes:
    """The boxes of the photographs without a car, and of the others the largest, which is one."""
    spec = spec_of(RUN_HW)
    pictures: list[np.ndarray] = []
    rows: list[tuple[float, int, bool]] = []  # of a box: confidence, number of its photograph among those asked, or -1
    asked: list[np.ndarray] = []
    sure = Presence(detector=LOOK, cut=1, whole=0, found=0, bias=0, sure=SURE)
    photos = [photo for photo in held.photos if photo.car != "detail"]
    for photo, boxes in zip(photos, _found(detector, world.wholes, [p.row for p in photos]), strict=True):
        is_asked = is_doubtful([confidence for _, confidence in boxes], sure)
        for box, confidence in boxes if photo.car == "none" else boxes[:1]:
            rows.append((confidence, len(asked) if is_asked else -1, photo.car == "none"))
            pictures.append(as_seen(world.wholes, photo.row, spec, box))
        if is_asked:
            asked.append(as_seen(world.wholes, photo.row, spec))
    no_car = np.append(_scores(model, asked, held.classes, calibration).no_car if asked else [], np.nan)
    found, number, empty = (np.array(column) for column in zip(*rows, strict=True))
    return Boxes(_scores(model, pictures, held.classes, calibration), found, no_car[number], empty)


def _found(folder: Path, pictures: Pictures, rows: list[int]) -> list[list[tuple[Box, float]]]:
    """Boxes with their confidences, largest first, by the detector of a folder with bounds below its own."""
    with tempfile.TemporaryDirectory() as temp:
        lenient = Path(shutil.copytree(folder, Path(temp) / folder.name))
        config = json.loads((lenient / "config.json").read_text(encoding="utf-8"))
        config |= {"least": LENIENT[0], "least_small": LENIENT[1]}
        (lenient / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (lenient / "digests.json").unlink(missing_ok=True)
        return Cuts(lenient).found(pictures, rows)


def _scores(model: Model, pictures: list[np.ndarray], classes: ClassSet, calibration: Calibration) -> Scores:
    vectors = embed(model.image, np.stack(pictures), RUN_HW).numpy()
    return score(vectors, classes, logit_scale=LOGIT_SCALE, calibration=calibration)


def fitted(parts: Sequence[Boxes]) -> Presence:
    """The likeliest weights, a logistic regression in which boxes that hold a car and those that hold none weigh the
    same."""
    empty = np.concatenate([part.empty for part in parts]).astype(bool)

    def odds(x: np.ndarray) -> np.ndarray:
        as_told = Presence(detector=LOOK, cut=x[0], whole=x[1], found=x[2], bias=x[3], sure=SURE)
        p = np.concatenate([weighed(b.scores, b.found, b.whole, as_told).no_car for b in parts]).astype(np.float64)
        p = np.clip(p, 1e-7, 1 - 1e-7)
        result: np.ndarray = np.log(p / (1 - p))
        return result

    def loss(x: np.ndarray) -> float:
        z = np.where(empty, -1, 1) * odds(x)
        each = np.logaddexp(0, z)
        return float(each[empty].mean() + each[~empty].mean() + _RIDGE * (x[:3] ** 2).sum())

    found = minimize(loss, np.array([1.0, 0.0, 0.0, 0.0]), method="Nelder-Mead", options={"maxiter": 4000}).x
    cut_out, whole, confidence, bias = (round(float(x), 3) for x in found)
    return Presence(detector=LOOK, cut=cut_out, whole=whole, found=confidence, bias=bias, sure=SURE)


def with_presence(calibration: Calibration, parts: Sequence[Boxes]) -> Calibration:
    """A calibration that knows how to weigh it."""
    return msgspec.structs.replace(calibration, presence=fitted(parts))
