"""What a check may find, and what it is found in."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from cartag.paths import as_typed, printable
from cartag.photos import Walk
from cartag.state import Index, Place, ShardFolder
from cartag.values import PhotoFile

Kind = Literal["damaged", "missing", "left-over", "changed"]
"""`changed`: a photo is another than the index says."""
Part = Literal["shards", "index", "photos", "state", "learned", "labels", "sidecars"]
_SETTLED = 60.0
"""Seconds: a temporary file that nobody touched for so long is nobody's work under way."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    part: Part
    kind: Kind
    path: str
    what: str
    """What is wrong with it, in words."""
    remedy: str
    """What to do; what was done where it is ``repaired``."""
    repaired: bool = False


@dataclass(frozen=True)
class Found:
    """A finding, and how it can be mended without a person's word being touched; None: it cannot."""

    finding: Finding
    mend: Callable[[], object] | None = None


def found(
    part: Part, kind: Kind, path: Path | str, what: str, remedy: str, mend: Callable[[], object] | None = None
) -> Found:
    """A finding at a path."""
    return Found(Finding(part, kind, printable(str(path)), what, remedy), mend)


@dataclass(frozen=True)
class Case:
    """A gallery under check."""

    gallery: Path
    place: Place
    index: Index | None
    """None where it cannot be read."""
    walk: Walk
    """The photos that are there."""
    is_busy: bool
    """Whether a run writes now: what is unfinished is its own then."""
    shards: ShardFolder | None = None
    """Where the index is a folder of shards."""

    listings: dict[Path, list[str]] = field(default_factory=dict)
    closed: dict[Path, str] = field(default_factory=dict)
    """Folders that could not be listed, and why: what is in them was not looked at."""

    def listed(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; listed once. None of one that is not there, or of a ``closed`` one."""
        if folder not in self.listings:
            try:
                self.listings[folder] = sorted(os.listdir(folder))
            except FileNotFoundError:
                self.listings[folder] = []
            except OSError as e:
                self.listings[folder], self.closed[folder] = [], e.strerror or str(e)
        return self.listings[folder]

    @cached_property
    def on_disk(self) -> dict[str, PhotoFile]:
        """The photos that are there, by path."""
        return {photo.path: photo for photo in self.walk.photos}

    @property
    def tag(self) -> str:
        """The command that goes on with this gallery."""
        if self.shards is not None:
            return as_typed("tag", self.gallery, "--engine", "ray", index=self.shards.uri)
        return as_typed("tag", self.gallery, index=self.place.option(self.gallery))


TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp", re.DOTALL)
"""What cartag writes before it takes another file's place (`state.temporary_for`); that file's name is in it."""


def half_written(part: Part, path: Path, what: str, *, is_ours: bool) -> Found:
    """What a killed writer left; taken away where that is surely ours and nobody is writing it now."""
    if not is_ours:
        return found(part, "left-over", path, what, "look at it, and remove it")
    if not is_settled(path):
        return found(part, "left-over", path, f"{what}, unless it is being written now", "check again in a minute")
    return found(part, "left-over", path, what, "--repair removes it", path.unlink)


def is_settled(path: Path) -> bool:
    """Whether nobody has written a file for a while; one that is gone has nobody either."""
    try:
        return time.time() - path.lstat().st_mtime > _SETTLED
    except OSError:
        return True
