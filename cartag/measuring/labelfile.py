"""A CSV of hand labels that is written: what a person says of some photos goes into it, all else in it stays."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cartag.catalogs import UNKNOWN, Meaning, Named, Vocabulary, as_other
from cartag.errors import LabelsError, UnknownCarError
from cartag.measuring.rows import (
    BOX_COLUMNS,
    BoxLabel,
    Label,
    Others,
    Reader,
    Row,
    columns_of,
    joined,
    label_said,
    placed,
    records_of,
)
from cartag.values import Box

NO_LABELS = b"file,label\n"
"""What a file says that is not there."""
_DIGITS = 4
"""Of the numbers of a box, as the index has them."""
Change = list[tuple[int, Row | None, Row | None]]
"""Rows by their place, as they were and as they are now; None: no row."""


Rows = tuple[Row, ...]
"""All that stands in the file of one photo."""


class LabelFile:
    """A CSV of hand labels in memory, to be changed row by row.

    Other rows, other columns, the order, a byte-order mark, the ends of lines and what parts the columns stay as they
    are; numbers are written with a decimal comma where those of the file have one. So does a label that
    means the same in other words, and a name outside the catalog that stands in it beside cars of the catalog.

    A photo has one row, or where boxes are spoken of one a box, and one more for what stands in none. A file without
    columns for boxes gets them, at the end, with the first box.
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
        self._header, *rows = records_of(data.removeprefix(codecs.BOM_UTF8), path)
        self._end = "\r\n" if self._header.raw.endswith("\r\n") else "\n"
        self._delimiter = self._header.delimiter
        self._columns = columns_of(self._header.cells, self._delimiter)
        self._has_boxes = bool(self._columns.box)
        """Whether the file, as it was read, has columns for them."""
        if not self._has_boxes:
            width = len(self._header.cells)
            self._columns = replace(self._columns, box=tuple(range(width, width + len(BOX_COLUMNS))))
        self._decimal = "."
        """The decimal mark of its boxes."""
        self._rows: list[Row | None] = list(rows)
        self._places: dict[str, list[int]] = {}
        reader = Reader(path, self._vocabulary, known, gallery)
        for place, row in enumerate(rows):
            if row.cells:
                row.cells += [""] * (len(self._header.cells) - len(row.cells))
                box = self._columns.box_said(row.cells, f"{path}: line {row.line}") if self._has_boxes else None
                if box is not None and any("," in row.cells[place] for place in self._columns.box):
                    self._decimal = ","
                row.name, row.label = reader.row(
                    row.line, row.cells[self._columns.file], row.cells[self._columns.label], box
                )
                self._places.setdefault(row.name, []).append(place)
        if not names_only:
            reader.finish()

    def get(self, photo: str) -> Label | None:
        """What it says of a photo."""
        labels = [row.label for row in self.rows(photo) if row.label is not None]
        return joined(labels) if labels else None

    def rows(self, photo: str) -> Rows:
        """The rows of a photo, with all their cells: to be put back some time."""
        return tuple(row for place in self._places.get(photo, ()) if (row := self._rows[place]) is not None)

    def put(self, photo: str, rows: Rows) -> Change:
        """Has these rows, and no others, stand for a photo again; what that changed."""
        again = [replace(row, label=self._read(photo, row)) for row in map(self._as_here, rows)]
        places = [place for place in self._places.get(photo, ()) if self._rows[place] is not None]
        change: Change = []
        for place in places:
            change.append((place, self._rows[place], again.pop(0) if again else None))
        change += [(len(self._rows) + i, None, row) for i, row in enumerate(again)]
        self._apply([(place, after) for place, _, after in change])
        return change

    def _as_here(self, row: Row) -> Row:
        """A row, parted as this file is: since it was read, the file may have been saved with another delimiter."""
        if row.delimiter == self._delimiter:
            return row
        cells = list(row.cells)
        if row.label is not None and row.label.boxes:
            self._set_box(cells, _box(row.label))
        return replace(row, cells=cells, raw=self._line(cells, _end(row)), delimiter=self._delimiter)

    def _read(self, photo: str, row: Row) -> Label:
        where = str(self._path)
        box = self._columns.box_said(row.cells, where)
        text = row.cells[self._columns.label]
        try:
            return placed(label_said(photo, text, self._vocabulary, where), box, where)
        except UnknownCarError:  # the catalog is another one since that row stood there; it comes back all the same
            return placed(Label(photo, frozenset(), (text,)), box, where)

    def say(self, said: Mapping[str, Label | None]) -> Change:
        """Takes up what is said of photos (None: nothing any more); what that changed.

        Cars that the catalog does not hold become names outside of it. A label without boxes says nothing of where cars
        stand: rows of boxes that go with it stay.
        """
        change: Change = []
        added: list[Row] = []
        for photo, spoken in said.items():
            label = None if spoken is None else self._known(spoken)
            places = [place for place in self._places.get(photo, ()) if self._rows[place] is not None]
            rows = [(place, row) for place in places if (row := self._rows[place]) is not None]
            if label is not None and (label.boxes or any(row.label and row.label.boxes for _, row in rows)):
                changed, new = self._say_boxes(photo, label, rows)
                change += changed
                added += new
                continue
            for place, row in rows:
                assert row.label is not None
                if label is None:
                    change.append((place, row, None))
                elif not _says(row.label, label):
                    change.append((place, row, self._row(photo, _with_names_of(label, row.label), row.cells)))
            if label is not None and not rows:
                added.append(self._row(photo, label))
        change += [(len(self._rows) + i, None, row) for i, row in enumerate(added)]
        self._apply([(place, after) for place, _, after in change])
        return change

    def _say_boxes(self, photo: str, label: Label, rows: Sequence[tuple[int, Row]]) -> tuple[Change, list[Row]]:
        """What changes of the rows of a photo that has boxes, and the rows that come after all others."""
        there = [row.label for _, row in rows if row.label is not None]
        wanted = _rows_for(label if label.boxes else replace(label, boxes=_in_line(label, there)), there)
        change: Change = []
        spare: list[tuple[int, Row]] = []
        for place, row in rows:
            same = next((part for part in wanted if row.label is not None and _says(row.label, part)), None)
            if same is None:
                spare.append((place, row))
            else:
                wanted.remove(same)
        for place, row in spare:
            assert row.label is not None
            # Of the same box, else any: so cells of other columns stay with the car that they were written of.
            part = next((part for part in wanted if _box(part) == _box(row.label)), None)
            if part is not None:
                wanted.remove(part)
                part = _with_names_of(part, row.label)
            change.append((place, row, None if part is None else self._row(photo, part, row.cells)))
        return change, [self._row(photo, part) for part in wanted]

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

    def _renamed(self, row: Row, new: str) -> Row:
        written, cells = row.cells[self._columns.file], list(row.cells)
        cells[self._columns.file] = written.removesuffix(row.name) + new if written.endswith(row.name) else new
        return replace(row, cells=cells, raw=_line(cells, row.delimiter, _end(row)), name=new)

    def _known(self, label: Label) -> Label:
        """With names in the place of cars that the catalog does not hold."""
        outside = tuple(sorted(label.cars - self._ids))
        if not outside:
            return label
        boxes = tuple(
            BoxLabel(box.box, box.cars & self._ids, (*sorted(box.cars - self._ids), *box.other)) for box in label.boxes
        )
        return Label(label.file, label.cars & self._ids, (*outside, *label.other), boxes)

    def take_back(self, change: Change) -> None:
        """Puts rows back that `say` changed, if nothing else was done to the file since."""
        self._apply([(place, before) for place, before, _ in reversed(change)])

    def _apply(self, rows: Iterable[tuple[int, Row | None]]) -> None:
        for place, row in rows:
            self._rows += [None] * (place + 1 - len(self._rows))
            self._rows[place] = row
            if row is not None and place not in self._places.setdefault(row.name, []):
                self._places[row.name].append(place)

    def _row(self, photo: str, label: Label, cells: Sequence[str] = ()) -> Row:
        cells = list(cells) or [""] * len(self._header.cells)
        cells[self._columns.file] = cells[self._columns.file] or photo
        cells[self._columns.label] = _text(label, self._cars, self._anywhere)
        if label.boxes or any(place < len(cells) and cells[place] for place in self._columns.box):
            self._set_box(cells, _box(label))
        return Row(0, cells, self._line(cells, self._end), photo, label, self._delimiter)

    def _set_box(self, cells: list[str], box: Box | None) -> None:
        cells += [""] * (max(self._columns.box) + 1 - len(cells))
        texts = [""] * len(BOX_COLUMNS) if box is None else map(_number, box)
        for place, text in zip(self._columns.box, texts, strict=True):
            cells[place] = text.replace(".", self._decimal)

    def _line(self, cells: Sequence[str], end: str) -> str:
        return _line(cells, self._delimiter, end)

    def encode(self) -> bytes:
        """The file's bytes."""
        rows = [row for row in self._rows if row is not None]
        lines = [self._header_line(rows), *(row.raw for row in rows)]
        for i, line in enumerate(lines[:-1]):
            if not line.endswith(("\n", "\r")):  # it was the last one
                lines[i] = line + self._end
        return self._mark + "".join(lines).encode("utf-8")

    def _header_line(self, rows: Iterable[Row]) -> str:
        if self._has_boxes or not any(row.label is not None and row.label.boxes for row in rows):
            return self._header.raw
        return self._line([*self._header.cells, *BOX_COLUMNS], _end(self._header))


def _says(row: Label, label: Label) -> bool:
    """Whether a row says already what a label says, in whatever words."""
    return (row.cars, row.truth, _box(row)) == (label.cars, label.truth, _box(label))


def _box(row: Label) -> Box | None:
    """The box that a row is of; the same one where it was written with four digits."""
    return None if not row.boxes else tuple(round(value, _DIGITS) for value in row.boxes[0].box)  # type: ignore[return-value]


def _rows_for(label: Label, there: Sequence[Label]) -> list[Label]:
    """What the rows of a photo say, one by one: each of its boxes, and then what stands in none of them."""
    rows = [Label(label.file, box.cars, box.other, (box,)) for box in label.boxes]
    whole = Label(label.file, label.cars, label.other)
    cars = label.cars - frozenset().union(*(box.cars for box in label.boxes))
    boxed = {name for box in label.boxes for name in box.other}
    other = tuple(name for name in label.other if name not in boxed)
    if not rows or any(not row.boxes and _says(row, whole) for row in there):  # one that says all of it does no harm
        rows.append(whole)
    elif cars or other:
        rows.append(Label(label.file, cars, other))
    return rows


def _in_line(label: Label, there: Sequence[Label]) -> tuple[BoxLabel, ...]:
    """The boxes that are there already, of those that show nothing but what the label says."""
    return tuple(box for row in there for box in row.boxes if box.cars <= label.cars and (label.other or not box.other))


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".")


def _with_names_of(new: Label, old: Label) -> Label:
    """What is newly said, with the names outside the catalog that stood there and are not contradicted by it."""
    says_no_name = all(name == UNKNOWN for name in new.other)
    if new.truth == "none" or not says_no_name or (new.cars and not old.cars):
        return new
    other = old.other or new.other
    return Label(new.file, new.cars, other, tuple(replace(box, other=other) for box in new.boxes))


def _end(row: Row) -> str:
    return row.raw[len(row.raw.rstrip("\r\n")) :]


def _line(cells: Sequence[str], delimiter: str, end: str) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")  # both, so that cells with one are quoted
    writer.writerow(cells)
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
