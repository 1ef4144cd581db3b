"""What share of a gallery is what: cars of the catalog, other cars, no car. Pure numpy.

Whoever labels looks for cars of the catalog, so labels hold more of them than the gallery does, and a calibration
fitted to labels expects as many everywhere. The shares of the photos that nobody labelled are estimated from what
the model says of them, by expectation maximisation (Saerens, Latinne and Decaestecker, "Adjusting the Outputs of a
Classifier to New a Priori Probabilities", Neural Computation 14, 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CHANCE = 0.01
"""Labels that chance would draw from such a gallery more often than this may be a fair draw: nothing is moved."""
_ROUNDS, _STANDS = 500, 1e-6
_NOTHING = 1e-12


@dataclass(frozen=True, eq=False)
class Mixture:
    """Shares of the kinds: of labels, and of the whole gallery."""

    labels: np.ndarray
    """(kinds,): adds up to 1; 0 for a kind without labels."""
    gallery: np.ndarray
    """(kinds,)"""

    @property
    def weights(self) -> np.ndarray:
        """(kinds,): how many photos of the gallery a label stands for, on average 1; 1 for a kind without labels."""
        found: np.ndarray = np.divide(self.gallery, self.labels, out=np.ones_like(self.gallery), where=self.labels > 0)
        return found

    @property
    def is_drawn_by_chance(self) -> bool:
        """Whether the labels may be a fair sample of the gallery, by a likelihood ratio test."""
        return bool((self.labels == self.gallery).all())


def mixture(labels: np.ndarray, likely: np.ndarray, stand_for: float = 1.0) -> Mixture:
    """The shares of a gallery with these labels.

    Args:
        labels: (kinds,): number of labels of each kind, one at least.
        likely: (n, kinds): how likely each kind is of photos that have no label, by a model that expects the kinds
            as the labels have them.
        stand_for: how many photos without a label each of these stands for.

    The labels' own shares are the gallery's too where chance may have drawn them from it. Of a kind without labels
    nobody knows how often the model should expect it: photos of it are told by what the model says, their share is not
    estimated, and the shares are of the other kinds.
    """
    from scipy.stats import chi2

    count = int(labels.sum())
    own, known = labels / count, labels > 0
    if known.sum() < 2 or not len(likely):
        return Mixture(own, own)
    p = likely + _NOTHING  # a photo that is no likely one of any says nothing
    share = before = own[known]
    ratio = np.ones(len(labels))
    for _ in range(_ROUNDS):
        ratio[known] = share / own[known]
        q = p * ratio
        q /= q.sum(axis=1, keepdims=True)
        found = stand_for * q[:, known].sum(axis=0) + labels[known]
        share, before = found / found.sum(), share
        if np.abs(share - before).max() < _STANDS:
            break
    surprise = 2 * float((labels[known] * np.log(own[known] / share)).sum())
    if chi2.sf(surprise, known.sum() - 1) >= _CHANCE:
        return Mixture(own, own)
    gallery = own.copy()
    gallery[known] = share
    return Mixture(own, gallery)
