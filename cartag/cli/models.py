"""`cartag models` and `cartag models fetch`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Format, TableFormat

if TYPE_CHECKING:
    from cartag.listing import ModelInfo

_FIGURES = {"model": "Cars top-1", "detector": "COCO AP"}

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="List the models and detectors known by name; fetch one for offline use.",
)


@app.callback()
def command(context: typer.Context, format: Format = TableFormat.table) -> None:
    """List the models and detectors known by name: size, licence, published accuracy, here or to be fetched."""
    if context.invoked_subcommand is not None:
        return
    import cartag

    models = cartag.models()
    if format is TableFormat.json:
        output.put_json([asdict(model) for model in models])
        return
    for kind, figure in _FIGURES.items():
        rows = [
            (m.name, m.input_size, m.size_mb, _published(m), m.licence, "here" if m.here else "to be fetched", m.source)
            for m in models
            if m.kind == kind
        ]
        if kind == "detector":
            output.put("")
        output.put_table((kind, "input", "MB", figure, "licence", "files", "source"), rows, right=[1, 2, 3])
    output.put("Cars top-1: zero-shot on Stanford Cars; COCO AP: over all classes of COCO; both as published, percent.")
    output.put("Any hub id or folder works as well.")


def _published(model: ModelInfo) -> float | None:
    return model.stanford_cars_top1 if model.kind == "model" else model.coco_ap


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
    """Fetch a model (or a detector) for use without network: here as `--model NAME`, elsewhere as `--model DIR`."""
    import cartag

    folder = cartag.fetch(name, to, force=force, progress=output.TerminalProgress())
    output.put(str(folder))
