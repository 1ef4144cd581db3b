"""Cars of a catalog that stand among its other cars as well, under another spelling: such a car fights itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cartag.catalogs.catalog import normalise, squeezed
from cartag.values import Car, Catalog


@dataclass(frozen=True, slots=True)
class Rival:
    """A car of the catalog, and another car that a photo of it would be taken for just as well."""

    car: Car
    other: Car
    is_family: bool
    """Whether the other is the bare name of a family that the car belongs to ("Ferrari 458" of a 458 Italia)."""


def rivals(catalog: Catalog) -> tuple[Rival, ...]:
    """Other cars that are cars of the catalog under another spelling, or the whole family of one, in their order.

    Cars whose names each hold a word that the other lacks (458 Italia, 458 Spider) are two cars, and so is one with a
    further word (Huayra, Huayra BC).
    """
    return tuple(rival for car in catalog.cars for other in catalog.other_cars for rival in _rivalry(car, other))


def _rivalry(car: Car, other: Car) -> Iterator[Rival]:
    # Without the make on both sides: who lists "458 Italia" means the Ferrari. What a car is called besides counts too.
    spoken = {squeezed(text) for text in (car.name, *car.aliases)}
    if not spoken.isdisjoint(squeezed(alias) for alias in other.aliases):
        yield Rival(car, other, False)
        return
    ours, theirs = (_words(text, other) for text in (car.name, other.name))
    if ours == theirs:
        yield Rival(car, other, False)
    elif len(theirs) == 1 and theirs < ours and _may_be_of(car, other):
        yield Rival(car, other, True)


def _may_be_of(car: Car, other: Car) -> bool:
    """Whether a car may be of another's make: it is, or its name begins without one ("458 Italia")."""
    make = normalise(car.make)
    return make == normalise(other.make) or make in normalise(other.name).split()


def _words(name: str, other: Car) -> frozenset[str]:
    words = frozenset(normalise(name).split())
    return words - frozenset(normalise(other.make).split()) or words
