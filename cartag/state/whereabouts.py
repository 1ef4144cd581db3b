"""Where what was said of photos belongs now: with the content it was said of, whatever that is called by now.

Pure: old names and contents in, new names out. The table of `docs/architecture.md` (What belongs to a photo) in code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import UNSET

from cartag.values import PhotoRecord

_SHOWN = 12
_SET_ASIDE = re.compile(rf" \(gone ([0-9a-f]{{{_SHOWN}}})(?:, \d+)?\)$")

Contents = Mapping[str, str | None]
"""SHA-256 by path; None: not known, for it cannot be read; "": no bytes at all, a content that is nobody's."""


@dataclass(frozen=True, slots=True)
class Word:
    """Something that was said of a photo."""

    sha256: str | None
    """The content that it was said of; None: not known."""
    is_missing: bool = False
    """Whether that photo was gone already when the gallery was last looked at."""


@dataclass(frozen=True)
class Whereabouts:
    """Where every word goes; each is in exactly one of ``at`` and ``missing``."""

    at: dict[str, str] = field(default_factory=dict)
    """Path of a photo that is there -> the path that its word was kept under. One word a photo."""
    missing: dict[str, str] = field(default_factory=dict)
    """Path to keep the word of a photo under that is nowhere -> the path that it was kept under."""
    edited: tuple[str, ...] = ()
    """Paths of photos that hold another content than was spoken of, and are taken for the same photo."""

    @property
    def moved(self) -> dict[str, str]:
        """Those of ``at`` whose photo has another name now."""
        return {path: old for path, old in self.at.items() if path != old}

    @property
    def set_aside(self) -> dict[str, str]:
        """Those of ``missing`` that lost their name to another photo."""
        return {path: old for path, old in self.missing.items() if path != old}

    @property
    def homes(self) -> dict[str, str]:
        """Old path -> new path, of every word."""
        return {old: path for path, old in (*self.at.items(), *self.missing.items())}


def contents_of(records: Mapping[str, PhotoRecord]) -> Contents:
    """What photos held when they were looked at last."""
    return {path: None if record.sha256 is UNSET else record.sha256 for path, record in records.items()}


def word_of(record: PhotoRecord) -> Word:
    """A record as something that was said of a content."""
    return Word(None if record.sha256 is UNSET else record.sha256, record.missing is True)


def place_words(
    words: Mapping[str, Word], before: Contents, now: Contents, damaged: Collection[str] = ()
) -> Whereabouts:
    """Decides where words go.

    Args:
        words: by the path that they were kept under.
        before: contents of all photos as they were known, by path; those without words too.
        now: contents of all photos that are there.
        damaged: those of ``now`` that cannot be read as a picture.
    """
    at = {path: path for path, word in words.items() if path in now and now[path] in (None, word.sha256)}
    loose = sorted(words.keys() - at.keys(), key=lambda path: (words[path].is_missing, path))
    copies = _copies({words[path].sha256 for path in loose}, before, now, at)
    nowhere: list[str] = []
    for path in loose:
        places = copies.get(words[path].sha256)
        if places:
            at[places.pop(0)] = path
        else:
            nowhere.append(path)
    known = {content for content in before.values() if content}
    moved = known - {content for path, content in before.items() if content and now.get(path) == content}
    missing: dict[str, str] = {}
    edited: list[str] = []
    for path in nowhere:
        others = known if words[path].sha256 is not None else moved  # without a hash, a copy says nothing
        if path not in now:
            missing[path] = path
        elif path not in at and now[path] not in others and not words[path].is_missing:
            at[path] = path
            if path not in damaged and words[path].sha256 is not None:
                edited.append(path)
        else:  # another photo: known by another name before, with a word of its own, or come after this one had gone
            missing[_name_aside(path, words[path].sha256, {*words, *missing})] = path
    return Whereabouts(at, missing, tuple(edited))


def _copies(
    wanted: set[str | None], before: Contents, now: Contents, taken: Collection[str]
) -> dict[str | None, list[str]]:
    """Paths of the photos that have these contents and no word yet; names that are new to a content go first."""
    copies: dict[str | None, list[str]] = {}
    for path, content in now.items():
        if content and content in wanted and path not in taken:
            copies.setdefault(content, []).append(path)
    for content, paths in copies.items():
        paths.sort(key=lambda path: (before.get(path) == content, path))
    return copies


def _name_aside(path: str, sha256: str | None, taken: Collection[str]) -> str:
    """A name that no photo has, for it ends as none does: ``car-001.jpg (gone 3f2a9c1d04be)``."""
    shown = f"{path} (gone {sha256[:_SHOWN]})" if sha256 else f"{path} (gone)"
    forms = (shown, *(f"{shown[:-1]}, {n})" for n in range(2, len(taken) + 3)))
    return next(form for form in forms if form not in taken)


def content_aside(name: str, contents: Iterable[str | None]) -> str | None:
    """Which of the contents a name stands for that `place` made for a photo that is nowhere; None: none of them."""
    found = _SET_ASIDE.search(name)
    return None if found is None else next((sha for sha in contents if sha and sha.startswith(found[1])), None)
