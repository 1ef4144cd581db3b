"""What a program says while it runs: one line with the time of day."""

from __future__ import annotations

import time


def say(text: str) -> None:
    """Prints a line at once, for a log that somebody follows."""
    print(time.strftime("%H:%M:%S"), text, flush=True)
