"""`cartag check`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Format, Gallery, IndexFile, TableFormat
from cartag.cli.output import counted
from cartag.paths import printable

if TYPE_CHECKING:
    from cartag.checking import CheckReport, Finding

WRONG = 1
_SHOWN = 20
"""Findings of one kind and part with a line each; where a disk is not mounted, a gallery would fill the screen."""


def command(
    gallery: Gallery,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be made again; never what a person said.")
    ] = False,
    index: IndexFile = None,
    format: Format = TableFormat.table,
) -> None:
    """Say what is damaged, missing or left over of a gallery, its index, state, learned files, labels and sidecars.

    Changes nothing without --repair. Ends with 1 when something is wrong; with --repair, when something still is.
    """
    import cartag

    report = cartag.check(gallery, repair=repair, index=index, progress=output.TerminalProgress())
    if format is TableFormat.json:
        output.put_json(asdict(report) | {"index": printable(report.index), "remaining": len(report.remaining)})
    else:
        _put(report)
    if report.remaining:
        raise typer.Exit(WRONG)


def _put(report: CheckReport) -> None:
    counts: Counter[tuple[str, str, bool]] = Counter()
    for finding in report.findings:
        key = (finding.part, finding.kind, finding.repaired)
        counts[key] += 1
        if counts[key] <= _SHOWN:
            output.put(_line(finding))
    for (part, kind, is_mended), n in counts.items():
        if n > _SHOWN:
            output.put(f"{part}: {n - _SHOWN} more {kind}{', repaired' if is_mended else ''}")
    if report.run:
        output.put(f"{report.index}: {report.run}; what it has not finished was left out")
    new = f", {report.new} of them new to the index" if report.new else ""
    n, mended = len(report.remaining), len(report.findings) - len(report.remaining)
    what = "nothing is damaged, missing or left over" if not n else f"{counted(n, 'thing')} to see to"
    repaired = f", {mended} repaired" if mended else ""
    output.put(f"{report.index}: {counted(report.photos, 'photo')}{new}; {what}{repaired}")


def _line(finding: Finding) -> str:
    word = f"{finding.kind}, repaired" if finding.repaired else finding.kind
    return f"{word}: {finding.path}: {finding.what}; {finding.remedy}"
