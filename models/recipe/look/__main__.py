"""Trains `look`, cross-validates it, and writes `models/look/`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from models.recipe.look.sources import read_sources
from models.recipe.look.train import EPOCHS, VIEWS, train, views_of
from models.recipe.progress import say
from models.recipe.world import read_world

OUT = Path(__file__).resolve().parents[2] / "look"


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m models.recipe.look", description=__doc__)
    found.add_argument(
        "--data", type=Path, required=True, help="folder with train/, train.csv, photos/, photos.csv, boxes.csv"
    )
    found.add_argument("--work", type=Path, required=True, help="scratch folder for caches and checkpoints (6 GB)")
    found.add_argument("--out", type=Path, default=OUT)
    found.add_argument("--seed", type=int, default=2013)
    found.add_argument("--folds", type=int, default=3)
    found.add_argument("--views", type=int, default=VIEWS)
    found.add_argument("--epochs", type=float, default=EPOCHS)
    found.add_argument("--only", choices=("ship", "folds", "report"))
    return found


def main() -> int:
    """Runs what the options say; what is finished is not done again."""
    args = parser().parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    world = read_world(args.data, args.work, args.seed, 0)
    sources = read_sources(world, args.data, args.folds)
    views = views_of(sources, args.work, args.folds, args.seed, args.views)
    say("views ready")
    if args.only in (None, "folds"):
        for fold in range(args.folds):
            train(views, args.work, f"fold{fold}of{args.folds}", fold, args.seed, args.epochs)
    if args.only in (None, "ship"):
        train(views, args.work, "all", None, args.seed, args.epochs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
