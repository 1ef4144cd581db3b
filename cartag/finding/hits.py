"""What a query asks, and what it answers with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cartag.values import Box, PhotoRecord, PhotoTags, Region


@dataclass(frozen=True, slots=True)
class Match:
    """A car that was asked for and that a photo shows."""

    car: str
    score: float
    box: Box | None
    """Where it stands; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo that answers a query."""

    path: str
    """As the index has it: relative to the gallery."""
    file: str
    """To open it: under the gallery as it was given, by its name on disk."""
    score: float
    """Probability of the cars asked for, or cosine similarity to the text or photo."""
    cars: tuple[str, ...]
    """Ids of all cars the photo is tagged with."""
    box: Box | None = None
    """Where stands what has that score; None where that is not known, or it is the photo as a whole."""
    matches: tuple[Match, ...] = ()
    """The cars asked for that it shows, likeliest first."""
    regions: tuple[Region, ...] | None = None
    """Its regions as they are numbered for ``--like``, largest first; None where none were looked for, or the query
    did not read them."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query by likeness: what like, and among which photos."""

    cars: frozenset[str]
    """Ids of the cars asked for; none: any photo will do."""
    least: float | None
    """With it, a candidate of at least that probability counts as a tag."""
    hits_of: Callable[[Iterable[PhotoRecord | PhotoTags]], Iterator[Hit]]
    """The photos among some that show these cars, and none that is not wanted."""
    takes_any: bool
    """Whether it takes any photo: no car is asked for, and none unwanted."""
    text: str | None
    like: Path | str | None
    limit: int | None
    approximate: bool = False
    """Whether some of the best may be missing, if it is quick."""
