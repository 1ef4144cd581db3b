"""`cartag find`."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from cartag.cli import output
from cartag.cli.options import Gallery, IndexFile
from cartag.paths import printable

if TYPE_CHECKING:
    from cartag.finding import Hit

NOTHING_FOUND = 1
BOX = ("x", "y", "w", "h")


class FindFormat(StrEnum):
    """How hits are printed."""

    paths = "paths"
    paths0 = "paths0"
    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


def command(
    gallery: Gallery,
    cars: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CAR...", help='A car or a make: "huayra", "ferrari", "carrera gt".', show_default=False
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Photos that show every one of the cars, not any; of a make, any car of it.")
    ] = False,
    not_: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="CAR", help="Leave out photos that show this car.", show_default=False),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="P", help="Least probability; below the tags' threshold it adds candidates.", show_default=False
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help='Rank by a description: "red convertible in the rain".', show_default=False),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="PHOTO[#N]", help="Rank by similarity to a photo: its largest car, or its Nth.", show_default=False
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="At most N photos.", show_default=False)] = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Of a folder of shards: find most of the best, by a graph.")
    ] = False,
    index: IndexFile = None,
    format: Annotated[FindFormat, typer.Option("--format", help="paths0 is for `xargs -0`.")] = FindFormat.paths,
) -> None:
    """Print the photos that show any of the cars, best first, one path a line.

    Exits with 1 when nothing matched, with 2 on an error, like grep.
    """
    import cartag

    hits = cartag.find(
        gallery,
        cars or (),
        every=all_,
        exclude=not_ or (),
        min_score=min_score,
        text=text,
        like=like,
        limit=limit,
        regions=format in (FindFormat.json, FindFormat.jsonl),
        approximate=approximate,
        index=index,
        progress=output.TerminalProgress(),
    )
    WRITERS[format](hits)
    if not hits:
        raise typer.Exit(NOTHING_FOUND)


def _paths(hits: Sequence[Hit]) -> None:
    if sys.stdout.isatty():  # a name may hold what a terminal obeys; a program gets it as it is
        for hit in hits:
            output.put(printable(hit.file))
        return
    _write_names(hits, b"\n")


def _paths0(hits: Sequence[Hit]) -> None:
    _write_names(hits, b"\0")


def _write_names(hits: Sequence[Hit], end: bytes) -> None:
    # Bytes, not text: names on disk need not be UTF-8, and what is printed must open the file.
    output.put_bytes(b"".join(os.fsencode(hit.file) + end for hit in hits))


def _table(hits: Sequence[Hit]) -> None:
    if not hits:
        return
    columns = 4 if any(hit.box for hit in hits) else 3
    rows = (
        (f"{h.score:.4f}", h.path, ", ".join(h.cars), " ".join(f"{number:.2f}" for number in h.box or ())) for h in hits
    )
    output.put_table(("score", "photo", "cars", "box")[:columns], (row[:columns] for row in rows), right=[0])


def _json(hits: Sequence[Hit]) -> None:
    output.put_json([_row(hit) for hit in hits])


def _jsonl(hits: Sequence[Hit]) -> None:
    for hit in hits:
        output.put_json_line(_row(hit))


def _csv(hits: Sequence[Hit]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "score", "cars", *BOX))
    writer.writerows(
        (output.printable(h.path), f"{h.score:.4f}", "|".join(h.cars), *(h.box or ("",) * len(BOX))) for h in hits
    )
    output.put_bytes(text.getvalue().encode("utf-8"))


def _row(hit: Hit) -> dict[str, Any]:
    """What the index may lack is not there where it is not known: boxes, and regions where none were looked for."""
    row: dict[str, Any] = {
        "path": hit.path,
        "file": printable(hit.file),
        "score": hit.score,
        "cars": list(hit.cars),
        "box": hit.box,
        "matches": [_known({"car": m.car, "score": m.score, "box": m.box}) for m in hit.matches] or None,
        "regions": None if hit.regions is None else msgspec.to_builtins(hit.regions),
    }
    return _known(row)


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


WRITERS: dict[FindFormat, Callable[[Sequence[Hit]], None]] = {
    FindFormat.paths: _paths,
    FindFormat.paths0: _paths0,
    FindFormat.table: _table,
    FindFormat.json: _json,
    FindFormat.jsonl: _jsonl,
    FindFormat.csv: _csv,
}
