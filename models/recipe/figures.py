"""Every figure from held-out photographs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cartag.calibration import MODES, Calibration, adjusted
from models.recipe.calibrating import decisions, fit_calibration, scores_of
from models.recipe.held import Held
from models.recipe.photos import Photo


def cross_validated(held: list[Held]) -> tuple[dict[str, Any], Calibration]:
    """Every figure from held-out photographs. Decisions of a fold use a calibration fitted to the other folds; the
    calibration that ships is fitted to all of them."""
    classes = held[0].classes  # of the others only the embeddings differ
    cars = classes.cars
    photos = [p for h in held for p in h.photos]
    cosines = np.concatenate([h.cosines for h in held])
    ranks = np.concatenate([h.ranks for h in held])
    named = np.array([p.car in cars for p in photos])
    other = np.array([p.car == "other" for p in photos])
    own = np.array([cars.index(p.car) if p.car in cars else -1 for p in photos])
    first = cosines[:, : len(cars)].argmax(1)
    confusion = np.zeros((len(cars), len(cars)), dtype=int)
    np.add.at(confusion, (own[named], first[named]), 1)
    by_mode: dict[str, list[Any]] = {mode: [] for mode in MODES}
    untagged: list[bool] = []
    for k, h in enumerate(held):
        rest = [x for j, x in enumerate(held) if j != k]
        fitted = fit_calibration(
            [p for x in rest for p in x.photos], np.concatenate([x.cosines for x in rest]), classes
        )
        for mode, so_far in by_mode.items():
            moved = adjusted(fitted, threshold=None, margin=None, temperature=None, mode=mode)
            so_far += decisions(h.cosines, classes, moved)
        shown = np.array([p.car not in ("none", "detail") for p in h.photos])
        untagged += [not v.tags for v in decisions(h.vectors[shown] @ h.strangers.embeddings.T, h.strangers, fitted)]
    verdicts = by_mode["balanced"]
    shipped = fit_calibration(photos, cosines, classes)
    top = scores_of(cosines, classes, shipped).cars.max(1)
    per_car = []
    for i, car in enumerate(cars):
        count, right = int(confusion[i].sum()), int(confusion[i, i])
        tagged = sum(car in {t.car for t in v.tags} for p, v in zip(photos, verdicts, strict=True) if p.car == car)
        false = sum(
            car in {t.car for t in v.tags}
            for p, v in zip(photos, verdicts, strict=True)
            if p.car not in (car, "variant", "several")
        )
        per_car.append(
            {
                "car": car,
                "photos": count,
                "top1": right,
                "interval": wilson(right, count),
                "tagged": tagged,
                "tagged_on_others": false,
            }
        )
    counted = ranks >= 0
    shoots = {
        g: [i for i in np.flatnonzero(named) if (photos[i].group, photos[i].car) == g]
        for g in {(photos[i].group, photos[i].car) for i in np.flatnonzero(named)}
    }
    figures = {
        "photos": len(photos),
        "folds": len(held),
        "eleven_photos": int(named.sum()),
        "eleven_top1": int((first == own)[named].sum()),
        "eleven_top1_interval": wilson(int((first == own)[named].sum()), int(named.sum())),
        "shoots": len(shoots),
        "eleven_top1_mean_of_shoots": float(np.mean([(first == own)[rows].mean() for rows in shoots.values()])),
        "right_tagged_mean_of_shoots": float(
            np.mean(
                [
                    np.mean([photos[i].car in {t.car for t in verdicts[i].tags} for i in rows])
                    for rows in shoots.values()
                ]
            )
        ),
        "strangers_untagged": int(sum(untagged)),
        "strangers_photos": len(untagged),
        "auroc_named_vs_other": auroc(top[named], top[other]),
        "names_photos": int(counted.sum()),
        "names_top1": int((ranks[counted] == 0).sum()),
        "names_top5": int((ranks[counted] < 5).sum()),
        "decisions": decision_figures(photos, verdicts, cars),
        "decisions_by_mode": {mode: decision_figures(photos, v, cars) for mode, v in by_mode.items()},
        "decisions_with_shipped_calibration": decision_figures(photos, decisions(cosines, classes, shipped), cars),
        "free_text_precision_at_10": {
            q: round(float(np.mean([h.free_text[q] for h in held])), 3)
            for q in held[0].free_text
            if all(q in h.free_text for h in held)
        },
        "per_car": per_car,
        "cars": list(cars),
        "confusion": confusion.tolist(),
    }
    return figures, shipped


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
