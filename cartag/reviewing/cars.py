"""Another car for the catalog of a gallery, written where the next `tag` finds it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from cartag.catalogs import catalog_file, load_catalog, match_exactly, with_cars
from cartag.errors import CatalogError, ReviewError
from cartag.scoring import default_catalog
from cartag.state import Index, Place, replace_file
from cartag.values import Car, IndexedCar


def written(index: Index, place: Place, name: str, aliases: Sequence[str]) -> tuple[IndexedCar, Path]:
    """The car as an index names it, and the catalog's file, which has it now as its last.

    A catalog of her own gets a line. Of one that ships with cartag a copy is made beside the index, or the copy that
    was made before gets the line.

    Raises:
        ReviewError: no name, or one that the catalog has.
        CatalogError: the catalog cannot be read, or not be written.
    """
    name, aliases = " ".join(name.split()), [" ".join(alias.split()) for alias in aliases if alias.strip()]
    if not name:
        raise ReviewError("a car needs a name")
    source = default_catalog(index)
    target = catalog_file(source)
    if target is None:
        target = _copy(source, place)
        source = str(target) if os.path.lexists(target) else source
    old = load_catalog(source)
    if (there := match_exactly(name, old.cars)) is not None:
        if there.id not in {car.id for car in index.header.catalog.named}:  # a review ended before the index had it
            return _indexed(there), target
        raise ReviewError(f"the catalog has {name!r} already, as {there.name!r}")
    catalog, text = with_cars(source, [name], target, {name: aliases})
    try:
        replace_file(target, text.encode("utf-8"))
    except OSError as e:
        raise CatalogError(f"{target}: cannot be written ({e.strerror}); nothing was changed") from e
    return _indexed(catalog.cars[-1]), target


def _copy(shipped: str, place: Place) -> Path:
    """Where the copy of a catalog that ships with cartag is, or is to be: a copy of another one stays what it is."""
    name = load_catalog(shipped).name
    kinds = chain(("", f".{shipped}"), (f".{shipped}-{number}" for number in count(2)))
    files = (place.index.with_name(f"{place.name}{kind}.catalog.yaml") for kind in kinds)
    return next(file for file in files if not os.path.lexists(file) or _name_of(file) == name)


def _name_of(file: Path) -> str | None:
    """The name of a catalog; None where the file is none."""
    try:
        return load_catalog(file).name
    except CatalogError:
        return None


def _indexed(car: Car) -> IndexedCar:
    return IndexedCar(id=car.id, name=car.name, make=car.make, aliases=car.aliases)
