"""How the work on many items is spread over cores, whatever computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np

from cartag.settings import usable_cores

T = TypeVar("T")

CPU_PASS = 8
"""Items a pass on a CPU core; the activations of more fall out of its cache, and are mapped anew at every layer."""
MOST_WORKERS = 16


class CorePasses:
    """Runs a graph over many items, ``on_core`` of them a pass, every core passes of its own with one thread each."""

    def __init__(self, cores: int | None = None, *, on_core: int = CPU_PASS) -> None:
        self._on_core = on_core
        self._workers = min(cores or usable_cores(), MOST_WORKERS)
        self._pool: ThreadPoolExecutor | None = None

    def run(self, embed: Callable[[Sequence[T]], np.ndarray], items: Sequence[T]) -> np.ndarray:
        """What ``embed`` makes of all items (there is at least one), in their order: an array (items, ...)."""
        parts = even_parts(items, self._workers, self._on_core)
        if len(parts) == 1:
            return embed(parts[0])
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, "cartag-model")
        return np.concatenate(list(self._pool.map(embed, parts)))


def even_parts(items: Sequence[T], workers: int, most: int = CPU_PASS) -> list[Sequence[T]]:
    """Splits items so that all workers have equally much to do, in parts of at most ``most``."""
    rounds = math.ceil(len(items) / (most * workers))
    count = min(len(items), rounds * workers)
    bounds = [round(i * len(items) / count) for i in range(count + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]
