"""Projections that are computed, not trained: linear discriminants, the last one of an image tower, means of names."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.recipe.bank import Bank
from models.recipe.names import Names
from models.recipe.towers import DIMS, DISCRIMINANTS

SHRINKAGE, WHOLE_SHARE = 0.3, 0.15
# How much longer the trained half of an embedding is than the discriminants: in the first one, of a tower that saw no
# photograph, and in all others.
FIRST_SHARE, TRAINED_SHARE = 2.0, 1.0
RIDGE = 1e-3


def discriminants(bank: Bank) -> Tensor:
    """Projection (512, F): the linear discriminants of the names (Rao 1948), for features of any length.

    Directions in which pictures of one car differ count little, those in which cars differ count much, whether a car
    has a hundred pictures or one. A projection trained on labels keeps what its own labels need and forgets the rest
    (Kornblith et al., "Why Do Better Loss Functions Lead to Less Transferable Features?", 2021). The scatter within
    names is shrunk towards the same in all directions (Friedman, "Regularized Discriminant Analysis", 1989); whole
    photographs have a small share in it, for a few of one shoot say little about how photographs of a car differ.
    Colours and bodies are among the means, so that the directions which tell them are kept.
    """
    features, count = bank.features.numpy().astype(np.float64), bank.features.shape[1]
    kinds = (bank.key, np.array(bank.colour), np.array(bank.body))
    groups = [
        [np.flatnonzero(kind == value) for value in np.unique(kind) if str(value) not in ("", "-100")] for kind in kinds
    ]
    scatter = np.zeros((count, count))
    for part, share in ((bank.photo >= 0, WHOLE_SHARE), (bank.photo < 0, 1 - WHOLE_SHARE)):
        several = [own for own in (features[rows[part[rows]]] for rows in groups[0]) if len(own) > 1]
        if several:
            rest = np.concatenate([own - own.mean(0) for own in several])
            scatter += share / (len(rest) - len(several)) * rest.T @ rest
    values, vectors = np.linalg.eigh(scatter + SHRINKAGE * np.trace(scatter) / count * np.eye(count))
    white = vectors / np.sqrt(values) @ vectors.T
    middle = features.mean(0)
    means = (np.stack([features[rows].mean(0) for kind in groups for rows in kind]) - middle) @ white
    main = np.linalg.eigh(means.T @ means)[1][:, -DISCRIMINANTS:].T
    # Taking out the direction of the mean is taking out the mean, near enough, and does not need a bias.
    middle /= np.linalg.norm(middle)
    found = main @ white @ (np.eye(count) - np.outer(middle, middle))
    return torch.from_numpy((found / np.linalg.norm(found, axis=1).mean()).astype(np.float32))


def last_projection(bank: Bank, trained: Tensor, share: float = TRAINED_SHARE) -> Tensor:
    """Projection (256, F): the `trained` one (dims, F) and the discriminants of the features side by side, in the 256
    directions that keep the cosines of the training pictures best. Either tells cars apart that the other does not; the
    trained one is `share` times as long."""
    parts = [part / (bank.features @ part.T).norm(dim=1).mean() for part in (trained, discriminants(bank))]
    both = torch.cat([share * parts[0], parts[1]])
    vectors = functional.normalize(bank.features @ both.T, dim=1).numpy().astype(np.float64)
    main = np.linalg.eigh(vectors.T @ vectors)[1][:, -DIMS:]
    return torch.from_numpy(main.T.astype(np.float32)) @ both


def prototypes(bank: Bank, project: Tensor, names: Names) -> Tensor:
    """Unit vectors (names, 256): the mean of each name's pictures by their shares, zero for a name without one."""
    means = torch.zeros(len(names.keys), DIMS)
    shares = torch.from_numpy(bank.share.astype(np.float32))[:, None]
    vectors = shares * functional.normalize(bank.features @ project.T, dim=1)
    for key in np.unique(bank.key[bank.key >= 0]):
        means[key] = functional.normalize(vectors[bank.key == key].mean(0), dim=0)
    return means


def classifiers(bank: Bank, project: Tensor, trained: Tensor, weights: Tensor) -> Tensor:
    """Unit vectors (names, 256): where the classifier of each name points in embeddings by `project` (256, F).

    Its `weights` (names, dims) are of embeddings by `trained` (dims, F), the projection that the tower was trained
    through. From the one to the other leads what comes nearest to it, by least squares, for the training pictures.
    """
    last, learnt = (functional.normalize(bank.features @ part.T, dim=1).double() for part in (project, trained))
    scatter = last.T @ last
    ridge = RIDGE * scatter.trace() / len(scatter) * torch.eye(len(scatter), dtype=scatter.dtype)
    onto = torch.linalg.solve(scatter + ridge, last.T @ learnt).float()
    return functional.normalize(functional.normalize(weights, dim=1) @ onto.T, dim=1)
