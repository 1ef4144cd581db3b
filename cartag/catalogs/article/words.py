"""A text as folded words with their places, and what stands between two of them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from cartag.catalogs.catalog import is_unseen, normalise, seen

# A word is letters and digits of the names' script, or of another ("这辆Ferrari" is two words).
_WORD = re.compile(r"[a-z0-9]+|[^\W_a-z0-9]+")
_ATOM = re.compile(r"[a-z]+|[0-9]+|[^\Wa-z0-9_]+")
_HARD = re.compile(r"[!?…。！？]|\.[\"'»”)\]]*\s|\n\s*\n")
_LIST = re.compile(r"[,;|•·、，；]|\s[-–—*]\s")
_SOFT = re.compile(r"[\n:()\[\]&]|\s/|/\s")
_ABBREVIATION = re.compile(r"\.[ \t]")
_SAME = {"spyder": "spider", "cabriolet": "cabrio", "convertible": "cabrio", "mark": "mk", "coupes": "coupe"}


class Gap(IntEnum):
    """What stands between two words, by how far it parts them."""

    TIGHT = 0
    """A space, a hyphen, an apostrophe, a slash: within a name."""
    SOFT = 1
    """A line's end, a bracket: within a name if need be."""
    LIST = 2
    """A comma or its like: between the items of a list."""
    HARD = 3
    """The end of a sentence or of a paragraph."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text."""

    text: str
    """Lower case, without accents."""
    start: int
    end: int
    """Its place in the text, in characters."""
    gap: Gap
    """What stands before it."""


def words(text: str) -> list[Word]:
    """All words of a text, folded as `cartag.catalogs.catalog.normalise` folds names."""
    found: list[Word] = []
    at = 0
    for chunk in re.finditer(r"\S+", text):
        for folded, start, end in _folded(chunk[0]):
            start, end = start + chunk.start(), end + chunk.start()
            between = seen(text[at:start])
            gap = _gap(between) if found else Gap.HARD
            if gap is Gap.HARD and found and _is_abbreviation(found[-1].text, between):
                gap = Gap.SOFT
            found.append(Word(folded, start, end, gap))
            at = end
    return found


@lru_cache(maxsize=50_000)
def atoms(text: str) -> tuple[str, ...]:
    """Runs of letters and of digits, so that "F12berlinetta" and "F12 Berlinetta" are equal; spellings unified."""
    return tuple(_SAME.get(atom, atom) for atom in _ATOM.findall(normalise(text)))


@lru_cache(maxsize=50_000)
def _folded(chunk: str) -> tuple[tuple[str, int, int], ...]:
    """The words of a run without spaces, with their places in it; accents belong to the letter before them."""
    if chunk.isascii():
        return tuple((m[0], m.start(), m.end()) for m in _WORD.finditer(chunk.lower()))
    folded: list[str] = []
    places: list[int] = []
    for i, character in enumerate(chunk):
        plain = _plain(character)
        folded.append(plain)
        places.extend([i] * len(plain))
    found = []
    for m in _WORD.finditer("".join(folded)):
        end = places[m.end() - 1] + 1
        while end < len(chunk) and unicodedata.combining(chunk[end]):
            end += 1
        found.append((m[0], places[m.start()], end))
    return tuple(found)


@lru_cache(maxsize=10_000)
def _plain(character: str) -> str:
    kept = "".join(
        c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c) and not is_unseen(c)
    )
    return kept.casefold().replace("đ", "d").replace("ø", "o").replace("ł", "l")


def _is_abbreviation(word: str, after: str) -> bool:
    """ "ID. Buzz", "No. 1": a dot after so short a word ends no sentence for sure."""
    return len(word) <= 2 and word.isalpha() and _ABBREVIATION.fullmatch(after) is not None


@lru_cache(maxsize=10_000)
def _gap(between: str) -> Gap:
    for gap, pattern in ((Gap.HARD, _HARD), (Gap.LIST, _LIST), (Gap.SOFT, _SOFT)):
        if pattern.search(between):
            return gap
    return Gap.TIGHT
