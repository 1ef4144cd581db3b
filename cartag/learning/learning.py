"""Learning from hand labels: what `tag` uses from then on, and an honest account of whether it helps."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from msgspec import UNSET

from cartag import checkpoints, encoder as encoders
from cartag.catalogs import load_catalog
from cartag.encoder import Encoder
from cartag.errors import IndexFileError, LabelsError, UsageError
from cartag.learning import fitting, following, learned
from cartag.learning.fitting import Examples, Unlabelled, ZeroShot
from cartag.learning.judging import CrossValidation, cross_validate
from cartag.learning.learned import LearnedFacts
from cartag.learning.splits import groups_of
from cartag.learning.thresholds import OWN_THRESHOLD
from cartag.learning.vectors import Example, Placed, Seen, examples_of, main_vectors, weighing_of
from cartag.measuring import Interval, Truth, differences, headline, metric_values, read_truth
from cartag.paths import as_typed
from cartag.progress import Progress, Silent
from cartag.scoring import (
    Chooser,
    calibration_of,
    class_set_of,
    default_catalog,
    model_facts,
    presence_of,
    sight_in,
)
from cartag.settings import Settings, load_settings, shared_texts
from cartag.state import Index, Place, SharedTexts, Store, open_store, place_of, read_index, tag_as_typed
from cartag.values import ModelFiles

_ENOUGH = 5000
WANTED_LABELS = OWN_THRESHOLD


@dataclass(frozen=True)
class LearnedCar:
    """What became of one car."""

    car: str
    name: str
    labels: int
    adapted: bool
    """Its answers changed; otherwise the zero-shot answer is kept."""
    why: str
    wants: int
    """Labels it still wants to have a threshold of its own."""
    threshold: float


@dataclass(frozen=True)
class LearnReport:
    """What was learned, and what it is worth on photos that were not learned from."""

    photos: int
    """Labelled photos learned from."""
    kept: bool
    """False: it did not help, so nothing was written and the next `tag` scores as before."""
    files: tuple[str, ...]
    folds: int
    """Of the cross-validation; 0 where the labels cannot be split."""
    groups: int
    grouped_by: str
    before: dict[str, float | None]
    after: dict[str, float | None]
    gain: dict[str, Interval | None]
    """After less before, with paired 95 % bootstrap intervals."""
    cars: tuple[LearnedCar, ...]
    temperature: float
    precision: float
    not_in_index: tuple[str, ...]
    not_embedded: int
    """Labelled photos whose embedding is not in the cache, or damaged: the next `tag --retag` puts it there."""
    without_label: int
    names_outside_catalog: dict[str, int]
    near_misses: dict[str, str]
    """Of these names those that look like a car of the catalog, and which."""
    silent_folders: tuple[str, ...]
    near_folders: dict[str, str]
    """Of these folders those whose name looks like a car of the catalog, and which."""
    left_out: tuple[str, ...] = ()
    """The labelled photos that were not learned from: those not embedded, and those that `tag` could not read."""
    unplaced: tuple[str, ...] = ()
    """The labelled photos of which nothing was learned, for nobody can tell which of their cars is which."""
    astray: tuple[str, ...] = ()
    """Likewise, for the boxes of their labels are none of those that were found."""
    shares: dict[str, float] | None = None
    """About how many of the gallery's photos show a car of the catalog (`car`), another (`unknown`), none (`none`),
    among the kinds that have labels, where the labels are no fair sample of it; None where they may be one."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """What could be learned, before anything of it is kept."""

    report: LearnReport
    """As `learn` would give it; `files` is empty."""
    keep: Callable[[], LearnReport]
    """Keeps it, or removes what was learned before where it does not help; raises as `learn`."""
    follow: Callable[[], LearnReport]
    """Keeps it; where it does not help, photos are scored by the model alone, and its labels are followed still."""


def learn(
    gallery: Path | str,
    labels: Path | str,
    *,
    cv: int = 5,
    index: Path | str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> LearnReport:
    """Fits calibration, thresholds and a few-shot adapter to hand labels; the next `tag` uses them.

    Works on the embeddings that `tag` left in the cache; no photo is read. What was learned before is replaced, or
    removed where the labels give nothing better than the model alone.

    Args:
        gallery: the folder of photos, tagged before.
        labels: as for `evaluate`: a CSV, a folder of folders named after cars, or an index with a person's tags.
        cv: folds of the cross-validation that judges it.
        index: where the index lies, if not in the gallery.
        settings: the rarer settings; ``precision`` is what thresholds are chosen for.
        progress: hears of a model being loaded.

    Raises:
        LabelsError: the labels cannot be read, or fit no photo.
        UsageError: ``cv`` below 2, or a catalog without anything to reject by.
        ForeignFileError: where it would be kept is a file that is not cartag's, or that a person changed.
        GalleryError, IndexFileError, CatalogError, ModelError: see `cartag.errors`.
    """
    return propose(gallery, labels, cv=cv, index=index, settings=settings, progress=progress).keep()


def propose(
    gallery: Path | str,
    labels: Path | str,
    *,
    cv: int = 5,
    index: Path | str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Proposal:
    """As `learn`, but nothing is kept or removed until a person has seen what it is worth."""
    if cv < 2:
        raise UsageError(f"--cv {cv}: at least two folds are needed")
    settings = (settings or load_settings()).overridden({"index": index})
    progress = progress or Silent()
    place = place_of(Path(gallery), settings.index)
    found = read_index(Path(gallery), settings.index)
    learned.claim_learned(place)  # before anything is computed that could not be kept
    tag = tag_as_typed(gallery, index=settings.index, anew=True)
    review = as_typed("review", gallery, index=settings.index)
    following.check_rows(place, Path(labels), tag)
    # Before they are read: of what is written in between it is no digest. A pipe can be read once.
    file = following.digest_of(Path(labels)) if Path(labels).is_file() else ""
    truth = read_truth(Path(labels), found, Path(gallery), settings.not_hers)
    if not file and Path(labels).is_file():
        raise LabelsError(f"{labels}: could not be read at first; run the same command again")
    files = checkpoints.resolve_auto(found.header.model, progress)
    identity = encoders.identity(files, dtype=settings.dtype, fit=settings.fit)
    catalog = load_catalog(default_catalog(found))
    if catalog.sha256 != found.header.catalog.sha256:
        raise UsageError(f"{catalog.source}: the catalog changed since the index was made; run {tag} first")
    chooser = _chooser(found, files, settings)
    if chooser is not None:
        for record in found:
            chooser.heed(record, record)
    try:
        with open_store(place, identity) as store:
            encoder = _Loaded(files, settings)
            classes = class_set_of(catalog, store, SharedTexts(shared_texts(settings), identity), encoder)
            numbers = model_facts(store, encoder)
            placed = _placed(truth, store, chooser)
            vectors = _some_vectors(found, store, chooser)
    except (OSError, sqlite3.Error) as e:
        raise IndexFileError(f"{place.state}: holds no embeddings ({e}); run {tag} first") from e
    if placed.astray and not placed.found:
        raise LabelsError(
            f"{labels}: no box of it is one that was found, where the two have to share half of what they cover "
            f"together; see where cars were found with {review}, and draw them there"
        )
    if placed.unplaced and not placed.found:
        raise LabelsError(
            f"{labels}: all labelled photos show several cars, and nobody can tell which is which; draw and name their "
            f"boxes with {review}"
        )
    if not placed.found:
        raise LabelsError(f"{place.state}: none of the labelled photos is embedded; run {tag} first")
    if not classes.rejects and numbers["logit_bias"] is not None:
        raise UsageError(f"{catalog.source}: learning needs something to reject by: other_cars or no_car")
    own = calibration_of(_folder(files), rejects=classes.rejects)
    zero = ZeroShot(classes, own, numbers["logit_scale"] or 1.0, _mean(vectors))
    examples, grouped_by = _examples(placed.found, classes.cars, chooser)
    learned_from = {example.record.path for example in placed.found}
    left_out = {record.path for _, record in truth.pairs} - learned_from - placed.unplaced - placed.astray
    checked = cross_validate(examples, zero, precision=settings.precision, folds=cv)
    labelled = {str(example.record.sha256) for example in placed.found}
    others = [seen for sha256, seen in vectors.items() if sha256 not in labelled]
    count = len({str(record.sha256) for record in found if record.sha256 is not UNSET} - labelled)
    unlabelled = _unlabelled(others, count, chooser) if others else None
    fit = fitting.fit(examples, zero, precision=settings.precision, folds=cv, unlabelled=unlabelled)
    before, after, gain = _gain(checked, len(examples))
    kept = _helps(checked, before, after)
    facts = LearnedFacts(
        model=identity,
        catalog=catalog.sha256,
        cars=classes.cars,
        adapted=tuple(car for car, adapted in zip(classes.cars, fit.adapted, strict=True) if adapted),
        labels=_counts(examples, classes.cars),
        precision=settings.precision,
        calibration=fit.calibration,
        tensors="",
        source=_source(Path(labels), place),
        truth=truth.digest(),
        file=file,
        cv=cv,
        seen=_seen(found, chooser),
    )

    def keep() -> LearnReport:
        if not kept:
            learned.remove_learned(place)
            return report
        applied = fit.applied(zero)
        assert applied.biases is not None
        learned.save_learned(place, facts, applied.embeddings, applied.biases)
        return replace(report, files=tuple(str(path) for path in learned.learned_files(place)))

    def follow() -> LearnReport:
        if kept:
            return keep()
        biases = np.zeros(len(classes.embeddings)) if classes.biases is None else classes.biases
        alone = msgspec.structs.replace(facts, adapted=(), calibration=own)
        learned.save_learned(place, alone, classes.embeddings, biases)
        return report

    report = LearnReport(
        photos=len(learned_from),
        kept=kept,
        files=(),
        folds=0 if checked is None else min(cv, len(np.unique(examples.groups))),
        groups=len(np.unique(examples.groups)),
        grouped_by=grouped_by,
        before=before,
        after=after,
        gain=gain,
        cars=_cars(found, examples, fit, kept, zero),
        temperature=round(fit.calibration.temperature if kept else zero.calibration.temperature, 4),
        precision=settings.precision,
        not_in_index=truth.not_in_index,
        not_embedded=sum(record.outcome != "error" and record.path in left_out for _, record in truth.pairs),
        without_label=truth.without_label,
        names_outside_catalog=truth.names_outside_catalog,
        near_misses=truth.near_misses,
        silent_folders=truth.silent_folders,
        left_out=tuple(sorted(left_out)),
        unplaced=tuple(sorted(placed.unplaced)),
        astray=tuple(sorted(placed.astray)),
        shares=_shares(fit) if kept else None,
        near_folders=truth.near_folders,
    )
    return Proposal(report, keep, follow)


def refit(
    gallery: Path,
    index: Index,
    *,
    anew: bool = False,
    settings: Settings,
    progress: Progress | None = None,
) -> bool:
    """Learns again where the labels that were learned from say something else now; whether it did.

    Also where model or catalog are others than then, and always with ``anew``. Labels that are gone or cannot be read
    are said and change nothing: what was learned stays.

    Raises:
        IndexFileError: the index, or what was learned, cannot be read or written.
    """
    place, progress = place_of(gallery, settings.index), progress or Silent()
    found = learned.load_learned(place)
    if found is None or not found.facts.source:
        return False
    labels = place.index.parent / found.facts.source
    try:
        if labels.exists() and not (labels.is_file() or labels.is_dir()):  # a pipe or a device would block
            raise LabelsError(f"{labels}: no file and no folder; run 'cartag learn' with labels that are")
        files = checkpoints.resolve_auto(index.header.model, progress)
        identity = encoders.identity(files, dtype=settings.dtype, fit=settings.fit)
        stands = found.fits(model=identity, catalog=index.header.catalog.sha256)
        stands &= found.facts.seen == _seen(index, _chooser(index, files, settings))
        if stands and not anew and read_truth(labels, index, gallery, settings.not_hers).digest() == found.facts.truth:
            return False
        report = propose(gallery, labels, cv=found.facts.cv, settings=settings, progress=progress).follow()
    except (LabelsError, UsageError) as e:
        progress.note(f"learned: {e}; what was learned before stays")
        return False
    what = f"learned again from the {report.photos} label{'' if report.photos == 1 else 's'} of {labels}"
    progress.note(what if report.kept else f"{what}: no better than the model alone, so that scores now")
    return True


def _source(labels: Path, place: Place) -> str:
    """Where labels lie, as an index remembers it: a gallery may move, with labels beside its index."""
    whole, folder = labels.resolve(), place.index.parent.resolve()
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)


class _Loaded:
    """Loads the encoder when it is first asked for."""

    def __init__(self, files: ModelFiles, settings: Settings) -> None:
        self._files, self._settings = files, settings
        self._encoder: Encoder | None = None

    def __call__(self) -> Encoder:
        if self._encoder is None:
            s = self._settings
            self._encoder = encoders.load(self._files, device=s.device, dtype=s.dtype, fit=s.fit, runtime=s.runtime)
        return self._encoder


def _folder(files: ModelFiles) -> Path | None:
    return Path(files.folder) if files.folder else None


def _chooser(index: Index, files: ModelFiles, settings: Settings) -> Chooser | None:
    """What `tag` chooses the boxes of these photos by, where it weighs whether they hold cars; None: it does not."""
    own = calibration_of(_folder(files))
    sight = sight_in(index.header, settings) if own.presence else None
    presence = presence_of(own, sight)
    return None if sight is None or presence is None else Chooser(sight, presence)


def _seen(index: Index, chooser: Chooser | None) -> str:
    """How photos of an index were looked at, as `LearnedFacts.seen` has it."""
    detector = index.header.detector
    if detector is UNSET:
        return ""
    return f"{detector.name}@{detector.revision}-{detector.regions}" + ("" if chooser is None else "-weighed")


def _placed(truth: Truth, store: Store, chooser: Chooser | None) -> Placed:
    """What the labels say of each region, or photo, that has an embedding in the cache."""
    readable = [
        (label, record) for label, record in truth.pairs if record.sha256 is not UNSET and record.outcome != "error"
    ]
    return examples_of(readable, store, chooser)


def _some_vectors(index: Index, store: Store, chooser: Chooser | None) -> dict[str, Seen]:
    """Embeddings of the gallery's photos, by SHA-256; of a large one, of evenly chosen photos."""
    by_hash = {str(record.sha256): record for record in index if record.sha256 is not UNSET}
    some = sorted(by_hash)[:: 1 + len(by_hash) // _ENOUGH]
    cached = main_vectors((by_hash[h] for h in some), store, chooser)
    return {h: cached[by_hash[h].path] for h in some if by_hash[h].path in cached}


def _mean(vectors: dict[str, Seen]) -> np.ndarray | None:
    return np.mean([seen.vector for seen in vectors.values()], axis=0) if vectors else None


def _unlabelled(others: list[Seen], count: int, chooser: Chooser | None) -> Unlabelled:
    return Unlabelled(np.stack([seen.vector for seen in others]), count, weighing_of(others, chooser))


def _examples(found: list[Example], cars: tuple[str, ...], chooser: Chooser | None) -> tuple[Examples, str]:
    photos = np.stack([example.vector for example in found])
    shows = np.array([[car in example.label.cars for car in cars] for example in found], bool).reshape(-1, len(cars))
    kind = np.array([example.label.truth for example in found], object)
    folders = [example.record.path.rpartition("/")[0] for example in found]
    weighing = weighing_of([example.seen for example in found], chooser)
    wholes = None if weighing is None else (weighing.asked, weighing.wholes[weighing.asked])
    groups, by = groups_of(folders, [str(example.record.sha256) for example in found], photos, shows, wholes)
    return Examples(photos, shows, kind, groups, weighing), by


def _shares(fit: fitting.Fit) -> dict[str, float] | None:
    if fit.mixture is None or fit.mixture.is_drawn_by_chance:
        return None
    found = zip(fitting.KINDS, fit.mixture.gallery.tolist(), strict=True)
    return {kind: round(share, 4) for kind, share in found if share > 0}


def _counts(examples: Examples, cars: tuple[str, ...]) -> dict[str, int]:
    counts = {car: int(n) for car, n in zip(cars, examples.shows.sum(axis=0), strict=True)}
    return counts | {kind: int((examples.kind == kind).sum()) for kind in ("unknown", "none")}


def _gain(
    checked: CrossValidation | None, n: int
) -> tuple[dict[str, float | None], dict[str, float | None], dict[str, Interval | None]]:
    if checked is None:
        return {}, {}, {}
    old, new = headline(checked.before), headline(checked.after)
    before, after = (
        {name: None if np.isnan(value) else round(value, 4) for name, value in metric_values(side, n).items()}
        for side in (old, new)
    )
    return before, after, differences(new, old, n)


def _helps(checked: CrossValidation | None, before: dict[str, float | None], after: dict[str, float | None]) -> bool:
    """Whether held-out photos are better off: in likelihood, and with no fewer cars found at 95 % precision.

    Without a cross-validation there is no saying: one photo of a new car counts.
    """
    if checked is None:
        return True
    was, now = before["recall_at_95_precision"], after["recall_at_95_precision"]
    finds_fewer = was is not None and (now is None or now < was)
    return checked.loss_after < checked.loss_before and not finds_fewer


def _cars(index: Index, examples: Examples, fit: fitting.Fit, kept: bool, zero: ZeroShot) -> tuple[LearnedCar, ...]:
    names = {car.id: car.name for car in index.header.catalog.cars}
    calibration = fit.calibration if kept else zero.calibration
    rows = []
    for i, car in enumerate(zero.classes.cars):
        labels, adapted = int(examples.shows[:, i].sum()), bool(fit.adapted[i]) and kept
        if not labels:
            why = "no label"
        elif adapted:
            why = "better on held-out photos" if fit.checked[i] else "too few labels to check, taken on trust"
        else:
            why = "no better on held-out photos"
        threshold = round(calibration.threshold_of(car), 4)
        rows.append(LearnedCar(car, names[car], labels, adapted, why, max(0, WANTED_LABELS - labels), threshold))
    return tuple(rows)
