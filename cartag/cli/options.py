"""Options that several commands share, declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class TableFormat(StrEnum):
    """How a command prints its answer."""

    table = "table"
    json = "json"


Gallery = Annotated[Path, typer.Argument(metavar="GALLERY", help="The folder of photos.", show_default=False)]
IndexFile = Annotated[
    str | None,  # a path would lose a slash of s3://
    typer.Option(
        "--index", metavar="FILE", help="Where the index lies, if not at GALLERY/cartag.json.", show_default=False
    ),
]
CatalogName = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        metavar="FILE|NAME",
        help="The cars to look for: a YAML file, or a shipped catalog (mille-miglia-2013, sports-cars).",
        show_default=False,
    ),
]
Format = Annotated[TableFormat, typer.Option("--format", help="For people or for programs.")]
