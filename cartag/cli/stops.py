"""Ctrl-C, and a stop by a service manager, which `main` makes the same of."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNS = (signal.SIGINT, signal.SIGTERM)


def is_stop(error: BaseException) -> bool:
    """Whether an error is one: Python 3.11 makes a RuntimeError of an interrupt that comes while a class is made."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt)


@contextmanager
def held_back() -> Iterator[None]:
    """Lets a stop wait for what is imported here: msgspec may crash where one comes while it makes a class.

    What the process does not heed, as a script's jobs in the background do not heed Ctrl-C, it does not heed here.

    Raises:
        KeyboardInterrupt: at the end, where one came.
    """
    if threading.current_thread() is not threading.main_thread():  # as in a test; no other may say who hears
        yield
        return
    came: list[int] = []
    heeded = [sign for sign in _SIGNS if signal.getsignal(sign) not in (signal.SIG_IGN, None)]
    before = {sign: signal.signal(sign, lambda sign, _: came.append(sign)) for sign in heeded}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    if came:
        raise KeyboardInterrupt
