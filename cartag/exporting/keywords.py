"""The words that other programs get for a photo's tags: flat, as a tree, and as regions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cartag.errors import PhotoError
from cartag.exporting.job import Box, Job, Photo
from cartag.exporting.places import places_of
from cartag.photos import orientation

# A separator inside a name ("Morgan 4/4") would open a level of its own: a look-alike takes its place.
_LIKE_SLASH, _LIKE_BAR = "\N{DIVISION SLASH}", "\N{BROKEN BAR}"
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Region:
    """A car in a box: centre, width and height as fractions of the photo as it is stored, before it is turned."""

    car: str
    name: str
    x: float
    y: float
    width: float
    height: float

    @property
    def box(self) -> Box:
        """Left, top, width and height."""
        return max(0.0, self.x - self.width / 2), max(0.0, self.y - self.height / 2), self.width, self.height


@dataclass(frozen=True, slots=True)
class Keywords:
    """A photo's tags in the words of other programs; every tuple is without doubles and in the order of the tags."""

    subjects: tuple[str, ...]
    """`dc:subject`: the names of the cars."""
    hierarchical: tuple[str, ...]
    """`lr:hierarchicalSubject`: ``Cars|Pagani|Huayra``."""
    tree: tuple[str, ...]
    """`digiKam:TagsList`: ``Cars/Pagani/Huayra``."""
    regions: tuple[Region, ...]
    """One a box and car, the largest box first."""
    stored_size: tuple[int, int] | None
    """Width and height of the photo as it is stored: what the regions are fractions of."""
    mwg: bool = False
    """Whether the regions are written as those of MWG, too."""


def keywords_of(photo: Photo, job: Job, *, or_upright: bool = True) -> Keywords:
    """The keywords of a photo. Of a photo with boxes the header is read, for how it has to be turned.

    Args:
        photo: any photo of the job.
        job: says where the photo lies.
        or_upright: one that is gone or damaged since is taken to be upright, the best guess.

    Raises:
        PhotoError: a photo with boxes cannot be read, and nothing shall be guessed.
    """
    boxed = [] if job.regions == "none" else [place for place in places_of(photo) if place.tags]
    orientation = _orientation(photo, job, or_upright) if boxed else 1
    return Keywords(
        subjects=_unique(tag.name for tag in photo.tags),
        hierarchical=_unique("|".join(part.replace("|", _LIKE_BAR) for part in tag.branch) for tag in photo.tags),
        tree=_unique("/".join(part.replace("/", _LIKE_SLASH) for part in tag.branch) for tag in photo.tags),
        regions=tuple(_region(tag.car, tag.name, place.box, orientation) for place in boxed for tag in place.tags),
        stored_size=_stored_size(photo.size, orientation),
        mwg=job.regions == "mwg",
    )


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word.strip()))


def _orientation(photo: Photo, job: Job, or_upright: bool) -> int:
    try:
        return orientation(job.gallery / photo.disk)
    except PhotoError:
        if not or_upright:
            raise
        return 1


def _region(car: str, name: str, box: Box, orientation: int) -> Region:
    left, top, width, height = box
    x, y, w, h = _stored(left + width / 2, top + height / 2, width, height, orientation)
    return Region(car, name, *(round(value, _DIGITS) for value in (x, y, w, h)))


def _stored(x: float, y: float, width: float, height: float, orientation: int) -> Box:
    """The centre and sides of an upright box in the photo as it is stored (EXIF orientations 1 to 8)."""
    centre = {
        1: (x, y),
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (y, 1 - x),
        7: (1 - y, 1 - x),
        8: (1 - y, x),
    }[orientation]
    return (*centre, height, width) if orientation >= 5 else (*centre, width, height)


def _stored_size(size: tuple[int, int] | None, orientation: int) -> tuple[int, int] | None:
    return size[::-1] if size is not None and orientation >= 5 else size
