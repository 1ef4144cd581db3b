"""`cartag models` and `cartag models fetch`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Format, TableFormat

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="List the models known by name; fetch one for offline use.",
)


@app.callback()
def command(context: typer.Context, format: Format = TableFormat.table) -> None:
    """List the models known by name: size, licence, published accuracy, here already or to be fetched."""
    if context.invoked_subcommand is not None:
        return
    import cartag

    models = cartag.models()
    if format is TableFormat.json:
        output.put_json([asdict(model) for model in models])
        return
    rows = (
        (
            m.name,
            m.input_size,
            m.size_mb,
            m.stanford_cars_top1,
            m.licence,
            "here" if m.here else "to be fetched",
            m.source,
        )
        for m in models
    )
    output.put_table(("model", "input", "MB", "Cars top-1", "licence", "files", "source"), rows, right=[1, 2, 3])
    output.put("Cars top-1: zero-shot on Stanford Cars as published, percent. Any hub id or folder works as well.")


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of the list, or a hub id.")],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="DIR",
            help="A folder to make, for a machine without network. [default: the hub's cache on this one]",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="For --to: replace files of these names with another content.")
    ] = False,
) -> None:
    """Fetch a model for use without network: here as `--model NAME`, elsewhere as `--model DIR`."""
    import cartag

    folder = cartag.fetch(name, to, force=force, progress=output.TerminalProgress())
    output.put(str(folder))
