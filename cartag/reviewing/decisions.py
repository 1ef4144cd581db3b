"""What a person says in a review, and what she is shown of it: the values between the page and the session."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import UNSET

from cartag.measuring import Label
from cartag.paths import is_below
from cartag.state import (
    Index,
)
from cartag.values import (
    PhotoRecord,
)

Truth = Literal["car", "unknown", "none"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of one photo."""

    path: str
    truth: Truth | None
    """It shows cars of the catalog, other cars only, or none; None: she takes back what she said."""
    cars: tuple[str, ...] = ()
    """Ids of the cars it shows, where ``truth`` is ``car``."""
    seen: str | None = None
    """`Reviewed.state` of the photo as she saw it: where it is another by now, nothing is done. None: in any case."""

    def __post_init__(self) -> None:
        if not is_below(self.path):
            raise ValueError(f"{self.path!r} would lie outside of the gallery")


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
    """What is said of a photo, by whomever."""
    confirmed = None if record.confirmed is UNSET else record.confirmed
    return record.outcome, tuple((tag.car, tag.source) for tag in record.tags), confirmed
