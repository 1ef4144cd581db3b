"""`cartag eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Format, IndexFile, TableFormat
from cartag.cli.output import counted, percent
from cartag.errors import UsageError

if TYPE_CHECKING:
    from cartag.measuring import Comparison, Evaluation, Interval


FAILED = 1


class Dataset(StrEnum):
    """Published test sets that `eval` can read."""

    stanford_cars = "stanford-cars"


def command(
    gallery: Annotated[
        Path,
        typer.Argument(metavar="GALLERY", help="The folder of photos; with --dataset its folder.", show_default=False),
    ],
    labels: Annotated[
        Path | None,
        typer.Argument(
            metavar="LABELS",
            help="CSV with the columns file,label (or file,label,x,y,w,h); a folder of folders named after cars; "
            "or an index with human tags.",
            show_default=False,
        ),
    ] = None,
    index: IndexFile = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="OTHER", help="Another index of the same photos: which is better?", show_default=False),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a page with pictures, and metrics.json.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="For --report: replace its two files also where cartag did not make them.")
    ] = False,
    dataset: Annotated[
        Dataset | None,
        typer.Option(help="Zero-shot top-1 of a published test set instead, as open_clip does.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|HUB_ID|DIR", help="For --dataset.", show_default=False)
    ] = None,
    format: Format = TableFormat.table,
) -> None:
    """Compare the tags with hand labels.

    A label is a car (several as a|b), none for no car, or unknown for another car.
    """
    import cartag

    if dataset is not None:
        _dataset(gallery, dataset, model, format)
        return
    if labels is None:
        raise UsageError("eval: name the hand labels: a CSV file,label, a folder of cars, or another index")
    result = cartag.evaluate(gallery, labels, index=index, against=against, report=report, force=force)
    _say_coverage(result, labels)
    if format is TableFormat.json:
        output.put_json(asdict(result))
    else:
        _put_tables(result)
    if report is not None:
        output.say(f"cartag: report: {report / 'index.html'}")
        _say_missing(result.without_picture)


def _say_missing(without_picture: Mapping[str, str]) -> None:
    """The page is there, but not all of its pictures."""
    for path, reason in without_picture.items():
        output.say(f"cartag: {path}: no picture of it in the report ({reason}); its figures count all the same")
    if without_picture:
        raise typer.Exit(FAILED)


def _dataset(folder: Path, dataset: Dataset, model: str | None, format: TableFormat) -> None:
    import cartag

    found = cartag.evaluate_dataset(folder, dataset.value, model=model, progress=output.TerminalProgress())
    if format is TableFormat.json:
        output.put_json(asdict(found))
        return
    output.put(
        f"{found.dataset} with {found.model}: {counted(found.photos, 'photo')}, {counted(found.classes, 'class')}"
    )
    low, high = found.top1.low, found.top1.high
    rows = [("zero-shot top-1", percent(found.top1.value), f"{percent(low)} to {percent(high)}")]
    if found.published is not None:
        rows.append(("as published", f"{found.published:.1f} %", ""))
    output.put_table(("figure", "value", "95 % interval"), rows, right=[1, 2])
    if found.unreadable:
        output.say(f"cartag: {found.unreadable} photo(s) could not be read and count as wrong")


def _say_coverage(result: Evaluation, labels: Path) -> None:
    """What the labels and the index do not share is said, not dropped in silence."""
    if result.not_in_index:
        some = ", ".join(result.not_in_index[:3])
        output.say(f"cartag: {labels}: {len(result.not_in_index)} labelled file(s) are not in the index: {some}")
    if result.without_label:
        output.say(f"cartag: {result.without_label} photo(s) of the index have no label")
    if result.settled_by_hand:
        output.say(
            f"cartag: {result.settled_by_hand} photo(s) left out: tagged by a person, without what the model says"
        )
    if result.names_outside_catalog:
        names = result.names_outside_catalog
        some = ", ".join(list(names)[:3])
        said = f"{result.labels_outside_catalog} label(s) hold {len(names)} name(s) outside the catalog"
        output.say(f"cartag: {said}, which count as other cars: {some}")
    for name, meant in result.near_misses.items():
        output.say(f"cartag: {labels}: {name!r} counts as another car; did you mean {meant!r}?")
    if result.silent_folders:
        some = ", ".join(result.silent_folders[:3])
        output.say(f"cartag: {len(result.silent_folders)} folder(s) are not named after a car of the catalog: {some}")
    for name, meant in result.near_folders.items():
        output.say(f"cartag: {labels}: the folder {name!r} is no label; did you mean {meant!r}?")
    if result.uses_learned:
        output.say("cartag: these tags use what `learn` fitted; on the labels it learned from, the figures flatter")


def _put_tables(r: Evaluation) -> None:
    figures = (
        ("exactly right (tags and outcome)", r.accuracy),
        ("top-1 among the catalog's cars", r.top1),
        ("top-5", r.top5),
        ("right car tagged", r.right_car_tagged),
        ("wrong car tagged", r.wrong_car_tagged),
        ("other cars tagged", r.other_car_tagged),
        ("no car: said so", r.no_car_found),
        ("no car: tagged", r.no_car_tagged),
        ("precision / recall / F1 (micro)", f"{percent(r.precision)} / {percent(r.recall)} / {percent(r.f1)}"),
        ("F1 (macro)", r.macro_f1),
    )
    output.put(f"{counted(r.photos, 'photo')} with a label")
    output.put_table(
        ("figure", "value"), ((name, v if isinstance(v, str) else percent(v)) for name, v in figures), right=[1]
    )
    _put_groups(r)
    output.put()
    rows = (
        (c.name, c.photos, c.top1, c.tagged, c.right, percent(c.precision), percent(c.recall), percent(c.f1))
        for c in r.cars
    )
    header = ("car", "photos", "top-1", "tagged", "right", "precision", "recall", "F1")
    output.put_table(header, rows, right=range(1, 8))
    output.put()
    outcomes = list(next(iter(r.outcomes.values())))
    output.put_table(
        ("truth", *outcomes), ((truth, *counts.values()) for truth, counts in r.outcomes.items()), right=range(1, 5)
    )
    mistakes = [
        (n, truth, answer)
        for truth, answers in r.confusion.items()
        for answer, n in answers.items()
        if answer != {"none": "no-car"}.get(truth, truth)
    ]
    if mistakes:
        output.put()
        mistakes.sort(key=lambda mistake: (-mistake[0], *mistake[1:]))
        output.put_table(("photos", "truth", "answer"), mistakes, right=[0])
    output.put()
    output.put_table(("trust", "value", "95 % interval"), _trust(r.intervals, TRUST), right=[1, 2])
    if r.suspicious:
        output.put()
        output.put_table(
            ("label worth a look", "says", "likely", "score"),
            ((s.path, "|".join(s.label), s.likely, f"{s.score:.2f}") for s in r.suspicious[:MOST_ROWS]),
            right=[3],
        )
    if r.against is not None:
        _put_comparison(r.against)


def _put_groups(r: Evaluation) -> None:
    """Photos with one car and with several, and where labels have boxes how far these were found."""
    rows = [
        (name, g.photos, percent(g.accuracy), percent(g.precision), percent(g.recall)) for name, g in r.groups.items()
    ]
    output.put()
    output.put_table(("cars in the photo", "photos", "exactly right", "precision", "recall"), rows, right=range(1, 5))
    groups = [("all", r.boxes), *((name, g.boxes) for name, g in r.groups.items())]
    figures = [
        (name, b.photos, b.labelled, b.found, *map(_share, (b.recall, b.precision, b.tags_right, b.cars_right)))
        for name, b in groups
        if b is not None
    ]
    if figures:
        header = ("boxes", "photos", "labelled", "found", "recall", "precision", "tags right", "cars right")
        output.put()
        output.put_table(header, figures, right=range(1, 8))


def _share(interval: Interval | None) -> str | None:
    return percent(None if interval is None else interval.value)


MOST_ROWS = 20
TRUST = {
    "accuracy": "exactly right",
    "top1": "top-1",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "macro_f1": "F1 (macro)",
    "recall_at_95_precision": "recall at 95 % precision",
    "auroc_other_cars": "AUROC against other cars",
    "fpr95_other_cars": "FPR@95 of other cars",
    "auroc_no_car": "AUROC against no car",
    "fpr95_no_car": "FPR@95 of no car",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
    "aurc": "mean risk (AURC)",
}


def _trust(intervals: Mapping[str, Interval | None], names: Mapping[str, str]) -> list[Sequence[str | None]]:
    return [
        (title, _shown(name, i.value) if i else None, f"{_shown(name, i.low)} to {_shown(name, i.high)}" if i else None)
        for name, title in names.items()
        for i in (intervals.get(name),)
    ]


def _shown(name: str, value: float) -> str:
    return f"{value:.3f}" if name in ("brier", "aurc") else percent(value)


def _put_comparison(c: Comparison) -> None:
    output.put()
    output.put(f"against {c.against}, on {counted(c.photos, 'photo')} that both answered (this less the other)")
    output.put_table(("difference", "value", "95 % interval"), _trust(c.differences, TRUST), right=[1, 2])
    output.put(f"exactly right only here: {c.gained}, only there: {c.lost}, McNemar p = {c.p_value:.4f}")
