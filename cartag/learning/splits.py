"""Which photos must share a side of every split, and the splits."""

from __future__ import annotations

import warnings

import numpy as np

NEAR_DUPLICATE = 0.98
"""Cosine from which two photos are taken for one scene."""
SEED = 20130516


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
    near = photos @ photos.T >= NEAR_DUPLICATE
    if wholes is not None and len(wholes[0]):
        rows, vectors = wholes
        across = vectors @ photos.T >= NEAR_DUPLICATE
        near[rows] |= across
        near[:, rows] |= across.T
        near[np.ix_(rows, rows)] |= vectors @ vectors.T >= NEAR_DUPLICATE
    _, by_hash = np.unique(hashes, return_inverse=True)
    near |= by_hash[:, None] == by_hash[None, :]
    _, by_folder = np.unique(folders, return_inverse=True)
    together = _components(near | (by_folder[:, None] == by_folder[None, :]))
    apart = _components(near)

    def splittable(groups: np.ndarray) -> int:
        return sum(len(np.unique(groups[shows[:, c]])) >= 2 for c in range(shows.shape[1]))

    if splittable(together) and 2 * splittable(together) >= splittable(apart):
        return together, "folders and near-duplicates"
    return apart, "near-duplicates"


def _components(near: np.ndarray) -> np.ndarray:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    return np.asarray(connected_components(csr_array(near), directed=False)[1])


def splits(strata: np.ndarray, groups: np.ndarray, folds: int, seed: int = SEED) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit to and rows held out, for every fold: the strata (n,) spread over them, no group (n,) on both sides.

    Fewer folds where groups or strata are too few; none below two.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    k = min(folds, len(np.unique(groups)), int(np.bincount(strata).max(initial=0)))
    if k < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a car with fewer labels than folds is no surprise here
        splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
        return list(splitter.split(strata[:, None], strata, groups))
