"""What a person says in a review, and what she is shown of it: the values between the page and the session."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import UNSET
from msgspec.structs import force_setattr

from cartag.measuring import Label
from cartag.paths import is_below
from cartag.state import Index
from cartag.values import Box, PhotoRecord, Region, Tag, human_regions, human_tags, why_no_box

_DIGITS = 4

Truth = Literal["car", "unknown", "none"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of one photo, or of one box in it.

    Without ``box`` and ``to`` it is of the photo as a whole; with ``box`` of that one, which ``to`` moves; with ``to``
    alone she drew a box there. Of a box, ``none`` means that there is none: she deletes it.
    """

    path: str
    truth: Truth | None
    """It shows cars of the catalog, other cars only, or none; None: she takes back what she said."""
    cars: tuple[str, ...] = ()
    """Ids of the cars it shows, where ``truth`` is ``car``; of a box one."""
    seen: str | None = None
    """`Reviewed.state` of the photo as she saw it: where it is another by now, nothing is done. None: in any case."""
    box: Box | None = None
    to: Box | None = None

    def __post_init__(self) -> None:
        if not is_below(self.path):
            raise ValueError(f"{self.path!r} would lie outside of the gallery")
        for name in ("box", "to"):
            if (box := getattr(self, name)) is not None:
                rounded = tuple(round(value, _DIGITS) for value in box)
                if why := why_no_box(rounded):
                    raise ValueError(f"{self.path}: {why}")
                force_setattr(self, name, rounded)
        if self.to is not None and self.truth not in ("car", "unknown"):
            raise ValueError(f"{self.path}: a box that is drawn or moved shows a car: truth is 'car' or 'unknown'")
        if self.is_of_box and len(self.cars) > 1:
            raise ValueError(f"{self.path}: a box is of one car, not of {list(self.cars)}; draw another box")

    @property
    def is_of_box(self) -> bool:
        """Whether it is of one box, not of the photo as a whole."""
        return self.box is not None or self.to is not None


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A photo as the page shows it."""

    record: PhotoRecord
    label: Label | None
    """What the CSV of hand labels says of it."""

    @property
    def state(self) -> str:
        """Names what is said of the photo, and its content: another name, another answer or another picture."""
        return hashlib.sha256(repr((str(self.record.sha256), what_was_said(self.record))).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class State:
    """What there is to know of a session besides its photos."""

    edition: int
    """Counts how often others changed the index: what was shown of an earlier one may be out of date."""
    step: int
    """Number of the decision that `undo` would take back; 0: there is none."""
    owed: int
    """Of how many photos the index has what was said, and the CSV does not, for it could not be written."""


@dataclass(frozen=True)
class Answer:
    """What became of decisions."""

    changed: tuple[Reviewed, ...]
    """Photos whose records are others now."""
    refused: tuple[Reviewed, ...]
    """Photos of which somebody said something else meanwhile; that stands."""
    state: State


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment."""

    index: Index
    photos: tuple[Reviewed, ...]
    state: State


@dataclass(frozen=True)
class Counts:
    """What was done in one session."""

    confirmed: int
    """Photos of which a person said what the model says."""
    corrected: int
    """Photos of which she said something else."""
    to_do: int
    """Photos of which nobody said anything yet."""


def what_was_said(record: PhotoRecord) -> tuple[object, ...]:
    """What is said of a photo and of its boxes, by whomever."""
    confirmed = None if record.confirmed is UNSET else record.confirmed
    regions = () if record.regions is UNSET else record.regions
    return record.outcome, _tags(record.tags), confirmed, *map(_region, regions)


def what_she_said(record: PhotoRecord) -> tuple[object, ...]:
    """What a person says of a photo and of its boxes; where it is nothing, what the model says of the photo."""
    hers = tuple(map(_region, human_regions(record)))
    if hers and record.confirmed is not True:  # the rest follows from the model's boxes
        return _tags(human_tags(record)), hers
    return record.outcome, _tags(record.tags), None if record.confirmed is UNSET else record.confirmed, hers


def _region(region: Region) -> tuple[object, ...]:
    return region.box, region.outcome, _tags(region.tags), region.source


def _tags(tags: Iterable[Tag]) -> tuple[tuple[str, str], ...]:
    return tuple((tag.car, tag.source) for tag in tags)
