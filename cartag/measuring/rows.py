"""What stands in a CSV of hand labels: its records, the photo that a row is of, and what the row says of it."""

from __future__ import annotations

import codecs
import csv
import io
import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cartag.catalogs import Meaning, Named, Vocabulary, squeezed
from cartag.errors import LabelsError, UnknownCarError
from cartag.values import Box, why_no_box

BOX_COLUMNS = ("x", "y", "w", "h")
"""Of a row that speaks of one car: its box, as fractions of the upright photo, top-left origin."""

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What may part the columns of a CSV: where a comma is the decimal mark, spreadsheets write semicolons, some tabs."""

Others = Callable[[], Iterable[Named]]
"""Gives cars that the catalog lacks and that labels may name, besides those of the gazetteer."""


@dataclass(frozen=True, slots=True)
class BoxLabel:
    """What a person says stands in one box of a photo: always a car."""

    box: Box
    cars: frozenset[str]
    """Ids of catalog cars, as a rule one; empty for another car."""
    other: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """What a person says a photo shows."""

    file: str
    cars: frozenset[str]
    """Ids of catalog cars; empty for no car and for another car."""
    other: tuple[str, ...]
    """Names of other cars, as written; ``("unknown",)`` for a car nobody named."""
    boxes: tuple[BoxLabel, ...] = ()
    """Where she said where they stand; what is said of a box is among ``cars`` and ``other`` too."""

    @property
    def truth(self) -> str:
        """``car`` (one of the catalog's), ``unknown`` (only other cars), or ``none``."""
        return "car" if self.cars else "unknown" if self.other else "none"


@dataclass(slots=True)
class Row:
    """A record of a CSV: its cells, and the text that it stands there as."""

    line: int
    cells: list[str]
    raw: str
    name: str = ""
    """The photo it is of; empty for the header and for blank lines."""
    label: Label | None = None
    """What this row says; the label of a photo is that of all its rows (`joined`)."""
    delimiter: str = ","
    """What parts its cells where it stands."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the cells that count stand in a row."""

    file: int
    label: int
    box: tuple[int, ...]
    """Of x, y, w, h; empty where a file has no such columns."""
    delimiter: str = ","
    """What parts them; beside another one than a comma, numbers may have a decimal comma."""

    def box_said(self, cells: Sequence[str], where: str) -> Box | None:
        """The box of a row; None where its cells are empty, and the row speaks of the photo as a whole.

        Raises:
            LabelsError: it is none.
        """
        texts = [cells[place].strip() for place in self.box if place < len(cells)]
        if not any(texts):
            return None
        if len(texts) < len(BOX_COLUMNS) or not all(texts):
            raise LabelsError(
                f"{where}: a box is x, y, w and h; fill all four, or none where the row is of the photo as a whole"
            )
        try:
            x, y, w, h = (float(text if self.delimiter == "," else text.replace(",", ".")) for text in texts)
        except ValueError as e:
            raise LabelsError(
                f"{where}: the box {', '.join(texts)} is no four numbers; they are fractions of the photo, e.g. 0.25"
            ) from e
        if why := why_no_box((x, y, w, h)):
            raise LabelsError(f"{where}: {why}")
        return x, y, min(w, 1.0), min(h, 1.0)


_MOST_QUESTIONS = 3


class Reader:
    """Understands the rows of one file, one after the other; every text is matched against the cars once."""

    def __init__(self, path: Path, vocabulary: Vocabulary, known: Collection[str], gallery: Path | None) -> None:
        self._path, self._vocabulary, self._known = path, vocabulary, known
        self._roots = _roots(gallery) if gallery is not None else ()
        self._meanings: dict[str, Label | str] = {}
        """What a text says, or the question that it raises."""
        self._first: dict[tuple[str, Box | None], tuple[int, Label]] = {}
        """Line and label of the first row of a photo, and of each of its boxes."""
        self._boxed: dict[str, int] = {}
        """Line of the first box of a photo."""
        self._asked: dict[str, int] = {}
        """Questions with the first line of each."""
        self._not_understood = 0

    def row(self, line: int, file: str, text: str, box: Box | None = None) -> tuple[str, Label | None]:
        """The photo and what the row says of it; None where that is not understood, which `finish` says.

        ``box`` is where it stands that is spoken of; None: the row is of the photo as a whole.

        Raises:
            LabelsError: it says nothing, or something else than an earlier row of the same photo, or of the same box.
        """
        name = _identity(file, self._known, self._roots)
        meaning = self._meaning(line, file, text)
        if isinstance(meaning, str):
            self._asked.setdefault(meaning, line)
            self._not_understood += 1
            return name, None
        label = placed(Label(name, meaning.cars, meaning.other), box, f"{self._path}: line {line}")
        if box is not None:
            self._boxed.setdefault(name, line)
        first, earlier = self._first.setdefault((name, box), (line, label))
        if content_of(earlier) != content_of(label):
            raise LabelsError(
                f"{self._path}: line {line}: {_shown(file)} is labelled otherwise at line {first}; "
                f"several cars of one {'photo' if box is None else 'box'} are one label, a|b"
            )
        whole = self._first.get((name, None))
        if name in self._boxed and whole is not None and whole[1].truth == "none":
            raise LabelsError(
                f"{self._path}: line {line}: {_shown(file)} has a car in a box at line {self._boxed[name]}, "
                f"and none at line {whole[0]}; remove one of the two rows"
            )
        return name, label

    def _meaning(self, line: int, file: str, text: str) -> Label | str:
        meaning = self._meanings.get(text)
        if meaning is None or not file.strip():
            try:
                meaning = label_said(file, text, self._vocabulary, f"{self._path}: line {line}")
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


def rows_of(path: Path) -> list[tuple[int, str, str, Box | None]]:
    """Line, file, label and box of every record."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise LabelsError(f"{path}: cannot be read ({e.strerror})") from e
    header, *rows = records_of(data.removeprefix(codecs.BOM_UTF8), path)  # Excel writes a byte-order mark
    columns = columns_of(header.cells, header.delimiter)
    cells = [(row.line, row.cells + [""] * len(header.cells)) for row in rows if row.cells]
    return [
        (line, cell[columns.file], cell[columns.label], columns.box_said(cell, f"{path}: line {line}"))
        for line, cell in cells
    ]


def columns_of(header: Sequence[str], delimiter: str = ",") -> Columns:
    """Where file, label and box stand, in whatever case they are written; the four of a box count together.

    Raises:
        ValueError: file or label are not there.
    """
    folded = _folded(header)
    box = tuple(folded.index(name) for name in BOX_COLUMNS if name in folded)
    whole = box if len(box) == len(BOX_COLUMNS) else ()
    return Columns(folded.index("file"), folded.index("label"), whole, delimiter)


def _folded(header: Sequence[str]) -> list[str]:
    """Names of columns in small letters; of two that differ in case alone, the one that is written small counts."""
    small = {name: name in header for name in ("file", "label", *BOX_COLUMNS)}
    folded = [cell.strip().lower() for cell in header]
    return [name if cell == name or not small.get(name) else cell for cell, name in zip(header, folded, strict=True)]


def placed(label: Label, box: Box | None, where: str) -> Label:
    """What a row says, said of a box.

    Raises:
        LabelsError: it says that no car is there.
    """
    if box is None:
        return label
    if label.truth == "none":
        raise LabelsError(
            f"{where}: 'none' with a box, but a box is of a car; remove the row, or empty its box for a photo of none"
        )
    return Label(label.file, label.cars, label.other, (BoxLabel(box, label.cars, label.other),))


def joined(labels: Sequence[Label]) -> Label:
    """What the rows of one photo say together: every car, every box once."""
    other: dict[str, str] = {}
    boxes: dict[Box, BoxLabel] = {}
    for label in labels:
        for name in label.other:
            other.setdefault(squeezed(name) or name, name)
        for box in label.boxes:
            boxes.setdefault(box.box, box)
    first = labels[0]
    if not boxes:  # rows without a box say the same
        return first
    return Label(
        first.file, frozenset().union(*(label.cars for label in labels)), (*other.values(),), (*boxes.values(),)
    )


def label_said(file: str, text: str, vocabulary: Vocabulary, where: str) -> Label:
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
    return label_of(file, meanings)


def label_of(file: str, meanings: Iterable[Meaning]) -> Label:
    """A label that says what all these words mean."""
    cars = frozenset(meaning.car for meaning in meanings if meaning.car is not None)
    return Label(file, cars, tuple(meaning.other for meaning in meanings if meaning.other is not None))


def content_of(label: Label) -> tuple[frozenset[str], frozenset[str]]:
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


def records_of(data: bytes, path: Path) -> Iterator[Row]:
    """The header, and the records after it.

    Raises:
        LabelsError: no UTF-8, no CSV, or not the columns file and label.
    """
    try:
        lines = list(io.StringIO(data.decode("utf-8"), newline=""))  # ends at \n, \r and \r\n alone, as csv does
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise LabelsError(f"{path}: line {line}: not UTF-8 text (byte {e.start}); save it as UTF-8") from e
    delimiter = _delimiter(lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    begin, header = 0, None
    try:
        for cells in reader:
            if header is None:
                header = _header(cells, path)
            elif any(cell.strip() for cell in cells[len(header) :]):
                raise LabelsError(
                    f"{path}: line {reader.line_num}: {len(cells)} cells under {len(header)} columns; "
                    "several cars of one photo are one label, a|b, and a text with "
                    f"{_DELIMITERS[delimiter]} stands in quotes"
                )
            raw = "".join(lines[begin : reader.line_num])
            yield Row(reader.line_num, cells, raw, delimiter=delimiter)
            begin = reader.line_num
    except csv.Error as e:
        raise LabelsError(f"{path}: line {begin + 1}: not valid CSV: {e}") from e
    if header is None:
        raise LabelsError(f"{path}: line 1: expected the columns file,label, found nothing")


def _delimiter(lines: Sequence[str]) -> str:
    """What parts the columns so that file and label are among them: a comma, or else the only other one that does."""
    fitting = [mark for mark in _DELIMITERS if {"file", "label"} <= set(_folded(_first(lines, mark)))]
    return fitting[0] if fitting[:1] == [","] or len(fitting) == 1 else ","


def _first(lines: Sequence[str], delimiter: str) -> list[str]:
    try:
        return next(csv.reader(lines, delimiter=delimiter, strict=True), [])
    except csv.Error:  # cells in quotes, parted by something else
        return []


def _header(cells: list[str], path: Path) -> list[str]:
    names = _folded(cells)
    if not {"file", "label"} <= set(names):
        raise LabelsError(f"{path}: line 1: expected the columns file,label, found {cells}{_remedy(cells)}")
    for name in ("file", "label", *(BOX_COLUMNS if columns_of(cells).box else ())):
        if names.count(name) > 1:
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
