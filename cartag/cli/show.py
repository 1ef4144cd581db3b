"""`cartag show`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from cartag.cli import output
from cartag.cli.options import Format, Gallery, IndexFile, TableFormat
from cartag.paths import printable


def command(gallery: Gallery, index: IndexFile = None, format: Format = TableFormat.table) -> None:
    """Sum up an index: outcomes, photos per car, errors by reason, model, age."""
    import cartag

    summary = cartag.show(gallery, index=index)
    if format is TableFormat.json:
        output.put_json(asdict(summary) | {"index": printable(summary.index)})
        return
    made = f"{summary.updated}{_age(summary.updated, datetime.now(UTC))}"
    output.put(f"{summary.index}: {summary.photos} photos, {summary.catalog} by {summary.model}, {made}")
    output.put()
    output.put_table(("outcome", "photos"), summary.outcomes.items(), right=[1])
    output.put()
    output.put_table(("car", "photos", "by hand"), ((c.name, c.photos, c.by_hand) for c in summary.cars), right=[1, 2])
    if summary.errors:
        output.put()
        output.put_table(("error", "photos"), summary.errors.items(), right=[1])
    if summary.missing:
        output.put()
        output.put(f"{summary.missing} more are gone, kept for the tags a person gave them")


def _age(updated: str, now: datetime) -> str:
    """How long ago that was, in words; nothing where another tool wrote no date, or one that is still to come."""
    try:
        days = (now - datetime.fromisoformat(updated)).days
    except (ValueError, TypeError):  # no date, or one without a time zone
        return ""
    if days < 0:
        return ""
    return " (less than a day ago)" if days == 0 else " (a day ago)" if days == 1 else f" ({days} days ago)"
