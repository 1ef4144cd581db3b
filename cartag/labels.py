"""Hand labels: a CSV file `file,label`, or folders named after cars, read into what each photo truly shows.

A CSV is also written: what a person says of some photos goes into it, and all else in it stays as it is.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cartag.catalog import Named, match_exactly
from cartag.errors import LabelsError


@dataclass(frozen=True, slots=True)
class Label:
    """What a person says a photo shows."""

    file: str
    cars: frozenset[str]
    """Ids of catalog cars; empty for no car and for another car."""
    other: tuple[str, ...]
    """Names that the catalog does not hold, as written; ``("unknown",)`` for a car nobody named."""

    @property
    def truth(self) -> str:
        """``car`` (one of the catalog's), ``unknown`` (only other cars), or ``none``."""
        return "car" if self.cars else "unknown" if self.other else "none"


def read_labels(
    path: Path, cars: Sequence[Named], known: Collection[str] = (), gallery: Path | None = None
) -> list[Label]:
    """Reads hand labels; further columns are left alone.

    A file written exactly as one of the ``known`` paths is that photo; others are read as paths (`as_identity`), or,
    where that is no known photo, as paths that lead into the ``gallery``, as `cartag find` prints them.

    Raises:
        LabelsError: the file is missing, no CSV with the columns file and label, or has two rows for one photo.
    """
    found = read_any_labels(path, cars, known, gallery)
    if not found:
        raise LabelsError(f"{path}: no labels in it; a row is a file and its label, e.g. 'IMG_0042.JPG,Pagani Huayra'")
    return found


def read_any_labels(
    path: Path, cars: Sequence[Named], known: Collection[str] = (), gallery: Path | None = None
) -> list[Label]:
    """Like `read_labels`, but a file that holds no row yet is well."""
    labels: dict[str, Label] = {}
    first_line: dict[str, int] = {}
    roots = _roots(gallery) if gallery is not None else ()
    for line, file, text in _rows(path):
        name = _identity(file, known, roots)
        label = _label(name, text, cars, f"{path}: line {line}")
        earlier = labels.setdefault(name, label)
        if earlier is not label and (earlier.cars, earlier.other) != (label.cars, label.other):
            shown = file if file.isprintable() else repr(file)
            raise LabelsError(f"{path}: line {line}: {shown} is labelled otherwise at line {first_line[name]}")
        first_line.setdefault(name, line)
    return list(labels.values())


def read_folders(
    folder: Path, photos: Sequence[str], cars: Sequence[Named], known: Collection[str] = ()
) -> tuple[list[Label], list[str]]:
    """Labels from folders named after cars, and the names of folders with photos that no car is called by.

    The innermost folder of a photo's path that names a car, `none` or `unknown` is its label.

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
    for photo in photos:
        parts = photo.split("/")
        label = _folder_label(parts[:-1], cars)
        if label is None:
            silent["/".join(parts[:-1])] = None
            continue
        place, shown, other = label
        without = "/".join((*parts[:place], *parts[place + 1 :]))
        bare = by_name.get(parts[-1], [])
        file = photo if photo in known else without if without in known else bare[0] if len(bare) == 1 else photo
        found = Label(file, shown, other)
        if labels.setdefault(file, found) != found:
            raise LabelsError(f"{folder}: {file} lies in folders that say different things; keep one of them")
    if not labels:
        raise LabelsError(
            f"{folder}: none of its folders is named after a car of the catalog, 'none' or 'unknown'; "
            "name the folders so, or give a CSV file,label"
        )
    return list(labels.values()), [name for name in silent if name]


def _folder_label(folders: Sequence[str], cars: Sequence[Named]) -> tuple[int, frozenset[str], tuple[str, ...]] | None:
    """Place and meaning of the innermost folder that says something; other names are just folders (day-1)."""
    for place in reversed(range(len(folders))):
        name = folders[place]
        if name.casefold() == "none":
            return place, frozenset(), ()
        if name.casefold() == "unknown":
            return place, frozenset(), ("unknown",)
        car = match_exactly(name, cars)
        if car is not None:
            return place, frozenset((car.id,)), ()
    return None


# --- writing ----------------------------------------------------------------------------------------------------


def with_labels(
    path: Path,
    said: Mapping[str, Label | None],
    cars: Sequence[Named],
    known: Collection[str] = (),
    gallery: Path | None = None,
) -> bytes:
    """A CSV of hand labels with what is ``said`` of some photos (None: nothing any more), as bytes to be written.

    Other rows, other columns, the order, a byte-order mark and the ends of lines stay as they are. So does a label that
    means the same in other words, and a name outside the catalog that stands in it beside cars of the catalog.

    Raises:
        LabelsError: a file is there and is no CSV with the columns file and label.
    """
    roots = _roots(gallery) if gallery is not None else ()
    has_mark, header, rows = _raw_rows(path)
    end = "\r\n" if header.raw.endswith("\r\n") else "\n"
    at = header.cells.index("file"), header.cells.index("label")
    out = [header.raw if header.raw.endswith(("\n", "\r")) else header.raw + end]
    done: set[str] = set()
    for row in rows:
        cells = row.cells + [""] * (len(header.cells) - len(row.cells))
        name = _identity(cells[at[0]], known, roots)
        if not row.cells or name not in said:
            out.append(row.raw)
            continue
        done.add(name)
        new, old = said[name], _label(name, cells[at[1]], cars, f"{path}: line {row.line}")
        if new is None:
            continue
        if (new.cars, new.truth) == (old.cars, old.truth):
            out.append(row.raw)
            continue
        cells[at[1]] = _text(_with_names_of(new, old), cars)
        out.append(_line(cells, end))
    if out[-1] and not out[-1].endswith(("\n", "\r")):
        out[-1] += end
    for name, label in said.items():
        if label is not None and name not in done:
            cells = [""] * len(header.cells)
            cells[at[0]], cells[at[1]] = name, _text(label, cars)
            out.append(_line(cells, end))
    return (codecs.BOM_UTF8 if has_mark else b"") + "".join(out).encode("utf-8")


def _with_names_of(new: Label, old: Label) -> Label:
    """What is newly said, with the names outside the catalog that stood there and are not contradicted by it."""
    names_none = all(name == "unknown" for name in new.other)
    if new.truth == "none" or not names_none or (new.cars and not old.cars):
        return new
    return Label(new.file, new.cars, old.other or new.other)


@dataclass(frozen=True, slots=True)
class _Row:
    """A record of a CSV: its cells, and the text that it stands there as."""

    line: int
    cells: list[str]
    raw: str


def _raw_rows(path: Path) -> tuple[bool, _Row, list[_Row]]:
    """Whether a byte-order mark leads, the header, and the records; of a file that is not there, a header alone."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b"file,label\n"
    except OSError as e:
        raise LabelsError(f"{path}: cannot be read ({e.strerror})") from e
    rows = list(_records(data.removeprefix(codecs.BOM_UTF8), path))
    return data.startswith(codecs.BOM_UTF8), rows[0], rows[1:]


def _records(data: bytes, path: Path) -> Iterator[_Row]:
    """The header, and the records after it.

    Raises:
        LabelsError: no UTF-8, no CSV, or not the columns file and label.
    """
    try:
        lines = list(io.StringIO(data.decode("utf-8"), newline=""))  # ends at \n, \r and \r\n alone, as csv does
        reader = csv.reader(lines, strict=True)
        begin, header = 0, None
        for cells in reader:
            if header is None and not {"file", "label"} <= set(cells):
                raise LabelsError(f"{path}: line 1: expected the columns file,label, found {cells}")
            header = header or cells
            yield _Row(reader.line_num, cells, "".join(lines[begin : reader.line_num]))
            begin = reader.line_num
    except UnicodeDecodeError as e:
        raise LabelsError(f"{path}: not UTF-8 text (byte {e.start}); save it as UTF-8") from e
    except csv.Error as e:
        raise LabelsError(f"{path}: not valid CSV: {e}") from e
    if header is None:
        raise LabelsError(f"{path}: line 1: expected the columns file,label, found nothing")


def _line(cells: Sequence[str], end: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow(cells)  # both, so that cells with one of them are quoted
    return out.getvalue().removesuffix("\r\n") + end


def _text(label: Label, cars: Sequence[Named]) -> str:
    """A label as `_label` reads it back: names in the catalog's order, by id where a name would be read otherwise."""
    if label.truth == "none":
        return "none"
    names = [_word(car, cars) for car in cars if car.id in label.cars]
    return "|".join([*names, *label.other])


def _word(car: Named, cars: Sequence[Named]) -> str:
    found = match_exactly(car.name, cars)
    is_plain = car.name == car.name.strip() and "|" not in car.name and car.name.casefold() not in ("none", "unknown")
    return car.name if is_plain and found is not None and found.id == car.id else car.id


# --- reading a row ----------------------------------------------------------------------------------------------


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Line, file and label of every record."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise LabelsError(f"{path}: cannot be read ({e.strerror})") from e
    header, *rows = _records(data.removeprefix(codecs.BOM_UTF8), path)  # Excel writes a byte-order mark
    cells = [(row.line, dict(zip(header.cells, row.cells, strict=False))) for row in rows if row.cells]
    return [(line, cell.get("file", ""), cell.get("label", "")) for line, cell in cells]


def _label(file: str, text: str, cars: Sequence[Named], where: str) -> Label:
    if not file.strip() or not text.strip():
        raise LabelsError(f"{where}: a row needs a file and a label; 'none' means no car, 'unknown' another car")
    shown: set[str] = set()
    other: list[str] = []
    words = [word.strip() for word in text.split("|") if word.strip()]
    said = [word.casefold() for word in words]
    if "none" in said and len(words) > 1:
        raise LabelsError(f"{where}: 'none' means no car at all, it cannot stand beside another label: {text!r}")
    for word, plain in zip(words, said, strict=True):
        car = match_exactly(word, cars) if plain not in ("none", "unknown") else None
        if car is not None:
            shown.add(car.id)
        elif plain != "none":
            other.append("unknown" if plain == "unknown" else word)
    return Label(file, frozenset(shown), tuple(other))


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
