"""What a person says of the photos while she reviews them: kept in the index at once, and in a CSV of hand labels."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET

from cartag import index as indexes
from cartag import locks
from cartag.errors import LabelsError, ReviewError
from cartag.index import Index, Place
from cartag.labels import Label, read_any_labels, with_labels
from cartag.values import ModelAnswer, Outcome, PhotoRecord, Tag, as_model_has_it, human_tags, is_settled_by_human
from cartag.version import __version__

Truth = Literal["car", "unknown", "none"]
_OUTCOMES: Mapping[Truth, Outcome] = {"car": "tagged", "unknown": "unknown", "none": "no-car"}


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of one photo."""

    path: str
    truth: Truth | None
    """It shows cars of the catalog, other cars only, or none; None: she takes back what she said."""
    cars: tuple[str, ...] = ()
    """Ids of the cars it shows, where ``truth`` is ``car``."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A photo as the page shows it."""

    record: PhotoRecord
    label: Label | None
    """What the CSV of hand labels says of it."""


@dataclass(frozen=True)
class Counts:
    """What was done in one session."""

    confirmed: int
    """Photos of which a person said what the model had said."""
    corrected: int
    """Photos of which she said something else."""
    to_do: int
    """Photos of which nobody said anything yet."""


@dataclass(frozen=True)
class _Step:
    """Decisions made at once, and what was there before."""

    before: dict[str, PhotoRecord]
    after: dict[str, PhotoRecord]
    labels: dict[str, Label | None]
    file_before: bytes | None
    """The CSV as it was, where rows were taken out: they may have had further columns."""
    file_after: bytes | None


@dataclass
class _LabelFile:
    path: Path
    labels: dict[str, Label] = field(default_factory=dict)
    """By path of the photo."""


class Session:
    """The photos of one index under review. All methods may be called from several threads.

    Every decision is in the files before its call returns. Between two of them other programs may change the files: an
    index, or labels, that changed are read again first, and only the records of the photos at hand are touched.
    """

    def __init__(self, gallery: Path, place: Place, labels: Path | None = None) -> None:
        """Opens the index, and the labels where there are some.

        Raises:
            IndexFileError, GalleryError: as `cartag.index.read`.
            LabelsError: ``labels`` is there and is no CSV file,label, or its folder is not there.
        """
        self.gallery, self.place = gallery, place
        self._mutex = threading.Lock()
        self._steps: list[_Step] = []
        self._touched: set[str] = set()
        """Paths of the photos that were settled in this session."""
        self._stamp = indexes.stamp_of(place)
        self._index = indexes.with_foreign_fields(indexes.read(gallery, place.index))
        self.edition = 1
        """Counts how often others changed the index: what was shown of an earlier one may be out of date."""
        self._labels = None if labels is None else _LabelFile(labels)
        if labels is not None and not labels.parent.is_dir():
            raise LabelsError(f"{labels}: its folder is not there; name a file in one that is")
        self._read_labels()

    # --- reading

    @property
    def index(self) -> Index:
        """The index as it is now in the files, as far as this session knows."""
        return self._index

    def photos(self) -> list[Reviewed]:
        """All photos that are there, in the order of the index. Reads anew what others changed."""
        with self._mutex, locks.replacing(self.place):
            self._heed_others()
            return [self._reviewed(record) for record in self._index if record.missing is UNSET]

    def some(self, paths: Iterable[str]) -> list[Reviewed]:
        """The photos at these paths; those that the index no longer has are left out."""
        with self._mutex:
            found = (self._index.photos.get(path) for path in paths)
            return [self._reviewed(record) for record in found if record is not None]

    def can_undo(self) -> bool:
        """Whether there is a decision of this session to undo."""
        return bool(self._steps)

    def counts(self) -> Counts:
        """What was done since the session began, less what was undone or taken back."""
        with self._mutex:
            photos = self._index.photos
            settled = [photos[path] for path in self._touched if path in photos and photos[path].confirmed is True]
            as_before = sum(
                (model := as_model_has_it(record)) is not None and _says(record) == _says(model) for record in settled
            )
            to_do = sum(not is_settled_by_human(r) for r in self._index if r.missing is UNSET)
            return Counts(as_before, len(settled) - as_before, to_do)

    def _reviewed(self, record: PhotoRecord) -> Reviewed:
        return Reviewed(record, None if self._labels is None else self._labels.labels.get(record.path))

    def _heed_others(self) -> None:
        stamp = indexes.stamp_of(self.place)
        if stamp != self._stamp:
            self._index = indexes.with_foreign_fields(indexes.read(self.gallery, self.place.index))
            self._stamp = stamp
            self.edition += 1
        self._read_labels()

    def _read_labels(self) -> None:
        if self._labels is not None:
            path, cars = self._labels.path, self._index.header.catalog.cars
            there = read_any_labels(path, cars, self._index.photos, self.gallery) if path.exists() else []
            self._labels.labels = {label.file: label for label in there}

    # --- deciding

    def decide(self, decisions: Sequence[Decision]) -> list[str]:
        """Settles photos, or takes back what was said of them; the paths whose records are others now.

        Raises:
            ReviewError: a photo that the index does not hold, or cars that do not go with the rest.
            IndexFileError, LabelsError: a file cannot be read or written. Then the decisions are not in the index, or,
                where only the labels failed, not in the labels.
        """
        with self._mutex, locks.replacing(self.place):
            self._heed_others()
            before = {d.path: self._known(d.path) for d in decisions}
            after = {d.path: self._decided(before[d.path], d) for d in decisions}
            said = {d.path: _label_of(d) for d in decisions}
            labels = {} if self._labels is None else {path: self._labels.labels.get(path) for path in said}
            file_before, file_after = self._labels_with(said)
            taken_out = any(label is None for label in said.values())
            self._steps.append(_Step(before, after, labels, file_before if taken_out else None, file_after))
            try:
                self._write(after)
            except BaseException:
                self._steps.pop()
                raise
            self._touched.update(after)
            self._write_labels(file_before, file_after)
            return [path for path in after if after[path] != before[path]]

    def undo(self) -> list[str]:
        """Takes the last decisions of this session back as if they had not been; the paths that it changed.

        What somebody else changed since stays as it is.

        Raises:
            ReviewError: there is nothing to undo.
            IndexFileError, LabelsError: as `decide`.
        """
        with self._mutex, locks.replacing(self.place):
            if not self._steps:
                raise ReviewError("nothing to undo")
            self._heed_others()
            step = self._steps[-1]
            back = {path: r for path, r in step.before.items() if self._index.photos.get(path) == step.after[path]}
            file_before, file_after = self._labels_with({path: step.labels.get(path) for path in back})
            if step.file_before is not None and file_before == step.file_after:
                file_after = step.file_before
            self._write(back)
            self._steps.pop()
            self._touched.difference_update(set(back) - {path for s in self._steps for path in s.after})
            self._write_labels(file_before, file_after)
            return list(back)

    def _known(self, path: str) -> PhotoRecord:
        record = self._index.photos.get(path)
        if record is None or record.missing is True:
            raise ReviewError(f"{path}: not in the index any more; load the page again")
        return record

    def _decided(self, record: PhotoRecord, decision: Decision) -> PhotoRecord:
        allowed = {car.id for car in self._index.header.catalog.cars} | {tag.car for tag in record.tags}
        if bool(decision.cars) != (decision.truth == "car") or not allowed.issuperset(decision.cars):
            raise ReviewError(f"{record.path}: {decision.truth} with the cars {list(decision.cars)} is no answer")
        if decision.truth is None:
            return self._taken_back(record)
        boxes = {tag.car: tag.box for tag in record.tags}
        model = as_model_has_it(record)
        return msgspec.structs.replace(
            record,
            outcome=_OUTCOMES[decision.truth],
            tags=tuple(
                Tag(car=car, score=1.0, source="human", box=boxes.get(car, UNSET))
                for car in dict.fromkeys(decision.cars)
            ),
            candidates=(),
            confirmed=True,
            by_model=UNSET
            if model is None
            else ModelAnswer(outcome=model.outcome, tags=model.tags, candidates=model.candidates),
        )

    def _taken_back(self, record: PhotoRecord) -> PhotoRecord:
        """As the model has it, where that is known; else so that the next `tag` asks the model."""
        if (model := as_model_has_it(record)) is not None:
            return model
        by_hand = human_tags(record)
        tags = () if record.confirmed is True else tuple(tag for tag in record.tags if tag not in by_hand)
        outcome: Outcome = "error" if record.error is not UNSET else "tagged" if tags else "unknown"
        return msgspec.structs.replace(record, outcome=outcome, tags=tags, confirmed=False)

    def _write(self, changed: Mapping[str, PhotoRecord]) -> None:
        """Replaces the index, unless nothing would change."""
        old = self._index
        if all(old.photos[path] == record for path, record in changed.items()):
            return
        header = msgspec.structs.replace(
            old.header, generator=f"cartag {__version__}", updated=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        )
        new = Index(header, {**old.photos, **changed}, old.path, old.foreign)
        indexes.write(new)
        self._index, self._stamp = new, indexes.stamp_of(self.place)

    def _labels_with(self, said: Mapping[str, Label | None]) -> tuple[bytes | None, bytes | None]:
        """The CSV as it is and as it shall be."""
        if self._labels is None:
            return None, None
        path, index = self._labels.path, self._index
        after = with_labels(path, said, index.header.catalog.cars, index.photos, self.gallery)
        return (path.read_bytes() if path.exists() else None), after

    def _write_labels(self, before: bytes | None, after: bytes | None) -> None:
        if self._labels is None or after is None or before == after:
            return
        try:
            indexes.replace_file(self._labels.path, after)
        except OSError as e:
            raise LabelsError(
                f"{self._labels.path}: cannot be written ({e.strerror}); the index has it, the labels do not"
            ) from e
        self._read_labels()


def _label_of(decision: Decision) -> Label | None:
    if decision.truth is None:
        return None
    other = ("unknown",) if decision.truth == "unknown" else ()
    return Label(decision.path, frozenset(decision.cars), other)


def _says(record: PhotoRecord) -> tuple[str, frozenset[str]]:
    """What a record says of its photo, whoever said it."""
    return record.outcome, frozenset(tag.car for tag in record.tags)
