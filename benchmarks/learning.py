"""What `learn` is worth on photographs: nested cross-validation on embeddings of photos that a model never saw.

    python -m benchmarks.learning WORK/held-*of3.npz --photos photos.csv [--together] [--seeds 5]
                                  [--most 5] [--most-rejected 60] [--folds 5]

The held files are what `python -m models.recipe` leaves in its scratch folder: `--only folds` one a training fold,
`--only text` one of the model before it saw any photograph (`held-first.npz`). They hold `vectors` (N, d), `rows` (N,)
of photos.csv, `classes` (C, d) of the catalog by the model's own text tower, and beside them lies a JSON with `cars`
and `others`. Every file is a space of its own, so `learn` is cross-validated within each, and the answers are pooled.
Of the three folds that leaves most cars one to three labels, and a press set whose car has no other photo in its file
none.

With `--together` the spaces are turned onto the first by their classes (orthogonal Procrustes, which sees no photo),
and one cross-validation runs over all photos. Zero-shot scores are still those of each photo's own space. The model
that embedded a photo had then been trained on most of the labels that are learned from: they tell it little new.

Variants, details and photos of several cars are left out. Photos of one source share a side, and so do near-duplicates.
The comparison is paired, before and after on the same photos; it is repeated with other folds and other labels drawn
(`--seeds`), and every figure is the mean over these.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from cartag.learning.fitting import Examples, ZeroShot
from cartag.learning.judging import cross_validate
from cartag.learning.splits import groups_of
from cartag.measuring import metrics
from cartag.measuring.metrics import Answers, Statistic
from cartag.resources import shipped
from cartag.scoring.calibration import calibration_of
from cartag.scoring.scoring import ClassSet

LOGIT_SCALE = 30.0  # of mini
FIGURES = ("top1", "precision", "recall", "f1", "accuracy", "brier", "ece")
_OWN = 0.05  # share of a vector that stands for its own space: scores are exact, and there is little to learn from it


def main() -> None:
    """Reads, cross-validates, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("held", type=Path, nargs="+")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--most", type=int, default=5, help="labels a car that a fit may see")
    parser.add_argument("--most-rejected", type=int, default=60, help="of other cars, and of none")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--precision", type=float, default=0.95)
    parser.add_argument("--together", action="store_true", help="one cross-validation over all files")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions with other folds and labels")
    args = parser.parse_args()
    with args.photos.open(encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    parts = [read(file, rows) for file in args.held]
    if args.together:
        parts = [together(parts)]
    repeated = [
        [
            cross_validate(
                examples,
                zero,
                precision=args.precision,
                folds=args.folds,
                most=args.most,
                most_rejected=args.most_rejected,
                seed=seed,
            )
            for examples, zero in parts
        ]
        for seed in range(args.seeds)
    ]
    print(
        f"{len(args.held)} held files{' together' * args.together}; at most {args.most} labels a car, "
        f"{args.most_rejected} of other cars and of none; {args.seeds} repetitions"
    )
    found = [[checked for checked in each if checked] for each in repeated]
    report(
        pooled([checked.before for checked in found[0]]),
        [pooled([checked.after for checked in each]) for each in found],
        parts[0][1].classes.cars,
    )


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
    groups, by = groups_of(sources, [row["file"] for row in chosen], vectors[use], shows)
    print(f"{file.name}: {len(use)} of {len(numbers)} photos, {len(np.unique(groups))} groups by source ({by})")
    kind = np.array([kinds[row["car"]] for row in chosen], object)
    fold = file.with_name(f"mini-fold{file.stem.removeprefix('held-')}")  # fitted to the other folds, once reported
    own = calibration_of(fold if (fold / "calibration.json").is_file() else shipped("models", "mini"))
    zero = ZeroShot(classes, own, LOGIT_SCALE)
    return Examples(vectors[use], shows, kind, groups), zero


def together(parts: list[tuple[Examples, ZeroShot]]) -> tuple[Examples, ZeroShot]:
    """All photos in one space, (n, d + files x d): what all share, and a little of each photo's own space.

    The classes have only the latter, so that zero-shot scores are those of the photo's own space, to the last digit.
    """
    first, d = parts[0][1], parts[0][0].photos.shape[1]
    photos, classes, groups = [], [], []
    for k, (examples, zero) in enumerate(parts):
        left, _, right = np.linalg.svd(zero.classes.embeddings.T @ first.classes.embeddings)
        x = np.zeros((len(examples), d * (1 + len(parts))), np.float32)
        x[:, :d] = examples.photos @ (left @ right) * np.sqrt(1 - _OWN**2)
        x[:, d * (k + 1) : d * (k + 2)] = examples.photos * _OWN
        photos.append(x)
        classes.append(zero.classes.embeddings / _OWN)
        groups.append(examples.groups + sum(len(before) for before, _ in parts[:k]))
    every = np.hstack([np.zeros_like(classes[0]), *classes])
    shows, kind = (np.concatenate([getattr(e, name) for e, _ in parts]) for name in ("shows", "kind"))
    examples = Examples(np.concatenate(photos), shows, kind, np.concatenate(groups))
    return examples, replace(first, classes=replace(first.classes, embeddings=every))


def pooled(parts: list[Answers]) -> Answers:
    """The answers of several held files as one."""
    return Answers(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Answers)))


def average_precision(truth: np.ndarray, scores: np.ndarray) -> Statistic:
    """Area under the curve of precision against recall of (photo, car) pairs, as a sum over the right ones."""
    photo = np.repeat(np.arange(len(truth)), truth.shape[1])
    order = np.argsort(-scores.ravel(), kind="stable")
    photo, hit = photo[order], truth.ravel()[order].astype(float)

    def statistic(w: np.ndarray) -> np.ndarray:
        ordered = w[:, photo]
        right, all_ = np.cumsum(ordered * hit, axis=1), np.cumsum(ordered, axis=1)
        found: np.ndarray = (ordered * hit * right / np.maximum(all_, 1)).sum(axis=1) / right[:, -1]
        return found

    return statistic


def figures(a: Answers) -> dict[str, Statistic]:
    """The headline figures, and more of the curve whose one point is recall at 95 % precision."""
    curve = {
        f"recall at {precision} % precision": metrics.recall_at_precision(a.truth, a.scores, precision / 100)
        for precision in (95, 90, 80)
    }
    every = metrics.headline(a)
    return curve | {"average precision": average_precision(a.truth, a.scores)} | {name: every[name] for name in FIGURES}


def mean(statistics: list[Statistic]) -> Statistic:
    """The mean of a figure over repetitions, on the same resamples."""
    return lambda w: np.mean([statistic(w) for statistic in statistics], axis=0)


def report(before: Answers, repeated: list[Answers], cars: tuple[str, ...]) -> None:
    """A table with paired intervals, and tags by car in the first repetition."""
    n = len(before.kind)
    old, each = figures(before), [figures(after) for after in repeated]
    new = {name: mean([one[name] for one in each]) for name in old}
    was, now, gain = metrics.metric_values(old, n), metrics.metric_values(new, n), metrics.differences(new, old, n)
    print({kind: int((before.kind == kind).sum()) for kind in ("car", "unknown", "none")})
    print(f"{'figure':28} {'before':>8} {'after':>8} {'gain':>8}  95 % interval (paired)  lowest and highest after")
    for name in old:
        i, values = gain[name], [metrics.metric_values(one, n)[name] for one in each]
        span = f"{100 * i.low:+.1f} to {100 * i.high:+.1f}" if i else "-"
        print(
            f"{name:28} {100 * was[name]:7.1f}% {100 * now[name]:7.1f}% {100 * (now[name] - was[name]):+7.1f}%  "
            f"{span:22}  {100 * min(values):.1f} {100 * max(values):.1f}"
        )
    ece = metrics.intervals({"ece": new["ece"]}, n)["ece"]
    if ece:
        print(f"ECE after calibration: {100 * ece.value:.1f} % ({100 * ece.low:.1f} to {100 * ece.high:.1f})")
    for c, car in enumerate(cars):
        shown = before.truth[:, c]
        if shown.any():
            hits = [int((a.tagged[:, c] & shown).sum()) for a in (before, repeated[0])]
            wrong = [int((a.tagged[:, c] & ~shown).sum()) for a in (before, repeated[0])]
            print(
                f"  {car:36} {int(shown.sum()):3} photos, tagged {hits[0]:3} -> {hits[1]:3}, "
                f"wrongly {wrong[0]:3} -> {wrong[1]:3}"
            )


if __name__ == "__main__":
    main()
