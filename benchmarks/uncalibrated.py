"""What a model without a calibration loses, and by which default rule least: mini with its calibration taken away.

    python -m benchmarks.uncalibrated PHOTOS --labels photos.csv [--sample 400]
    python -m benchmarks.uncalibrated WORK/held-?of3.npz --labels photos.csv

A hub model has no calibration. `mini` has one, so it can be measured with and without. The labels are a CSV with the
columns `file` and `car`: an id of the catalog, `other`, or `none`; other rows are left out. Every photo is embedded as
`tag --regions main` does, once, and scored by each rule. Nothing of this is fitted to the photos but `mini`'s own
calibration, which its recipe fitted on photos that the measured model had not seen.

With `--learn 30` a last row says what `learn` makes of the default rule with so many labels by chance (two fifths
of cars of the catalog, two fifths of other cars, the rest of none) and measured on all other photos; it is the mean of
five draws. Near-duplicates may lie on both sides.

Rules are compared by their mean surprise (negative log-likelihood of car, other car or no car), where the three kinds
of photos weigh 1 : 1 : 1/2 however many there are, as in the recipe: the only figure here that no threshold moves. The
shipped `mini` has seen the photos that its recipe used: on these its figures flatter, by every rule alike. The held
files are what `python -m models.recipe` leaves of each fold in its scratch folder: what a model says of photos that it
never saw. The answers of all are pooled; each fold's own calibration was fitted to the others, and `learn` learns in
each fold by itself.
"""

from __future__ import annotations

import csv
import itertools
import json
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
from cartag.learning.fitting import Examples, Unlabelled, ZeroShot
from cartag.learning.vectors import main_vectors
from cartag.measuring import metrics
from cartag.progress import Silent
from cartag.scoring import Calibration, ClassSet, Scores, Verdict, calibration_of, class_set, decide, score
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
_LOGIT_SCALE = 30.0  # of mini
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
    own: Calibration
    """The model's own calibration."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said of photos."""

    truth: tuple[str, ...]
    cars: tuple[str, ...]
    scores: Scores
    verdicts: Sequence[Verdict]


def measure(parts: Sequence[Photos], labels: int | None = None) -> Report:
    """The default, each single change of a plain softmax, the best of a grid of rules, mini's own, and `learn`."""
    report = Report(
        "uncalibrated",
        ("rule", "surprise", "ECE %", "exactly right %", "cars tagged %", "other cars tagged %", "no car said %"),
    )

    def by(rule: Calibration) -> tuple[float, ...]:
        return figures([answered(photos, rule) for photos in parts])

    report.add("temperature 1, spread 1, no biases", *by(Calibration()))
    report.add(f"the default: {described(UNCALIBRATED)}", *by(UNCALIBRATED))
    for name, values in _RULES.items():
        for value in values[1:]:
            report.add(f"... {name} {value:g}", *by(Calibration(**{name: value})))
    grid = [Calibration(**dict(zip(_RULES, values, strict=True))) for values in itertools.product(*_RULES.values())]
    ranked = sorted(grid, key=lambda rule: surprise([answered(photos, rule) for photos in parts]))
    for rule in ranked[:_SHOWN]:
        report.add(described(rule), *by(rule))
    own = described(parts[0].own) if len(parts) == 1 else "of each fold, by the others"
    report.add(f"mini's own: {own}", *figures([answered(photos, photos.own) for photos in parts]))
    if labels is not None:
        drawn = np.array([figures([learned(part, labels, seed) for part in parts]) for seed in range(_DRAWS)])
        report.add(f"`learn` with {labels} labels", *(float(value) for value in drawn.mean(axis=0)))
    report.facts["photos"] = {kind: sum(_kind(t) == kind for p in parts for t in p.truth) for kind in _KINDS}
    report.notes.append(f"Photos: {', '.join(f'{n} {kind}' for kind, n in report.facts['photos'].items())}.")
    return report


def described(rule: Calibration) -> str:
    """A rule in a line."""
    return f"temperature {rule.temperature:g}, spread {rule.spread:g}, {rule.other_bias:g}, {rule.no_car_bias:g}"


def learned(photos: Photos, labels: int, seed: int) -> Answers:
    """Of the photos that were not drawn, after `learn` with those that were."""
    kinds = np.array([_kind(t) for t in photos.truth])
    rng = np.random.default_rng(seed)
    wanted = {"car": labels * 2 // 5, "other": labels * 2 // 5}
    wanted["none"] = labels - sum(wanted.values())
    chosen = np.concatenate([rng.permutation(np.flatnonzero(kinds == kind))[:n] for kind, n in wanted.items()])
    rest = np.setdiff1d(np.arange(len(kinds)), chosen)
    shows = np.array([[t == car for car in photos.classes.cars] for t in photos.truth])
    said = np.array([{"other": "unknown"}.get(kind, kind) for kind in kinds])
    examples = Examples(photos.vectors[chosen], shows[chosen], said[chosen], np.arange(len(chosen)))
    zero = ZeroShot(photos.classes, UNCALIBRATED, photos.logit_scale)
    fit = fitting.fit(examples, zero, precision=0.95, folds=5, unlabelled=Unlabelled(photos.vectors[rest], len(rest)))
    truth = tuple(photos.truth[i] for i in rest)
    return answered(
        replace(photos, vectors=photos.vectors[rest], truth=truth, classes=fit.applied(zero)), fit.calibration
    )


def answered(photos: Photos, rule: Calibration) -> Answers:
    """What is said of photos by a rule."""
    scores = score(photos.vectors, photos.classes, logit_scale=photos.logit_scale, calibration=rule)
    return Answers(photos.truth, photos.classes.cars, scores, decide(scores, photos.classes.cars, rule, 1))


def figures(parts: Sequence[Answers]) -> tuple[float, ...]:
    """The columns of the report after the rule's name."""
    truth = [t for part in parts for t in part.truth]
    said = [v.tags[0].car if v.tags else v.outcome for part in parts for v in part.verdicts]
    wanted = [{"other": "unknown", "none": "no-car"}.get(t, t) for t in truth]
    right = np.array([s == w for s, w in zip(said, wanted, strict=True)])
    kinds = np.array([_kind(t) for t in truth])
    tagged = np.array([bool(v.tags) for part in parts for v in part.verdicts])
    likeliest = [part.cars[i] for part in parts for i in part.scores.cars.argmax(axis=1)]
    is_best = np.array([car == t for car, t in zip(likeliest, truth, strict=True)])
    n, top = len(right), np.concatenate([part.scores.cars.max(axis=1) for part in parts])
    ece = metrics.metric_values({"ece": metrics.ece(top, is_best, np.ones(n, bool))}, n)["ece"]
    shares = [100 * float(v[kinds == k].mean()) for v, k in ((right, "car"), (tagged, "other"), (right, "none"))]
    return (surprise(parts), 100 * ece, 100 * float(right.mean()), *shares)


def surprise(parts: Sequence[Answers]) -> float:
    """Mean negative log-likelihood of the truth, the kinds weighted."""
    likely = np.concatenate([_likely(part) for part in parts])
    kinds = np.array([_kind(t) for part in parts for t in part.truth])
    lost = -np.log(np.maximum(likely, 1e-9))
    weights = {k: w for k, w in _KINDS.items() if (kinds == k).any()}
    return math.fsum(w * float(lost[kinds == k].mean()) for k, w in weights.items()) / sum(weights.values())


def _likely(answers: Answers) -> np.ndarray:
    """How likely the truth was said to be, of each photo."""
    column = {car: i for i, car in enumerate(answers.cars)}
    said = {"other": answers.scores.other, "none": answers.scores.no_car}
    return np.array(
        [said[t][i] if t in said else answers.scores.cars[i, column[t]] for i, t in enumerate(answers.truth)],
        np.float64,
    )


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
    copy = work / "photos" / folder.resolve().name
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
        vectors = {path: seen.vector for path, seen in main_vectors(index.photos.values(), store).items()}
    found = [name for name in names if name in vectors]
    prototypes = class_set(classes, model.embed_texts([text for c in classes for text in c.texts]))
    own = calibration_of(Path(files.folder))
    return Photos(
        np.stack([vectors[n] for n in found]), tuple(truth[n] for n in found), prototypes, model.logit_scale, own
    )


def held_out(file: Path, labels: Path) -> Photos:
    """What the recipe left of a fold: vectors and texts by its own towers, and its calibration, once reported."""
    beside = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    with labels.open(encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    with np.load(file) as kept:
        truth = [rows[row]["car"] for row in kept["rows"]]
        use = [i for i, car in enumerate(truth) if car in {*beside["cars"], "other", "none"}]
        classes = ClassSet(tuple(beside["cars"]), np.asarray(kept["classes"], np.float32), int(beside["others"]))
        vectors = np.asarray(kept["vectors"][use], np.float32)
    fold = file.with_name(f"mini-fold{file.stem.removeprefix('held-')}")
    if not (fold / "calibration.json").is_file():
        raise SystemExit(f"{fold}: has no calibration.json yet; run python -m models.recipe --report first")
    own = calibration_of(fold)
    return Photos(vectors, tuple(truth[i] for i in use), classes, _LOGIT_SCALE, own)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("uncalibrated", __doc__ or "")
    parser.add_argument("photos", type=Path, nargs="+", help="a folder of photographs, or held files of the recipe")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="with the columns file and car")
    parser.add_argument("--catalog", default="mille-miglia-2013")
    parser.add_argument("--learn", type=int, metavar="N", help="also what `learn` makes of so many labels")
    parser.add_argument("--sample", type=int, metavar="N", help="so many of the photos, chosen by chance once")
    options = parser.parse_args(arguments)
    sample = options.sample or (100 if options.quick else None)
    with measuring.workplace(options.work) as work:
        parts = [
            held_out(place, options.labels)
            if place.suffix == ".npz"
            else embedded(place, options.labels, options.catalog, sample, work)
            for place in options.photos
        ]
        report = measure(parts, options.learn)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
