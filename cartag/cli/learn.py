"""`cartag learn`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Format, Gallery, IndexFile, TableFormat
from cartag.cli.output import counted, percent
from cartag.paths import as_typed, printable

if TYPE_CHECKING:
    from cartag.learning import LearnReport

FAILED = 1
KINDS = {"car": "a car of the catalog", "unknown": "another car", "none": "no car"}
FIGURES = {
    "recall_at_95_precision": "recall at 95 % precision",
    "top1": "top-1",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "accuracy": "exactly right",
    "ece": "calibration error (ECE)",
}


def command(
    gallery: Gallery,
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="CSV with the columns file,label; a folder of folders named after cars; or an index with human tags.",
            show_default=False,
        ),
    ],
    cv: Annotated[int, typer.Option("--cv", metavar="K", help="Folds of the cross-validation.")] = 5,
    index: IndexFile = None,
    format: Format = TableFormat.table,
) -> None:
    """Learn from hand labels; the next `tag` uses it.

    Fits calibration, thresholds and a few-shot adapter, in seconds, and says what they are worth on held-out photos.
    """
    import cartag
    from cartag.state import tag_as_typed

    report = cartag.learn(gallery, labels, cv=cv, index=index, progress=output.TerminalProgress())
    _say_coverage(report, labels, gallery, index, tag_as_typed(gallery, "--retag", index=index))
    if format is TableFormat.json:
        output.put_json(asdict(report) | {"files": [printable(file) for file in report.files]})
    else:
        _put_tables(report)
        _put_shares(report)
        _put_outcome(report, tag_as_typed(gallery, index=index, anew=True))
    if report.left_out:
        raise typer.Exit(FAILED)


def _put_shares(report: LearnReport) -> None:
    if report.shares is not None:
        shares = ", ".join(f"{KINDS[kind]} {100 * share:.0f} %" for kind, share in report.shares.items())
        output.put(f"what the gallery shows, about: {shares}; scores expect that")


def _put_outcome(report: LearnReport, tag: str) -> None:
    if report.kept:
        output.put(f"learned: {report.files[0]}; {tag} uses it")
    else:
        output.put("no better than the model alone on held-out photos: nothing kept")


def _say_coverage(report: LearnReport, labels: Path, gallery: Path, index: Path | str | None, again: str) -> None:
    review = as_typed("review", gallery, index=index)
    if report.not_in_index:
        some = ", ".join(report.not_in_index[:3])
        output.say(f"cartag: {labels}: {len(report.not_in_index)} labelled file(s) are not in the index: {some}")
    if report.not_embedded:
        output.say(f"cartag: {report.not_embedded} labelled photo(s) are not embedded; {again} embeds them")
    if unreadable := len(report.left_out) - report.not_embedded:
        show = as_typed("show", gallery, index=index)
        output.say(f"cartag: {unreadable} labelled photo(s) could not be read; {show} says which, and why")
    if report.left_out:
        some = ", ".join(report.left_out[:3])
        output.say(f"cartag: not learned from: {some}{', ...' if len(report.left_out) > 3 else ''}")
    if report.unplaced:
        some = ", ".join(report.unplaced[:3])
        output.say(
            f"cartag: {len(report.unplaced)} labelled photo(s) show several cars, and nobody can tell which is which: "
            f"{some}; draw and name their boxes with {review}, or give x,y,w,h in the labels"
        )
    if report.astray:
        some = ", ".join(report.astray[:3])
        output.say(
            f"cartag: of {len(report.astray)} labelled photo(s) no labelled box is one that was found (the two have "
            f"to share half of what they cover together): {some}; draw their boxes with {review}"
        )
    if report.names_outside_catalog:
        names = report.names_outside_catalog
        output.say(
            f"cartag: {len(names)} label(s) are not in the catalog and count as another car: "
            f"{', '.join(list(names)[:3])}"
        )
    for name, meant in report.near_misses.items():
        output.say(f"cartag: {labels}: {name!r} counts as another car; did you mean {meant!r}?")
    if report.silent_folders:
        some = ", ".join(report.silent_folders[:3])
        output.say(f"cartag: {len(report.silent_folders)} folder(s) are not named after a car of the catalog: {some}")
    for name, meant in report.near_folders.items():
        output.say(f"cartag: {labels}: the folder {name!r} is no label; did you mean {meant!r}?")


def _put_tables(r: LearnReport) -> None:
    output.put(f"{counted(r.photos, 'photo')} with a label")
    rows = (
        (c.name, c.labels, c.wants or None, f"{c.threshold:.2f}", "yes" if c.adapted else "no", c.why) for c in r.cars
    )
    output.put_table(("car", "labels", "wants more", "threshold", "adapted", "why"), rows, right=[1, 2, 3])
    output.put()
    if not r.folds:
        output.put("too few labels to cross-validate: what this is worth is not known")
        return
    output.put(f"on photos not learned from ({r.folds} folds, {counted(r.groups, 'group')} by {r.grouped_by})")
    output.put_table(
        ("figure", "before", "after", "gain", "95 % interval"),
        (
            (
                title,
                percent(r.before[name]),
                percent(r.after[name]),
                percent(gain.value) if gain else None,
                f"{percent(gain.low)} to {percent(gain.high)}" if gain else None,
            )
            for name, title in FIGURES.items()
            for gain in (r.gain[name],)
        ),
        right=[1, 2, 3, 4],
    )
