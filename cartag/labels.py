"""Hand labels: a CSV file `file,label`, read into what each photo truly shows."""

from __future__ import annotations

import csv
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


def read_labels(path: Path, cars: Sequence[Named], known: Collection[str] = ()) -> list[Label]:
    """Reads hand labels; further columns are left alone.

    A file written exactly as one of the ``known`` paths is that photo; others are read as paths (`as_identity`).

    Raises:
        LabelsError: the file is missing, no CSV with the columns file and label, or has two rows for one photo.
    """
    labels: dict[str, Label] = {}
    first_line: dict[str, int] = {}
    for line, file, text in _rows(path):
        name = file if file in known else as_identity(file)
        label = _label(name, text, cars, f"{path}: line {line}")
        earlier = labels.setdefault(name, label)
        if earlier is not label and (earlier.cars, earlier.other) != (label.cars, label.other):
            raise LabelsError(f"{path}: line {line}: {file} is labelled otherwise at line {first_line[name]}")
        first_line.setdefault(name, line)
    if not labels:
        raise LabelsError(f"{path}: no labels in it; a row is a file and its label, e.g. 'IMG_0042.JPG,Pagani Huayra'")
    return list(labels.values())


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
    if "none" in words and len(words) > 1:
        raise LabelsError(f"{where}: 'none' means no car at all, it cannot stand beside another label: {text!r}")
    for word in words:
        car = match_exactly(word, cars) if word not in ("none", "unknown") else None
        if car is not None:
            shown.add(car.id)
        elif word != "none":
            other.append(word)
    return Label(file, frozenset(shown), tuple(other))


def as_identity(file: str) -> str:
    """A path as the index writes it: POSIX, relative, NFC, without blanks around its parts."""
    parts = (part.strip() for part in unicodedata.normalize("NFC", file).replace("\\", "/").split("/"))
    kept = "/".join(part for part in parts if part not in ("", "."))
    return f"/{kept}" if file.strip().startswith("/") else kept
