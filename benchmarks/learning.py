"""What `learn` is worth on photographs: nested cross-validation on embeddings of photos that a model never saw.

    python -m benchmarks.learning WORK/held-*of4.npz --photos photos.csv [--most 5] [--most-rejected 60] [--folds 5]

The held files are what `models/mini/train.py --only folds` leaves in its scratch folder, one a training fold: `vectors`
(N, d), `rows` (N,) of photos.csv, `classes` (C, d) of the catalog by the fold's own text tower, and beside it a JSON
with `cars` and `others`. Every file is a space of its own, so `learn` is cross-validated within each, and the answers
are pooled. Variants, details and photos of several cars are left out. Photos of one source share a side, and so do
near-duplicates. The comparison is paired, before and after on the same photos.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from cartag import fitting, metrics
from cartag.calibration import calibration_of
from cartag.fitting import CrossValidation, Examples, ZeroShot
from cartag.metrics import Answers
from cartag.resources import shipped
from cartag.scoring import ClassSet

LOGIT_SCALE = 30.0  # of mini
FIGURES = ("recall_at_95_precision", "top1", "precision", "recall", "f1", "accuracy", "brier", "ece")


def main() -> None:
    """Reads, cross-validates, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("held", type=Path, nargs="+")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--most", type=int, default=5, help="labels a car that a fit may see")
    parser.add_argument("--most-rejected", type=int, default=60, help="of other cars, and of none")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--precision", type=float, default=0.95)
    args = parser.parse_args()
    with args.photos.open(encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    checked: list[CrossValidation] = []
    cars: tuple[str, ...] = ()
    for file in args.held:
        examples, zero = read(file, rows)
        cars = zero.classes.cars
        found = fitting.cross_validate(
            examples,
            zero,
            precision=args.precision,
            folds=args.folds,
            most=args.most,
            most_rejected=args.most_rejected,
        )
        if found is None:
            raise SystemExit(f"{file}: its photos cannot be split into folds")
        checked.append(found)
    print(
        f"{len(args.held)} held files; at most {args.most} labels a car, {args.most_rejected} of other cars and of none"
    )
    report(pooled([c.before for c in checked]), pooled([c.after for c in checked]), cars)


def read(file: Path, rows: list[dict[str, str]]) -> tuple[Examples, ZeroShot]:
    """The photos of one held file that count, with their groups, and the zero-shot side."""
    beside = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    cars = tuple(beside["cars"])
    with np.load(file) as data:
        vectors, numbers = np.asarray(data["vectors"], np.float32), data["rows"]
        classes = ClassSet(cars, np.asarray(data["classes"], np.float32), int(beside["others"]))
    kinds = {"none": "none", "other": "unknown"} | dict.fromkeys(cars, "car")
    use = [i for i, row in enumerate(numbers) if rows[row]["car"] in kinds]
    chosen = [rows[numbers[i]] for i in use]
    shows = np.array([[row["car"] == car for car in cars] for row in chosen], bool)
    sources = [row["source_repo"] + " " + row["label"] * row["source_repo"].startswith("carsnet/") for row in chosen]
    groups, by = fitting.groups_of(sources, [row["file"] for row in chosen], vectors[use], shows)
    print(f"{file.name}: {len(use)} of {len(numbers)} photos, {len(np.unique(groups))} groups by source ({by})")
    kind = np.array([kinds[row["car"]] for row in chosen], object)
    zero = ZeroShot(classes, calibration_of(shipped("models", "mini")), LOGIT_SCALE)
    return Examples(vectors[use], shows, kind, groups), zero


def pooled(parts: list[Answers]) -> Answers:
    """The answers of several held files as one."""
    return Answers(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Answers)))


def report(before: Answers, after: Answers, cars: tuple[str, ...]) -> None:
    """A table with paired intervals, and tags by car."""
    n = len(before.kind)
    old, new = metrics.headline(before), metrics.headline(after)
    was, now, gain = metrics.values(old, n), metrics.values(new, n), metrics.differences(new, old, n)
    print({kind: int((before.kind == kind).sum()) for kind in ("car", "unknown", "none")})
    print(f"{'figure':28} {'before':>8} {'after':>8} {'gain':>8}  95 % interval (paired)")
    for name in FIGURES:
        i = gain[name]
        span = f"{100 * i.low:+.1f} to {100 * i.high:+.1f}" if i else "-"
        print(
            f"{name:28} {100 * was[name]:7.1f}% {100 * now[name]:7.1f}% {100 * (now[name] - was[name]):+7.1f}%  {span}"
        )
    ece = metrics.intervals({"ece": new["ece"]}, n)["ece"]
    if ece:
        print(f"ECE after calibration: {100 * ece.value:.1f} % ({100 * ece.low:.1f} to {100 * ece.high:.1f})")
    for c, car in enumerate(cars):
        shown = before.truth[:, c]
        if shown.any():
            hits = [int((a.tagged[:, c] & shown).sum()) for a in (before, after)]
            wrong = [int((a.tagged[:, c] & ~shown).sum()) for a in (before, after)]
            print(
                f"  {car:36} {int(shown.sum()):3} photos, tagged {hits[0]:3} -> {hits[1]:3}, "
                f"wrongly {wrong[0]:3} -> {wrong[1]:3}"
            )


if __name__ == "__main__":
    main()
