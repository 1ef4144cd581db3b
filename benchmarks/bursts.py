"""What one answer for photos that look alike would be worth: near-duplicates by cosine share their mean embedding.

    python -m benchmarks.bursts WORK/held-*of3.npz --photos photos.csv

The held files are those of `benchmarks.learning`. The first row is every photo for itself, as `tag` answers; in the
others all photos that are chained by at least this cosine are scored by the mean of their embeddings.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from benchmarks.learning import read
from benchmarks.measuring import Report
from cartag.learning.fitting import Examples, ZeroShot, zero_scores
from cartag.scoring.scoring import passing

COSINES = (None, 0.95, 0.9, 0.85, 0.8)


def measure(parts: list[tuple[Examples, ZeroShot]]) -> Report:
    """Counts over all held files."""
    columns = ("cosine from", "photos grouped", "with others than their own car", "of the catalog", "top-1 right")
    report = Report("bursts", (*columns, "right car tagged", "wrong car tagged", "other cars", "of them tagged"))
    for least in COSINES:
        found: Counter[str] = Counter()
        for examples, zero in parts:
            found += _counts(examples, zero, least)
        names = ("grouped", "mixed", "cars", "top1", "right", "wrong", "other", "other_tagged")
        report.add("each for itself" if least is None else f"{least:.2f}", *(found[name] for name in names))
    return report


def _counts(examples: Examples, zero: ZeroShot, least: float | None) -> Counter[str]:
    photos, found = examples.photos.copy(), Counter[str]()
    if least is not None:
        _, groups = connected_components(csr_array(photos @ photos.T >= least), directed=False)
        for number in np.flatnonzero(np.bincount(groups) > 1):
            members = groups == number
            mean = examples.photos[members].mean(axis=0)
            photos[members] = mean / np.linalg.norm(mean)
            found["grouped"] += int(members.sum())
            found["mixed"] += int(members.sum()) * (len(np.unique(examples.strata[members])) > 1)
    scores = zero_scores(photos, zero)
    tagged = passing(scores, zero.classes.cars, zero.calibration)
    own, other, shows = examples.kind == "car", examples.kind == "unknown", examples.shows
    found["cars"] = int(own.sum())
    found["top1"] = int((scores.cars[own].argmax(axis=1) == shows[own].argmax(axis=1)).sum())
    found["right"] = int((tagged & shows)[own].any(axis=1).sum())
    found["wrong"] = int((tagged & ~shows)[own].any(axis=1).sum())
    found["other"], found["other_tagged"] = int(other.sum()), int(tagged[other].any(axis=1).sum())
    return found


def main() -> None:
    """Reads, counts, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("held", type=Path, nargs="+")
    parser.add_argument("--photos", type=Path, required=True)
    args = parser.parse_args()
    with args.photos.open(encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    print(measure([read(file, rows) for file in args.held]).markdown())


if __name__ == "__main__":
    main()
