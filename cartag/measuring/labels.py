"""Hand labels: a CSV file `file,label[,x,y,w,h]`, or folders named after cars, read into what a photo truly shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from cartag.catalogs import Meaning, Named, Vocabulary
from cartag.errors import LabelsError
from cartag.measuring.rows import Label, Others, Reader, joined, label_of, rows_of


def read_labels(
    path: Path,
    cars: Sequence[Named],
    known: Collection[str] = (),
    gallery: Path | None = None,
    others: Others = tuple,
) -> list[Label]:
    """Reads hand labels, one a photo, in the order of their first rows; further columns are left alone.

    With the columns x, y, w, h a row may be of one box of its photo (fractions of the upright photo, top-left origin);
    the rows of a photo add up.

    A file written exactly as one of the ``known`` paths is that photo; others are read as paths (`as_identity`), or,
    where that is no known photo, as paths that lead into the ``gallery``, as `cartag find` prints them. Words are
    understood as `cartag.catalogs.vocabulary` says.

    Raises:
        LabelsError: the file is missing, no CSV with the columns file and label, has rows that say different things of
            one photo or one box, a box that is none, or says what is not understood.
    """
    labels: dict[str, list[Label]] = {}
    reader = Reader(path, Vocabulary(cars, others), known, gallery)
    for line, file, text, box in rows_of(path):
        name, label = reader.row(line, file, text, box)
        if label is not None:
            labels.setdefault(name, []).append(label)
    reader.finish()
    if not labels:
        raise LabelsError(f"{path}: no labels in it; a row is a file and its label, e.g. 'IMG_0042.JPG,Pagani Huayra'")
    return [joined(rows) for rows in labels.values()]


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
        found = label_of(file, [meaning])
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
