"""What a query answers with."""

from __future__ import annotations

from dataclasses import dataclass


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
