"""`cartag export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Gallery, IndexFile

if TYPE_CHECKING:
    from cartag.exporting import ExportReport

FAILED = 1


class ExportFormat(StrEnum):
    """The formats by name; a test holds them against `cartag.exporting.FORMATS`, whose import is not light."""

    xmp = "xmp"
    csv = "csv"
    jsonl = "jsonl"
    exiftool = "exiftool"
    html = "html"
    imagefolder = "imagefolder"
    coco = "coco"


class Naming(StrEnum):
    """What a sidecar is called."""

    ext = "ext"
    stem = "stem"


class Regions(StrEnum):
    """Which regions the boxes become."""

    iptc = "iptc"
    mwg = "mwg"
    none = "none"


def command(
    gallery: Gallery,
    as_: Annotated[
        ExportFormat, typer.Option("--as", help="xmp: a sidecar a photo; html: a page to look at.", show_default=False)
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write here. Without it sidecars go beside the photos, tables and JSON to stdout.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; print the changes as a diff.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files in the way that cartag did not make; none is removed.")
    ] = False,
    naming: Annotated[
        Naming, typer.Option(help="Sidecars: photo.jpg.xmp (ext), or Adobe's photo.xmp (stem).")
    ] = Naming.ext,
    regions: Annotated[
        Regions, typer.Option(help="xmp, exiftool: boxes as IPTC image regions; mwg: as those of MWG too.")
    ] = Regions.iptc,
    crops: Annotated[
        bool, typer.Option("--crops", help="imagefolder: cut the cars out, a picture a box, to train a classifier.")
    ] = False,
    index: IndexFile = None,
) -> None:
    """Hand the tags on: XMP sidecars, CSV, JSON Lines, exiftool's JSON, a gallery page, training sets, COCO's boxes.

    Only what would change is written, so a second export touches nothing. Photos are only read. In existing sidecars
    only what cartag wrote is changed or removed; of other files only those that it made.
    """
    import cartag

    report = cartag.export(
        gallery,
        as_.value,
        to=to,
        dry_run=dry_run,
        force=force,
        naming=naming.value,
        regions=regions.value,
        crops=crops,
        index=index,
        progress=output.TerminalProgress(),
    )
    for remark in report.remarks:
        output.say(f"cartag: {remark.message}")
    if report.document is not None:
        output.put_bytes(report.document)
    elif dry_run:
        _put_changes(report)
    _say_counts(report, dry_run)
    if report.failures:
        raise typer.Exit(FAILED)


def _put_changes(report: ExportReport) -> None:
    """A diff of every text that would change; of other files, their names."""
    for file in report.files:
        if file.diff:
            for line in file.diff.split("\n"):
                output.put(line)
        elif file.action != "unchanged":
            output.put(f"{file.action}: {file.path}")


def _say_counts(report: ExportReport, dry_run: bool) -> None:
    if report.document is None:
        done = ", ".join(f"{n} {action}" for action, n in report.counts.items() if n or action == "unchanged")
        output.say(f"cartag: {report.format}: {done}" + ("; nothing was written (--dry-run)" if dry_run else ""))
