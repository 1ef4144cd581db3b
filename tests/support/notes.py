"""A progress that keeps what is said, and a run of `tag` that answers with it."""

from __future__ import annotations

from typing import Any

from conftest import Gallery


class Notes:
    """A progress that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, what: str, total: int | None) -> None: ...
    def advance(self, steps: int = 1) -> None: ...
    def finish(self) -> None: ...
    def note(self, message: str) -> None:
        self.said.append(message)


def tag(gallery: Gallery, **options: Any) -> list[str]:
    """Tags it; what is said."""
    notes = Notes()
    gallery.tag(progress=notes, **options)
    return notes.said
