"""`cartag merge`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Format, Gallery, IndexFile, TableFormat
from cartag.cli.output import counted
from cartag.paths import printable


def command(
    gallery: Gallery,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="PLACE", help="A file NAME.json, or a folder or URI for shards.", show_default=False
        ),
    ],
    index: IndexFile = None,
    format: Format = TableFormat.table,
) -> None:
    """Make one file of an index that is a folder of shards, or a folder of a file.

    Records, embeddings and what people said are the same in both. The index that is there stays as it is.
    """
    import cartag

    report = cartag.merge(gallery, to, index=index, progress=output.TerminalProgress())
    if format is TableFormat.json:
        output.put_json(asdict(report) | {"index": printable(report.index)})
        return
    kind = counted(report.shards, "shard") if report.shards else "one file"
    output.put(
        f"{printable(report.index)}: {counted(report.photos, 'photo')} in {kind}, {report.embedded} with embeddings"
    )
