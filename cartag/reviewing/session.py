"""What a person says of the photos while she reviews them: kept in the index at once, and in a CSV of hand labels."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from msgspec import UNSET
from msgspec.structs import replace

from cartag.catalogs import Named
from cartag.errors import CartagError, LabelsError, ReviewError
from cartag.measuring import NO_LABELS, Change, Label, LabelFile, Rows, other_cars
from cartag.paths import disk_path
from cartag.reviewing.cars import written
from cartag.reviewing.decisions import Answer, Counts, Decision, Reviewed, Snapshot, State, what_she_said
from cartag.reviewing.homes import homes_of, moved
from cartag.reviewing.words import decided, is_done, is_same_answer, label_of, live_regions, restored, with_former
from cartag.state import (
    Index,
    Place,
    read_index,
    replace_file,
    replacing,
    stamp_of,
    tag_as_typed,
    with_foreign_fields,
    with_names,
    write_index,
    writing_into,
)
from cartag.values import IndexedCar, PhotoRecord, as_model_has_it
from cartag.version import __version__

_LAST_PATIENCE = 5.0


@dataclass(frozen=True)
class _Step:
    """Decisions made at once, and what was there before."""

    number: int
    before: dict[str, PhotoRecord]
    after: dict[str, PhotoRecord]
    rows: dict[str, Rows]
    """What the CSV said of these photos before."""
    change: Change
    """What became of its rows."""
    reading: int
    """Which reading of the CSV they are rows of."""


class Session:
    """The photos of one index under review. All methods may be called from several threads.

    Every decision is in the index before its call returns. Between two of them other programs may change the files: an
    index, or labels, that changed are read again first, and only the records of the photos at hand are touched.
    """

    def __init__(self, gallery: Path, place: Place, labels: Path | None = None) -> None:
        """Opens the index, and the labels where there are some.

        Raises:
            IndexFileError, GalleryError: as `cartag.state.index.read_index`, or the state folder cannot be written.
            LabelsError: ``labels`` is there and is no CSV file,label, or its folder is not there.
        """
        self.gallery, self.place = gallery, place
        self.ending = threading.Event()
        """Set where nobody waits for an answer any more."""
        self._mutex = threading.Lock()
        self._edition = 1
        self._steps: list[_Step] = []
        self._numbered = 0
        self._touched: set[str] = set()
        """Paths of the photos that were settled in this session."""
        self._labels_path = labels
        self._labels: LabelFile | None = None
        self._labels_stamp: tuple[int, ...] | None = None
        self._reading = 0
        self._first: dict[str, Rows] = {}
        """Rows of photos as they were before this session settled them last: what stands again if she takes it back."""
        self._wrote: dict[str, Label | None] = {}
        """What this session said of a photo last, as the CSV has it."""
        self._owed: dict[str, Label | None] = {}
        """What the index has and the labels do not, for they could not be written."""
        self._cars: dict[str, IndexedCar] = {}
        """All cars that the index had a name for since the session began: undo may bring one back."""
        if labels is not None and not labels.parent.is_dir():
            raise LabelsError(f"{labels}: its folder is not there; name a file in one that is")
        self._stamp = stamp_of(place)
        self._index = with_foreign_fields(read_index(gallery, place.uri or place.index))
        with self._exclusively():  # a gallery that cannot be written is told now, not at the first decision
            pass

    # --- reading

    @property
    def index(self) -> Index:
        """The index as it is now in the files, as far as this session knows."""
        return self._index

    def snapshot(self) -> Snapshot:
        """All photos that are there, in the order of the index. Reads anew what others changed."""
        with self._exclusively():
            photos = tuple(self._reviewed(record) for record in self._index if record.missing is UNSET)
            return Snapshot(self._index, photos, self._state())

    def record(self, path: str) -> PhotoRecord | None:
        """What the index says of a photo, as far as this session knows."""
        return self._index.photos.get(path)

    @property
    def labels(self) -> Path | None:
        """The CSV of hand labels that is kept in step."""
        return self._labels_path

    def owed(self) -> int:
        """Of how many photos the index has what was said, and the CSV does not."""
        return len(self._owed)

    def counts(self) -> Counts:
        """What was done since the session began, less what was undone or taken back."""
        photos = self._index.photos
        settled = [photos[path] for path in sorted(self._touched) if path in photos and photos[path].confirmed is True]
        as_the_model = [r for r in settled if (model := as_model_has_it(r)) is not None and is_same_answer(r, model)]
        to_do = sum(not is_done(r) for r in photos.values() if r.missing is UNSET)
        return Counts(len(as_the_model), len(settled) - len(as_the_model), to_do)

    @property
    def _only_main(self) -> bool:
        """Whether the largest box of each photo was looked at, and no other."""
        detector = self._index.header.detector
        return detector is not UNSET and detector.regions == "main"

    def _state(self) -> State:
        return State(self._edition, self._steps[-1].number if self._steps else 0, len(self._owed))

    def _reviewed(self, record: PhotoRecord) -> Reviewed:
        label = None if self._labels is None else self._labels.get(record.path)
        former = self._index.header.catalog.former
        return Reviewed(record, label if label is None or former is UNSET else with_former(label, former))

    @contextmanager
    def _exclusively(self, *, last: bool = False) -> Iterator[None]:
        """Nobody else writes, in this process or another, and what others wrote before is known."""
        began = time.monotonic()

        def stopped() -> bool:
            return self.ending.is_set() and not (last and time.monotonic() - began < _LAST_PATIENCE)

        with ExitStack() as stack:
            stack.enter_context(self._mutex)
            stack.enter_context(replacing(self.place, stopped))
            if self._labels_path is not None:
                stack.enter_context(writing_into(self._labels_path.parent, stopped))
            if stopped():
                raise ReviewError("the review has ended; nothing was done")
            self._heed_others()
            yield

    def _heed_others(self) -> None:
        stamp = stamp_of(self.place)
        if stamp != self._stamp:
            index = with_foreign_fields(read_index(self.gallery, self.place.uri or self.place.index))
            self._follow(index)
            self._cars.update((car.id, car) for car in self._index.header.catalog.named)
            self._index = index
            self._stamp = stamp
            self._edition += 1
            self._labels = None  # other photos and cars: its rows may be of others now
        path = self._labels_path
        if path is not None and (self._labels is None or _stamp(path) != self._labels_stamp):
            stamp_before = _stamp(path)
            index = self._index
            self._labels = LabelFile(path, index.header.catalog.cars, index.photos, self.gallery, self._others)
            self._labels_stamp = stamp_before
            self._reading += 1
            self._labels.say(self._owed)

    def _others(self) -> Iterable[Named]:
        """What labels may name besides the catalog's cars; rows made with an earlier catalog are still understood."""
        return *other_cars(self._index), *self._cars.values()

    def _follow(self, new: Index) -> None:
        """What this session remembers of photos goes with their contents to the names that they have now."""
        remembered = {*self._touched, *self._first, *self._wrote, *self._owed}
        homes = homes_of(remembered.union(*(step.before for step in self._steps)), self._index, new)
        if not homes:
            return
        self._touched = {homes.get(path, path) for path in self._touched}
        self._first = self._moved_rows(self._first, homes)
        self._wrote, self._owed = _moved_labels(self._wrote, homes), _moved_labels(self._owed, homes)
        self._steps = [
            _Step(
                step.number,
                _moved_records(step.before, homes),
                _moved_records(step.after, homes),
                self._moved_rows(step.rows, homes),
                step.change,
                step.reading,
            )
            for step in self._steps
        ]

    def _moved_rows(self, rows: Mapping[str, Rows], homes: Mapping[str, str]) -> dict[str, Rows]:
        labels = self._labels
        if labels is None:  # they could not be read last time: of photos with new names, no rows are known
            return {path: some for path, some in rows.items() if path not in homes}
        return moved({p: labels.renamed(some, homes[p]) if p in homes else some for p, some in rows.items()}, homes)

    # --- deciding

    def decide(self, decisions: Sequence[Decision]) -> Answer:
        """Settles photos, or takes back what was said of them.

        Raises:
            ReviewError: a photo that the index does not hold or knows with another content, or cars that do not go
                with the rest.
            IndexFileError, LabelsError: a file cannot be read, or the index cannot be written; then nothing was done.
                Labels that cannot be written are owed, and written with the next decision.
        """
        with self._exclusively():
            records = {decision.path: self._known(decision.path) for decision in decisions}
            refused = {d.path for d in decisions if d.seen not in (None, Reviewed(records[d.path], None).state)}
            heard: dict[str, list[Decision]] = {}
            for decision in decisions:
                if decision.path not in refused:
                    heard.setdefault(decision.path, []).append(decision)
            another = [path for path in heard if not self._is_same_picture(records[path])]
            if another and len(another) == len(heard):
                tag = tag_as_typed(self.gallery, index=self.place.option(self.gallery))
                raise ReviewError(
                    f"{another[0]}: another picture than when it was tagged; run {tag}, then load the page again"
                )
            for path in another:  # one changed photo costs no answer but its own
                refused.add(path)
                del heard[path]
            before = {path: records[path] for path in heard}
            after = {path: self._decided(before[path], said) for path, said in heard.items()}
            self._write(after)
            self._touched.update(after)
            rows = {path: self._labels.rows(path) for path in after} if self._labels is not None else {}
            change = self._label(heard, before, after)
            if change or before != after:
                self._numbered += 1
                self._steps.append(_Step(self._numbered, before, after, rows, change, self._reading))
            return self._answer((path for path in after if after[path] != before[path]), sorted(refused))

    def undo(self, step: int | None = None) -> Answer:
        """Takes the last decisions of this session back as if they had not been.

        Where somebody said something else since, in the index or in the labels, that stays as it is.

        Args:
            step: `State.step` as the person saw it; None: whatever was decided last.

        Raises:
            ReviewError: there is nothing to undo, or something was decided since.
            IndexFileError, LabelsError: as `decide`.
        """
        with self._exclusively():
            if not self._steps:
                raise ReviewError("nothing to undo")
            if step not in (None, self._steps[-1].number):
                raise ReviewError("something was decided in another window since; that is not undone from here")
            last, photos = self._steps[-1], self._index.photos
            still = [
                path
                for path, r in last.after.items()
                if path in photos and what_she_said(photos[path]) == what_she_said(r)
            ]
            main = self._only_main
            back = {path: restored(last.before[path], last.after[path], photos[path], main=main) for path in still}
            changed = [path for path in back if back[path] != photos[path]]
            self._write(back)
            self._steps.pop()
            self._touched.difference_update(set(back) - {path for s in self._steps for path in s.after})
            self._unlabel(last, back)
            return self._answer(changed, [path for path in last.after if path not in back])

    def add_car(self, name: str, aliases: Sequence[str]) -> tuple[IndexedCar, Path]:
        """Writes another car into the catalog's file, and gives it a name in the index: photos may be given it at once.

        The next `tag` scores it. Until then it stands in the index beside the catalog's cars.

        Raises:
            ReviewError, CatalogError: as `cars.written`; nothing was changed.
            IndexFileError: as `decide`; then the file has the car, and saying it again goes on from there.
        """
        with self._exclusively():
            old = self._index
            car, file = written(old, self.place, name, aliases)
            former = () if old.header.catalog.former is UNSET else old.header.catalog.former
            catalog = replace(old.header.catalog, source=str(file.resolve()), former=(*former, car))
            self._replace(dataclasses.replace(old, header=replace(old.header, catalog=catalog)))
            self._cars[car.id] = car
            self._edition += 1
            return car, file

    def finish(self) -> None:
        """Tries once more to write labels that could not be written; those that still cannot are `owed`."""
        self.ending.set()
        if self._owed:
            with suppress(CartagError), self._exclusively(last=True):
                self._write_labels(())

    def _answer(self, changed: Iterable[str], refused: Iterable[str]) -> Answer:
        photos = self._index.photos
        one, two = (tuple(self._reviewed(photos[p]) for p in paths if p in photos) for paths in (changed, refused))
        return Answer(one, two, self._state())

    # --- labels

    def _label(
        self,
        heard: Mapping[str, Sequence[Decision]],
        before: Mapping[str, PhotoRecord],
        after: Mapping[str, PhotoRecord],
    ) -> Change:
        """Takes what is said into the CSV; what became of its rows.

        A photo of which some boxes are still the model's is not labelled yet: its rows would say that these are all.
        """
        labels = self._labels
        if labels is None:
            return []
        change: Change = []
        for path, decisions in heard.items():
            if after[path].confirmed is True:
                if not is_done(before[path]):
                    self._first[path] = labels.rows(path)
                change += labels.say({path: label_of(after[path], decisions[-1])})
            elif not is_done(before[path]):
                continue  # a label that stood there before is not what she takes back
            elif path not in self._first:
                change += labels.say({path: None})
            elif labels.get(path) == self._wrote.get(path):  # nobody wrote another one since
                change += labels.put(path, self._first[path])
            self._wrote[path] = labels.get(path)
        self._write_labels(heard)
        return change

    def _unlabel(self, step: _Step, back: Iterable[str]) -> None:
        labels = self._labels
        if labels is None:
            return
        if step.reading == self._reading:  # nobody changed index or labels meanwhile
            labels.take_back(step.change)
        else:
            for path in back:
                if path in step.rows and labels.get(path) == self._wrote.get(path):
                    labels.put(path, step.rows[path])
        for path in back:
            self._wrote[path] = labels.get(path)
        self._write_labels(back)

    def _write_labels(self, photos: Iterable[str]) -> None:
        """Writes the CSV as it is in memory; where that fails, what it says of these photos is owed."""
        path, labels = self._labels_path, self._labels
        assert path is not None
        assert labels is not None
        data = labels.encode()
        try:
            if (path.read_bytes() if path.exists() else NO_LABELS) != data:  # a file is not made for nothing
                replace_file(path, data)
        except OSError:
            self._owed.update({photo: labels.get(photo) for photo in photos})
            return
        self._owed.clear()
        self._labels_stamp = _stamp(path)

    # --- records

    def _known(self, path: str) -> PhotoRecord:
        record = self._index.photos.get(path)
        if record is None or record.missing is True:
            raise ReviewError(f"{path}: not in the index any more; load the page again")
        return record

    def _is_same_picture(self, record: PhotoRecord) -> bool:
        """Whether what lies there is what the index knows: a word is kept with that content."""
        file = self.gallery / disk_path(record.path, None if record.path_on_disk is UNSET else record.path_on_disk)
        try:
            stat, as_tagged = file.stat(), (record.size, record.mtime_ns)
            if record.sha256 is UNSET or not S_ISREG(stat.st_mode) or (stat.st_size, stat.st_mtime_ns) == as_tagged:
                return True
            with file.open("rb") as f:
                return hashlib.file_digest(f, "sha256").hexdigest() == record.sha256
        except OSError:  # not to be seen: then it is not another one that she spoke of
            return True

    def _decided(self, record: PhotoRecord, decisions: Iterable[Decision]) -> PhotoRecord:
        """The record after these decisions, one after the other."""
        for said in decisions:
            regions = live_regions(record)
            allowed = {car.id for car in self._index.header.catalog.named} | {tag.car for tag in record.tags}
            allowed |= {tag.car for region in regions for tag in region.tags}
            if bool(said.cars) != (said.truth == "car") or not allowed.issuperset(said.cars):
                raise ReviewError(f"{record.path}: {said.truth} with the cars {list(said.cars)} is no answer")
            record = decided(record, said, main=self._only_main)
        return record

    def _write(self, changed: Mapping[str, PhotoRecord]) -> None:
        """Replaces the index, unless nothing would change."""
        old = self._index
        if all(old.photos[path] == record for path, record in changed.items()):
            return
        header = replace(old.header, catalog=with_names(old.header.catalog, self._cars, changed.values()))
        self._replace(dataclasses.replace(old, header=header, photos={**old.photos, **changed}))

    def _replace(self, index: Index) -> None:
        updated = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        header = replace(index.header, generator=f"cartag {__version__}", updated=updated)
        new = dataclasses.replace(index, header=header)
        write_index(new)
        self._index, self._stamp = new, stamp_of(self.place)


def _moved_labels(labels: Mapping[str, Label | None], homes: Mapping[str, str]) -> dict[str, Label | None]:
    there = moved(labels, homes)
    return {path: None if label is None else dataclasses.replace(label, file=path) for path, label in there.items()}


def _moved_records(records: Mapping[str, PhotoRecord], homes: Mapping[str, str]) -> dict[str, PhotoRecord]:
    there = moved(records, homes)
    return {path: record if record.path == path else replace(record, path=path) for path, record in there.items()}


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Another stamp, another content; None where nothing is there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
