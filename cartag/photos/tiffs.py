"""Which page of a TIFF is the picture: the first, unless that is a small copy of a later one.

A page is a small copy where the file says so (`NewSubfileType`, or `SubfileType` of old), or where a page of the same
shape is twice as large or more on both sides. Masks are no pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NEW_KIND, OLD_KIND = 254, 255
MOST_PAGES = 16
"""So many are looked at: a file may have thousands, or a last one that leads back to the first."""
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_SAME_SHAPE = 0.03


@dataclass(frozen=True, slots=True)
class Page:
    """A page by its tags."""

    size: tuple[int, int]
    new_kind: Any = 0
    old_kind: Any = 0

    @property
    def is_whole(self) -> bool:
        """Whether it says neither that it is a reduced picture nor that it is a mask."""
        is_less = isinstance(self.new_kind, int) and self.new_kind & (_REDUCED | _MASK)
        return not is_less and self.old_kind != _OLD_REDUCED


def picture(pages: Sequence[Page]) -> int:
    """The number of the page that is the picture."""
    whole = [number for number, page in enumerate(pages) if page.is_whole]
    first = whole[0] if whole else 0
    larger = [number for number in whole if _is_copy(pages[first].size, pages[number].size)]
    return max(larger, key=lambda number: (pages[number].size, -number), default=first)


def _is_copy(small: tuple[int, int], large: tuple[int, int]) -> bool:
    is_much_smaller = 2 * small[0] <= large[0] and 2 * small[1] <= large[1]
    return is_much_smaller and abs(small[0] * large[1] / (small[1] * large[0]) - 1) <= _SAME_SHAPE
