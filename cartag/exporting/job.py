"""What the formats of an export share: the photos as they see them, and the files they want to be there."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec import UNSET

from cartag.errors import ExportError, PhotoError
from cartag.paths import disk_path, printable
from cartag.photos import content_hash, read_photo
from cartag.progress import Progress
from cartag.settings import Settings
from cartag.state import Footprint, Index, tag_as_typed
from cartag.values import IndexedCar, PhotoRecord, Tag

Naming = Literal["ext", "stem"]
Regions = Literal["iptc", "mwg", "none"]
"""Which regions sidecars and exiftool's JSON hold: IPTC's, with ``mwg`` those of MWG too, or none."""
Box = tuple[float, float, float, float]
TOP = "Cars"
"""The branch of the keyword tree that is ours."""


@dataclass(frozen=True, slots=True)
class CarTag:
    """A car that a photo shows, with the names that people read."""

    car: str
    """The id."""
    name: str
    make: str
    score: float
    source: str
    box: Box | None
    """x, y, width, height as fractions of the upright photo, top-left origin."""

    @property
    def branch(self) -> tuple[str, ...]:
        """Its place in a tree of keywords: Cars, the make, the model; without the last where the name is the make."""
        model = _without_make(self.name, self.make)
        return tuple(part for part in (TOP, self.make, model) if part)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of the index, as an export sees it."""

    record: PhotoRecord
    disk: str
    """Its name on disk, relative to the gallery (`os.fsdecode` form)."""
    tags: tuple[CarTag, ...]

    @property
    def name(self) -> str:
        """The name on disk as valid Unicode: bytes that are not UTF-8 become ``\\xNN``."""
        return printable(self.disk)

    @property
    def has_plain_name(self) -> bool:
        """Whether a text file can hold the name on disk as it is."""
        return self.name.encode("utf-8") == os.fsencode(self.disk)

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the upright photo, where they are known."""
        r = self.record
        return None if r.width is UNSET or r.height is UNSET else (r.width, r.height)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file as an export wants it; an export writes only where ``after`` differs from ``before``."""

    path: Path
    before: bytes | None
    """What is there now; None: nothing."""
    after: bytes | None
    """What shall be there; None: nothing."""
    is_text: bool = True
    """Whether a difference is worth showing."""

    @classmethod
    def kept(cls, path: Path) -> Wanted:
        """A file that is as it shall be, whatever is in it."""
        return cls(path, b"", b"", is_text=False)


@dataclass(frozen=True, slots=True)
class Remark:
    """A photo or file that an export could not treat like the others, and why: one line."""

    message: str
    is_failure: bool = False
    """Whether something that was asked for is not there."""
    count: int = 1
    """How many photos or files it is about."""


Step = Wanted | Remark


@dataclass(frozen=True, slots=True)
class Job:
    """One export: everything a format may look at. Formats read, `export` writes."""

    gallery: Path
    index: Index
    photos: tuple[Photo, ...]
    """Sorted by path; photos that are gone are left out."""
    to: Path | None
    naming: Naming
    dry_run: bool
    settings: Settings
    progress: Progress
    made: Footprint | None = None
    """What is cartag's own in ``to``; None for sidecars, which are merged into whosesoever they are."""
    regions: Regions = "iptc"

    @property
    def cars(self) -> tuple[IndexedCar, ...]:
        """The cars that the index has names for: those of its catalog, and former ones that a person's tags name."""
        return self.index.header.catalog.named

    def disk_path(self, photo: Photo) -> str:
        """To open the photo: under the gallery as it was given."""
        return os.path.join(self.gallery, photo.disk)

    def bytes_of(self, photo: Photo) -> bytes:
        """The bytes of a photo, to make pictures of that are called by its content.

        Raises:
            PhotoError: it cannot be read, or is another one than when it was tagged: the picture would stay wrong.
        """
        data = read_photo(self.gallery, photo.disk)
        if photo.record.sha256 not in (UNSET, content_hash(data)):
            tag = tag_as_typed(self.gallery, index=self.settings.index)
            raise PhotoError("unreadable", f"changed since it was tagged; run {tag}, and export again")
        return data


def photos_of(index: Index) -> Iterator[Photo]:
    """The photos of an index that are there, their tags with names."""
    cars = {car.id: car for car in index.header.catalog.named}
    for record in index:
        if record.missing is UNSET:
            on_disk = None if record.path_on_disk is UNSET else record.path_on_disk
            tags = tuple(_car_tag(tag, cars.get(tag.car)) for tag in record.tags)
            yield Photo(record, disk_path(record.path, on_disk), tags)


def _car_tag(tag: Tag, car: IndexedCar | None) -> CarTag:
    """A tag that another program gave may name a car that no catalog had: then its id is all there is."""
    name, make = (car.name, car.make) if car is not None else (tag.car, "")
    return CarTag(tag.car, name, make, tag.score, tag.source, None if tag.box is UNSET else tag.box)


def _without_make(name: str, make: str) -> str:
    def same(text: str) -> str:
        return unicodedata.normalize("NFC", text).casefold()

    words, length = name.split(), len(make.split())
    if length and same(" ".join(words[:length])) == same(" ".join(make.split())):
        return " ".join(words[length:])
    return name


def bytes_at(path: Path, most: int | None = None) -> bytes | None:
    """The bytes of a file, or None where there is none.

    Raises:
        ExportError: something is there that cannot be read, is no file, or is larger than ``most`` bytes.
    """
    where = printable(str(path))
    try:
        data = _read(path, most)
    except FileNotFoundError as e:
        if path.is_symlink():
            raise ExportError(f"{where}: a link that leads nowhere; remove it, and export again") from e
        return None
    except (OSError, ValueError) as e:
        raise ExportError(f"{where}: cannot be read ({_reason(e)}); mend that, and export again") from e
    if data is None:
        raise ExportError(f"{where}: no file, but something else of that name; move it away, and export again")
    if most is not None and len(data) > most:
        raise ExportError(f"{where}: larger than {most >> 20} MiB, more than cartag edits; export elsewhere, --to DIR")
    return data


def _read(path: Path, most: int | None) -> bytes | None:
    """At most one byte more than ``most``; None where no file is: reading a pipe or a device would never end."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as f:
        return f.read() if most is None else f.read(most + 1)


def _reason(e: OSError | ValueError) -> str:
    return (e.strerror if isinstance(e, OSError) else None) or str(e)
