"""What vectors are weighed with, so that what is learned is of the scores that `tag` gives. Pure numpy.

Whether a box holds a car at all is said by three (`scoring.weighed`): the model of the cut-out, the model of the photo
as a whole, the detector. An adapter is fitted to vectors of cut-outs, and whatever it changes in the scores it changes
in those of wholes too; only then they are weighed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cartag.scoring import Presence, Scores, weighed


@dataclass(frozen=True, eq=False)
class Weighing:
    """What n vectors are weighed with."""

    presence: Presence
    found: np.ndarray
    """(n,): how sure the detector is; NaN where nothing is weighed, as of a photo in which it found no box."""
    wholes: np.ndarray
    """(n, d): of the photos as wholes; NaN where they are not asked, because one of their boxes is sure."""

    @cached_property
    def asked(self) -> np.ndarray:
        """Int (m,): the rows of which the photo as a whole has a say."""
        return np.flatnonzero(~np.isnan(self.found) & ~np.isnan(self.wholes).any(axis=1))

    def take(self, rows: np.ndarray) -> Weighing:
        """Some of them."""
        return Weighing(self.presence, self.found[rows], self.wholes[rows])

    def weighed(self, scores: Scores) -> Scores:
        """Of scores (n + m) of `all_vectors`, those (n,) that `tag` gives."""
        n = len(self.found)
        no_car = np.full(n, np.nan)
        no_car[self.asked] = scores.no_car[n:]
        return weighed(Scores(scores.cars[:n], scores.other[:n], scores.no_car[:n]), self.found, no_car, self.presence)


def all_vectors(vectors: np.ndarray, weighing: Weighing | None) -> np.ndarray:
    """(n + m, d): vectors (n, d), and below them those of the wholes that are asked; what nobody weighs as it is."""
    return vectors if weighing is None else np.concatenate([vectors, weighing.wholes[weighing.asked]])


def rows_of_all(rows: np.ndarray, n: int, weighing: Weighing | None) -> np.ndarray:
    """Of some of n vectors the row numbers in `all_vectors`: their own, and those of their wholes."""
    if weighing is None:
        return rows
    return np.concatenate([rows, n + np.flatnonzero(np.isin(weighing.asked, rows))])


def weighed_scores(vectors: np.ndarray, weighing: Weighing | None, score: Callable[[np.ndarray], Scores]) -> Scores:
    """Scores of vectors (n, d) as `tag` gives them; ``score`` says what the model does."""
    scores = score(all_vectors(vectors, weighing))
    return scores if weighing is None else weighing.weighed(scores)
