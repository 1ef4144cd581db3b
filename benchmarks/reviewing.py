"""What a review costs on labelled photographs: decisions with and without groups, and wrong tags among the odd ones.

    python -m benchmarks.reviewing GALLERY [GALLERY ...] --photos photos.csv

A gallery has been tagged; its cached embeddings and the model's answers are what the review page works with.
photos.csv has the columns `file`, `car`, `label` and `n_cars_visible` of the photographs. Photos of several cars and
details are left out, and of the rest the largest car is what is decided of. Every answer is one for the catalog: a car
of it, another car (variants too), or none.

Without groups a photo is one decision. With them a group is one for its commonest answer, and each member with another
answer is two: a click that takes it out, and its own decision later; a group where that costs more than it saves is
skipped. Photos in no group are one each; in the last row those that are probably not in the catalog are pooled, as the
page does. A key that goes on to the rest of a group that no window holds decides nothing, and is not counted. The last
column counts the same for exact names (`label`), of some 600 cars: more than the catalog asks for.

A model that has seen some of the photographs knows them better than new ones: then the figures flatter it. Of several
galleries, each tagged by another model, each is reviewed by itself, and what it costs is added up.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Reviewed:
    """Photos of a gallery that count: their vectors, the model's answers, and what they are."""

    vectors: np.ndarray
    records: Sequence[PhotoRecord]
    cars: np.ndarray
    names: np.ndarray


def main() -> None:
    """Reads, counts, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("galleries", metavar="GALLERY", type=Path, nargs="+")
    parser.add_argument("--photos", type=Path, required=True)
    args = parser.parse_args()
    with args.photos.open(encoding="utf-8", newline="") as f:
        rows = {row["file"]: row for row in csv.DictReader(f)}
    galleries = [read(gallery, rows) for gallery in args.galleries]
    print(decisions(galleries).markdown(), end="\n\n")
    print(odd_ones(galleries).markdown())


def read(gallery: Path, rows: Mapping[str, Mapping[str, str]]) -> Reviewed:
    """The photos with a row that are of one car, another or none, each once."""
    index = read_index(gallery)
    files = checkpoints.resolve_auto(index.header.model, Silent())
    views = views_of(index, place_of(gallery).state, encoders.identity(files))
    vectors, seen, rest = groups.centred(views.vectors), set[str](), list[int]()
    for i, path in enumerate(views.paths):
        row = rows.get(path.rpartition("/")[2])
        if row and path not in seen and row["car"] != "detail" and row["n_cars_visible"] in ("0", "1"):
            seen.add(path)
            rest.append(i)
    chosen = [rows[views.paths[i].rpartition("/")[2]] for i in rest]
    return Reviewed(
        vectors=vectors[rest],
        records=[index.photos[views.paths[i]] for i in rest],
        cars=np.array([KINDS.get(row["car"], row["car"]) for row in chosen], object),
        names=np.array([row["label"] for row in chosen], object),
    )


def decisions(galleries: Sequence[Reviewed]) -> Report:
    """How many a person makes until every photo is settled."""
    columns = ("way", "groups", "photos in them", "with another answer", "decisions", "share", "by name")
    report = Report("reviewing", columns)
    n = sum(len(of.vectors) for of in galleries)
    report.add("photo by photo", 0, 0, 0, n, 1.0, n)
    ways = {"groups that look alike": (False, False), "and of one answer": (True, False)}
    ways["and the rest that is probably not in the catalog"] = (True, True)
    for way, (by_answer, with_rest) in ways.items():
        counts = np.zeros(5, int)
        for of in galleries:
            none = np.full(len(of.vectors), -1)  # collected photographs have no times that say anything
            answers = _answers(of.records) if by_answer else np.arange(len(of.vectors))
            found = groups.groups(of.vectors, none, answers)
            if with_rest:
                found = [one for some in groups.pooled(found, *_improbable(of.records)) for one in some]
            cost, wrong = _cost(found, of.cars, len(of.vectors))
            by_name = _cost(found, of.names, len(of.vectors))[0]
            counts += (len(found), sum(map(len, found)), wrong, cost, by_name)
        grouped, photos, others, cost, by_name = counts.tolist()
        report.add(way, grouped, photos, others, cost, cost / n, by_name)
    return report


def _answers(records: Sequence[PhotoRecord]) -> np.ndarray:
    said = [(record.outcome, *sorted(tag.car for tag in record.tags)) for record in records]
    numbers = {what: number for number, what in enumerate(dict.fromkeys(said))}
    return np.array([numbers[what] for what in said])


def _improbable(records: Sequence[PhotoRecord]) -> tuple[np.ndarray, np.ndarray]:
    """Of which the model says that it is none of the catalog, and the score of the likeliest car of each."""
    scores = [[*(tag.score for tag in r.tags), *(candidate.score for candidate in r.candidates)] for r in records]
    unknown = np.array([record.outcome == "unknown" for record in records])
    return unknown, np.array([max(some, default=0.0) for some in scores])


def _cost(found: Sequence[np.ndarray], truth: np.ndarray, n: int) -> tuple[int, int]:
    """Decisions for all photos, and how many photos lie in a group of another answer."""
    cost, wrong = n, 0
    for members in found:
        others = len(members) - Counter(truth[members]).most_common(1)[0][1]
        cost += min(0, 1 + 2 * others - len(members))
        wrong += others
    return cost, wrong


def odd_ones(galleries: Sequence[Reviewed]) -> Report:
    """Of the model's tags the share that is wrong: of all, and of the ten that look least like others of that name."""
    report = Report("odd ones", ("car", "tagged", "wrong", f"of the first {FIRST}", "by lowest score"))
    totals, by_car = np.zeros(5), dict[str, np.ndarray]()
    for of in galleries:
        for car in sorted({tag.car for record in of.records for tag in record.tags}):
            scores = {i: tag.score for i, record in enumerate(of.records) for tag in record.tags if tag.car == car}
            members = np.array(sorted(scores))
            if len(members) <= FIRST:
                continue
            wrong = of.cars[members] != car
            odd = wrong[np.argsort(-groups.unlikeness(of.vectors[members]), kind="stable")[:FIRST]].sum()
            doubtful = wrong[np.argsort([scores[i] for i in members], kind="stable")[:FIRST]].sum()
            counts = np.array([len(members), wrong.sum(), odd, doubtful, FIRST])
            by_car[car] = by_car.get(car, 0) + counts
            totals += counts
    for car, counts in by_car.items():
        report.add(car, *counts[:4].tolist())
    if totals[0]:
        whole, found, odd, doubtful, first = totals
        report.notes.append(
            f"Wrong of all tags {found / whole:.0%}; of the first {FIRST} a name {odd / first:.0%}, by lowest score "
            f"{doubtful / first:.0%}. Names with at most {FIRST} photos in a gallery are left out."
        )
    return report


if __name__ == "__main__":
    main()
