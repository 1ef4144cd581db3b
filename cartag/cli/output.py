"""All printing: data to stdout, everything else to stderr, progress bars only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from cartag.paths import printable_values

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


def say(message: str) -> None:
    """One line for the person, to stderr."""
    print(printable(message), file=sys.stderr)


def put(text: str = "") -> None:
    """One line of data, to stdout."""
    print(printable(text))


def put_json(value: Any) -> None:
    """A value as indented JSON, to stdout."""
    put_bytes(msgspec.json.format(msgspec.json.encode(printable_values(value)), indent=2) + b"\n")


def put_json_line(value: Any) -> None:
    """A value as one line of JSON, to stdout."""
    put_bytes(msgspec.json.encode(printable_values(value)) + b"\n")


def put_bytes(data: bytes) -> None:
    """Data that is not the locale's to encode, to stdout: names as they are on disk, files of UTF-8."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def put_file(lines: Iterable[str]) -> None:
    """The lines of a file that is UTF-8 whatever the locale, to stdout; on a terminal as the terminal has it."""
    if sys.stdout.isatty():
        for line in lines:
            put(line)
    else:
        put_bytes("".join(f"{printable(line)}\n" for line in lines).encode("utf-8"))


def put_table(header: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> None:
    """Columns padded to their widest cell; the columns numbered in ``right`` are right-aligned.

    Plain text of one width, on a terminal and in a pipe alike, so that what the docs show is what one gets.
    """
    table = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    numbers = set(right)
    for row in table:
        cells = [c.rjust(w) if i in numbers else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        put("  ".join(cells).rstrip())


def counted(n: int, what: str) -> str:
    """How many of what: ``1 photo``, ``2 photos``."""
    return f"{n} {what}" if n == 1 else f"{n} {_PLURALS.get(what, f'{what}s')}"


_PLURALS = {"class": "classes"}


def percent(rate: float | None) -> str:
    """A fraction as people read it; a dash where there was nothing to count."""
    return "-" if rate is None else f"{100 * rate:.1f} %"


def printable(text: str) -> str:
    """One line whatever is in it: control characters (a newline in a file's name) are shown, not obeyed."""
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in text)


def _cell(value: object) -> str:
    return printable("-" if value is None else str(value))


class TerminalProgress:
    """Draws what the library reports: a bar on a terminal, notes as lines on stderr."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._bar: RichProgress | None = None
        self._task: Any = None

    def start(self, what: str, total: int | None) -> None:
        """Begins a bar."""
        if not self._is_terminal:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task(what, total=total)

    def advance(self, steps: int = 1) -> None:
        """Moves the bar."""
        if self._bar is not None:
            self._bar.advance(self._task, steps)

    def finish(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def note(self, message: str) -> None:
        """Prints a line above the bar."""
        say(f"cartag: {message}")


def _Speed() -> Any:  # noqa: N802 - stands for a class that must not be defined before rich is imported
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f} photos/s")

    return Speed()
