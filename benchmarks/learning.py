"""What `learn` is worth on photographs: nested cross-validation on embeddings that a model made of photos it never saw.

python benchmarks/learning.py HELD.npz PHOTOS.csv TEXTS.npz [--most 5] [--most-rejected 60] [--folds 5]

HELD.npz    `vectors`: float32 (N, d), one row a row of PHOTOS.csv, out-of-fold; rows of NaN or zeros are left out.
            Optional `folds`: int (N,), the training fold that held each photo out (where each fold has its own texts).
PHOTOS.csv  columns file, car (catalog ids as a|b, variant, other, none, detail), source_repo.
TEXTS.npz   `embeddings` (classes, d) as `cartag.scoring.class_set` makes them of the catalog, `cars` (ids),
            `others` (how many other-car classes), `logit_scale`; or, with `folds` above, `embeddings` (F, classes, d).
            `--make-texts MODEL` writes it for a model's folder or name.

Variants and details are left out: neither right nor wrong to tag. Photos of one source share a side, and so do
near-duplicates. The comparison is paired, before and after on the same photos.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from cartag import catalog as catalogs
from cartag import encoder as encoders
from cartag import fitting, metrics
from cartag.calibration import Calibration, calibration_of
from cartag.fitting import Examples, ZeroShot
from cartag.progress import Silent
from cartag.prompts import prompt_classes
from cartag.scoring import ClassSet, class_set

FIGURES = ("recall_at_95_precision", "top1", "precision", "recall", "f1", "accuracy", "brier", "ece")


def main() -> None:
    """Reads, cross-validates, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("held", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--make-texts", metavar="MODEL")
    parser.add_argument("--catalog", default="mille-miglia-2013")
    parser.add_argument("--calibration", type=Path, help="folder with calibration.json; default: none, temperature 1")
    parser.add_argument("--most", type=int, default=5, help="labels a car that a fit may see")
    parser.add_argument("--most-rejected", type=int, default=60, help="of other cars, and of none")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--precision", type=float, default=0.95)
    args = parser.parse_args()
    if args.make_texts:
        make_texts(args.make_texts, args.catalog, args.texts)
    calibration = calibration_of(args.calibration)
    examples, zero = read(args.held, args.photos, args.texts, calibration)
    checked = fitting.cross_validate(
        examples,
        zero,
        precision=args.precision,
        folds=args.folds,
        most=args.most,
        most_rejected=args.most_rejected,
    )
    if checked is None:
        raise SystemExit("the photos cannot be split into folds")
    report(checked, examples, zero.classes.cars, args)


def make_texts(model: str, catalog: str, to: Path) -> None:
    """The text side of a model for a catalog."""
    encoder = encoders.load(encoders.resolve(model, Silent(), fetch=False), device="cpu", dtype="float32", fit="auto")
    classes = prompt_classes(catalogs.load(catalog))
    found = class_set(classes, encoder.embed_texts([text for c in classes for text in c.texts]))
    np.savez(
        to,
        embeddings=found.embeddings,
        cars=np.array(found.cars),
        others=found.others,
        logit_scale=encoder.logit_scale,
    )


def read(held: Path, photos: Path, texts: Path, calibration: Calibration) -> tuple[Examples, ZeroShot]:
    """The photos that count, with their groups, and the zero-shot side."""
    with np.load(held) as data, np.load(texts) as text, photos.open(encoding="utf-8", newline="") as f:
        vectors, rows = np.asarray(data["vectors"], np.float32), list(csv.DictReader(f))
        cars, prototypes = tuple(map(str, text["cars"])), np.asarray(text["embeddings"], np.float32)
        others, scale = int(text["others"]), float(text["logit_scale"])
        if prototypes.ndim == 3:
            raise SystemExit("texts that differ by fold are not supported: give one text side for all folds")
    if len(vectors) != len(rows):
        raise SystemExit(f"{held}: {len(vectors)} vectors, but {photos} has {len(rows)} rows")
    norms = np.linalg.norm(np.nan_to_num(vectors), axis=1)
    words = [set(row["car"].split("|")) for row in rows]
    counts = [bool(w) and not w & {"variant", "detail", ""} for w in words]
    use = np.flatnonzero((norms > 0.1) & np.array(counts))
    x = vectors[use] / norms[use, None]
    shows = np.array([[car in words[i] for car in cars] for i in use], bool)
    kind = np.array(
        ["car" if s.any() else "none" if words[i] == {"none"} else "unknown" for i, s in zip(use, shows, strict=True)],
        object,
    )
    sources = [
        rows[i]["source_repo"] + (" " + rows[i]["label"] if rows[i]["source_repo"].startswith("carsnet/") else "")
        for i in use
    ]
    groups, by = fitting.groups_of(sources, [rows[i]["file"] for i in use], x, shows)
    print(f"{len(use)} photos of {len(rows)}, {len(np.unique(groups))} groups by source ({by})")
    return Examples(x, shows, kind, groups), ZeroShot(ClassSet(cars, prototypes, others), calibration, scale)


def report(
    checked: fitting.CrossValidation, examples: Examples, cars: tuple[str, ...], args: argparse.Namespace
) -> None:
    """A table with paired intervals, and recall at the chosen precision by car."""
    n = len(examples)
    old, new = metrics.headline(checked.before), metrics.headline(checked.after)
    before, after, gain = metrics.values(old, n), metrics.values(new, n), metrics.differences(new, old, n)
    kinds = {kind: int((examples.kind == kind).sum()) for kind in ("car", "unknown", "none")}
    print(
        f"{kinds}; at most {args.most} labels a car, {args.most_rejected} of other cars and of none; {args.folds} folds"
    )
    print(f"{'figure':28} {'before':>8} {'after':>8} {'gain':>8}  95 % interval (paired)")
    for name in FIGURES:
        i = gain[name]
        span = f"{100 * i.low:+.1f} to {100 * i.high:+.1f}" if i else "-"
        print(
            f"{name:28} {100 * before[name]:7.1f}% {100 * after[name]:7.1f}% "
            f"{100 * (after[name] - before[name]):+7.1f}%  {span}"
        )
    ece = metrics.intervals({"ece": new["ece"]}, n)["ece"]
    print(f"mean log-likelihood loss: {checked.loss_before:.4f} before, {checked.loss_after:.4f} after")
    if ece:
        print(f"ECE after calibration: {100 * ece.value:.1f} % ({100 * ece.low:.1f} to {100 * ece.high:.1f})")
    for c, car in enumerate(cars):
        shown = examples.shows[:, c]
        if shown.any():
            hits = [int((a.tagged[:, c] & shown).sum()) for a in (checked.before, checked.after)]
            wrong = [int((a.tagged[:, c] & ~shown).sum()) for a in (checked.before, checked.after)]
            print(
                f"  {car:36} {int(shown.sum()):3} photos, tagged {hits[0]:3} -> {hits[1]:3}, "
                f"wrongly {wrong[0]:3} -> {wrong[1]:3}"
            )


if __name__ == "__main__":
    main()
