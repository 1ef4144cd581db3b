"""How the photos of a gallery are looked at: as wholes, or car by car, and by which detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from msgspec import UNSET

from cartag import detector as detectors
from cartag.checkpoints import BUNDLED_DETECTOR, FAKE_MODEL, known_detectors, resolve_detector
from cartag.errors import ModelError
from cartag.progress import Progress, Silent
from cartag.settings import Settings
from cartag.state import Index, matched
from cartag.values import Box, ImageSpec, IndexedDetector, IndexHeader, ModelFiles

_STEPS = 10_000  # a box has four digits, as the index has it: what is embedded is what is written


@dataclass(frozen=True)
class Sight:
    """A detector, and what of its boxes is looked at."""

    files: ModelFiles
    identity: str
    """Of the detector: the key of its boxes in the cache."""
    regions: Literal["all", "main"]
    most: int
    least: float

    @property
    def indexed(self) -> IndexedDetector:
        """As the index has it."""
        spec = self.files.spec
        return IndexedDetector(name=spec.name, source=spec.source, revision=self.files.revision, regions=self.regions)

    @property
    def image_spec(self) -> ImageSpec:
        """How the detector wants its photos."""
        return detectors.image_spec(self.files)

    @property
    def digest(self) -> str:
        """Equal digests choose the same boxes of a photo."""
        return f"{self.regions}-{self.most}-{self.least:g}-{self.identity.split('/')[0]}-tiles"

    def identity_for(self, *, panorama: bool) -> str:
        """The key of its boxes in the cache; a panorama is looked at in tiles, as it was not in older versions."""
        return f"{self.identity}/tiles" if panorama else self.identity

    def chosen(self, seen: np.ndarray, deleted: Sequence[Box] = (), *, tile: float = 1.0) -> list[tuple[Box, float]]:
        """The boxes that are looked at, largest first, and how sure the detector is, of what it saw (n, 5).

        Where that is one box a photo, it is the largest that is none of those that a person ``deleted``. Of a panorama
        ``tile`` is the share of its width that a tile takes: what is too narrow is measured by that.
        """
        boxes = [(box, float(row[4])) for row in seen if (box := _rounded(row[:4])) is not None]
        wide = [(box, found) for box, found in boxes if box[2] >= self.least * tile]
        wide.sort(key=lambda of: (-of[0][2] * of[0][3], of[0]))
        if self.regions == "all":
            return wide[: self.most]
        gone = set(matched(deleted, [box for box, _ in wide]).values())
        return ([of for i, of in enumerate(wide) if i not in gone] or wide)[:1]


def sight_of(settings: Settings, model: ModelFiles, old: Index | None, progress: Progress) -> Sight | None:
    """What the settings ask for; None: photos are looked at as wholes.

    A detector that nobody named is the one of the index, else the bundled one. The fake model, which is there for
    tests, gets none then.

    Raises:
        ModelError: the detector cannot be had.
    """
    if settings.regions == "off":
        return None
    if settings.detector != "auto":
        files = resolve_detector(settings.detector, progress)
    elif (indexed := old.header.detector if old is not None else UNSET) is not UNSET:
        files = resolve_detector(_name_of(indexed), progress)
    elif model.spec.source == FAKE_MODEL:
        return None
    else:
        files = resolve_detector(BUNDLED_DETECTOR, progress)
    mode = cast(Literal["all", "main"], settings.regions)
    return Sight(files, detectors.identity(files), mode, settings.most_regions, settings.least_region)


def sight_in(header: IndexHeader, settings: Settings) -> Sight | None:
    """How the photos of an index were looked at; None: as wholes, or by a detector that is not here."""
    indexed = header.detector
    if indexed is UNSET:
        return None
    try:
        files = resolve_detector(_name_of(indexed), Silent(), fetch=False)
        return Sight(files, detectors.identity(files), indexed.regions, settings.most_regions, settings.least_region)
    except ModelError:
        return None


def _name_of(indexed: IndexedDetector) -> str:
    """How the detector of an index is asked for: a folder may have the name of another one, its source tells."""
    known = known_detectors().get(indexed.name)
    return indexed.name if known is not None and known.source == indexed.source else indexed.source


def _rounded(row: Sequence[float]) -> Box | None:
    """A box within the photo, in steps of a ten-thousandth; None if nothing is left of it."""
    left, top = (min(_STEPS, max(0, round(float(v) * _STEPS))) for v in row[:2])
    right = min(_STEPS, round(float(row[0] + row[2]) * _STEPS))
    bottom = min(_STEPS, round(float(row[1] + row[3]) * _STEPS))
    if right <= left or bottom <= top:
        return None
    return left / _STEPS, top / _STEPS, (right - left) / _STEPS, (bottom - top) / _STEPS
