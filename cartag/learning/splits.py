"""Which photos must share a side of every split, and the splits."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence

import numpy as np

NEAR_DUPLICATE = 0.98
"""Cosine from which two photos are taken for one scene."""
SEED = 20130516
_AT_ONCE = 256
_filtering = threading.Lock()
"""Filters of warnings are the process's, not a thread's, and folds are fitted in threads: each would put back what
another has just set, and a library's warning would reach the person."""


def groups_of(
    folders: list[str],
    hashes: list[str],
    photos: np.ndarray,
    shows: np.ndarray,
    wholes: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, str]:
    """Groups of photos that must share a side, and what made them.

    Near-duplicates (equal bytes, or a cosine of `NEAR_DUPLICATE`) always share one; photos of one folder do where the
    folders are shoots. Where they are cars (most cars would have one group only) or there is just one, they cannot.
    ``wholes`` are rows (m,) of those whose photo as a whole has a say in them, and the vectors (m, d) of these: a
    near-duplicate of one is none that it may be judged by.
    """
    numbers, vectors = _numbered(hashes), photos
    if wholes is not None:
        numbers, vectors = np.concatenate([numbers, numbers[wholes[0]]]), np.concatenate([photos, wholes[1]])
    apart = _with_near_duplicates(numbers, vectors)[: len(photos)]
    together = _joined(apart, *_neighbours(_numbered(folders)))

    def splittable(groups: np.ndarray) -> int:
        return sum(len(np.unique(groups[shows[:, c]])) >= 2 for c in range(shows.shape[1]))

    if splittable(together) and 2 * splittable(together) >= splittable(apart):
        return together, "folders and near-duplicates"
    return apart, "near-duplicates"


def _with_near_duplicates(groups: np.ndarray, photos: np.ndarray) -> np.ndarray:
    """The groups with those of near-duplicates joined; some rows of cosines a time: all pairs would be gigabytes."""
    for start in range(0, len(photos), _AT_ONCE):
        rows, columns = np.nonzero(photos[start : start + _AT_ONCE] @ photos[start:].T >= NEAR_DUPLICATE)
        groups = _joined(groups, start + rows, start + columns)
    return groups


def _neighbours(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of members that hold every group together."""
    order = np.argsort(groups, kind="stable")
    same = np.diff(groups[order]) == 0
    return order[:-1][same], order[1:][same]


def _joined(groups: np.ndarray, some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The groups (n,) with those of each pair of members joined."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(groups.max(initial=-1)) + 1
    pairs = np.ones(len(some), bool), (groups[some], groups[others])
    found = connected_components(coo_array(pairs, (count, count)), directed=False)[1]
    return _numbered(found[groups])


def _numbered(labels: Sequence[str] | np.ndarray) -> np.ndarray:
    """Int (n,): a number for each label, in the order in which they first appear."""
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    found: np.ndarray = np.argsort(np.argsort(first))[number]
    return found


def splits(strata: np.ndarray, groups: np.ndarray, folds: int, seed: int = SEED) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit to and rows held out, for every fold: the strata (n,) spread over them, no group (n,) on both sides.

    Fewer folds where groups or strata are too few; none below two.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    k = min(folds, len(np.unique(groups)), int(np.bincount(strata).max(initial=0)))
    if k < 2:
        return []
    with _filtering, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a car with fewer labels than folds is no surprise here
        splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
        return list(splitter.split(strata[:, None], strata, groups))
