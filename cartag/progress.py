"""How the library says what it is doing, without knowing what a terminal is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what a long run does; `cartag.cli` draws it, `Silent` ignores it."""

    def start(self, what: str, total: int | None) -> None:
        """A new stage begins: ``what`` in a few words, ``total`` steps or None when unknown."""

    def advance(self, steps: int = 1) -> None:
        """``steps`` more of the current stage are done."""

    def finish(self) -> None:
        """The current stage is over."""

    def note(self, message: str) -> None:
        """One line that the user should see once, such as a fallback and its reason."""


class Silent:
    """A progress that says nothing: the default of every library call."""

    def start(self, what: str, total: int | None) -> None: ...

    def advance(self, steps: int = 1) -> None: ...

    def finish(self) -> None: ...

    def note(self, message: str) -> None: ...
