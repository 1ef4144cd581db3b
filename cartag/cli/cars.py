"""`cartag cars`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartag.cli import output
from cartag.cli.options import CatalogName, Format, TableFormat
from cartag.cli.output import counted
from cartag.errors import UsageError
from cartag.paths import printable

if TYPE_CHECKING:
    from cartag.listing import Draft
    from cartag.values import Car, Catalog

NOTHING_FOUND = 1


def command(
    catalog: CatalogName = None,
    from_text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draft a catalog (YAML) of the cars that an article names: plain text, HTML or a saved page (MHTML).",
            show_default=False,
        ),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="CAR", help="Write another car into the catalog's file.", show_default=False),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --add: write a new file, and leave the catalog.", show_default=False),
    ] = None,
    format: Format = TableFormat.table,
) -> None:
    """List a catalog; reading it checks it. Or add a car to it, or draft one from an article.

    A draft is a catalog for `tag --catalog`; look it through first. Exits with 1 when the article names no car.
    """
    import cartag

    if from_text is not None and (add or to):
        raise UsageError(
            "a catalog is drafted from a text or added to, not both: leave --from-text, or --add and --to out"
        )
    if add or to:
        found = cartag.cars(catalog, add=add or (), to=to)
        if format is TableFormat.json:
            _put_catalog(found, format)
        else:
            file = printable(found.source)
            output.put(
                f"{file}: {counted(len(found.cars), 'car')}, "
                f"with {', '.join(car.name for car in found.cars[-len(add or ()) :])}"
            )
            output.put(f"next: {shlex.join(['cartag', 'tag', 'GALLERY', '--catalog', file])}")
        return
    if from_text is None:
        _put_catalog(cartag.cars(catalog), format)
        return
    if catalog is not None:
        raise UsageError("a catalog is listed or drafted from a text, not both: leave --catalog or --from-text out")
    draft = cartag.cars(from_text=from_text)
    if draft.mentions or format is TableFormat.json:
        _put_draft(draft, format)
    if not draft.mentions:
        output.say(f"cartag: {from_text}: names no car of the gazetteer; write the catalog by hand, a line a car")
        raise typer.Exit(NOTHING_FOUND)


def _put_catalog(found: Catalog, format: TableFormat) -> None:
    from cartag.catalogs import rivals

    fighting = rivals(found)
    if format is TableFormat.json:
        output.put_json(
            {
                "name": found.name,
                "title": found.title,
                "sha256": found.sha256,
                "cars": [_row(car) for car in found.cars],
                "other_cars": len(found.other_cars),
                "no_car": len(found.no_car),
                "rivals": [{"car": rival.car.id, "other": rival.other.name} for rival in fighting],
            }
        )
        return
    output.put(f"{found.title} ({found.name}): {counted(len(found.cars), 'car')}")
    output.put_table(
        ("id", "name", "years", "also called"), ((c.id, c.name, c.years, ", ".join(c.aliases)) for c in found.cars)
    )
    others, prompts = counted(len(found.other_cars), "other car"), counted(len(found.no_car), "prompt")
    output.put(f"rejected by {others} and {prompts} without a car")
    for rival in fighting:
        what = "its whole family is" if rival.is_family else "it seems to be"
        output.say(
            f"cartag: {rival.car.name}: {what} among the other cars, as {rival.other.name}, so photos of it may be "
            f"unknown; if that is no other car, add {rival.other.name!r} to its aliases"
        )


def _row(car: Car) -> dict[str, Any]:
    return {
        "id": car.id,
        "name": car.name,
        "make": car.make,
        "aliases": list(car.aliases),
        "years": car.years,
        "body": car.body,
    }


def _put_draft(draft: Draft, format: TableFormat) -> None:
    if format is TableFormat.json:
        output.put_json(
            {
                "name": draft.name,
                "title": draft.title,
                "cars": [_row(car) for car in draft.cars],
                "mentions": [
                    {"car": m.car.id, "words": m.words, "offset": m.offset, "certainty": m.certainty}
                    for m in draft.mentions
                ],
            }
        )
        return
    from cartag.plainyaml import one_line

    lines = [
        f"# {draft.title}, as cartag found them: {counted(len(draft.cars), 'car')}. Look it through, then tag with it.",
        f"name: {one_line(draft.name)}",
        f"title: {one_line(draft.title)}",
        "cars:",
    ]
    for car in draft.cars:
        mentions = draft.of(car)
        spoken = dict.fromkeys('"' + " ".join(m.words.split()) + '"' for m in mentions)
        lines.append(f"  # {', '.join(spoken)}; certainty {max(m.certainty for m in mentions):.2f}")
        given = {**_row(car), "prompts": list(car.prompts)}
        lines.append(f"  - {one_line({key: value for key, value in given.items() if value})}")
    output.put_file(lines)
