"""Hand labels: a CSV file `file,label`, or folders named after cars, read into what each photo truly shows."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Collection, Sequence
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
    if not labels:
        raise LabelsError(f"{path}: no labels in it; a row is a file and its label, e.g. 'IMG_0042.JPG,Pagani Huayra'")
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


def _rows(path: Path) -> list[tuple[int, str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:  # -sig: Excel writes a byte-order mark
            reader = csv.DictReader(f, strict=True)
            if reader.fieldnames is None or not {"file", "label"} <= set(reader.fieldnames):
                raise LabelsError(
                    f"{path}: line 1: expected the columns file,label, found {reader.fieldnames or 'nothing'}"
                )
            return [(reader.line_num, row["file"] or "", row["label"] or "") for row in reader]
    except OSError as e:
        raise LabelsError(f"{path}: cannot be read ({e.strerror})") from e
    except UnicodeDecodeError as e:
        raise LabelsError(f"{path}: not UTF-8 text (byte {e.start}); save it as UTF-8") from e
    except csv.Error as e:
        raise LabelsError(f"{path}: not valid CSV: {e}") from e


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
