"""What there is to choose from: the cars of a catalog, the models known by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cartag import catalog as catalogs
from cartag.encoder import table
from cartag.progress import Progress, Silent
from cartag.settings import DEFAULT_CATALOG
from cartag.values import Catalog


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model known by name."""

    name: str
    source: str
    licence: str | None
    input_size: int | None
    size_mb: int | None
    stanford_cars_top1: float | None
    """Zero-shot top-1 in percent as published; None where nobody published one."""
    here: bool
    """Whether it can be loaded now, without network."""
    note: str | None


def cars(catalog: str | Path | None = None) -> Catalog:
    """Reads and checks a catalog: a shipped one by name, or a YAML file.

    Raises:
        CatalogError: no such catalog, or a mistake in it, with its place.
    """
    return catalogs.load(catalog or DEFAULT_CATALOG)


def models() -> list[ModelInfo]:
    """The models known by name, and which of them are here."""
    return [
        ModelInfo(
            name=spec.name,
            source=spec.source,
            licence=spec.licence,
            input_size=spec.input_size,
            size_mb=spec.size_mb,
            stanford_cars_top1=spec.stanford_cars_top1,
            here=table.is_here(spec),
            note=spec.note,
        )
        for spec in table.known_models().values()
    ]


def fetch(name: str, to: Path | str, *, progress: Progress | None = None) -> Path:
    """Puts all files of a model into the folder ``to``; on a machine without network, use it as ``--model FOLDER``.

    Raises:
        ModelError: the model is unknown, or neither here nor to be fetched.
    """
    return table.fetch_to(name, Path(to), progress or Silent())
