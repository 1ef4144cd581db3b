"""One model on several devices: each takes its part of the work, at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Generic, TypeVar

R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S")


class Replicas(Generic[R]):
    """Equal things on devices of their own, each with its thread. Nothing is computed on two of them."""

    def __init__(self, replicas: Sequence[R]) -> None:
        self._replicas = replicas
        self._pool = ThreadPoolExecutor(len(replicas), "cartag-device")

    def __len__(self) -> int:
        return len(self._replicas)

    @property
    def first(self) -> R:
        """The one to ask where there is little to do."""
        return self._replicas[0]

    def run(self, work: Callable[[R, Sequence[T]], S], items: Sequence[T]) -> list[S]:
        """What ``work`` makes of the items, a run of them a device, in their order; fewer runs where there are few."""
        count = min(len(self._replicas), len(items))
        bounds = [round(i * len(items) / count) for i in range(count + 1)] if count else []
        parts = [items[start:end] for start, end in pairwise(bounds)]
        return list(self._pool.map(work, self._replicas, parts))
