"""What of a photo is looked at: boxes of the detector's, those that a person drew, and whether the whole is asked too.

`tag` embeds by it, `learn` weighs by it: what is learned is then of the scores that are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from msgspec import UNSET

from cartag.photos import is_panorama, tiles
from cartag.scoring.calibration import Presence
from cartag.scoring.presence import is_doubtful
from cartag.scoring.sight import Sight
from cartag.state import Facts, in_digits, matched
from cartag.values import Box, PhotoRecord, human_regions, why_no_box


class Seen(Protocol):
    """Where boxes are kept that a detector saw: `cartag.state.Store`."""

    def seen(self, detector: str, hashes: Sequence[str]) -> dict[str, np.ndarray]: ...


@dataclass(slots=True)
class _Known:
    """What is known of a photo before it is looked at."""

    tile: float | None = None
    """Of a panorama the width of a tile, as a share of its own."""
    drawn: tuple[Box, ...] = ()
    deleted: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """What of a photo is embedded."""

    boxes: tuple[tuple[Box, float], ...]
    """Of the detector's, with how sure it is, largest first."""
    drawn: tuple[Box, ...]
    """Of a person's, where no box of the detector is the very same."""
    asks_whole: bool
    """Whether the photo as a whole is embedded too."""
    deleted: frozenset[Box] = frozenset()
    """Those of ``boxes`` that a person deleted."""

    @property
    def all(self) -> list[Box]:
        return [*(box for box, _ in self.boxes), *self.drawn]


_NOTHING = _Known()


class Chooser:
    """Chooses, of what a detector saw in photos; each is known by its content."""

    def __init__(self, sight: Sight, presence: Presence | None) -> None:
        """By ``presence`` photos are asked as wholes too (`is_doubtful`)."""
        self.presence = presence
        self._sight = sight
        self._known: dict[str, _Known] = {}
        """By hash, of the photos that are not like any other."""

    def heed(self, facts: Facts | PhotoRecord, record: PhotoRecord | None) -> None:
        """Takes note of a photo's shape, and of what a person said of boxes in it, as its ``record`` has that."""
        if not facts.sha256:
            return
        sized = facts.width is not UNSET and facts.height is not UNSET
        shape = (facts.width or 1, facts.height or 1)
        panorama = sized and is_panorama(*shape)
        hers = human_regions(record) if record is not None and record.regions else ()
        if panorama or hers:
            known = self._known.setdefault(facts.sha256, _Known())
            known.tile = tiles(*shape)[-1][2] if panorama else known.tile
            drawn = [box for r in hers if r.outcome != "no-car" and not why_no_box(box := in_digits(r.box))]
            deleted = [region.box for region in hers if region.outcome == "no-car"]
            known.drawn = tuple(dict.fromkeys((*known.drawn, *drawn)))
            known.deleted = tuple(dict.fromkeys((*known.deleted, *deleted)))

    def is_panorama(self, h: str) -> bool:
        """Whether the photo is looked at in tiles."""
        return h in self._known and self._known[h].tile is not None

    def seen(self, cache: Seen, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        """What the cache has of the detector, (n, 5) a photo: of panoramas, what it saw in tiles."""
        long = [h for h in hashes if self.is_panorama(h)]
        others = sorted(set(hashes) - set(long)) if long else hashes
        seen = cache.seen(self._sight.identity_for(panorama=False), others)
        return seen | (cache.seen(self._sight.identity_for(panorama=True), long) if long else {})

    def chosen(self, h: str, seen: np.ndarray) -> Chosen:
        """What is looked at, of all that the detector saw (n, 5) in the photo of this hash."""
        known = self._known.get(h, _NOTHING)
        boxes = tuple(self._sight.chosen(seen, known.deleted, tile=known.tile or 1.0))
        there = {box for box, _ in boxes}
        gone = set(matched(known.deleted, [box for box, _ in boxes]).values()) if known.deleted else set()
        left = [found for i, (_, found) in enumerate(boxes) if i not in gone]  # what she deleted is sure of nothing
        asks_whole = not boxes or is_doubtful(left or [0.0], self.presence)
        drawn = tuple(box for box in known.drawn if box not in there)
        return Chosen(boxes, drawn, asks_whole, frozenset(boxes[i][0] for i in gone))
