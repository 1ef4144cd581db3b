"""`cartag models`, `cartag models fetch` and `cartag models check`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartag.cli import output
from cartag.cli.options import CatalogName, Format, TableFormat
from cartag.cli.output import counted

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
        header: tuple[str, ...] = (kind, "input", "MB", figure, "cost", "licence", "files", "source")
        rows = [_row(m) for m in models if m.kind == kind and m.superseded_by is None]
        if kind == "detector":
            output.put("")
            header, rows = (*header[:4], *header[5:]), [(*row[:4], *row[5:]) for row in rows]
        output.put_table(header, rows, right=[1, 2, 3, 4] if kind == "model" else [1, 2, 3])
    output.put("Cars top-1: zero-shot on Stanford Cars; COCO AP: over all classes of COCO; both as published, percent.")
    output.put("cost: processor time a photo, as times of clip-b32; *: no other model is as accurate and as cheap.")
    if former := [f"{m.name} (now {m.superseded_by})" for m in models if m.superseded_by is not None]:
        output.put(f"Known still, for indexes made with them: {', '.join(former)}.")
    output.put("Any hub id or folder works as well.")


def _row(model: ModelInfo) -> tuple[object, ...]:
    published = model.stanford_cars_top1 if model.kind == "model" else model.coco_ap
    cost = None if model.cost is None else f"{model.cost:.1f}{' *' if model.is_on_front else '  '}"
    files = "here" if model.here else "to be fetched"
    return model.name, model.input_size, model.size_mb, published, cost, model.licence, files, model.source


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


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of the list, a hub id, or a folder.")],
    gallery: Annotated[
        Path | None,
        typer.Option(
            "--gallery",
            metavar="DIR",
            help="Photos with hand labels in their labels.csv. [default: the sample gallery]",
            show_default=False,
        ),
    ] = None,
    catalog: CatalogName = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps. [default: auto]", show_default=False),
    ] = None,
    format: Format = TableFormat.table,
) -> None:
    """Try a model out on pictures whose cars are known. Exits with 1 if something that must hold does not."""
    import cartag

    progress = output.TerminalProgress()
    trial = cartag.check_model(name, gallery, catalog=catalog, device=device, progress=progress)
    if format is TableFormat.json:
        output.put_json({**asdict(trial), "holds": trial.holds})
    else:
        output.put(f"{trial.model} ({trial.source} at {trial.revision[:12]}) on {counted(trial.pictures, 'picture')}")
        says = {True: "holds", False: "FAILS", None: "-"}
        output.put_table(("", "check", "found"), [(says[c.holds], c.what, c.found) for c in trial.checks])
        failed = [c.what for c in trial.checks if c.holds is False]
        output.put(
            f"verdict: do not trust it here: {'; '.join(failed)}"
            if failed
            else "verdict: works as its authors meant it"
        )
    if not trial.holds:
        raise typer.Exit(1)
