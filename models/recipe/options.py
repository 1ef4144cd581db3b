"""The command line that the programs of the recipe share, and what a program reads before it starts."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from models.recipe.progress import say
from models.recipe.world import FOLDS, World, read_world

MINI = Path(__file__).resolve().parents[1] / "mini"


def parser(text: str | None) -> ArgumentParser:
    """Options of every program."""
    own = Path(sys.argv[0]).stem
    prog = "python -m models.recipe" + f".{own}" * (own != "__main__")
    found = ArgumentParser(prog=prog, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, help="folder with train/, train.csv, photos/, photos.csv")
    found.add_argument("--work", type=Path, help="scratch folder for caches and checkpoints")
    found.add_argument("--seed", type=int, default=2013)
    found.add_argument("--drawings", type=int, default=260)
    found.add_argument("--device", default="cpu", help="where image towers are trained: cpu (default) or cuda")
    found.add_argument(
        "--bfloat16",
        action="store_true",
        help="image towers compute in it while they are trained (on a processor that needs a C++ compiler)",
    )
    return found


def with_folds(found: ArgumentParser) -> ArgumentParser:
    """Options of programs that train or measure in folds."""
    found.add_argument("--folds", type=int, default=FOLDS, help="as `look` was cross-validated in")
    found.add_argument("--fold", type=int, action="append", help="run only this fold; may be repeated")
    return found


def with_out(found: ArgumentParser) -> ArgumentParser:
    """Options of programs that write the folder of the model."""
    found.add_argument("--out", type=Path, default=MINI, help="folder of the model")
    return found


def open_world(found: ArgumentParser, args: Namespace, *, drawings: bool = True) -> World:
    """What the options name, read and cached."""
    if args.data is None or args.work is None:
        found.error("--data and --work are needed")
    args.work.mkdir(parents=True, exist_ok=True)
    count = args.drawings if drawings else 0
    world = read_world(args.data, args.work, args.seed, count, args.device, getattr(args, "folds", FOLDS))
    say("caches ready")
    return replace(world, bfloat16=args.bfloat16)


def run(found: ArgumentParser, stage: Callable[[World, Namespace], None], *, drawings: bool = True) -> None:
    """Runs one stage as a program."""
    args = found.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    stage(open_world(found, args, drawings=drawings), args)
