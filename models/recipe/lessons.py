"""Lessons: what the text tower is trained on in stage 3, texts of many names beside views of their pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.recipe.bank import Bank
from models.recipe.captions import NO_CAR_TEXTS, attribute_captions, caption
from models.recipe.heads import masked_cross_entropy
from models.recipe.names import OWN_CATALOG, Names, catalog_named
from models.recipe.photos import Photo
from models.recipe.spellings import Spelling, spellings
from models.recipe.text import LOGIT_SCALE
from models.recipe.towers import DIMS

TEXTS_A_STEP, PICTURES_A_STEP, ATTRIBUTES_A_STEP = 200, 256, 120


@dataclass(frozen=True)
class Step:
    """One step: texts of names, texts by attributes, and pictures."""

    texts: list[str]  # of the names `shown`
    more: list[str]  # by attributes
    truth: np.ndarray  # (more, B) which pictures these are true of
    unsure: np.ndarray  # (more, B) of which nobody knows
    shown: np.ndarray  # class numbers among those with pictures
    drawn: np.ndarray  # (B,) those of the pictures
    pictures: Tensor  # (B, 256)


@dataclass(frozen=True)
class Lessons:
    """Pictures and names that steps are drawn from."""

    names: Names
    bank: Bank
    pictures: Tensor  # (N, 256) of the bank, by the last projection
    means: Tensor  # (names, 256) of each name's pictures
    rows: list[np.ndarray]  # of the pictures of each class that has some
    classes: np.ndarray  # their numbers among the names
    spelled: dict[str, Spelling]
    share: np.ndarray  # how often they are drawn

    @classmethod
    def of(cls, names: Names, bank: Bank, project: Tensor, means: Tensor, train: list[Photo]) -> Lessons:
        """Of the pictures of a bank; cars of the photographs in training are drawn more often, and what is no car."""
        classes = np.array([k for k in np.unique(bank.key) if k >= 0])
        rows = [np.flatnonzero(bank.key == c) for c in classes]
        own = {n for p in train for n in p.labels}

        def weight(key: str) -> float:
            return 3.0 if key.startswith("no car") else 1.6 if key in own else 1.0

        share = np.array([len(r) ** 0.5 * weight(names.keys[c]) for c, r in zip(classes, rows, strict=True)])
        pictures = functional.normalize(bank.features @ project.T, dim=1)
        return cls(names, bank, pictures, means, rows, classes, spellings(names), share / share.sum())

    def draw(self, rng: np.random.Generator) -> Step:
        """One step. Texts of many names at once, since what has to be learnt is to tell each from all others."""
        count = len(self.classes)
        shown = np.sort(rng.choice(count, min(count, TEXTS_A_STEP), replace=False))
        drawn = rng.choice(shown, PICTURES_A_STEP, p=self.share[shown] / self.share[shown].sum())
        chosen = np.array([self.rows[c][rng.integers(len(self.rows[c]))] for c in drawn])
        texts = [self.text_of(self.names.keys[c], rng) for c in self.classes[shown]]
        more, truth, unsure = attribute_captions(self.bank, chosen, ATTRIBUTES_A_STEP, rng)
        noise = rng.normal(0, 0.5 / math.sqrt(DIMS), (len(chosen), DIMS)).astype(np.float32)
        pictures = functional.normalize(self.pictures[chosen] + torch.from_numpy(noise), dim=-1)
        return Step(texts, more, truth, unsure, shown, drawn, pictures)

    def text_of(self, key: str, rng: np.random.Generator) -> str:
        """A random text of a class."""
        if key.startswith("no car"):
            return str(rng.choice(NO_CAR_TEXTS[key.removeprefix("no car: ")]))
        return caption(self.spelled[key], catalog_named(OWN_CATALOG).templates, rng)

    def loss(self, step: Step, written: Tensor, near_share: float) -> tuple[Tensor, Tensor]:
        """Loss of what was `written` (texts and more, 256), and how near the texts are to the means of pictures."""
        named, others = written[: len(step.texts)], written[len(step.texts) :]
        classes = self.classes[step.shown]
        related = torch.from_numpy(self.names.kin)[classes][:, classes]
        targets = torch.from_numpy(np.searchsorted(step.shown, step.drawn))
        loss = masked_cross_entropy(LOGIT_SCALE * step.pictures @ named.T, targets, related, 0.05)
        # A name's text belongs amid its pictures: nearest class mean (Snell et al., "Prototypical Networks", 2017).
        near = (named * self.means[classes]).sum(1)
        loss = loss + near_share * (1 - near).mean()
        if step.more:
            true, unsure = torch.from_numpy(step.truth), torch.from_numpy(step.unsure)
            match = (LOGIT_SCALE * others @ step.pictures.T).masked_fill(unsure, -1e4)
            match = match.log_softmax(1).masked_fill(~true, -1e4)
            loss = loss - (match.logsumexp(1) - true.sum(1).log()).mean()
        return loss, near.mean().detach()
