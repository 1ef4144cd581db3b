"""The names of the gazetteer's cars, laid out for looking up windows of words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from cartag.catalogs import gazetteer
from cartag.catalogs.article.words import atoms
from cartag.catalogs.catalog import normalise
from cartag.values import Car

_LEAST_CORRECTED = 5  # letters: a shorter word is right or another word
_TWO_MISTAKES_FROM = 8

Atoms = tuple[str, ...]


@dataclass(eq=False, slots=True)
class Names:
    """Names by their parts, by their letters and digits without spaces, and by sorted parts for another order."""

    exact: dict[Atoms, Car] = field(default_factory=dict)
    joined: dict[str, tuple[Car, Atoms]] = field(default_factory=dict)
    shuffled: dict[Atoms, Car | None] = field(default_factory=dict)
    """None where the same parts make two cars."""
    known: set[str] = field(default_factory=set)
    first: set[str] = field(default_factory=set)
    """What a name's first word may be, whole or its first part."""
    vocabulary: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The long words, by first letter: what a misspelt word may have meant."""

    def add(self, name: str, car: Car, everyday: frozenset[str]) -> None:
        parts = atoms(name)
        if not parts:
            return
        self.exact.setdefault(parts, car)
        self.joined.setdefault("".join(parts), (car, parts))
        if len(parts) > 1:
            key = tuple(sorted(parts))
            self.shuffled[key] = car if self.shuffled.get(key, car) is car else None
        words = normalise(name).split()
        self.first |= {words[0], parts[0]}
        for word in {*words, *parts}:
            if word not in self.known and word.isalpha() and len(word) >= _LEAST_CORRECTED and word not in everyday:
                self.vocabulary[word[0]].append(word)
            self.known.add(word)

    def at(self, parts: Atoms) -> Car | None:
        """The car whose name these parts are, in this order, however they are joined."""
        car = self.exact.get(parts)
        if car is not None or "".join(parts) not in self.joined:
            return car
        car, own = self.joined["".join(parts)]
        # "GTR" is "GT-R" and "Landcruiser" is "Land Cruiser", but "models" is no "Model S".
        letters = [len(part) for part in (*parts, *own) if part.isalpha()]
        return car if sum(map(len, own)) <= 4 or min(letters, default=0) >= 3 else None


@dataclass(eq=False, slots=True)
class MakeNames(Names):
    """The models of one make."""

    make: str = ""
    bare: Car | None = None
    """The car that the make's name alone means."""


@dataclass(frozen=True, eq=False, slots=True)
class Lookup:
    """Everything that is looked for in a text."""

    makes: dict[str, MakeNames]
    """By every spelling of a make, without spaces."""
    make_words: dict[str, list[str]]
    """One-word makes by first letter, for misspelt ones."""
    whole: Names
    """Names that stand without their make."""
    blocked: frozenset[Atoms]
    """Phrases that are no car."""
    everyday: frozenset[str]
    """Model names that need their make before them, without spaces."""
    list_words: frozenset[str]
    units: frozenset[str]


@cache
def lookup() -> Lookup:
    """The shipped gazetteer, laid out; made once."""
    known = gazetteer.load_gazetteer()
    models: dict[str, MakeNames] = {}
    makes: dict[str, MakeNames] = {}
    for make, spellings in known.makes.items():
        models[make] = MakeNames(make=make)
        for text in (make, *spellings):
            makes.setdefault("".join(atoms(text)), models[make])
    whole = Names()
    for car in known.cars:
        starts = [normalise(text) for text in (car.make, *known.makes[car.make])]
        for name in (car.name, *car.aliases, *known.spellings.get(car.id, ())):
            plain = normalise(name)
            if plain in starts:
                models[car.make].bare = car
                continue
            start = max((s for s in starts if plain.startswith(f"{s} ")), key=len, default="")
            if start:
                models[car.make].add(plain[len(start) :], car, known.words)
            else:
                whole.add(plain, car, known.words)
    make_words: dict[str, list[str]] = defaultdict(list)
    for spelling in makes:
        if spelling.isalpha():
            make_words[spelling[0]].append(spelling)
    return Lookup(
        makes=makes,
        make_words=dict(make_words),
        whole=whole,
        blocked=frozenset(atoms(text) for text in known.not_cars),
        everyday=_joined(known.words),
        list_words=frozenset(known.list_words),
        units=frozenset(known.units),
    )


def _joined(texts: Iterable[str]) -> frozenset[str]:
    return frozenset("".join(atoms(text)) for text in texts)


def corrected(word: str, among: dict[str, list[str]], least: int = _LEAST_CORRECTED) -> tuple[str, float] | None:
    """The word that a misspelt one stands for, and their similarity in [0, 1]; digits are never corrected.

    One mistake (a letter wrong, missing, too many, or two swapped) in up to seven letters, two in more; the first
    letter is right.
    """
    if len(word) < least or not word.isalpha():
        return None
    allowed = 2 if len(word) >= _TWO_MISTAKES_FROM else 1
    near: Iterable[str] = among.get(word[0], ())
    found = process.extractOne(word, near, scorer=OSA.distance, score_cutoff=allowed)
    if found is None:
        return None
    meant, distance, _ = found
    return meant, 1 - distance / max(len(word), len(meant))
