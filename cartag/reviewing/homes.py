"""Where the photos of a review are called by other names, when a run of `tag` has found them there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec import UNSET

from cartag.state import Index, contents_of, place_words, word_of

T = TypeVar("T")


def homes_of(paths: Iterable[str], old: Index, new: Index) -> dict[str, str]:
    """Old path -> new path of those of these photos that have another name in the new index; by their contents."""
    words = {path: word_of(old.photos[path]) for path in sorted(paths) if path in old.photos}
    there = {record.path: record for record in new if record.missing is UNSET}
    homes = place_words(words, contents_of(old.photos), contents_of(there)).homes
    return {path: home for path, home in homes.items() if path != home}


def moved(by_path: Mapping[str, T], homes: Mapping[str, str]) -> dict[str, T]:
    """The same values under the names that the photos have now."""
    stay = {path: value for path, value in by_path.items() if path not in homes}
    return stay | {homes[path]: value for path, value in by_path.items() if path in homes}
