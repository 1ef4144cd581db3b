"""The report, a program: measures everything that has been trained, and writes it beside the weights.

That is metrics.json, calibration.json, digests.json, the confusion picture and the tables of the card.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import msgspec
import numpy as np

from cartag.scoring.calibration import Calibration
from models.recipe import checkpoints, digests, held, options, unlisted
from models.recipe.card import confusion_picture, tables, write_card
from models.recipe.figures import cross_validated, fits_without
from models.recipe.held import Held
from models.recipe.model import Model
from models.recipe.presence import Boxes, boxes_of, with_presence
from models.recipe.progress import say
from models.recipe.shipped import colour_figures, drawing_figures, stanford_figures
from models.recipe.world import World, everything

DRAWINGS = 120


def write(world: World, model: Model, answers: list[Held], boxes: list[Boxes], out: Path) -> None:
    """Measures everything and writes it beside the weights; ``boxes`` are those of the answers."""
    figures, calibration = cross_validated(answers)
    calibration = with_presence(calibration, boxes)
    write_calibration(calibration, out, figures["photos"], len(answers))
    metrics = {
        "cross_validation": figures,
        "stanford": stanford_figures(world, model),
        "colour_and_model_precision_at_10": colour_figures(world, model),
        "drawings": drawing_figures(world, model, calibration, DRAWINGS),
        "seed": world.seed,
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    confusion_picture(figures["cars"], np.array(figures["confusion"]), out / "confusion.png")
    write_card(out, metrics)
    digests.write(out)
    say(tables(metrics))


def write_calibration(calibration: Calibration, to: Path, photos: int, parts: int) -> None:
    """Writes it beside the weights of a model."""
    names = ("temperature", "spread", "other_bias", "no_car_bias", "threshold", "margin", "other_name", "other_make")
    own = {k: getattr(calibration, k) for k in names}
    own |= {"car_thresholds": {}, "fitted_on": f"{photos} held-out photographs in {parts} parts"}
    if calibration.presence:
        own["presence"] = msgspec.to_builtins(calibration.presence)
    (to / "calibration.json").write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")


def boxes_by(world: World, answers: list[Held], tags: list[str], fits: list[Calibration]) -> list[Boxes]:
    """Of the photographs of each answers, by the networks of their training and a calibration that saw none of them."""
    return [
        boxes_of(world, own, Model.read(world, tag), world.work / f"look-{tag}", fitted)
        for own, tag, fitted in zip(answers, tags, fits, strict=True)
    ]


def run(world: World, args: Namespace) -> None:
    """Of the model that ships and all folds that were measured; each fold gets a calibration fitted to the others."""
    answers = held.read(world, args.folds)
    fits = fits_without(answers)
    tags = [f"fold{own.fold}of{args.folds}" for own in answers]
    boxes = boxes_by(world, answers, tags, fits)
    for own, tag, fitted in zip(answers, tags, fits, strict=True):
        rest = [h for h in answers if h is not own]
        folder = checkpoints.exported(world.work, tag)
        if folder.is_dir():
            photos = sum(len(h.photos) for h in rest)
            others = [found for h, found in zip(answers, boxes, strict=True) if h is not own]
            whole = with_presence(unlisted.fitted(rest, fitted), others) if others else unlisted.fitted(rest, fitted)
            write_calibration(whole, folder, photos, len(rest))
    write(world, Model.read(world, everything(world).tag), answers, boxes, args.out)


if __name__ == "__main__":
    options.run(options.with_out(options.with_folds(options.parser(__doc__))), run)
