"""All stages in their order, or one part of them; what is finished is not done again."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

import torch

from models.recipe import export, held, measure, options, report, stage1, stage2, stage3
from models.recipe.model import Model
from models.recipe.smoke import smoke
from models.recipe.world import Part, World, everything, folds


def crops(world: World, args: Namespace) -> None:
    """What sees no whole photograph."""
    stage1.run(world)


def text(world: World, args: Namespace) -> None:
    """The first text tower. What it says of all photographs shows what `cartag learn` is worth to a model that was not
    taught the cars."""
    stage3.train_first(world)
    measure.run_first(world)


def towers_of(world: World, part: Part) -> None:
    """Both towers of one training."""
    stage2.train(world, part)
    stage3.train_first(world)
    stage3.train(world, part)


def ship(world: World, args: Namespace) -> None:
    """The model that ships: the mean of all folds' image towers, and a text tower for it."""
    whole, parts = everything(world), folds(world, args.folds)
    for part in parts:
        stage2.train(world, part)
    stage2.merge(world, whole, parts)
    stage3.train_first(world)
    stage3.train(world, whole)
    export.run(world, whole.tag, args.out)


def in_folds(world: World, args: Namespace) -> None:
    """The cross-validation."""
    for part in folds(world, args.folds, args.fold):
        towers_of(world, part)
        measure.run_part(world, part)


def holdout(world: World, args: Namespace) -> None:
    """All folds but the first, shipped, and measured on the first."""
    (part,) = folds(world, args.folds, [0])
    towers_of(world, part)
    export.run(world, part.tag, args.out)
    model = Model.read(world, part.tag)
    halves = held.halves(measure.measure(world, model, part))
    boxes = report.boxes_by(world, halves, [part.tag] * 2, report.fits_without(halves))
    report.write(world, model, halves, boxes, args.out)


PARTS: dict[str, Callable[[World, Namespace], None]] = {
    "stage1": crops,
    "towers": stage2.run,
    "text": text,
    "ship": ship,
    "folds": in_folds,
    "holdout": holdout,
}
ALL = (crops, text, in_folds, ship, report.run)


def parser() -> ArgumentParser:
    """The options of all programs, and which of them to run."""
    found = options.with_out(options.with_folds(options.parser(__doc__)))
    found.add_argument(
        "--only",
        choices=list(PARTS),
        help="one part; default: all and the report. towers: stage 2 alone, of each fold and "
        "(unless --fold is given) the mean of all. holdout: train on all folds but the first, ship that, "
        "and measure it on the first",
    )
    found.add_argument("--report", action="store_true", help="only measure what has been trained")
    found.add_argument("--smoke", action="store_true", help="a minute on made-up pictures; fails unless losses fall")
    return found


def main() -> int:
    """Runs what the options say."""
    found = parser()
    args = found.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    if args.smoke:
        return smoke(args.seed, bfloat16=args.bfloat16)
    world = options.open_world(found, args, drawings=args.only != "stage1")
    wanted = [] if args.report else [PARTS[args.only]] if args.only else [*ALL[:-1]]
    if args.report or not args.only:
        wanted.append(report.run)
    for part in wanted:
        part(world, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
