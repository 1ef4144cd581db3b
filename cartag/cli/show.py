"""`cartag show`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Format, Gallery, IndexFile, TableFormat
from cartag.cli.output import counted
from cartag.paths import as_typed, printable
from cartag.resources import shipped_catalogs

if TYPE_CHECKING:
    from cartag.showing import Summary


def command(
    gallery: Gallery,
    others: Annotated[
        bool, typer.Option("--others", help="What else the gallery seems to show: cars outside the catalog.")
    ] = False,
    index: IndexFile = None,
    format: Format = TableFormat.table,
) -> None:
    """Sum up an index: outcomes, photos per car, errors by reason, model, age."""
    import cartag
    from cartag.state import tag_as_typed

    summary = cartag.show(gallery, index=index)
    if format is TableFormat.json:
        fields = asdict(summary) | {"index": printable(summary.index)}
        output.put_json({name: value for name, value in fields.items() if others or name != "others"})
    elif others:
        _put_others(summary, tag_as_typed(gallery, index=index, anew=True))
    else:
        _put(summary, as_typed("export", gallery, "--as", "csv", index=index))


def _put(summary: Summary, export: str) -> None:
    made = f"{summary.updated}{_age(summary.updated, datetime.now(UTC))}"
    output.put(f"{summary.index}: {counted(summary.photos, 'photo')}, {summary.catalog} by {summary.model}, {made}")
    output.put()
    output.put_table(("outcome", "photos"), summary.outcomes.items(), right=[1])
    output.put()
    if summary.regions is not None:
        output.put_table(("outcome", "regions"), summary.regions.items(), right=[1])
        output.put()
    output.put_table(("car", "photos", "by hand"), ((c.name, c.photos, c.by_hand) for c in summary.cars), right=[1, 2])
    if summary.errors:
        output.put()
        output.put_table(("error", "photos"), summary.errors.items(), right=[1])
        _put_unread(summary, export)
    if summary.missing:
        output.put()
        are = "is" if summary.missing == 1 else "are"
        output.put(f"{summary.missing} more {are} gone, kept for the tags a person gave them")


def _put_unread(summary: Summary, export: str) -> None:
    """Which photos could not be read: `tag` counts them, and sends whoever wonders here."""
    if summary.unread:
        output.put()
        output.put_table(("error", "photo", "detail"), ((u.reason, u.path, u.detail) for u in summary.unread))
    if more := sum(summary.errors.values()) - len(summary.unread):
        is_not, them = ("is not", "it too") if more == 1 else ("are not", "all")
        output.put(f"{more} more {is_not} named here; {export} names {them}")


def _put_others(summary: Summary, tag: str) -> None:
    if summary.regions is None:
        output.say(f"cartag: {summary.index}: has no regions, by which other cars are told; {tag} looks for them")
        return
    if not summary.others:
        output.say(f"cartag: {summary.index}: no car outside of {summary.catalog} is likely enough to be named")
        return
    rows = ((o.name, o.photos, o.regions, f"{o.score:.2f}", *(*o.examples, "")[:2]) for o in summary.others)
    output.put_table(("car", "photos", "regions", "score", "for example", "and"), rows, right=[1, 2, 3])
    output.put()
    output.put(f"to look for one of them too: {_how_to_add(summary)}")


def _how_to_add(summary: Summary) -> str:
    """A command line, for the first of them that has a name and not only a make."""
    name = next((other.name for other in summary.others if not other.is_make), "CAR")
    source = summary.catalog_source or summary.catalog
    elsewhere = ["--to", "my-cars.yaml"] if source in shipped_catalogs() else []
    return shlex.join(["cartag", "cars", "--catalog", printable(source), "--add", name, *elsewhere])


def _age(updated: str, now: datetime) -> str:
    """How long ago that was, in words; nothing where another tool wrote no date, or one that is still to come."""
    try:
        days = (now - datetime.fromisoformat(updated)).days
    except (ValueError, TypeError):  # no date, or one without a time zone
        return ""
    if days < 0:
        return ""
    return " (less than a day ago)" if days == 0 else " (a day ago)" if days == 1 else f" ({days} days ago)"
