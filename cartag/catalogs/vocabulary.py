"""What a word of hand labels means: a car of the catalog, another car, or no car; else a question, never a guess.

The cars of a catalog are called here what `cartag find` calls them (`catalog.match`). Words that cartag writes for what
a photo shows are understood too, and names of cars that the catalog lacks and cartag knows from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from cartag.catalogs import gazetteer
from cartag.catalogs.catalog import OUTCOME_WORDS, Named, match_exactly, meant, normalise, squeezed, suggest
from cartag.errors import UnknownCarError

NO_CAR, UNKNOWN = "none", "unknown"
_NO_LABELS = {
    "tagged": "says that there is a car, not which: write its name",
    "car": "says that there is a car, not which: write its name",
    "error": "says that cartag could not read the photo, not what it shows: write that, or leave the row out",
    "other": "may be another car ('unknown') or no car ('none'): write which",
}
"""Words of cartag's tables that are no label, unless a car is called so."""
_LIKE = 70  # of 100: what is less like a name was not meant to be it
_VERY_LIKE = 85  # more than other models of a make are like each other
_MOST_CHOICES, _MOST_NEAR = 5, 3


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one word says that a photo shows: ``car`` or ``other``; neither is no car."""

    car: str | None = None
    """Id of a car of the catalog."""
    other: str | None = None
    """Name of another car, as it is written; ``unknown`` where nobody named it."""


class Vocabulary:
    """Understands words by the cars of one catalog."""

    def __init__(self, cars: Sequence[Named], others: Callable[[], Iterable[Named]] = tuple) -> None:
        """``others`` gives cars that the catalog lacks and that are known besides the gazetteer's, when asked."""
        self._cars, self._more = cars, others
        self._own = {squeezed(text) for car in cars for text in (car.id, car.name, *car.aliases)}
        self._books: tuple[_Book, ...] | None = None

    def exactly(self, word: str) -> Meaning | None:
        """What a whole name, alias or id of the catalog, or a word for no car or another car, says."""
        if squeezed(word) in OUTCOME_WORDS:
            return Meaning(other=UNKNOWN) if squeezed(word) == UNKNOWN else Meaning()
        car = match_exactly(word, self._cars) if normalise(word) else None
        return None if car is None else Meaning(car=car.id)

    def meaning(self, word: str) -> Meaning:
        """What a word of a label says.

        Raises:
            UnknownCarError: it says nothing, or may say several things; the message asks which.
        """
        return self.exactly(word) or self._said_as_other(word) or self._by_part(word) or self._known_other(word)

    def whole_name(self, word: str) -> Meaning | None:
        """What a word says that is a whole name, of the catalog or of a car known from elsewhere; a make is none."""
        try:
            found = self.exactly(word) or self._said_as_other(word)
        except UnknownCarError:  # a folder's name need not be a label
            return None
        if found is None and normalise(word) and not meant(word, self._cars) and self._names_of(word):
            found = None if self._alike(word, self._names_of(word)) else Meaning(other=word)
        return found

    def nearest(self, word: str, least: float = _LIKE) -> list[str]:
        """Names of cars of the catalog that somebody may have meant; a make stands for its cars."""
        near = [car.name for car in meant(word, self._cars)]
        for name in () if near else suggest(word, self._cars, 3, least):
            called = [car.name for car in self._cars if car.name == name]
            near += called or [car.name for car in self._cars if car.make == name]
        return list(dict.fromkeys(near))

    def near_miss(self, other: str) -> str | None:
        """The one car of the catalog that the name of another car looks like, if it looks like one."""
        near = self.nearest(other, _VERY_LIKE)
        return near[0] if len(near) == 1 or (near and not meant(other, self._cars)) else None

    # --- one way to understand a word after the other

    def _said_as_other(self, word: str) -> Meaning | None:
        """``unknown: Tata Nano``; the catalog may have learnt of that car since."""
        before, colon, name = _apart(word)
        if not colon or normalise(before) != UNKNOWN:
            return None
        if not name:
            return Meaning(other=UNKNOWN)
        found = self.exactly(name)
        if found == Meaning():
            raise UnknownCarError(f"{word!r} says both another car and no car: write one of them")
        return found or Meaning(other=name)

    def _by_part(self, word: str) -> Meaning | None:
        wanted = normalise(word)
        if not wanted:
            raise UnknownCarError(f"{word!r} is no word: write a car, 'none' or 'unknown'")
        if wanted in _NO_LABELS:
            raise UnknownCarError(f"{word!r} {_NO_LABELS[wanted]}")
        found = meant(word, self._cars)
        if len(found) > 1:
            names = [car.name for car in found]
            raise UnknownCarError(f"{word!r} may be {either(names)}: write which", names)
        if found and self._names_of(word):
            name = found[0].name
            raise UnknownCarError(f"{word!r} may be {name!r}, or the car called just so: write which", [name])
        return Meaning(car=found[0].id) if found else None

    def _known_other(self, word: str) -> Meaning:
        names = self._names_of(word) or self._makes_of(word)
        alike = self._alike(word, names)
        if names and not alike:
            return Meaning(other=word)
        near = alike or [*self.nearest(word)[:_MOST_NEAR], *self._nearest_other(word)]
        if names:
            raise UnknownCarError(f"{word!r} may be {either(near)}, or another car: write which", near)
        hint = f"; did you mean {either(near)}?" if near else ""
        raise UnknownCarError(f"{word!r} is no car that cartag knows{hint}", near)

    # --- cars that the catalog lacks

    def _known(self) -> tuple[_Book, ...]:
        if self._books is None:
            self._books = _gazetteer(), _Book(self._more())
        return self._books

    def _names_of(self, word: str) -> list[_Names]:
        """All names of each car that is called so and is none of the catalog's."""
        called = [names for book in self._known() for names in book.by_name.get(squeezed(word), ())]
        return [names for names in called if self._own.isdisjoint(map(squeezed, names[:2]))]

    def _makes_of(self, word: str) -> list[_Names]:
        return [names for book in self._known() for names in book.by_make.get(squeezed(word), ())]

    def _alike(self, word: str, others: Iterable[_Names]) -> list[str]:
        """Cars of the catalog whose name is a part of these: it may call a car by less than its whole name."""
        spoken = [set(normalise(name).split()) for names in (*others, (word,)) for name in names]
        return [
            car.name
            for car in self._cars
            if any(
                words and any(words <= whole for whole in spoken)
                for words in (set(normalise(name).split()) for name in (car.id, car.name, *car.aliases))
            )
        ]

    def _nearest_other(self, word: str) -> list[str]:
        """The other car whose name is more like the word than any name of the catalog, if there is one."""
        from rapidfuzz import fuzz, process  # noqa: PLC0415 - only a miss pays for the import

        wanted = squeezed(word)
        best, name = max((fuzz.ratio(wanted, own) for own in self._own), default=0.0), None
        for book in self._known():
            found = process.extractOne(
                wanted, book.by_name.keys(), scorer=fuzz.ratio, score_cutoff=max(best, _VERY_LIKE)
            )
            if found is not None and found[1] > best:
                name, best = book.by_name[found[0]][0][1], found[1]
        return [] if name is None else [name]


_Names = tuple[str, ...]
"""What one car is called: its id, its name, and more."""


class _Book:
    """Cars by what they are called, squeezed."""

    def __init__(
        self,
        cars: Iterable[Named],
        makes: Mapping[str, Sequence[str]] | None = None,
        spellings: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """``makes`` and ``spellings`` are other spellings, of a make and of the car of an id."""
        self.by_name: dict[str, list[_Names]] = {}
        self.by_make: dict[str, list[_Names]] = {}
        for car in cars:
            called = (car.id, car.name, *car.aliases)
            names = (*called, *(spellings or {}).get(car.id, ()))
            for key in {squeezed(name) for name in called}:
                self.by_name.setdefault(key, []).append(names)
            for key in {squeezed(make) for make in (car.make, *(makes or {}).get(car.make, ()))}:
                self.by_make.setdefault(key, []).append(names)


@cache
def _gazetteer() -> _Book:
    book = gazetteer.load_gazetteer()
    return _Book(book.cars, book.makes, book.spellings)


def as_other(name: str) -> str:
    """The word of a label for a car that the catalog lacks, whether or not cartag knows its name."""
    return f"{UNKNOWN}: {name}"


def either(names: Sequence[str]) -> str:
    """``'A', 'B' or 'C'``; of many the first few."""
    shown = [repr(name) for name in names[:_MOST_CHOICES]]
    if len(names) > _MOST_CHOICES:
        shown.append(f"one of {len(names) - _MOST_CHOICES} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _apart(word: str) -> tuple[str, str, str]:
    before, *rest = re.split("[:\uff1a]", word, maxsplit=1)
    return before, ":" if rest else "", rest[0].strip() if rest else ""
