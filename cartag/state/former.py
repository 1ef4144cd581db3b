"""Cars that have left the catalog: the index keeps their names for as long as a person's tags name them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec import UNSET
from msgspec.structs import replace

from cartag.values import Catalog, IndexedCar, IndexedCatalog, PhotoRecord, Tag, human_tags


def catalog_of(
    catalog: Catalog, old: IndexedCatalog | None, records: Mapping[str, PhotoRecord], added: Collection[str] = ()
) -> IndexedCatalog:
    """The catalog as the index keeps it, with the names of former cars that a person's tags still name.

    ``added`` are ids of cars whose names stay though nothing names them yet.
    """
    cars = tuple(IndexedCar(id=c.id, name=c.name, make=c.make, aliases=c.aliases) for c in catalog.cars)
    named = {} if old is None else {car.id: car for car in old.named}
    gone = named.keys() - {car.id for car in cars}
    said = {tag.car for record in records.values() if gone and record.tags for tag in _said_tags(record)}
    former = tuple(named[car] for car in sorted(gone & said.union(added)))
    return IndexedCatalog(
        name=catalog.name, sha256=catalog.sha256, cars=cars, source=catalog.source, former=former or UNSET
    )


def with_added_cars(catalog: Catalog, before: IndexedCatalog, now: IndexedCatalog) -> tuple[Catalog, frozenset[str]]:
    """The catalog of a run during which a review may have added cars, and the ids of these: the next run scores them.

    Of a catalog that ships with cartag the review has made a copy, and the index goes on with that: not where the run
    was asked for another catalog than the index had. ``before`` is what the index had when the run began.
    """
    goes_on = catalog.source == before.source or (before.source is UNSET and catalog.name == before.name)
    if goes_on and now.source is not UNSET and now.source != before.source:
        catalog = replace(catalog, source=now.source)  # with this run's digest: the next one scores anew
    return catalog, frozenset({car.id for car in now.named} - {car.id for car in before.named})


def with_names(
    catalog: IndexedCatalog, known: Mapping[str, IndexedCar], records: Iterable[PhotoRecord]
) -> IndexedCatalog:
    """The catalog with the names of former cars that these records name again, as far as they are ``known`` (by id)."""
    said = {tag.car for record in records for tag in _said_tags(record)} - {car.id for car in catalog.named}
    back = [known[car] for car in said if car in known]
    former = () if catalog.former is UNSET else catalog.former
    return replace(catalog, former=tuple(sorted((*former, *back), key=lambda car: car.id))) if back else catalog


def _said_tags(record: PhotoRecord) -> tuple[Tag, ...]:
    return record.tags if record.confirmed is True else human_tags(record)
