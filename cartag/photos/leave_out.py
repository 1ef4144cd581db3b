"""What lies among a person's photos and is none of hers: thumbnails and trash of systems, previews of other programs.

A pattern is a glob for a name, matched in any case; a slash at its end means folders only, and one within asks for the
names of the folders above too (``CaptureOne/Cache/``). Names that begin with a dot are left out in any case, and with
them ``.Trash-1000``, ``.picasaoriginals``, ``.@__thumb`` and the ``._x.jpg`` of a Mac.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Pattern:
    text: str
    parts: tuple[re.Pattern[str], ...]
    """Of the last names of a path."""

    def matches(self, names: Sequence[str]) -> bool:
        last = names[-len(self.parts) :]
        return len(last) == len(self.parts) and all(
            part.match(name) for part, name in zip(self.parts, last, strict=True)
        )


class LeaveOut:
    """Tells by a name whether something in a gallery is left out, and by which pattern."""

    def __init__(self, patterns: Sequence[str], above: str = "") -> None:
        """``above`` is the gallery's own name: a pattern may ask for it as for any other folder's."""
        made = [(text, _made(text)) for text in patterns]
        self._above = _plain(above)
        self._of_folders = [pattern for _, pattern in made]
        self._of_files = [pattern for text, pattern in made if not text.endswith("/")]
        self._last_of_folder, self._last_of_file = _any_last(self._of_folders), _any_last(self._of_files)

    def folder(self, path: str) -> str | None:
        """The pattern by which a folder, by its path in the gallery, is left out; None: it is not."""
        return self._by(path, self._of_folders, self._last_of_folder)

    def file(self, path: str) -> str | None:
        """As `folder`, of a file."""
        return self._by(path, self._of_files, self._last_of_file) if self._of_files else None

    def _by(self, path: str, patterns: Sequence[_Pattern], last: re.Pattern[str]) -> str | None:
        if not last.match(_plain(path[path.rfind("/") + 1 :])):  # nearly always
            return None
        names = [self._above, *_plain(path).split("/")]
        return next((pattern.text for pattern in patterns if pattern.matches(names)), None)


def _made(text: str) -> _Pattern:
    parts = _plain(text).strip("/").split("/")
    return _Pattern(text, tuple(re.compile(fnmatch.translate(part), re.IGNORECASE) for part in parts))


def _any_last(patterns: Sequence[_Pattern]) -> re.Pattern[str]:
    return re.compile("|".join(pattern.parts[-1].pattern for pattern in patterns) or r"(?!)", re.IGNORECASE)


def _plain(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)
