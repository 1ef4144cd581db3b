"""What a model without a calibration loses, and by which default rule least: mini with its calibration taken away.

    python -m benchmarks.uncalibrated PHOTOS --labels photos.csv [--sample 400]

A hub model has no calibration. `mini` has one, so it can be measured with and without. The labels are a CSV with the
columns `file` and `car`: an id of the catalog, `other`, or `none`; other rows are left out. Every photo is embedded as
`tag --regions main` does, once, and scored by each rule. Nothing of this is fitted to the photos but `mini`'s own
calibration, which its recipe fitted on photos that the measured model had not seen.

With `--learn 30` a last row says what `learn` makes of the default rule with so many labels by chance (two fifths
of cars of the catalog, two fifths of other cars, the rest of none) and measured on all other photos; it is the mean of
five draws. Near-duplicates may lie on both sides.

Rules are compared by their mean surprise (negative log-likelihood of car, other car or no car), where the three kinds
of photos weigh 1 : 1 : 1/2 however many there are, as in the recipe: the only figure here that no threshold moves. The
shipped `mini` has seen part of the photos that its recipe used: on these its figures flatter, by every rule alike.
"""

from __future__ import annotations

import csv
import itertools
import math
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import cartag
from benchmarks import measuring
from benchmarks.measuring import Report
from cartag import checkpoints, encoder
from cartag.catalogs import load_catalog, prompt_classes
from cartag.learning import fitting
from cartag.learning.fitting import Examples, ZeroShot
from cartag.learning.vectors import main_vectors
from cartag.measuring import metrics
from cartag.progress import Silent
from cartag.scoring import Calibration, ClassSet, calibration_of, class_set, decide, score
from cartag.scoring.calibration import UNCALIBRATED
from cartag.settings import Settings
from cartag.state import Store, place_of

_KINDS = {"car": 1.0, "other": 1.0, "none": 0.5}
_RULES = {
    "temperature": (1.0, 1.25, 1.5, 2.0),
    "spread": (1.0, 1.5, 2.0),
    "other_bias": (0.0, -1.0, -2.0),
    "no_car_bias": (0.0, -1.0, -2.0),
}
_SHOWN = 5
_DRAWS = 5


@dataclass(frozen=True, eq=False)
class Photos:
    """Embedded photos with what they show."""

    vectors: np.ndarray
    truth: tuple[str, ...]
    """Of each the id of a car, `other`, or `none`."""
    classes: ClassSet
    logit_scale: float


def measure(photos: Photos, own: Calibration, labels: int | None = None) -> Report:
    """The default, each single change of a plain softmax, the best of a grid of rules, mini's own, and `learn`."""
    report = Report(
        "uncalibrated",
        ("rule", "surprise", "ECE %", "exactly right %", "cars tagged %", "other cars tagged %", "no car said %"),
    )
    default = Calibration()
    report.add("temperature 1, spread 1, no biases", *figures(photos, default))
    report.add(f"the default: {described(UNCALIBRATED)}", *figures(photos, UNCALIBRATED))
    for name, values in _RULES.items():
        for value in values[1:]:
            report.add(f"... {name} {value:g}", *figures(photos, Calibration(**{name: value})))
    grid = [Calibration(**dict(zip(_RULES, values, strict=True))) for values in itertools.product(*_RULES.values())]
    ranked = sorted(grid, key=lambda rule: surprise(photos, rule))
    for rule in ranked[:_SHOWN]:
        report.add(described(rule), *figures(photos, rule))
    report.add(f"mini's own: {described(own)}", *figures(photos, own))
    if labels is not None:
        drawn = np.array([learned(photos, labels, seed) for seed in range(_DRAWS)])
        report.add(f"`learn` with {labels} labels", *(float(value) for value in drawn.mean(axis=0)))
    report.facts["photos"] = {kind: sum(_kind(t) == kind for t in photos.truth) for kind in _KINDS}
    report.notes.append(f"Photos: {', '.join(f'{n} {kind}' for kind, n in report.facts['photos'].items())}.")
    return report


def described(rule: Calibration) -> str:
    """A rule in a line."""
    return f"temperature {rule.temperature:g}, spread {rule.spread:g}, {rule.other_bias:g}, {rule.no_car_bias:g}"


def learned(photos: Photos, labels: int, seed: int) -> tuple[float, ...]:
    """The figures of the photos that were not drawn, after `learn` with those that were."""
    kinds = np.array([_kind(t) for t in photos.truth])
    rng = np.random.default_rng(seed)
    wanted = {"car": labels * 2 // 5, "other": labels * 2 // 5}
    wanted["none"] = labels - sum(wanted.values())
    chosen = np.concatenate([rng.permutation(np.flatnonzero(kinds == kind))[:n] for kind, n in wanted.items()])
    rest = np.setdiff1d(np.arange(len(kinds)), chosen)
    shows = np.array([[t == car for car in photos.classes.cars] for t in photos.truth])
    said = np.array([{"other": "unknown"}.get(kind, kind) for kind in kinds])
    examples = Examples(photos.vectors[chosen], shows[chosen], said[chosen], np.arange(len(chosen)))
    fit = fitting.fit(examples, ZeroShot(photos.classes, UNCALIBRATED, photos.logit_scale), precision=0.95, folds=5)
    zero = ZeroShot(photos.classes, UNCALIBRATED, photos.logit_scale)
    truth = tuple(photos.truth[i] for i in rest)
    return figures(
        replace(photos, vectors=photos.vectors[rest], truth=truth, classes=fit.applied(zero)), fit.calibration
    )


def figures(photos: Photos, rule: Calibration) -> tuple[float, ...]:
    """The columns of the report after the rule's name."""
    scores = score(photos.vectors, photos.classes, logit_scale=photos.logit_scale, calibration=rule)
    verdicts = decide(scores, photos.classes.cars, rule, 1)
    said = [v.tags[0].car if v.tags else v.outcome for v in verdicts]
    wanted = [{"other": "unknown", "none": "no-car"}.get(t, t) for t in photos.truth]
    right = np.array([s == w for s, w in zip(said, wanted, strict=True)])
    kinds = np.array([_kind(t) for t in photos.truth])
    tagged = np.array([bool(v.tags) for v in verdicts])
    best = scores.cars.argmax(axis=1)
    is_best = np.array([photos.classes.cars[b] == t for b, t in zip(best, photos.truth, strict=True)])
    n = len(right)
    ece = metrics.metric_values({"ece": metrics.ece(scores.cars.max(axis=1), is_best, np.ones(n, bool))}, n)["ece"]
    shares = [100 * float(v[kinds == k].mean()) for v, k in ((right, "car"), (tagged, "other"), (right, "none"))]
    return (surprise(photos, rule), 100 * ece, 100 * float(right.mean()), *shares)


def surprise(photos: Photos, rule: Calibration) -> float:
    """Mean negative log-likelihood of the truth, the kinds weighted."""
    scores = score(photos.vectors, photos.classes, logit_scale=photos.logit_scale, calibration=rule)
    column = {car: i for i, car in enumerate(photos.classes.cars)}
    said = {"other": scores.other, "none": scores.no_car}
    likely = np.array(
        [said[t][i] if t in said else scores.cars[i, column[t]] for i, t in enumerate(photos.truth)], np.float64
    )
    kinds = np.array([_kind(t) for t in photos.truth])
    lost = -np.log(np.maximum(likely, 1e-9))
    weights = {k: w for k, w in _KINDS.items() if (kinds == k).any()}
    return math.fsum(w * float(lost[kinds == k].mean()) for k, w in weights.items()) / sum(weights.values())


def _kind(truth: str) -> str:
    return truth if truth in ("other", "none") else "car"


def embedded(folder: Path, labels: Path, catalog_name: str, sample: int | None, work: Path) -> Photos:
    """Tags a copy of the photos with mini, and takes the vectors out of its cache."""
    catalog = load_catalog(catalog_name)
    known = {car.id for car in catalog.cars} | {"other", "none"}
    with labels.open(encoding="utf-8", newline="") as f:
        truth = {row["file"]: row["car"] for row in csv.DictReader(f) if row["car"] in known}
    names = sorted(name for name in truth if (folder / name).is_file())
    if sample is not None and sample < len(names):
        names = sorted(random.Random(0).sample(names, sample))
    copy = work / "photos"
    copy.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (copy / name).is_file():
            shutil.copyfile(folder / name, copy / name)
    settings = Settings(regions="main")
    index = cartag.tag(copy, catalog=catalog_name, model="mini", settings=settings).index
    files = checkpoints.resolve("mini", Silent())
    model = encoder.load(files, device="cpu", dtype="float32")
    classes = prompt_classes(catalog)
    with Store(place_of(copy, None).state, encoder.identity(files)) as store:
        vectors = main_vectors(index.photos.values(), store)
    found = [name for name in names if name in vectors]
    prototypes = class_set(classes, model.embed_texts([text for c in classes for text in c.texts]))
    return Photos(np.stack([vectors[n] for n in found]), tuple(truth[n] for n in found), prototypes, model.logit_scale)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("uncalibrated", __doc__ or "")
    parser.add_argument("photos", type=Path, help="a folder of photographs")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="with the columns file and car")
    parser.add_argument("--catalog", default="mille-miglia-2013")
    parser.add_argument("--learn", type=int, metavar="N", help="also what `learn` makes of so many labels")
    parser.add_argument("--sample", type=int, metavar="N", help="so many of the photos, chosen by chance once")
    options = parser.parse_args(arguments)
    sample = options.sample or (100 if options.quick else None)
    own = calibration_of(Path(checkpoints.resolve("mini", Silent()).folder))
    with measuring.workplace(options.work) as work:
        photos = embedded(options.photos, options.labels, options.catalog, sample, work)
        report = measure(photos, own, options.learn)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
