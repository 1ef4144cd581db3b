"""What a query answers with."""

from __future__ import annotations

from dataclasses import dataclass

from cartag.values import Box, Region


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
