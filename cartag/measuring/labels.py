"""Hand labels: a CSV file `file,label`, or folders named after cars, read into what each photo truly shows.

A CSV is also written: what a person says of some photos goes into it, and all else in it stays as it is.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cartag.catalogs import UNKNOWN, Meaning, Named, Vocabulary, as_other, squeezed
from cartag.errors import LabelsError, UnknownCarError


@dataclass(frozen=True, slots=True)
class Label:
    """What a person says a photo shows."""

    file: str
    cars: frozenset[str]
    """Ids of catalog cars; empty for no car and for another car."""
    other: tuple[str, ...]
    """Names of other cars, as written; ``("unknown",)`` for a car nobody named."""

    @property
    def truth(self) -> str:
        """``car`` (one of the catalog's), ``unknown`` (only other cars), or ``none``."""
        return "car" if self.cars else "unknown" if self.other else "none"


Others = Callable[[], Iterable[Named]]
"""Gives cars that the catalog lacks and that labels may name, besides those of the gazetteer."""


def read_labels(
    path: Path,
    cars: Sequence[Named],
    known: Collection[str] = (),
    gallery: Path | None = None,
    others: Others = tuple,
) -> list[Label]:
    """Reads hand labels; further columns are left alone.

    A file written exactly as one of the ``known`` paths is that photo; others are read as paths (`as_identity`), or,
    where that is no known photo, as paths that lead into the ``gallery``, as `cartag find` prints them. Words are
    understood as `cartag.catalogs.vocabulary` says.

    Raises:
        LabelsError: the file is missing, no CSV with the columns file and label, has two rows for one photo, or says
            what is not understood.
    """
    labels: dict[str, Label] = {}
    reader = _Reader(path, Vocabulary(cars, others), known, gallery)
    for line, file, text in _rows(path):
        name, label = reader.row(line, file, text)
        if label is not None:
            labels.setdefault(name, label)
    reader.finish()
    if not labels:
        raise LabelsError(f"{path}: no labels in it; a row is a file and its label, e.g. 'IMG_0042.JPG,Pagani Huayra'")
    return list(labels.values())


class _Reader:
    """Understands the rows of one file, one after the other; every text is matched against the cars once."""

    def __init__(self, path: Path, vocabulary: Vocabulary, known: Collection[str], gallery: Path | None) -> None:
        self._path, self._vocabulary, self._known = path, vocabulary, known
        self._roots = _roots(gallery) if gallery is not None else ()
        self._meanings: dict[str, Label | str] = {}
        """What a text says, or the question that it raises."""
        self._first: dict[str, tuple[int, Label]] = {}
        self._asked: dict[str, int] = {}
        """Questions with the first line of each."""
        self._not_understood = 0

    def row(self, line: int, file: str, text: str) -> tuple[str, Label | None]:
        """The photo and what is said of it; None where that is not understood, which `finish` says.

        Raises:
            LabelsError: it says nothing, or something else than an earlier row of the same photo.
        """
        name = _identity(file, self._known, self._roots)
        meaning = self._meaning(line, file, text)
        if isinstance(meaning, str):
            self._asked.setdefault(meaning, line)
            self._not_understood += 1
            return name, None
        label = Label(name, meaning.cars, meaning.other)
        first, earlier = self._first.setdefault(name, (line, label))
        if _content(earlier) != _content(label):
            raise LabelsError(
                f"{self._path}: line {line}: {_shown(file)} is labelled otherwise at line {first}; "
                "several cars of one photo are one label, a|b"
            )
        return name, label

    def _meaning(self, line: int, file: str, text: str) -> Label | str:
        meaning = self._meanings.get(text)
        if meaning is None or not file.strip():
            try:
                meaning = _label(file, text, self._vocabulary, f"{self._path}: line {line}")
            except UnknownCarError as e:
                meaning = str(e)
            self._meanings[text] = meaning
        return meaning

    def finish(self) -> None:
        """Asks about all rows that were not understood at once, so that nobody is sent round for each.

        Raises:
            LabelsError: there are some.
        """
        if not self._asked:
            return
        shown = [f"line {line}: {question}" for question, line in list(self._asked.items())[:_MOST_QUESTIONS]]
        more = self._not_understood - len(shown)
        raise LabelsError(
            f"{self._path}: {'; '.join(shown)}{f'; and {more} more row(s) that are not understood' if more else ''} "
            "(a car that the catalog lacks is written 'unknown: NAME')"
        )


_MOST_QUESTIONS = 3


def read_folders(
    folder: Path, photos: Sequence[str], cars: Sequence[Named], known: Collection[str] = (), others: Others = tuple
) -> tuple[list[Label], list[str]]:
    """Labels from folders named after cars, and the names of folders with photos that no car is called by.

    The innermost folder of a photo's path that is named after a car, whole, or `none` or `unknown`, is its label. Other
    names are just folders (day-1): a part of a car's name, such as Italia or GT, may mean anything there.

    ``photos`` are the paths in ``folder``. A photo is the one of the ``known`` paths that it is called, whole, or
    without its car's folder, or by its bare name where only one photo of the index has it.

    Raises:
        LabelsError: no folder is named after a car, or two folders say different things of one photo.
    """
    by_name: dict[str, list[str]] = {}
    for path in known:
        by_name.setdefault(path.rsplit("/", 1)[-1], []).append(path)
    labels: dict[str, Label] = {}
    silent: dict[str, None] = {}
    names = _FolderNames(Vocabulary(cars, others))
    for photo in photos:
        parts = photo.split("/")
        said = names.innermost(parts[:-1])
        if said is None:
            silent["/".join(parts[:-1])] = None
            continue
        place, meaning = said
        without = "/".join((*parts[:place], *parts[place + 1 :]))
        bare = by_name.get(parts[-1], [])
        file = photo if photo in known else without if without in known else bare[0] if len(bare) == 1 else photo
        found = _label_of(file, [meaning])
        if labels.setdefault(file, found) != found:
            raise LabelsError(f"{folder}: {file} lies in folders that say different things; keep one of them")
    if not labels:
        raise LabelsError(
            f"{folder}: none of its folders is named after a car of the catalog, 'none' or 'unknown'; "
            "name the folders so, or give a CSV file,label"
        )
    return list(labels.values()), [name for name in silent if name]


class _FolderNames:
    """Understands the names of folders, each once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._meanings: dict[str, Meaning | None] = {}

    def innermost(self, folders: Sequence[str]) -> tuple[int, Meaning] | None:
        """Place and meaning of the innermost folder that says something."""
        for place in reversed(range(len(folders))):
            name = folders[place]
            if name not in self._meanings:
                self._meanings[name] = self._vocabulary.whole_name(name)
            meaning = self._meanings[name]
            if meaning is not None:
                return place, meaning
        return None


# --- writing ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Row:
    """A record of a CSV: its cells, and the text that it stands there as."""

    line: int
    cells: list[str]
    raw: str
    name: str = ""
    """The photo it is of; empty for the header and for blank lines."""
    label: Label | None = None


NO_LABELS = b"file,label\n"
"""What a file says that is not there."""
Change = list[tuple[int, _Row | None, _Row | None]]
"""Rows by their place, as they were and as they are now; None: no row."""


Rows = tuple[_Row, ...]
"""All that stands in the file of one photo."""


class LabelFile:
    """A CSV of hand labels in memory, to be changed row by row.

    Other rows, other columns, the order, a byte-order mark and the ends of lines stay as they are. So does a label that
    means the same in other words, and a name outside the catalog that stands in it beside cars of the catalog.
    """

    def __init__(
        self,
        path: Path,
        cars: Sequence[Named],
        known: Collection[str] = (),
        gallery: Path | None = None,
        others: Others = tuple,
        *,
        names_only: bool = False,
    ) -> None:
        """Reads ``path`` as `read_labels` does; where nothing is there it begins with a header.

        ``names_only``: a label that is not understood is let be; only which photos the rows are of matters.

        Raises:
            LabelsError: a file is there and cannot be read as hand labels.
        """
        self._path, self._cars, self._ids = path, cars, {car.id for car in cars}
        self._vocabulary = Vocabulary(cars, others)
        self._anywhere = Vocabulary(cars)
        """What is written is understood without knowing of any index."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = NO_LABELS
        except OSError as e:
            raise LabelsError(f"{path}: cannot be read ({e.strerror})") from e
        self._mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
        self._header, *rows = _records(data.removeprefix(codecs.BOM_UTF8), path)
        self._end = "\r\n" if self._header.raw.endswith("\r\n") else "\n"
        self._file, self._label = self._header.cells.index("file"), self._header.cells.index("label")
        self._rows: list[_Row | None] = list(rows)
        self._places: dict[str, list[int]] = {}
        reader = _Reader(path, self._vocabulary, known, gallery)
        for place, row in enumerate(rows):
            if row.cells:
                row.cells += [""] * (len(self._header.cells) - len(row.cells))
                row.name, row.label = reader.row(row.line, row.cells[self._file], row.cells[self._label])
                self._places.setdefault(row.name, []).append(place)
        if not names_only:
            reader.finish()

    def get(self, photo: str) -> Label | None:
        """What it says of a photo."""
        places = self._places.get(photo, ())
        return next((row.label for place in places if (row := self._rows[place]) is not None), None)

    def rows(self, photo: str) -> Rows:
        """The rows of a photo, with all their cells: to be put back some time."""
        return tuple(row for place in self._places.get(photo, ()) if (row := self._rows[place]) is not None)

    def put(self, photo: str, rows: Rows) -> Change:
        """Has these rows, and no others, stand for a photo again; what that changed."""
        again = [replace(row, label=self._read(photo, row)) for row in rows]
        places = [place for place in self._places.get(photo, ()) if self._rows[place] is not None]
        change: Change = []
        for place in places:
            change.append((place, self._rows[place], again.pop(0) if again else None))
        change += [(len(self._rows) + i, None, row) for i, row in enumerate(again)]
        self._apply([(place, after) for place, _, after in change])
        return change

    def _read(self, photo: str, row: _Row) -> Label:
        try:
            return _label(photo, row.cells[self._label], self._vocabulary, str(self._path))
        except UnknownCarError:  # the catalog is another one since that row stood there; it comes back all the same
            return Label(photo, frozenset(), (row.cells[self._label],))

    def say(self, said: Mapping[str, Label | None]) -> Change:
        """Takes up what is said of photos (None: nothing any more); what that changed.

        Cars that the catalog does not hold become names outside of it.
        """
        change: Change = []
        added: list[_Row] = []
        for photo, spoken in said.items():
            label = None if spoken is None else self._known(spoken)
            places = [place for place in self._places.get(photo, ()) if self._rows[place] is not None]
            for place in places:
                row = self._rows[place]
                assert row is not None
                assert row.label is not None
                if label is None:
                    change.append((place, row, None))
                elif (label.cars, label.truth) != (row.label.cars, row.label.truth):
                    change.append((place, row, self._row(photo, _with_names_of(label, row.label), row.cells)))
            if label is not None and not places:
                added.append(self._row(photo, label))
        change += [(len(self._rows) + i, None, row) for i, row in enumerate(added)]
        self._apply([(place, after) for place, _, after in change])
        return change

    def photos(self) -> list[str]:
        """All photos that it has rows of."""
        return [photo for photo in self._places if self.rows(photo)]

    def rename(self, names: Mapping[str, str]) -> None:
        """Has the rows of photos stand for other ones (old name -> new name); all else in them stays."""
        for place, row in enumerate(self._rows):
            if row is not None and row.name in names:
                self._rows[place] = self._renamed(row, names[row.name])
        self._places = {}
        for place, row in enumerate(self._rows):
            if row is not None and row.cells:
                self._places.setdefault(row.name, []).append(place)

    def renamed(self, rows: Rows, photo: str) -> Rows:
        """Rows as `rows` gave them, for a photo that is called otherwise now."""
        return tuple(self._renamed(row, photo) for row in rows)

    def _renamed(self, row: _Row, new: str) -> _Row:
        written, end = row.cells[self._file], row.raw[len(row.raw.rstrip("\r\n")) :]
        cells = list(row.cells)
        cells[self._file] = written.removesuffix(row.name) + new if written.endswith(row.name) else new
        return replace(row, cells=cells, raw=_line(cells, end), name=new)

    def _known(self, label: Label) -> Label:
        outside = tuple(sorted(label.cars - self._ids))
        return Label(label.file, label.cars & self._ids, (*outside, *label.other)) if outside else label

    def take_back(self, change: Change) -> None:
        """Puts rows back that `say` changed, if nothing else was done to the file since."""
        self._apply([(place, before) for place, before, _ in reversed(change)])

    def _apply(self, rows: Iterable[tuple[int, _Row | None]]) -> None:
        for place, row in rows:
            self._rows += [None] * (place + 1 - len(self._rows))
            self._rows[place] = row
            if row is not None and place not in self._places.setdefault(row.name, []):
                self._places[row.name].append(place)

    def _row(self, photo: str, label: Label, cells: Sequence[str] = ()) -> _Row:
        cells = list(cells) or [""] * len(self._header.cells)
        cells[self._file] = cells[self._file] or photo
        cells[self._label] = _text(label, self._cars, self._anywhere)
        return _Row(0, cells, _line(cells, self._end), photo, label)

    def encode(self) -> bytes:
        """The file's bytes."""
        lines = [self._header.raw, *(row.raw for row in self._rows if row is not None)]
        for i, line in enumerate(lines[:-1]):
            if not line.endswith(("\n", "\r")):  # it was the last one
                lines[i] = line + self._end
        return self._mark + "".join(lines).encode("utf-8")


def _with_names_of(new: Label, old: Label) -> Label:
    """What is newly said, with the names outside the catalog that stood there and are not contradicted by it."""
    says_no_name = all(name == UNKNOWN for name in new.other)
    if new.truth == "none" or not says_no_name or (new.cars and not old.cars):
        return new
    return Label(new.file, new.cars, old.other or new.other)


def _records(data: bytes, path: Path) -> Iterator[_Row]:
    """The header, and the records after it.

    Raises:
        LabelsError: no UTF-8, no CSV, or not the columns file and label.
    """
    try:
        lines = list(io.StringIO(data.decode("utf-8"), newline=""))  # ends at \n, \r and \r\n alone, as csv does
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise LabelsError(f"{path}: line {line}: not UTF-8 text (byte {e.start}); save it as UTF-8") from e
    reader = csv.reader(lines, strict=True)
    begin, header = 0, None
    try:
        for cells in reader:
            if header is None:
                header = _header(cells, path)
            elif any(cell.strip() for cell in cells[len(header) :]):
                raise LabelsError(
                    f"{path}: line {reader.line_num}: {len(cells)} cells under {len(header)} columns; "
                    "several cars of one photo are one label, a|b, and a text with commas stands in quotes"
                )
            yield _Row(reader.line_num, cells, "".join(lines[begin : reader.line_num]))
            begin = reader.line_num
    except csv.Error as e:
        raise LabelsError(f"{path}: line {begin + 1}: not valid CSV: {e}") from e
    if header is None:
        raise LabelsError(f"{path}: line 1: expected the columns file,label, found nothing")


def _header(cells: list[str], path: Path) -> list[str]:
    if not {"file", "label"} <= set(cells):
        raise LabelsError(f"{path}: line 1: expected the columns file,label, found {cells}{_remedy(cells)}")
    for name in ("file", "label"):
        if cells.count(name) > 1:
            raise LabelsError(f"{path}: line 1: two columns are called {name!r}; rename the one that does not count")
    return cells


def _remedy(header: Sequence[str]) -> str:
    if any("\0" in cell for cell in header):
        return "; save it as UTF-8"
    if any(mark in cell for cell in header for mark in (";", "\t")) or header[:1] == ["sep="]:
        return "; save it as CSV with commas between the columns"
    if "path" in header and {"outcome", "cars"} & set(header):
        return (
            "; these are the answers of cartag itself: name the column path 'file', and write what the photos truly "
            "show into a column 'label'"
        )
    return ""


def _line(cells: Sequence[str], end: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow(cells)  # both, so that cells with one of them are quoted
    return out.getvalue().removesuffix("\r\n") + end


def _text(label: Label, cars: Sequence[Named], vocabulary: Vocabulary) -> str:
    """A label as `_label` reads it back: names in the catalog's order, by id where a name would be read otherwise."""
    if label.truth == "none":
        return "none"
    named = [_word(car, vocabulary) for car in cars if car.id in label.cars]
    return "|".join([*named, *(_other_word(name, vocabulary) for name in label.other)])


def _word(car: Named, vocabulary: Vocabulary) -> str:
    words = (car.name, car.id, *car.aliases)
    return next((word for word in words if _is_read_as(word, Meaning(car=car.id), vocabulary)), car.id)


def _other_word(name: str, vocabulary: Vocabulary) -> str:
    return name if _is_read_as(name, Meaning(other=name), vocabulary) else as_other(name.replace("|", " "))


def _is_read_as(word: str, meaning: Meaning, vocabulary: Vocabulary) -> bool:
    if word != word.strip() or "|" in word:
        return False
    try:
        return vocabulary.meaning(word) == meaning
    except UnknownCarError:
        return False


# --- reading a row ----------------------------------------------------------------------------------------------


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Line, file and label of every record."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise LabelsError(f"{path}: cannot be read ({e.strerror})") from e
    header, *rows = _records(data.removeprefix(codecs.BOM_UTF8), path)  # Excel writes a byte-order mark
    file, label = header.cells.index("file"), header.cells.index("label")
    cells = [(row.line, row.cells + [""] * len(header.cells)) for row in rows if row.cells]
    return [(line, cell[file], cell[label]) for line, cell in cells]


def _label(file: str, text: str, vocabulary: Vocabulary, where: str) -> Label:
    """What a row says.

    Raises:
        LabelsError: it says nothing, or no car beside a car.
        UnknownCarError: it is not understood.
    """
    words = [word.strip() for word in text.split("|") if word.strip()]
    if not file.strip() or not words:
        raise LabelsError(f"{where}: a row needs a file and a label; 'none' means no car, 'unknown' another car")
    meanings = [vocabulary.meaning(word) for word in words]
    if Meaning() in meanings and any(meaning != Meaning() for meaning in meanings):
        raise LabelsError(f"{where}: 'none' means no car at all, it cannot stand beside another label: {text!r}")
    return _label_of(file, meanings)


def _label_of(file: str, meanings: Iterable[Meaning]) -> Label:
    cars = frozenset(meaning.car for meaning in meanings if meaning.car is not None)
    return Label(file, cars, tuple(meaning.other for meaning in meanings if meaning.other is not None))


def _content(label: Label) -> tuple[frozenset[str], frozenset[str]]:
    """What a label says, in whatever order and letters its names stand."""
    return label.cars, frozenset(squeezed(name) or name for name in label.other)


def _shown(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _roots(gallery: Path) -> tuple[str, ...]:
    """What paths into the gallery begin with: as it was named, absolute, and behind its links."""
    spelled = (str(gallery), os.path.abspath(gallery), os.path.realpath(gallery))
    return tuple(dict.fromkeys(unicodedata.normalize("NFC", name).rstrip("/") + "/" for name in spelled))


def _identity(file: str, known: Collection[str], roots: Sequence[str]) -> str:
    name = file if file in known else as_identity(file)
    if name in known or not roots:
        return name
    written = unicodedata.normalize("NFC", file)
    for spelled in (written, os.path.abspath(written.strip())):
        for root in roots:
            inside = spelled.removeprefix(root)
            if inside != spelled:
                for photo in (inside, as_identity(inside)):
                    if photo in known:
                        return photo
    return name


def as_identity(file: str) -> str:
    """A path as the index writes it: POSIX, relative, NFC, without blanks around its parts."""
    parts = (part.strip() for part in unicodedata.normalize("NFC", file).replace("\\", "/").split("/"))
    kept = "/".join(part for part in parts if part not in ("", "."))
    return f"/{kept}" if file.strip().startswith("/") else kept
