"""Which cars of many photos look like one and the same: numpy on cached embeddings, no model, no photo read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST = 0.65
"""Cosine, less the mean of the gallery, from which two views look like one and the same car."""
SAME_ANSWER = 0.35
"""The same of two views of which the model says the same: then they need to look alike only roughly. Both were
measured by `python -m benchmarks.reviewing`."""
IN_A_BURST = 0.5
"""The same of two photos of one burst: whoever holds the button down shows the same car again."""
SECONDS = 2.0
"""Between two photos of a burst."""
LONGEST_BURST = 40
"""Photos; more are no burst but a copy whose files all got the time of copying."""
MOST = 60
"""Views of a group: what one looks over at a glance."""
SMALL = 4
"""Views; what only smaller groups hold is better looked over all at once, where none of it is likely in the catalog."""
IMPROBABLE = 0.3
"""Score of the likeliest car below which a view that the model calls unknown is probably not in the catalog: of 92 such
photos that a person settled, four were. On them it made 52 decisions of 67; 0.1 would make 58."""
_KEPT = 4
"""Times the views of a group: so many that are like one view are remembered; others may have taken the nearest."""
_AT_ONCE = 1024


def centred(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors (n, d) less what all photos of a gallery share, unit length again: only differences count."""
    if len(vectors) < 3:
        return vectors
    less = vectors - vectors.mean(axis=0)
    unit: np.ndarray = less / np.maximum(np.linalg.norm(less, axis=1, keepdims=True), 1e-6)
    return unit


def bursts(taken: np.ndarray) -> np.ndarray:
    """The burst (n,) that each view belongs to, by the times (n,) in seconds of its photo's file; -1: none."""
    found = np.full(len(taken), -1)
    order = np.argsort(taken, kind="stable")
    ends = np.flatnonzero(np.diff(taken[order]) > SECONDS) + 1
    for number, members in enumerate(np.split(order, ends)):
        if 1 < len(np.unique(taken[members])) <= LONGEST_BURST:
            found[members] = number
    return found


def groups(
    vectors: np.ndarray,
    burst: np.ndarray,
    answers: np.ndarray,
    *,
    least: float = LEAST,
    same_answer: float = SAME_ANSWER,
    most: int = MOST,
) -> list[np.ndarray]:
    """Groups of views that look alike, each with the view that most resemble first; a view is in one group or none.

    The view with the most others alike takes them, at most ``most``, then the next of those left: so every member is
    like the first, and no chain leads from one car to another.

    Args:
        vectors: (n, d), as `centred` gives them.
        burst: (n,), as `bursts` gives them.
        answers: (n,), a number for what the model says of each.
        least: cosine from which two views are alike.
        same_answer: cosine that is enough for two of which the model says the same.
        most: views of one group.
    """
    alike = _alike(vectors, burst, answers, least, same_answer, _KEPT * most)
    free = np.ones(len(vectors), bool)
    found: list[np.ndarray] = []
    for first in np.argsort([-count for count, _ in alike], kind="stable"):
        if not free[first]:
            continue
        others = alike[first][1]
        others = others[free[others]]
        if not len(others):
            continue
        nearest = np.argsort(-(vectors[others] @ vectors[first]), kind="stable")[: most - 1]
        members = np.concatenate([[first], others[nearest]])
        free[members] = False
        found.append(members)
    return found


def pooled(
    found: Sequence[np.ndarray],
    unknown: np.ndarray,
    likely: np.ndarray,
    *,
    improbable: float = IMPROBABLE,
    most: int = MOST,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Groups as they are, and groups of what is left over and probably not in the catalog, surest first.

    Left over are views in no group, and those of a small group all of which are probably not in the catalog: it would
    cost a decision and say what the rest says too.

    Args:
        found: what `groups` found.
        unknown: (n,), whether the model says of a view that it is a car, and none of the catalog.
        likely: (n,), the score of its likeliest car.
        improbable: score below which such a view is probably not in the catalog.
        most: views of one group.
    """
    is_improbable = unknown & (likely < improbable)
    stay = [members for members in found if len(members) >= SMALL or not is_improbable[members].all()]
    is_left = is_improbable.copy()
    for members in stay:
        is_left[members] = False
    left = np.flatnonzero(is_left)
    left = left[np.argsort(likely[left], kind="stable")]
    if len(left) < 2:
        return list(found), []
    return stay, np.array_split(left, -(-len(left) // most))


def _alike(
    vectors: np.ndarray, burst: np.ndarray, answers: np.ndarray, least: float, same_answer: float, kept: int
) -> list[tuple[int, np.ndarray]]:
    """How many others are like each view, and of these the nearest, at most ``kept``: all pairs would be gigabytes."""
    found: list[tuple[int, np.ndarray]] = []
    numbers = np.arange(len(vectors))
    for start in range(0, len(vectors), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE]
        cosines = vectors[some] @ vectors.T
        is_like = cosines >= same_answer
        is_like &= (answers[some, None] == answers[None, :]) | (cosines >= least)
        for row in np.flatnonzero(burst[some] >= 0).tolist():
            is_like[row] |= (burst == burst[some[row]]) & (cosines[row] >= IN_A_BURST)
        is_like[np.arange(len(some)), some] = False
        for row in range(len(some)):
            others = np.flatnonzero(is_like[row])
            count = len(others)
            if count > kept:
                others = others[np.argpartition(-cosines[row, others], kept)[:kept]]
            found.append((count, others.astype(np.int32)))
    return found


def unlikeness(vectors: np.ndarray) -> np.ndarray:
    """How little each view of one name (n, d) resembles the others: one less its cosine with their mean, (n,)."""
    if len(vectors) < 2:
        return np.zeros(len(vectors))
    rest = (vectors.sum(axis=0) - vectors) / (len(vectors) - 1)
    found: np.ndarray = 1 - np.einsum("ij,ij->i", vectors, rest) / np.maximum(np.linalg.norm(rest, axis=1), 1e-6)
    return found
