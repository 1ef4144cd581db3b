"""The report, a program: measures everything that has been trained, and writes it beside the weights.

That is metrics.json, calibration.json, digests.json, the confusion picture and the tables of the card.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np

from models.recipe import digests, held, options
from models.recipe.card import confusion_picture, tables, write_card
from models.recipe.figures import cross_validated
from models.recipe.held import Held
from models.recipe.model import Model
from models.recipe.progress import say
from models.recipe.shipped import colour_figures, drawing_figures, stanford_figures
from models.recipe.world import World, everything

DRAWINGS = 120


def write(world: World, model: Model, answers: list[Held], out: Path) -> None:
    """Measures everything and writes it beside the weights."""
    figures, calibration = cross_validated(answers)
    names = ("temperature", "spread", "other_bias", "no_car_bias", "threshold", "margin")
    own = {k: getattr(calibration, k) for k in names}
    own |= {"car_thresholds": {}, "fitted_on": f"{figures['photos']} held-out photographs in {len(answers)} parts"}
    (out / "calibration.json").write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")
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


def run(world: World, args: Namespace) -> None:
    """Of the model that ships and all folds that were measured."""
    write(world, Model.read(world, everything(world).tag), held.read(world, args.folds), args.out)


if __name__ == "__main__":
    options.run(options.with_out(options.with_folds(options.parser(__doc__))), run)
