"""Every figure from held-out photographs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cartag.scoring.calibration import MODES, Calibration, adjusted
from models.recipe import unlisted
from models.recipe.calibrating import KINDS, Asked, decisions, fit_calibration, scores_of
from models.recipe.held import Held
from models.recipe.photos import Photo
from models.recipe.wide import as_listed, wide_figures

_TAUGHT = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 9), (10, 10_000))


def cross_validated(held: list[Held]) -> tuple[dict[str, Any], Calibration]:
    """Every figure from held-out photographs. Decisions of a fold use a calibration fitted to the other folds; the
    calibration that ships is fitted to all of them."""
    classes = held[0].classes  # of the others only the embeddings differ
    photos = [p for h in held for p in h.photos]
    cosines = np.concatenate([h.cosines for h in held])
    named = np.array([p.car in classes.cars for p in photos])
    other = np.array([p.car == "other" for p in photos])
    fits = fits_without(held)
    by_mode, untagged = decided(held, fits)
    shipped = unlisted.fitted(held, fit_calibration(*asked(held)))
    top = np.concatenate([scores_of(h.cosines, classes, fit).cars.max(1) for h, fit in zip(held, fits, strict=True)])
    with_shipped = decision_figures(photos, decisions(cosines, classes, shipped), classes.cars)
    verdicts = by_mode["balanced"]
    confusion = confusion_of(photos, cosines, classes.cars)
    figures = {
        "photos": len(photos),
        "folds": len(held),
        **eleven_figures(photos, cosines, verdicts, classes.cars),
        "strangers_untagged": int(sum(untagged)),
        "strangers_photos": len(untagged),
        "auroc_named_vs_other": auroc(top[named], top[other]),
        "wide": wide_figures(held, fits),
        "unlisted": unlisted.figures(held, fits),
        "ece_of_tags": ece_of_tags(photos, verdicts, classes.cars),
        **rank_figures(np.concatenate([h.ranks for h in held])),
        "names_by_photographs": names_by_photographs(held),
        "decisions": decision_figures(photos, verdicts, classes.cars),
        "decisions_by_mode": {mode: decision_figures(photos, v, classes.cars) for mode, v in by_mode.items()},
        "decisions_with_shipped_calibration": with_shipped,
        "free_text_precision_at_10": {
            q: round(float(np.mean([h.free_text[q] for h in held])), 3)
            for q in held[0].free_text
            if all(q in h.free_text for h in held)
        },
        "per_car": [
            car_figures(car, photos, verdicts, int(confusion[i].sum()), int(confusion[i, i]))
            for i, car in enumerate(classes.cars)
        ],
        "cars": list(classes.cars),
        "confusion": confusion.tolist(),
    }
    return figures, shipped


def fits_without(held: list[Held]) -> list[Calibration]:
    """Of each fold the calibration that is fitted to the others."""
    fits = []
    for k in range(len(held)):
        fits.append(fit_calibration(*asked([h for j, h in enumerate(held) if j != k])))
    return fits


def asked(held: Sequence[Held]) -> tuple[Asked, Asked]:
    """What was asked of the own catalog and of the wide one."""
    photos = [p for h in held for p in h.photos]
    own = Asked(photos, np.concatenate([h.cosines for h in held]), held[0].classes)
    wide = np.concatenate([h.vectors @ h.wide.embeddings.T for h in held])
    return own, Asked(as_listed(photos), wide, held[0].wide)


def decided(held: list[Held], fits: list[Calibration]) -> tuple[dict[str, list[Any]], list[bool]]:
    """Verdicts in every mode, and whether each photograph of a car stays untagged under a catalog of strangers.

    A fold is decided by the calibration of the others.
    """
    by_mode: dict[str, list[Any]] = {mode: [] for mode in MODES}
    untagged: list[bool] = []
    for h, fitted in zip(held, fits, strict=True):
        for mode, so_far in by_mode.items():
            moved = adjusted(fitted, threshold=None, margin=None, temperature=None, mode=mode)
            so_far += decisions(h.cosines, held[0].classes, moved)
        cars = np.array([p.car not in ("none", "detail") for p in h.photos])
        untagged += [not v.tags for v in decisions(h.vectors[cars] @ h.strangers.embeddings.T, h.strangers, fitted)]
    return by_mode, untagged


def eleven_figures(
    photos: list[Photo], cosines: np.ndarray, verdicts: list[Any], cars: tuple[str, ...]
) -> dict[str, Any]:
    """Of the photographs of the catalog's cars: the likeliest of these cars is the right one, and so by shoots."""
    rows = [i for i, p in enumerate(photos) if p.car in cars]
    right = {i: cars[int(cosines[i, : len(cars)].argmax())] == photos[i].car for i in rows}
    tagged = {i: photos[i].car in {t.car for t in verdicts[i].tags} for i in rows}
    shoots: dict[tuple[str, str], list[int]] = {}
    for i in rows:
        shoots.setdefault((photos[i].group, photos[i].car), []).append(i)

    def mean_of_shoots(values: dict[int, bool]) -> float:
        return float(np.mean([np.mean([values[i] for i in shoot]) for shoot in shoots.values()]))

    return {
        "eleven_photos": len(rows),
        "eleven_top1": sum(right.values()),
        "eleven_top1_interval": wilson(sum(right.values()), len(rows)),
        "shoots": len(shoots),
        "eleven_top1_mean_of_shoots": mean_of_shoots(right),
        "right_tagged_mean_of_shoots": mean_of_shoots(tagged),
    }


def rank_figures(ranks: np.ndarray) -> dict[str, int]:
    """Of the photographs whose name has training photographs: how often it is the first among all names."""
    counted = ranks[ranks >= 0]
    return {
        "names_photos": len(counted),
        "names_top1": int((counted == 0).sum()),
        "names_top5": int((counted < 5).sum()),
    }


def names_by_photographs(held: list[Held]) -> list[dict[str, Any]]:
    """The same by how many photographs taught the name, and apart of names that crops of the same car taught too."""
    ranks, taught, by_crops = (
        np.concatenate([getattr(h, which) for h in held]) for which in ("ranks", "taught", "by_crops")
    )
    own = ~by_crops.astype(bool)
    rows: list[dict[str, Any]] = [
        {"least": least, "most": most, **rank_figures(ranks[own & (taught >= least) & (taught <= most)])}
        for least, most in _TAUGHT
    ]
    return [*rows, {"by_crops": True, **rank_figures(ranks[~own])}]


def confusion_of(photos: list[Photo], cosines: np.ndarray, cars: tuple[str, ...]) -> np.ndarray:
    """(cars, cars) counts: rows what it is, columns the likeliest of the catalog's cars."""
    confusion = np.zeros((len(cars), len(cars)), dtype=int)
    for i, p in enumerate(photos):
        if p.car in cars:
            confusion[cars.index(p.car), cosines[i, : len(cars)].argmax()] += 1
    return confusion


def car_figures(car: str, photos: list[Photo], verdicts: list[Any], count: int, right: int) -> dict[str, Any]:
    """Of one car: how often it is the likeliest, and how often it is tagged, on its own photographs and on others'."""
    tagged = [car in {t.car for t in v.tags} for v in verdicts]
    return {
        "car": car,
        "photos": count,
        "top1": right,
        "interval": wilson(right, count),
        "tagged": sum(t for p, t in zip(photos, tagged, strict=True) if p.car == car),
        "tagged_on_others": sum(
            t for p, t in zip(photos, tagged, strict=True) if p.car not in (car, "variant", "several")
        ),
    }


def decision_figures(photos: list[Photo], verdicts: list[Any], cars: tuple[str, ...]) -> dict[str, Any]:
    """Counts behind the whole-tool figures; photos with several cars and close variants are left out."""
    out = {
        k: 0
        for k in (
            "eleven",
            "right",
            "wrong",
            "other",
            "other_tagged",
            "none",
            "none_no_car",
            "none_tagged",
            "car_called_no_car",
        )
    }
    for p, v in zip(photos, verdicts, strict=True):
        tags = {t.car for t in v.tags}
        if p.car in cars:
            out["eleven"] += 1
            out["right"] += p.car in tags
            out["wrong"] += bool(tags - {p.car})
        elif p.car == "other":
            out["other"] += 1
            out["other_tagged"] += bool(tags)
        elif p.car == "none":
            out["none"] += 1
            out["none_no_car"] += v.outcome == "no-car"
            out["none_tagged"] += bool(tags)
        if p.car in (*cars, "other", "variant"):
            out["car_called_no_car"] += v.outcome == "no-car"
    return out


def ece_of_tags(photos: list[Photo], verdicts: list[Any], cars: tuple[str, ...]) -> float:
    """Expected calibration error of the tags: ten bins of equal mass (Nguyen and O'Connor 2015).

    The kinds of photographs weigh as in the gallery that the scores are meant for (`calibrating.KINDS`): there are
    eight times as many photographs of other cars here as of the catalog's. Tags of variants, of details and of
    photographs with several cars are neither right nor wrong, and left out.
    """
    kinds = ["own" if p.car in cars else p.car for p in photos]
    weight = {kind: share / kinds.count(kind) for kind, share in KINDS.items() if kind in kinds}
    tags = sorted(
        (tag.score, tag.car == p.car, weight[kind])
        for p, kind, v in zip(photos, kinds, verdicts, strict=True)
        if kind in weight
        for tag in v.tags
    )
    if not tags:
        return 0.0
    scores, right, mass = np.array(tags, dtype=float).T
    bins = np.minimum(9, (10 * (mass.cumsum() - mass / 2) / mass.sum()).astype(int))
    gaps = [abs((mass * (scores - right))[bins == b].sum()) for b in range(10)]
    return float(sum(gaps) / mass.sum())


def wilson(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    z, share = 1.959964, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive scores above a negative."""
    both = np.concatenate([positive, negative])
    order = both.argsort(kind="stable")
    ranks = np.empty(len(both))
    ranks[order] = np.arange(1, len(both) + 1)
    return float(
        (ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative))
    )
