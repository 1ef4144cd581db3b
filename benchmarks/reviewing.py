"""What a review costs on labelled photographs: decisions with and without groups, and wrong tags among the odd ones.

    python -m benchmarks.reviewing GALLERY --photos photos.csv

The gallery has been tagged; its cached embeddings and the model's answers are what the review page works with.
photos.csv has the columns `file`, `car`, `label` and `n_cars_visible` of the photographs. Photos of several cars and
details are left out, and of the rest the largest car is what is decided of. Every answer is one for the catalog: a car
of it, another car (variants too), or none.

Without groups a photo is one decision. With them a group is one for its commonest answer, and each member with another
answer is two: a click that takes it out, and its own decision later; a group where that costs more than it saves is
skipped. Photos in no group are one each. The last column counts the same for exact names (`label`), of some 600 cars:
more than the catalog asks for.

A model that has seen some of the photographs knows them better than new ones: then the figures flatter it.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.measuring import Report
from cartag import checkpoints, encoder as encoders
from cartag.progress import Silent
from cartag.reviewing import groups
from cartag.state import place_of, read_index, views_of
from cartag.values import PhotoRecord

FIRST = 10
KINDS = {"other": "unknown", "variant": "unknown"}


def main() -> None:
    """Reads, counts, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--photos", type=Path, required=True)
    args = parser.parse_args()
    with args.photos.open(encoding="utf-8", newline="") as f:
        rows = {row["file"]: row for row in csv.DictReader(f)}
    index = read_index(args.gallery)
    files = checkpoints.resolve_auto(index.header.model, Silent())
    views = views_of(index, place_of(args.gallery).state, encoders.identity(files))
    vectors, seen, rest = groups.centred(views.vectors), set[str](), list[int]()
    for i, path in enumerate(views.paths):
        row = rows.get(path.rpartition("/")[2])
        if row and path not in seen and row["car"] != "detail" and row["n_cars_visible"] in ("0", "1"):
            seen.add(path)
            rest.append(i)
    chosen = [rows[views.paths[i].rpartition("/")[2]] for i in rest]
    cars = np.array([KINDS.get(row["car"], row["car"]) for row in chosen], object)
    names = np.array([row["label"] for row in chosen], object)
    records = [index.photos[views.paths[i]] for i in rest]
    print(decisions(vectors[rest], records, cars, names).markdown(), end="\n\n")
    print(odd_ones(vectors[rest], records, cars).markdown())


def decisions(vectors: np.ndarray, records: Sequence[PhotoRecord], cars: np.ndarray, names: np.ndarray) -> Report:
    """How many a person makes until every photo is settled."""
    said = [(record.outcome, *sorted(tag.car for tag in record.tags)) for record in records]
    numbers = {what: number for number, what in enumerate(dict.fromkeys(said))}
    answers = np.array([numbers[what] for what in said])
    none = np.full(len(vectors), -1)  # collected photographs have no times that say anything
    report = Report(
        "reviewing", ("way", "groups", "photos in them", "with another answer", "decisions", "share", "by name")
    )
    n = len(vectors)
    report.add("photo by photo", 0, 0, 0, n, 1.0, n)
    alike_only = groups.groups(vectors, none, np.arange(n))
    for way, found in (
        ("groups that look alike", alike_only),
        ("and of one answer", groups.groups(vectors, none, answers)),
    ):
        cost, wrong = _cost(found, cars, n)
        report.add(way, len(found), sum(map(len, found)), wrong, cost, cost / n, _cost(found, names, n)[0])
    return report


def _cost(found: Sequence[np.ndarray], truth: np.ndarray, n: int) -> tuple[int, int]:
    """Decisions for all photos, and how many photos lie in a group of another answer."""
    cost, wrong = n, 0
    for members in found:
        others = len(members) - Counter(truth[members]).most_common(1)[0][1]
        cost += min(0, 1 + 2 * others - len(members))
        wrong += others
    return cost, wrong


def odd_ones(vectors: np.ndarray, records: Sequence[PhotoRecord], cars: np.ndarray) -> Report:
    """Of the model's tags the share that is wrong: of all, and of the ten that look least like others of that name."""
    report = Report("odd ones", ("car", "tagged", "wrong", f"of the first {FIRST}", "by lowest score"))
    names = sorted({tag.car for record in records for tag in record.tags})
    totals = np.zeros(5)
    for car in names:
        scores = {i: tag.score for i, record in enumerate(records) for tag in record.tags if tag.car == car}
        members = np.array(sorted(scores))
        if len(members) <= FIRST:
            continue
        wrong = cars[members] != car
        odd = wrong[np.argsort(-groups.unlikeness(vectors[members]), kind="stable")[:FIRST]].sum()
        doubtful = wrong[np.argsort([scores[i] for i in members], kind="stable")[:FIRST]].sum()
        report.add(car, len(members), int(wrong.sum()), int(odd), int(doubtful))
        totals += (len(members), wrong.sum(), odd, doubtful, FIRST)
    if totals[0]:
        whole, found, odd, doubtful, first = totals
        report.notes.append(
            f"Wrong of all tags {found / whole:.0%}; of the first {FIRST} a name {odd / first:.0%}, by lowest score "
            f"{doubtful / first:.0%}. Names with at most {FIRST} photos are left out."
        )
    return report


if __name__ == "__main__":
    main()
