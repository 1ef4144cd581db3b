"""Finding the cars that a text names.

A car is named by its make and its model, side by side and in any order; by a model alone in a list that began with its
make ("the Ferrari 458 Italia, F12 Berlinetta and 599 GTB") or near its make, if nothing else is called so; or by a name
that needs no make. Of overlapping names the longest counts. Words are forgiven their spelling, numbers never.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cartag.catalogs.article.names import Atoms, Lookup, MakeNames, Names, corrected, lookup
from cartag.catalogs.article.words import Gap, Word, atoms, words
from cartag.values import Car

_LONGEST = 8  # words of a name
_NEAR = 40  # words between a model and its make
_ONE_MISTAKE = 0.85  # less: two letters wrong, too many for a name that stands on one word
_SURE_ALONE = 6  # letters and digits of a name that needs no make

_REORDERED, _CARRIED, _NEARBY, _WITHOUT_MAKE, _LIKE_A_YEAR = 0.95, 0.9, 0.75, 0.9, 0.7


@dataclass(frozen=True, slots=True)
class Mention:
    """A car that a text names."""

    car: Car
    words: str
    """As they stand in the text."""
    offset: int
    """Where they begin in the text, in characters."""
    certainty: float
    """In [0, 1]; below 1 for what had to be forgiven or inferred. A rank, no measured probability."""


@dataclass(frozen=True, slots=True)
class _Match:
    start: int
    end: int
    car: Car | None
    """None for a phrase that is no car."""
    certainty: float
    in_order: bool = True


@dataclass(frozen=True, slots=True)
class _MakeAt:
    start: int
    end: int
    names: MakeNames
    similarity: float


def find_mentions(text: str) -> list[Mention]:
    """The cars named in ``text``, in the order of the text; a car named twice is there twice."""
    found = _Finder(words(text), lookup()).matches()
    return [Mention(f.car, _closed(text, f.start, f.end), f.start, round(min(f.certainty, 1.0), 3)) for f in found]


def _closed(text: str, start: int, end: int) -> str:
    """The words of a mention, with the bracket after them if one opened among them."""
    said = text[start:end]
    return said + ")" if said.count("(") > said.count(")") and text[end : end + 1] == ")" else said


@dataclass(frozen=True, slots=True)
class _Found:
    car: Car
    start: int
    end: int
    """In characters."""
    certainty: float


class _Finder:
    """One text's search."""

    def __init__(self, text: Sequence[Word], names: Lookup) -> None:
        self._text = text
        self._names = names
        self._atoms = [atoms(word.text) for word in text]
        self._taken = bytearray(len(text))
        self._corrections: dict[tuple[int, str], tuple[Atoms, float] | None] = {}
        self._make_corrections: dict[str, tuple[str, float] | None] = {}

    def matches(self) -> list[_Found]:
        makes = list(self._makes())
        self._places: dict[str, list[int]] = defaultdict(list)
        for make in makes:
            if make.similarity == 1:
                self._places[make.names.make].append(make.start)
        candidates = [*self._blocked(), *self._whole_names()]
        for make in makes:
            candidates += self._with_make(make)
        # Sorting is stable: what is no car comes first and wins over a car of the same words.
        candidates.sort(key=lambda m: (not m.in_order, m.start - m.end, -m.certainty, m.start))
        kept = [match for match in candidates if self._take(match)]
        kept += self._carried(sorted(kept, key=lambda m: m.start))
        kept += self._nearby(makes)
        return [
            _Found(m.car, self._text[m.start].start, self._text[m.end - 1].end, m.certainty)
            for m in sorted(kept, key=lambda m: m.start)
            if m.car is not None
        ]

    def _take(self, match: _Match) -> bool:
        if any(self._taken[match.start : match.end]):
            return False
        self._taken[match.start : match.end] = b"\1" * (match.end - match.start)
        return True

    # --- what stands in the text ------------------------------------------------------------------------------------

    def _windows(self, start: int, longest: int, widest: Gap = Gap.SOFT) -> Iterator[tuple[int, Atoms]]:
        """Ends and parts of the runs of words from ``start`` on, shortest first, that no wider gap parts."""
        parts: Atoms = ()
        for end in range(start + 1, min(start + longest, len(self._text)) + 1):
            if end > start + 1 and self._text[end - 1].gap > widest:
                return
            parts += self._atoms[end - 1]
            yield end, parts

    def _makes(self) -> Iterator[_MakeAt]:
        for i in range(len(self._text)):
            for end, parts in self._windows(i, 3):
                names = self._names.makes.get("".join(parts))
                if names is not None:
                    yield _MakeAt(i, end, names, 1)
                elif end == i + 1:
                    meant = self._corrected_make(self._text[i].text)
                    if meant is not None:
                        yield _MakeAt(i, end, self._names.makes[meant[0]], meant[1])

    def _corrected_make(self, word: str) -> tuple[str, float] | None:
        if word not in self._make_corrections:
            meant = None if (word,) in self._names.blocked else corrected(word, self._names.make_words, least=6)
            self._make_corrections[word] = meant
        return self._make_corrections[word]

    def _blocked(self) -> Iterator[_Match]:
        for i in range(len(self._text)):
            for end, parts in self._windows(i, 4):
                if parts in self._names.blocked:
                    yield _Match(i, end, None, 2)

    def _whole_names(self) -> Iterator[_Match]:
        names = self._names.whole
        for i, word in enumerate(self._text):
            meant = self._corrected(names, word.text, least=7)
            if meant is None or (word.text not in names.first and meant[0][0] not in names.first):
                continue
            for end, parts, similarity in self._corrected_windows(names, i, least=7):
                car = names.at(parts)
                if car is None:
                    continue
                if parts not in names.exact and end > i + 1 and len(names.joined["".join(parts)][1]) == 1:
                    continue  # "la Ferrari" is no LaFerrari
                if self._is_everyday(parts):
                    continue
                sure = len("".join(parts)) >= (_SURE_ALONE if len(parts) == 1 else _SURE_ALONE - 1)
                spelt = len(parts) > 1 or similarity > _ONE_MISTAKE  # "delaying" is no DeltaWing
                if not (sure and spelt) and not self._is_near(car.make, i):
                    continue
                yield _Match(i, end, car, similarity * (1 if len(parts) > 1 else _WITHOUT_MAKE))

    def _is_near(self, make: str, at: int) -> bool:
        places = self._places.get(make, [])
        i = bisect_left(places, at - _NEAR)
        return i < len(places) and places[i] <= at + _NEAR

    # --- make and model side by side --------------------------------------------------------------------------------

    def _with_make(self, make: _MakeAt) -> Iterator[_Match]:
        names = make.names
        if names.bare is not None and make.similarity == 1:
            yield _Match(make.start, make.end, names.bare, _WITHOUT_MAKE)
        begins = [make.end]
        if make.end < len(self._text) and self._text[make.end].text == "s" and self._text[make.end].gap is Gap.TIGHT:
            begins.append(make.end + 1)  # "Ferrari's 458 Italia"
        for begin in begins:
            if begin >= len(self._text) or self._text[begin].gap > Gap.SOFT:
                continue
            for end, parts, similarity in self._corrected_windows(names, begin):
                match = self._model(names, make.start, begin, end, parts, similarity * make.similarity)
                if match is not None and (make.similarity == 1 or _is_telling(parts)):
                    yield match
        yield from self._model_before(make)

    def _model(self, names: Names, start: int, begin: int, end: int, parts: Atoms, certainty: float) -> _Match | None:
        car = names.at(parts)
        reordered = None if car is not None or len(parts) < 2 else names.shuffled.get(tuple(sorted(parts)))
        if car is None and reordered is None:
            return None
        if not _is_telling(parts) or self._is_everyday(parts):
            if self._text[begin].gap > Gap.TIGHT or self._is_counted(parts, end):
                return None
            if len("".join(parts)) <= 3 and end > begin + 1 and self._text[begin].text in "aeiouy":
                return None  # "l'Audi a 4 portes"
        if _is_like_a_year(parts):
            certainty *= _LIKE_A_YEAR
        if car is not None:
            return _Match(start, end, car, certainty)
        return _Match(start, end, reordered, certainty * _REORDERED)

    def _model_before(self, make: _MakeAt) -> Iterator[_Match]:
        """ "458 Italia Ferrari", "Carrera GTS Porsche 997"."""
        if make.similarity < 1 or self._text[make.start].gap > Gap.TIGHT:
            return
        for left in range(1, 5):
            start = make.start - left
            if start < 0 or (left > 1 and self._text[start + 1].gap > Gap.TIGHT):
                return
            if self._text[start].text not in make.names.known and self._first(start) not in make.names.known:
                return
            before = tuple(part for k in range(start, make.start) for part in self._atoms[k])
            ends: list[tuple[int, Atoms]] = [(make.end, ())]
            if make.end < len(self._text) and self._text[make.end].gap is Gap.TIGHT:
                ends += self._windows(make.end, 4, Gap.TIGHT)
            for end, after in ends:
                parts = before + after
                car = make.names.at(parts) or make.names.shuffled.get(tuple(sorted(parts)))
                if car is not None and _is_strong(parts) and not self._is_everyday(parts):
                    yield _Match(start, end, car, _REORDERED, in_order=False)

    # --- models without their make ----------------------------------------------------------------------------------

    def _carried(self, kept: Sequence[_Match]) -> list[_Match]:
        """Models in a list that a car of the same make began."""
        found: list[_Match] = []
        for match in kept:
            names = None if match.car is None else self._names.makes.get("".join(atoms(match.car.make)))
            last = match
            while names is not None:
                following = self._next_of_list(names, last)
                if following is None or not self._take(following):
                    break
                found.append(following)
                last = following
        return found

    def _next_of_list(self, names: MakeNames, last: _Match) -> _Match | None:
        begin = last.end
        while begin < min(last.end + 4, len(self._text)) and self._text[begin].gap <= Gap.LIST:
            if self._text[begin].text not in self._names.list_words:
                break
            begin += 1
        if begin >= len(self._text) or self._text[begin].gap > Gap.LIST or self._taken[begin]:
            return None
        if begin == last.end and self._text[begin].gap is Gap.TIGHT:
            return None
        best = None
        for end, parts, similarity in self._corrected_windows(names, begin):
            car = names.at(parts)
            if car is None or self._is_everyday(parts) or self._is_counted(parts, end):
                continue
            if "".join(parts).isdecimal() and not self._ends_an_item(end):
                continue
            if not _is_telling(parts) and any(self._text[k].gap > Gap.TIGHT for k in range(begin + 1, end)):
                continue
            best = _Match(begin, end, car, similarity * _CARRIED)
        return best

    def _ends_an_item(self, end: int) -> bool:
        """Whether a list goes on or a sentence ends here: "911, 959 and 928." but not "250 GTO and 330 guests"."""
        return (
            end >= len(self._text) or self._text[end].gap >= Gap.LIST or self._text[end].text in self._names.list_words
        )

    def _nearby(self, makes: Sequence[_MakeAt]) -> list[_Match]:
        """Unmistakable models within some words of their make."""
        found: list[_Match] = []
        done: dict[str, int] = {}
        for make in makes:
            if make.similarity < 1:
                continue
            begin = max(make.start - _NEAR, done.get(make.names.make, 0))
            until = min(make.end + _NEAR, len(self._text))
            done[make.names.make] = until
            for i in range(begin, until):
                if self._taken[i] or not {self._text[i].text, self._first(i)} & make.names.first:
                    continue
                longest = None
                for end, parts in self._windows(i, _LONGEST, Gap.TIGHT):
                    car = make.names.at(parts)
                    if car is not None and _is_strong(parts) and len(parts) > 1 and not self._is_everyday(parts):
                        longest = _Match(i, end, car, _NEARBY)
                if longest is not None and self._take(longest):
                    found.append(longest)
        return found

    def _first(self, i: int) -> str:
        return self._atoms[i][0] if self._atoms[i] else ""

    # --- words ------------------------------------------------------------------------------------------------------

    def _corrected_windows(self, names: Names, start: int, least: int = 5) -> Iterator[tuple[int, Atoms, float]]:
        """Ends, parts and similarity of the runs of words from ``start`` on whose words all belong to ``names``."""
        parts: Atoms = ()
        similarity = 1.0
        for end in range(start + 1, min(start + _LONGEST, len(self._text)) + 1):
            if end > start + 1 and self._text[end - 1].gap > Gap.SOFT:
                return
            meant = self._corrected(names, self._text[end - 1].text, least)
            if meant is None:
                parts += self._atoms[end - 1]  # perhaps two words in one, or one in two
            else:
                parts += meant[0]
                similarity *= meant[1]
            yield end, parts, similarity

    def _corrected(self, names: Names, word: str, least: int = 5) -> tuple[Atoms, float] | None:
        key = (id(names), word)
        if key not in self._corrections:
            meant: tuple[str, float] | None = (word, 1.0)
            if word not in names.known and (word,) not in self._names.blocked:
                meant = corrected(word, names.vocabulary, least) or meant
            self._corrections[key] = None if meant is None else (atoms(meant[0]), meant[1])
        found = self._corrections[key]
        return found if found is not None and found[0] else None

    def _is_everyday(self, parts: Atoms) -> bool:
        return "".join(parts) in self._names.everyday

    def _is_counted(self, parts: Atoms, end: int) -> bool:
        """Whether a number ends here and what it counts follows: "Fiat 500 km"."""
        return (
            parts[-1].isdecimal()
            and end < len(self._text)
            and self._text[end].gap is Gap.TIGHT
            and self._text[end].text in self._names.units
        )


def _is_telling(parts: Atoms) -> bool:
    """Whether the parts are more than a number or a few letters."""
    return not "".join(parts).isdecimal() and len("".join(parts)) > 3


def _is_strong(parts: Atoms) -> bool:
    """Whether nothing but a car is likely to be called so."""
    name = "".join(parts)
    return len(name) >= 5 and any(part.isalpha() and len(part) > 1 for part in parts)


def _is_like_a_year(parts: Atoms) -> bool:
    return len(parts) == 1 and re.fullmatch(r"1[89]\d\d|20[0-4]\d", parts[0]) is not None
