"""Measuring how right the tags are, against hand labels. The metrics are scikit-learn's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import UNSET

from cartag import index as indexes
from cartag.errors import LabelsError
from cartag.index import Index
from cartag.labels import Label, read_labels
from cartag.settings import load_settings
from cartag.values import OUTCOMES, PhotoRecord, is_settled_by_human, ranking

TRUTHS = ("car", "unknown", "none")
_RIGHT_OUTCOME = {"car": "tagged", "unknown": "unknown", "none": "no-car"}


@dataclass(frozen=True)
class CarFigures:
    """Precision, recall and F1 of the tags of one car; None where nothing was tagged or nothing was there."""

    car: str
    name: str
    photos: int
    """Labelled photos that show it."""
    tagged: int
    """Photos tagged with it."""
    right: int
    precision: float | None
    recall: float | None
    f1: float | None
    top1: int
    """Labelled photos of which it, or another car they truly show, is the likeliest of the catalog."""


@dataclass(frozen=True)
class Evaluation:
    """How right an index is. Rates are fractions in [0, 1]; None where there was nothing to count."""

    photos: int
    """Labelled photos that were evaluated."""
    accuracy: float | None
    """Photos whose answer (tags and outcome) is exactly the label."""
    top1: float | None
    """Of photos with a car of the catalog: the likeliest car of the catalog is one they show, tag or not."""
    top5: float | None
    right_car_tagged: float | None
    """Of photos with a car of the catalog: at least one right tag."""
    wrong_car_tagged: float | None
    """Of the same photos: at least one wrong tag."""
    other_car_tagged: float | None
    """Of photos that show only other cars: tagged all the same."""
    no_car_found: float | None
    """Of photos without a car: outcome `no-car`."""
    no_car_tagged: float | None
    """Of photos without a car: tagged all the same."""
    precision: float | None
    """Micro-averaged over all tags."""
    recall: float | None
    f1: float | None
    macro_f1: float | None
    """Mean F1 over the cars that the labels hold."""
    outcomes: dict[str, dict[str, int]]
    """Truth (car, unknown, none) by outcome: counts that add up to ``photos``."""
    cars: tuple[CarFigures, ...]
    confusion: dict[str, dict[str, int]]
    """Photos with one label: truth (car id, unknown, none) by likeliest answer (car id, unknown, no-car, error)."""
    not_in_index: tuple[str, ...]
    """Labelled files that the index does not hold."""
    without_label: int
    """Photos of the index that have no label."""
    settled_by_hand: int
    """Labelled photos left out because a person tagged them: they say nothing about the model."""
    names_outside_catalog: dict[str, int]
    """Labels that name a car the catalog does not hold, with their counts; they count as another car."""


def evaluate(gallery: Path | str, labels: Path | str, *, index: Path | str | None = None) -> Evaluation:
    """Compares the index of a gallery with hand labels (CSV ``file,label``).

    Raises:
        LabelsError: the labels cannot be read, or none of them is of a photo in the index.
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    found = indexes.read(Path(gallery), load_settings({"index": index}).index)
    here = {record.path: record for record in found if record.missing is UNSET}
    hand = read_labels(Path(labels), found.header.catalog.cars, here.keys())
    pairs = [(label, here[label.file]) for label in hand if label.file in here]
    if not pairs:
        raise LabelsError(
            f"{labels}: none of its {len(hand)} files is in {found.path}; files are named relative to the gallery, "
            f"e.g. {next(iter(here), 'day-1/IMG_0042.JPG')!r}"
        )
    by_model = [(label, record) for label, record in pairs if not is_settled_by_human(record)]
    labelled = {label.file for label in hand}
    return _figures(
        by_model,
        found,
        not_in_index=tuple(sorted(labelled - here.keys())),
        without_label=len(here.keys() - labelled),
        settled_by_hand=len(pairs) - len(by_model),
        names_outside_catalog=dict(
            sorted(Counter(name for label in hand for name in label.other if name != "unknown").items())
        ),
    )


_Pair = tuple[Label, PhotoRecord]


def _figures(pairs: Sequence[_Pair], index: Index, **coverage: Any) -> Evaluation:
    with_car = [pair for pair in pairs if pair[0].truth == "car"]
    other = [pair for pair in pairs if pair[0].truth == "unknown"]
    none = [pair for pair in pairs if pair[0].truth == "none"]
    cars, micro, macro_f1 = _per_car(pairs, index)
    return Evaluation(
        photos=len(pairs),
        accuracy=_rate(_is_exact(*pair) for pair in pairs),
        top1=_rate(_in_top(*pair, 1) for pair in with_car),
        top5=_rate(_in_top(*pair, 5) for pair in with_car),
        right_car_tagged=_rate(bool(_tagged(record) & label.cars) for label, record in with_car),
        wrong_car_tagged=_rate(bool(_tagged(record) - label.cars) for label, record in with_car),
        other_car_tagged=_rate(bool(_tagged(record)) for _, record in other),
        no_car_found=_rate(record.outcome == "no-car" for _, record in none),
        no_car_tagged=_rate(bool(_tagged(record)) for _, record in none),
        precision=micro[0],
        recall=micro[1],
        f1=micro[2],
        macro_f1=macro_f1,
        outcomes=_outcomes(pairs),
        cars=cars,
        confusion=_confusion(pairs, index),
        **coverage,
    )


def _per_car(
    pairs: Sequence[_Pair], index: Index
) -> tuple[tuple[CarFigures, ...], tuple[float | None, ...], float | None]:
    """Figures per car, micro-averaged (precision, recall, F1), and macro F1."""
    import numpy as np
    from sklearn.metrics import precision_recall_fscore_support

    ids = [car.id for car in index.header.catalog.cars]
    truth = np.array([[car in label.cars for car in ids] for label, _ in pairs], bool).reshape(-1, len(ids))
    answer = np.array([[car in _tagged(record) for car in ids] for _, record in pairs], bool).reshape(-1, len(ids))
    top1 = np.array([_in_top(label, record, 1) for label, record in pairs], bool)
    # A column nobody is in: scikit-learn takes a single column for yes/no labels, and no rows for an error.
    y_true, y_pred = (np.pad(table, ((0, 1), (0, 1))) for table in (truth, answer))
    precision, recall, f1, _ = precision_recall_fscore_support(y_true, y_pred, average=None, zero_division=np.nan)
    micro = precision_recall_fscore_support(y_true, y_pred, average="micro", zero_division=np.nan)[:3]
    figures = tuple(
        CarFigures(
            car=car.id,
            name=car.name,
            photos=int(truth[:, i].sum()),
            tagged=int(answer[:, i].sum()),
            right=int((truth[:, i] & answer[:, i]).sum()),
            precision=_number(precision[i]),
            recall=_number(recall[i]),
            f1=_number(f1[i]),
            top1=int(top1[truth[:, i]].sum()),
        )
        for i, car in enumerate(index.header.catalog.cars)
    )
    present = [value for i, value in enumerate(f1[: len(ids)]) if truth[:, i].any() and not np.isnan(value)]
    macro = _number(float(np.mean(present))) if present else None
    return figures, tuple(_number(value) for value in micro), macro


def _outcomes(pairs: Sequence[_Pair]) -> dict[str, dict[str, int]]:
    counts = Counter((label.truth, record.outcome) for label, record in pairs)
    return {truth: {outcome: counts[truth, outcome] for outcome in OUTCOMES} for truth in TRUTHS}


def _confusion(pairs: Sequence[_Pair], index: Index) -> dict[str, dict[str, int]]:
    """Rows and columns that hold a photo, in the order of the catalog."""
    single = [(label, record) for label, record in pairs if len(label.cars) + bool(label.other) <= 1]
    counts = Counter((next(iter(label.cars), label.truth), _likeliest(record)) for label, record in single)
    order = [car.id for car in index.header.catalog.cars] + ["unknown", "none", "no-car", "error"]
    order += sorted({name for pair in counts for name in pair} - set(order))
    table = {row: {column: counts[row, column] for column in order if counts[row, column]} for row in order}
    return {row: columns for row, columns in table.items() if columns}


def _likeliest(record: PhotoRecord) -> str:
    return max(record.tags, key=lambda tag: tag.score).car if record.tags else record.outcome


def _tagged(record: PhotoRecord) -> frozenset[str]:
    return frozenset(tag.car for tag in record.tags)


def _is_exact(label: Label, record: PhotoRecord) -> bool:
    return record.outcome == _RIGHT_OUTCOME[label.truth] and _tagged(record) == label.cars


def _in_top(label: Label, record: PhotoRecord, k: int) -> bool:
    return bool(label.cars & set(ranking(record)[:k]))


def _rate(hits: Any) -> float | None:
    values = list(hits)
    return round(sum(values) / len(values), 4) if values else None


def _number(value: float) -> float | None:
    return None if value != value else round(float(value), 4)  # NaN: nothing to count
