"""Rows of the hand labels that were learned from follow their photos, when these go to other names.

A row is of the content that the index knew under its name. What could not be written yet is noted in the state folder:
of which contents the rows of that very file are; so a killed run, or a CSV that may not be written, mixes up nothing.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import msgspec

from cartag.errors import IndexFileError, LabelsError
from cartag.learning import learned
from cartag.measuring import Label, LabelFile, read_truth
from cartag.progress import Progress
from cartag.state import (
    Contents,
    Index,
    Place,
    Word,
    content_aside,
    contents_of,
    place_words,
    replace_file,
    writing_into,
)
from cartag.values import PhotoRecord, human_tags


class _Owed(msgspec.Struct, frozen=True):
    """What is known of a CSV whose rows are under names that are no longer those of their photos."""

    labels: str
    digest: str
    """SHA-256 of the file: once it is another, somebody wrote it since."""
    contents: dict[str, str]
    """Of these photos, the content that the rows are of; empty: cartag does not know, and leaves them to a person."""


def owes_rows(place: Place) -> bool:
    """Whether the labels are not to be learned from as they are."""
    return _path(place).exists()


def damaged_rows_note(place: Place) -> Path | None:
    """The note of what is owed, where it is there and cannot be read as one."""
    return _path(place) if owes_rows(place) and _read(place) is None else None


def check_rows(place: Place, labels: Path, tag: str) -> None:
    """Refuses labels whose rows name photos as they were called before; ``tag`` is the command that mends them.

    Raises:
        LabelsError: they have to be written first.
    """
    owed = _read(place)
    if owed is not None and owed.contents and owed.labels == str(labels.resolve()) and owed.digest == digest_of(labels):
        raise LabelsError(
            f"{labels}: its rows name {_photos(len(owed.contents))} as they were called before, e.g. "
            f"{min(owed.contents)}; make it writable and run {tag}, which mends them"
        )


class LabelRows:
    """The rows of the CSV that this index learned from, around the moment in which the index is replaced."""

    def __init__(self, place: Place, gallery: Path, old: Index, now: Contents, progress: Progress) -> None:
        """``now``: contents of all photos that are there, by path."""
        self._place, self._gallery, self._old, self._now, self._progress = place, gallery, old, now, progress
        self._stack = ExitStack()
        self._path: Path | None = None
        self._data = b""
        self._homes: dict[str, str] = {}

    def __enter__(self) -> LabelRows:
        """Decides which rows go where, and notes it; holds the file's folder until it is left.

        Raises:
            IndexFileError: the note cannot be written; nothing was done.
        """
        try:
            self._look()
        except LabelsError as e:  # nothing is learned from them as they are; but they may be mended
            before = contents_of(self._old.photos)
            elsewhere = {content for path, content in self._now.items() if content and before.get(path) != content}
            if moved := sorted(p for p, sha in before.items() if sha in elsewhere and self._now.get(p) != sha):
                self._progress.note(
                    f"{e}; its rows cannot follow {_photos(len(moved))} that got other names, e.g. {moved[0]}: look "
                    "whether they name the right ones"
                )
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def write(self) -> None:
        """Writes the rows under their new names, and says so; where that cannot be done, it is owed."""
        if not self._homes or self._path is None:
            return
        n, old = len(self._homes), min(self._homes)
        try:
            replace_file(self._path, self._data)
        except OSError as e:
            self._progress.note(
                f"{self._path}: cannot be written ({e.strerror}), and its rows still name {_photos(n)} as they were "
                f"called before, e.g. {old}; make it writable and tag again; until then nothing is learned from it"
            )
            return
        _path(self._place).unlink(missing_ok=True)
        self._progress.note(f"{self._path}: its rows follow {_photos(n)}, e.g. {old} is {self._homes[old]} now")

    def _look(self) -> None:
        before, owed = contents_of(self._old.photos), _read(self._place)
        if owed is None and self._now == before:  # as in most runs
            return
        found = learned.load_learned(self._place)
        path = None if found is None or not found.facts.source else self._place.index.parent / found.facts.source
        if found is None or path is None or not path.is_file() or path.suffix.lower() == ".json":
            return
        self._stack.enter_context(writing_into(path.parent))
        digest = digest_of(path)
        stands = owed is not None and (owed.labels, owed.digest) == (str(path.resolve()), digest)
        if owed is not None and (not stands or not owed.contents):
            _path(self._place).unlink(missing_ok=True)
        owing = dict(owed.contents) if owed is not None and stands else {}
        cars = self._old.header.catalog.cars
        labels = LabelFile(path, cars, {*before, *self._now}, self._gallery, names_only=True)
        contents, trusted = self._contents(labels, {**before, **owing})
        if digest == found.facts.file or self._says_what_it_said(path, found.facts.truth):
            trusted = set(contents)
        trusted |= owing.keys()
        where = place_words(contents, {**before, **owing}, self._now)
        doubtful = sorted(name for name, home in where.homes.items() if home != name and name not in trusted)
        if doubtful:
            contents |= {name: Word(self._now.get(name)) for name in doubtful}
            where = place_words(contents, {**before, **owing}, self._now)
            self._progress.note(
                f"{path}: edited since it was learned from, while {_photos(len(doubtful))} that it names came to hold "
                f"others, e.g. {doubtful[0]}: look whether these rows are right; the next run takes them as they are"
            )
        self._homes = {name: home for name, home in where.homes.items() if home != name}
        labels.rename(self._homes)
        self._path, self._data = path, labels.encode()
        known = {name: content for name in self._homes if (content := contents[name].sha256)}
        if self._homes or doubtful:
            self._note(_Owed(str(path.resolve()), digest, known))

    def _says_what_it_said(self, path: Path, truth: str) -> bool:
        """Whether the labels are, for the photos as they were, those that were learned from."""
        with suppress(LabelsError):
            return read_truth(path, self._old, self._gallery).digest() == truth
        return False

    def _contents(self, labels: LabelFile, before: Contents) -> tuple[dict[str, Word], set[str]]:
        """What the rows of each photo are of; and those of whom that is sure, whoever wrote them last."""
        contents: dict[str, Word] = {}
        sure: set[str] = set()
        here = set(self._now.values())
        for name in labels.photos():
            record = self._old.photos.get(name)
            if before.get(name):
                contents[name] = Word(before[name], record is not None and record.missing is True)
                if record is not None and _agrees(labels.get(name), record):
                    sure.add(name)
            elif name in self._now:  # new to the index: it is of what lies there
                contents[name] = Word(self._now[name])
            elif (aside := content_aside(name, here)) is not None:
                contents[name] = Word(aside, is_missing=True)
                sure.add(name)
        return contents, sure

    def _note(self, owed: _Owed) -> None:
        try:
            replace_file(_path(self._place), msgspec.json.encode(owed))
        except OSError as e:
            raise IndexFileError(f"{self._place.state}: cannot be written ({e.strerror}); use --index FILE") from e


def _agrees(label: Label | None, record: PhotoRecord) -> bool:
    """Whether a row says what a person said in the index, as a review has it say: then it is of that photo."""
    if label is None:
        return False
    if record.confirmed is not True:
        return bool(label.cars) and label.cars == {tag.car for tag in human_tags(record)}
    truth = {"tagged": "car", "unknown": "unknown", "no-car": "none"}.get(record.outcome)
    return label.truth == truth and label.cars == {tag.car for tag in record.tags}


def _photos(n: int) -> str:
    return f"{n} photo{'s' if n > 1 else ''}"


def _path(place: Place) -> Path:
    return place.state / f"{place.name}.rows.json"


def _read(place: Place) -> _Owed | None:
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(_path(place).read_bytes(), type=_Owed)
    return None


def digest_of(path: Path) -> str:
    """SHA-256 of a CSV's bytes; empty where it cannot be read as a file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
