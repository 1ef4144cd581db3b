"""Writing another car into a catalog's file, as a person would: a line at the end of the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cartag import plainyaml
from cartag.catalogs.catalog import catalog_of, guess_make, load_catalog, locate, match_exactly, slug
from cartag.errors import CatalogError
from cartag.resources import shipped_catalogs
from cartag.values import Catalog


def catalog_file(name_or_file: str | Path) -> Path | None:
    """The file of a catalog that is a person's own; None of one that ships with cartag.

    Raises:
        CatalogError: no such catalog.
    """
    path, source = locate(str(name_or_file))
    return None if source in shipped_catalogs() else path


def with_cars(
    name_or_file: str | Path, names: Sequence[str], target: Path, aliases: Mapping[str, Sequence[str]] | None = None
) -> tuple[Catalog, str]:
    """A catalog with more cars at its end, and the text of its file, to be written as ``target``; comments stay.

    A car that the catalog rejects by, as another car, comes in with all that is known of it there. ``aliases`` are
    further names, by name.

    Raises:
        CatalogError: no such catalog, a mistake in it, or a car that it has already.
    """
    path, source = locate(str(name_or_file))
    old = load_catalog(name_or_file)
    entries = [_entry(name, old, source, (aliases or {}).get(name, ())) for name in names]
    text = path.read_bytes().decode("utf-8")
    new = plainyaml.with_items(text, "cars", entries)
    by_hand = f"{path}: write it there yourself, under cars: {' '.join(f'- {plainyaml.one_line(e)}' for e in entries)}"
    if new is None:
        raise CatalogError(by_hand)
    catalog = catalog_of(plainyaml.parse(new, target, CatalogError), target, str(target.resolve()))
    if catalog.cars[: len(old.cars)] != old.cars or len(catalog.cars) != len(old.cars) + len(entries):
        raise CatalogError(by_hand)
    return catalog, new


def _entry(name: str, catalog: Catalog, source: str, aliases: Sequence[str]) -> str | dict[str, Any]:
    """What is written of a car: its name, or all that is known of it."""
    if (there := match_exactly(name, catalog.cars)) is not None:
        raise CatalogError(f"{source}: has {name!r} already, as {there.name!r}")
    known = match_exactly(name, catalog.other_cars)
    if known is None:
        return {"name": name, "aliases": list(aliases)} if aliases else name
    fields: dict[str, Any] = msgspec.to_builtins(known)
    fields["aliases"] = list(dict.fromkeys([*fields["aliases"], *aliases]))
    implied = {"id": slug(known.name), "make": guess_make(known.name)}
    return {key: value for key, value in fields.items() if value and implied.get(key) != value}
