"""The three standard streams, treated as `cat` treats them: closed, full or gone, they take nothing else with them.

Python's own streams are missing where a shell closed them (``>&-``), raise wherever something happens to be printed,
and once more when the interpreter ends. So the command line puts streams of its own in their place: a stderr that
cannot be written swallows what is said, for the answer matters more; a stdout that cannot be written ends the command,
once, and `lost` says why. Letters that an encoding lacks are shown as escapes.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import Any, TextIO

_ASKED_FOR = ("replace", "ignore", "xmlcharrefreplace", "namereplace")
"""What a person may want of letters that an encoding lacks (PYTHONIOENCODING=ascii:replace)."""


class OutputLostError(Exception):
    """Stdout cannot be written. No OSError: of those typer takes a broken pipe for itself, and exits with 1."""


class _Raw(io.FileIO):
    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes as many bytes as the system takes; once that has failed, takes all and writes none."""
        if self.error is None:
            try:
                while (written := super().write(data)) is None:  # another program has made the pipe non-blocking
                    select.select((), (self,), ())
                return written
            except OSError as e:
                self.error = e
                self.failed()
        return len(data)

    def failed(self) -> None:
        """Nothing more is said of it."""


class _Stdout(_Raw):
    def failed(self) -> None:
        """Ends the command: nobody would see its answer.

        Raises:
            OutputLostError: always.
        """
        raise OutputLostError(str(self.error)) from self.error


def prepare() -> None:
    """Opens the streams that are closed, and puts our own in the place of Python's.

    A file that is opened while one of them is closed would get its number, and what is printed would go into it: into a
    database, say. Where something else stands in a stream's place already, as in a notebook, it stays.
    """
    # What was opened for reading cannot be written: so a closed stdout fails as a closed one does.
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # a machine without /dev/null
                if os.open(os.devnull, flags) == descriptor:  # the lowest that is free
                    os.set_inheritable(descriptor, True)
    sys.stdout = _stream(sys.stdout, sys.__stdout__, 1, _Stdout)
    sys.stderr = _stream(sys.stderr, sys.__stderr__, 2, _Raw)


def lost() -> OSError | None:
    """Why stdout could not be written, now that all of it was to be; None: all is written."""
    with contextlib.suppress(OutputLostError):
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, _Raw) else None


def _stream(current: TextIO | None, pythons: TextIO | None, descriptor: int, kind: type[_Raw]) -> TextIO:
    if current is not None:
        buffer = getattr(current, "buffer", None)
        if current is not pythons or type(getattr(buffer, "raw", buffer)) is not io.FileIO:  # a console of Windows
            return current
        with contextlib.suppress(OSError):
            current.flush()
    errors = getattr(current, "errors", None)
    try:
        raw = kind(descriptor)
    except OSError:  # nothing is there, and nothing can be opened
        return io.StringIO()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(current, "encoding", None) or "utf-8",
        errors=errors if errors in _ASKED_FOR else "backslashreplace",
        line_buffering=kind is _Raw or raw.isatty() or getattr(current, "write_through", False),
    )
