"""Where the index of a gallery lies, and what lies beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = "cartag.json"
STATE_FOLDER = ".cartag"


@dataclass(frozen=True)
class Place:
    """Where the index of a gallery lies, and its state folder."""

    index: Path
    state: Path
    uri: str | None = None
    """Where it lies in truth, if on object storage; ``index`` is then the name of no file, with the state beside it."""

    @property
    def name(self) -> str:
        """What the files beside the index begin with: `a.json` and `a.idx` in one folder have their own."""
        return self.index.stem if self.index.suffix == ".json" else self.index.name

    def option(self, gallery: Path) -> Path | str | None:
        """What ``--index`` has to name for this place; None where the gallery's own index lies there."""
        if self.uri is not None:
            return self.uri
        return None if self.index == gallery / FILE_NAME else self.index

    @property
    def journal(self) -> Path:
        """The journal of the run under way."""
        return self.state / f"{self.name}.journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by a run that writes."""
        return self.state / f"{self.name}.lock"

    @property
    def write_lock(self) -> Path:
        """Held for the moment in which the index is replaced."""
        return self.state / f"{self.name}.write.lock"


def place_of(gallery: Path, index: Path | str | None = None) -> Place:
    """``GALLERY/cartag.json`` with its state in ``GALLERY/.cartag``, or ``index`` with its state beside it."""
    path = Path(index) if index is not None else gallery / FILE_NAME
    if os.path.isdir(path):
        path = path / FILE_NAME
    return Place(path, path.parent / STATE_FOLDER)


def gallery_above(gallery: Path) -> Path | None:
    """The nearest folder above that has an index, which then tells of this folder's photos too."""
    as_typed = () if ".." in gallery.parts else gallery.parents
    for folder in (*as_typed, *Path(os.path.abspath(gallery)).parents):
        if os.path.exists(folder / FILE_NAME):
            return folder
    return None
