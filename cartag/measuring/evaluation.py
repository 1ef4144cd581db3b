"""Measuring how right the tags are, against hand labels, and whether one run is better than another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from msgspec import UNSET

from cartag.errors import LabelsError
from cartag.measuring import metrics
from cartag.measuring.detection import box_figures, found_in, group_of, matches, misplaced
from cartag.measuring.figures import CarFigures, Comparison, Evaluation, Group, Mistake, SuspiciousLabel
from cartag.measuring.metrics import Answers
from cartag.measuring.rows import Label
from cartag.measuring.truth import read_truth
from cartag.settings import load_settings
from cartag.state import Index, read_index
from cartag.values import OUTCOMES, Box, PhotoRecord, as_model_has_it, ranking

TRUTHS = ("car", "unknown", "none")
_RIGHT_OUTCOME = {"car": "tagged", "unknown": "unknown", "none": "no-car"}
_MOST_MISTAKES = 60
_NOT_RANKED = 10**6


def evaluate(
    gallery: Path | str,
    labels: Path | str,
    *,
    index: Path | str | None = None,
    against: Path | str | None = None,
    report: Path | str | None = None,
    force: bool = False,
) -> Evaluation:
    """Compares the index of a gallery with hand labels.

    Args:
        gallery: the folder of photos, tagged before.
        labels: a CSV ``file,label``, a folder of folders named after cars, or another index with a person's tags. With
            the columns x, y, w, h, or a person's boxes, it is measured as well what was found where.
        index: where the index lies, if not in the gallery.
        against: another index of the same photos, to say which of the two is better.
        report: a folder to write the report to, `index.html` and `metrics.json`.
        force: replaces these two where they are not cartag's own, too.

    Raises:
        LabelsError: the labels cannot be read, or none of them is of a photo in the index.
        ForeignFileError: where the report would be are photos, or files that are not cartag's.
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    settings = load_settings({"index": index})
    found = read_index(Path(gallery), settings.index)
    truth = read_truth(Path(labels), found, Path(gallery), settings.not_hers)
    made = None
    if report is not None:  # before anything is computed that has no place
        from cartag.measuring.report import claim_report

        made = claim_report(Path(report), Path(gallery), [field.name for field in fields(Evaluation)], force=force)
    by_model = [(label, said) for label, record in truth.pairs if (said := as_model_has_it(record)) is not None]
    evaluation = _figures(
        by_model,
        found,
        not_in_index=truth.not_in_index,
        without_label=truth.without_label,
        settled_by_hand=len(truth.pairs) - len(by_model),
        names_outside_catalog=truth.names_outside_catalog,
        labels_outside_catalog=truth.labels_outside_catalog,
        near_misses=truth.near_misses,
        silent_folders=truth.silent_folders,
        near_folders=truth.near_folders,
        against=_comparison(by_model, found, Path(against)) if against is not None else None,
    )
    if made is not None:
        from cartag.measuring.report import write_report

        evaluation = replace(evaluation, without_picture=write_report(evaluation, found, Path(gallery), made))
    return evaluation


_Pair = tuple[Label, PhotoRecord]


def _figures(pairs: Sequence[_Pair], index: Index, **coverage: Any) -> Evaluation:
    with_car = [pair for pair in pairs if pair[0].truth == "car"]
    other = [pair for pair in pairs if pair[0].truth == "unknown"]
    none = [pair for pair in pairs if pair[0].truth == "none"]
    cars, micro, macro_f1 = _per_car(pairs, index)
    answers = _answers(pairs, [car.id for car in index.header.catalog.cars])
    intervals = metrics.intervals(metrics.headline(answers), len(pairs))
    further: dict[str, Any] = {
        name: interval.value if (interval := intervals[name]) else None
        for name in (
            "recall_at_95_precision",
            "auroc_other_cars",
            "fpr95_other_cars",
            "auroc_no_car",
            "fpr95_no_car",
            "brier",
            "ece",
            "aurc",
        )
    }
    read = answers.read
    confidence, right = answers.confidence[read], answers.right[read]
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
        intervals=intervals,
        reliability=metrics.reliability(confidence, right),
        coverage=metrics.coverage_curve(confidence, right),
        mistakes=_mistakes(pairs),
        suspicious=_suspicious(pairs, answers, [car.id for car in index.header.catalog.cars]),
        groups=_groups(pairs),
        boxes=box_figures(pairs),
        uses_learned="+" in (index.header.scoring or ""),
        **further,
        **coverage,
    )


def _answers(pairs: Sequence[_Pair], ids: Sequence[str]) -> Answers:
    import numpy as np

    column = {car: i for i, car in enumerate(ids)}
    shape = (len(pairs), len(ids))
    truth, tagged, scores = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape)
    for row, (label, record) in enumerate(pairs):
        truth[row, [column[car] for car in label.cars if car in column]] = True
        tagged[row, [column[tag.car] for tag in record.tags if tag.car in column]] = True
        for car, score in _scores(record).items():
            if car in column:
                scores[row, column[car]] = score
    ranks = [
        next((i for i, car in enumerate(ranking(record), 1) if car in label.cars), _NOT_RANKED)
        for label, record in pairs
    ]
    return Answers(
        truth=truth,
        tagged=tagged,
        scores=scores,
        kind=np.array([label.truth for label, _ in pairs], object),
        outcome=np.array([record.outcome for _, record in pairs], object),
        top=np.array(ranks, int),
        exact=np.array([_is_exact(label, record) for label, record in pairs], bool),
    )


def _comparison(pairs: Sequence[_Pair], index: Index, path: Path) -> Comparison:
    other = read_index(path.parent if path.suffix else path, path)
    both = [
        (label, record, there)
        for label, record in pairs
        if record.path in other.photos
        and other.photos[record.path].missing is UNSET
        and (there := as_model_has_it(other.photos[record.path])) is not None
    ]
    if not both:
        raise LabelsError(f"{path}: holds none of the labelled photos of {index.path}; compare indexes of one gallery")
    ids = [car.id for car in index.header.catalog.cars]
    new = _answers([(label, here) for label, here, _ in both], ids)
    old = _answers([(label, there) for label, _, there in both], ids)
    gained, lost, p = metrics.mcnemar(new.exact, old.exact)
    differences = metrics.differences(metrics.headline(new), metrics.headline(old), len(both))
    return Comparison(str(path), len(both), differences, gained, lost, round(p, 4))


def _mistakes(pairs: Sequence[_Pair]) -> tuple[Mistake, ...]:
    wrong, missed = [], []
    for label, record in pairs:
        truth = _words(label)
        wrong += [
            Mistake(record.path, "wrong tag", truth, tag.car, tag.score, None if tag.box is UNSET else tag.box)
            for tag in record.tags
            if tag.car not in label.cars
        ]
        scores, boxes = _scores(record), _missed_boxes(label, record)
        wrong += [
            Mistake(record.path, "wrong box", truth, car, scores.get(car, 0.0), box)
            for car, box in misplaced(label, record).items()
        ]
        missed += [
            Mistake(record.path, "missed", (car,), _likeliest(record), scores.get(car, 0.0), boxes.get(car))
            for car in sorted(label.cars - _tagged(record))
        ]
    wrong.sort(key=lambda m: (-m.score, m.path, m.answer))
    missed.sort(key=lambda m: (m.score, m.path, m.truth))
    return (*wrong[:_MOST_MISTAKES], *missed[: max(0, _MOST_MISTAKES - len(wrong))])


def _missed_boxes(label: Label, record: PhotoRecord) -> dict[str, Box]:
    """Where the cars of a label stand, the ones that were not found before the others."""
    found = matches(label, found_in(record))
    order = sorted(range(len(label.boxes)), key=lambda i: (i not in found, -i))
    return {car: label.boxes[i].box for i in order for car in label.boxes[i].cars}


def _groups(pairs: Sequence[_Pair]) -> dict[str, Group]:
    groups: dict[str, list[_Pair]] = {"one": [], "several": []}
    for label, record in pairs:
        if (name := group_of(label)) is not None:
            groups[name].append((label, record))
    return {name: _group(some) for name, some in groups.items()}


def _group(pairs: Sequence[_Pair]) -> Group:
    right = sum(len(_tagged(record) & label.cars) for label, record in pairs)
    tagged = sum(len(_tagged(record)) for _, record in pairs)
    shown = sum(len(label.cars) for label, _ in pairs)
    return Group(
        photos=len(pairs),
        accuracy=_rate(_is_exact(*pair) for pair in pairs),
        precision=round(right / tagged, 4) if tagged else None,
        recall=round(right / shown, 4) if shown else None,
        boxes=box_figures(pairs),
    )


def _suspicious(pairs: Sequence[_Pair], answers: Answers, ids: Sequence[str]) -> tuple[SuspiciousLabel, ...]:
    """Of photos with at most one car; all that is none of the catalog's cars is one class, with the rest of the sum."""
    import numpy as np

    single = np.flatnonzero(answers.read & (answers.truth.sum(axis=1) <= 1))
    scores = answers.scores[single]
    rest = np.clip(1 - scores.sum(axis=1, keepdims=True), 0, 1)
    truth = answers.truth[single]
    given = np.where(truth.any(axis=1), truth.argmax(axis=1), len(ids)) if len(ids) else np.zeros(len(single), int)
    probabilities = np.hstack([scores, rest])
    names = [*ids, "other"]
    return tuple(
        SuspiciousLabel(
            pairs[single[i]][1].path, _words(pairs[single[i]][0]), names[to], round(float(probabilities[i, to]), 4)
        )
        for i, to in zip(*metrics.suspicious(probabilities, given), strict=True)
    )


def _words(label: Label) -> tuple[str, ...]:
    return tuple(sorted(label.cars)) + label.other or ("none",)


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
            precision_interval=metrics.wilson(int((truth[:, i] & answer[:, i]).sum()), int(answer[:, i].sum())),
            recall_interval=metrics.wilson(int((truth[:, i] & answer[:, i]).sum()), int(truth[:, i].sum())),
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


def _scores(record: PhotoRecord) -> dict[str, float]:
    """Of every car that the index kept."""
    return {c.car: c.score for c in record.candidates} | {tag.car: tag.score for tag in record.tags}


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
