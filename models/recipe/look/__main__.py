"""Trains `look`, cross-validates it, and writes `models/look/`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from cartag import detector as detectors
from cartag.checkpoints import resolve_detector
from cartag.detector.look import write
from cartag.detector.network import ARCHITECTURE, Look
from cartag.detector.spec import LookSpec
from cartag.progress import Silent
from cartag.state import overlap
from models.recipe.cuts import as_seen
from models.recipe.look import card, graph, tool
from models.recipe.look.card import BOUNDS
from models.recipe.look.measure import GLANCE, Seen, finder, seen_of
from models.recipe.look.sources import read_sources
from models.recipe.look.train import CYCLES, begun, train, trained, views_of
from models.recipe.progress import say
from models.recipe.smoke import make_toy_data
from models.recipe.world import read_world

MADE = ("model.safetensors", graph.GRAPH, "config.json", "preprocessor_config.json")
_PARTS = "one part; default: all but graph; figures: report, with the whole tool's figures left as they stand"
OUT = Path(__file__).resolve().parents[2] / "look"


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m models.recipe.look", description=__doc__)
    found.add_argument("--data", type=Path, help="folder with train/, train.csv, photos/, photos.csv, boxes.csv")
    found.add_argument("--work", type=Path, help="scratch folder for caches and checkpoints (14 GB)")
    found.add_argument("--out", type=Path, default=OUT)
    found.add_argument("--seed", type=int, default=2013)
    found.add_argument("--folds", type=int, default=3)
    found.add_argument("--least", type=float, nargs=2, default=BOUNDS[2], help="confidence of large and of small cars")
    found.add_argument("--only", choices=("ship", "folds", "report", "figures", "graph"), help=_PARTS)
    found.add_argument("--bfloat16", action="store_true", help="what is trained computes in it (needs a C++ compiler)")
    found.add_argument("--smoke", action="store_true", help="a minute on made-up pictures; fails unless losses fall")
    return found


def main() -> int:
    """Runs what the options say; what is finished is not done again."""
    found = parser()
    args = found.parse_args()
    if args.smoke:
        return smoke(args.seed)
    if args.only == "graph":
        graph.write(args.out)
        write_digests(args.out)
        return 0
    if args.data is None or args.work is None:
        found.error("--data and --work are needed")
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    world = read_world(args.data, args.work, args.seed, 0, folds=args.folds)
    sources = read_sources(world, args.data, args.folds)
    views = {c.name: views_of(sources, args.work, args.folds, args.seed, c) for c in CYCLES}
    say("views ready")
    spec = LookSpec(architecture=ARCHITECTURE, least=args.least[0], least_small=args.least[1])
    tags = [f"fold{fold}of{args.folds}" for fold in range(args.folds)]
    if args.only != "ship":
        for fold, tag in enumerate(tags):
            network = trained(views, args.work, tag, fold, args.seed, bfloat16=args.bfloat16)
            save(network, args.work / f"look-{tag}", spec)
    if args.only in (None, "ship"):
        save(trained(views, args.work, "all", None, args.seed, bfloat16=args.bfloat16), args.out, spec)
    if args.only in (None, "report", "figures"):
        seen: list[Seen] = []
        for fold, tag in enumerate(tags):
            find = finder(trained(views, args.work, tag, fold, args.seed))
            seen += seen_of(world, sources, args.data, fold, args.folds, find)
        folders = [args.work / f"look-{tag}" for tag in tags]
        stands = args.only == "figures"
        metrics = {
            "bounds": card.name_of(*args.least),
            "photographs": len(world.photos),
            "thresholds": card.metrics_of(seen),
            "tool": card.tool_of(args.out) if stands else tool.measure(world, sources, args.data, folders),
        }
        card.write(args.out, metrics)
        write_digests(args.out)
    return 0


def smoke(seed: int) -> int:
    """All cycles on made-up pictures; 1 unless cars are found where they stand, by the tool's own code."""
    with tempfile.TemporaryDirectory() as folder:
        data, work = Path(folder) / "data", Path(folder) / "work"
        make_toy_data(data, seed)
        world = read_world(data, work, seed, 0)
        sources = read_sources(world, data, 2)
        cycles = [replace(cycle, views=240, epochs=6.0) for cycle in CYCLES]
        network = begun(seed)
        for cycle in cycles:
            views = views_of(sources, work, 2, seed, cycle)
            network = train(cycle, views, work, "smoke", None, network, seed)
        save(network, work / "look", LookSpec(architecture=ARCHITECTURE, least=0.2, least_small=0.2))
        files = resolve_detector(str(work / "look"), Silent())
        detector = detectors.load(files, device="cpu")
        shown = [scene for scene in sources.scenes if scene.cars]
        found = detector.boxes([as_seen(world.wholes, s.row, detector.image_spec) for s in shown])
        hits = sum(
            any(overlap(box[:4].tolist(), scene.cars[0].box) >= 0.5 for box in boxes)
            for scene, boxes in zip(shown, found, strict=True)
        )
        say(f"look found {hits} of {len(shown)} made-up cars")
        return 0 if hits > 0.8 * len(shown) else 1


def save(network: Look, to: Path, spec: LookSpec) -> None:
    """Writes a detector's folder, weights in float16."""
    write(to, spec, network, GLANCE)
    (to / "model.safetensors").chmod(0o644)
    graph.write(to)
    write_digests(to)


def write_digests(to: Path) -> None:
    """Writes `digests.json`: the SHA-256 of what decides boxes."""
    made = {name: hashlib.sha256((to / name).read_bytes()).hexdigest() for name in MADE}
    (to / "digests.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
