"""`cartag eval`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Format, Gallery, IndexFile, TableFormat
from cartag.cli.output import percent

if TYPE_CHECKING:
    from cartag.evaluation import Evaluation


def command(
    gallery: Gallery,
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="CSV with the columns file,label.", show_default=False)
    ],
    index: IndexFile = None,
    format: Format = TableFormat.table,
) -> None:
    """Compare the tags with hand labels.

    A label is a car (several as a|b), none for no car, or unknown for another car.
    """
    import cartag

    result = cartag.evaluate(gallery, labels, index=index)
    _say_coverage(result, labels)
    if format is TableFormat.json:
        output.put_json(asdict(result))
    else:
        _put_tables(result)


def _say_coverage(result: Evaluation, labels: Path) -> None:
    """What the labels and the index do not share is said, not dropped in silence."""
    if result.not_in_index:
        some = ", ".join(result.not_in_index[:3])
        output.say(f"cartag: {labels}: {len(result.not_in_index)} labelled file(s) are not in the index: {some}")
    if result.without_label:
        output.say(f"cartag: {result.without_label} photo(s) of the index have no label")
    if result.settled_by_hand:
        output.say(f"cartag: {result.settled_by_hand} photo(s) left out: a person tagged them")
    if result.names_outside_catalog:
        names = result.names_outside_catalog
        some = ", ".join(list(names)[:3])
        output.say(f"cartag: {len(names)} label(s) are not in the catalog and count as another car: {some}")


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
    output.put(f"{r.photos} photos with a label")
    output.put_table(
        ("figure", "value"), ((name, v if isinstance(v, str) else percent(v)) for name, v in figures), right=[1]
    )
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
