"""The values that travel between modules: frozen records, checked where they are born, no behaviour beyond that.

The types of the index file are here too (`PhotoRecord` and what it holds); the JSON Schema is generated from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

if TYPE_CHECKING:  # numpy stays out of the start-up path
    import numpy as np

Outcome = Literal["tagged", "unknown", "no-car", "error"]
OUTCOMES: tuple[Outcome, ...] = ("tagged", "unknown", "no-car", "error")

ERROR_REASONS: dict[str, str] = {
    "vanished": "the file was there when the folder was listed and is gone now",
    "unreadable": "the operating system refused to read it",
    "empty": "the file has no bytes",
    "not-an-image": "no decoder recognises it",
    "unsupported": "a known format for which no decoder is installed",
    "truncated": "the file ends before the picture does",
    "corrupt": "the picture's data is damaged",
    "too-large": "more pixels or bytes than the limit (settings: max_pixels, max_megabytes), or than the memory holds",
    "crashed": "its decoder died, and its worker process with it (tag --isolate)",
    "too-slow": "decoding it took longer than the limit (tag --isolate; settings: isolate_seconds)",
}
# A cause outside the file, or one that an installation or a setting may have removed: worth a try on every run. What
# crashed or hung is not tried again until it changes: without `--isolate` the run would go down with it.
RETRIED_REASONS = frozenset({"vanished", "unreadable", "unsupported", "too-large"})

# --- catalogs ---------------------------------------------------------------------------------------------------


class Car(Struct, frozen=True, kw_only=True):
    """One entry of a catalog."""

    id: str
    name: str
    make: str
    aliases: tuple[str, ...] = ()
    years: str | None = None
    body: str | None = None
    prompts: tuple[str, ...] = ()
    """Names to put into the prompt templates in place of `name`."""


class Catalog(Struct, frozen=True, kw_only=True):
    """The cars one wants named, with everything a photo is scored against."""

    name: str
    title: str
    cars: tuple[Car, ...]
    templates: tuple[str, ...]
    other_cars: tuple[Car, ...]
    no_car: tuple[str, ...]
    sha256: str
    """Digest of all of the above: equal digests give equal class lists."""
    source: str
    """The name or file it was loaded from."""


class PromptClass(Struct, frozen=True):
    """One class: all texts whose mean embedding stands for it."""

    kind: Literal["car", "other-car", "no-car"]
    label: str
    texts: tuple[str, ...]


# --- photos and models ------------------------------------------------------------------------------------------


class PhotoFile(Struct, frozen=True, gc=False):
    """A photo found in a gallery, before anything of it was read."""

    path: str
    """Its identity: POSIX path relative to the gallery, Unicode NFC."""
    disk_path: str
    """What the operating system calls it, relative to the gallery (`os.fsdecode` form)."""
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """How a model wants its pixels, by the checkpoint's own processor config.

    ``fit`` says how a photo becomes ``height`` x ``width``: ``squash`` resizes both sides, ``crop`` resizes the short
    side to ``resize`` and cuts the centre, ``pad`` fits the photo inside and fills up with the mean colour, ``native``
    keeps the aspect ratio and leaves the rest to the checkpoint's processor (SigLIP 2 NaFlex). ``whole`` is no model's:
    the photo to cut from, its long side between ``resize`` and twice that where it has so many pixels.
    """

    height: int
    width: int
    fit: Literal["squash", "crop", "pad", "native", "whole"]
    resize: int
    resample: int
    """Pillow's number of the resampling filter (3 is bicubic)."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    drafted: int = 2
    """How many times as large, on both sides, a JPEG is decoded before it is resized to that."""
    gap: float | None = None
    """How many times as large a picture still is, at least, when the filter begins to resize it: squares of pixels are
    averaged before (Pillow's ``reducing_gap``). None: the filter sees them all."""
    narrow: tuple[int, int] | None = None
    """Of ``squash``: another height and width, for photos whose shape is nearer to that one."""


ModelKind = Literal["model", "detector"]
"""What turns pixels and texts into vectors, and what turns pixels into boxes."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model or a detector by name: where it comes from and what is known of it before it is loaded."""

    name: str
    source: str
    """``models/mini``, a hub id, or a folder."""
    kind: ModelKind = "model"
    revision: str | None = None
    licence: str | None = None
    input_size: int | None = None
    size_mb: int | None = None
    stanford_cars_top1: float | None = None
    coco_ap: float | None = None
    """Of a detector: average precision on COCO in percent, as published."""
    cost: float | None = None
    """Of a model: what its image tower costs a photo, as times of `clip-b32`."""
    superseded_by: str | None = None
    """A model of the table that is more accurate and costs less; the name is kept for indexes made with it."""
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model whose files are on this machine."""

    spec: ModelSpec
    folder: str
    revision: str
    """The hub's commit, or a digest of the weights for a folder."""


@dataclass(frozen=True, eq=False, slots=True)
class Decoded:
    """A photo decoded for a model: ``pixels`` is uint8 RGB of shape (height, width, 3), upright."""

    pixels: np.ndarray | None
    """None when only the header was wanted."""
    width: int
    height: int


# --- the index, schema 1 ----------------------------------------------------------------------------------------
# gc=False: a gallery may have a million of these, none in a cycle, and the garbage collector would walk them all.

_ROUNDED = 2e-4
"""How far the far side of a box may be beyond the photo: place and size are rounded apart."""

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


Box = tuple[Probability, Probability, Probability, Probability]
"""x, y, width, height as fractions of the upright photo, top-left origin, four digits."""


class Tag(Struct, frozen=True, kw_only=True, gc=False):
    """A car that the photo shows."""

    car: str
    score: Probability
    source: Literal["model", "human"] = "model"
    box: Box | UnsetType = UNSET
    """Where it stands; not there where it was told of the photo as a whole."""


class Candidate(Struct, frozen=True, kw_only=True, gc=False):
    """A car that the photo may show, but not surely enough for a tag."""

    car: str
    score: Probability


class ReadError(Struct, frozen=True, kw_only=True, gc=False):
    """Why a photo could not be read: a key of `ERROR_REASONS`, and the decoder's own words."""

    reason: str
    detail: str


class ModelAnswer(Struct, frozen=True, kw_only=True, gc=False):
    """What the model says of a photo of which a person says something too."""

    outcome: Outcome
    tags: tuple[Tag, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    whole: Literal[True] | UnsetType = UNSET
    """True: of a photo that was not looked at for cars, so that its regions are a person's alone, and there may be
    more."""


def why_no_box(box: Sequence[float]) -> str | None:
    """What is wrong with a box, in words; None if it is one."""
    x, y, width, height = box
    if not (width > 0 and height > 0):
        return f"the box {list(box)} has no size"
    if not (x >= 0 and y >= 0 and x + width <= 1 + _ROUNDED and y + height <= 1 + _ROUNDED):
        return f"the box {list(box)} lies outside of the photo (x, y, width, height are fractions of it)"
    return None


class OtherCar(Struct, frozen=True, kw_only=True, gc=False):
    """A car that is none of the catalog's: what a region that is `unknown` is likeliest to show."""

    name: str
    score: Probability


class Region(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One car in a photo: where it stands, and what is said of it."""

    box: Box
    found: Probability | UnsetType = UNSET
    """How sure the detector is; not there where a person drew the box."""
    outcome: Literal["tagged", "unknown", "no-car"]
    tags: tuple[Tag, ...] = ()
    """Without boxes of their own."""
    candidates: tuple[Candidate, ...] = ()
    other: OtherCar | UnsetType = UNSET
    source: Literal["model", "human"] = "model"
    """`human`: a person drew or moved the box, or said what it shows; no run changes or removes it. With the outcome
    `no-car` it is a box that she deleted: no run puts one there again."""
    by_model: ModelAnswer | UnsetType = UNSET
    """Beside what a person said of a box that the model has looked at, what the model says. Without ``found``
    that is of a box which she drew and no detector sees."""

    def __post_init__(self) -> None:
        if why := why_no_box(self.box):
            raise ValueError(why)


class PhotoRecord(Struct, frozen=True, kw_only=True, gc=False):
    """What the index says of one photo."""

    path: str
    sha256: Sha256 | UnsetType = UNSET
    """Of the file's bytes. Where they cannot be read now and a person said something, of those that she said it of."""
    size: Annotated[int, Meta(ge=0)]
    mtime_ns: int
    width: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    height: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    outcome: Outcome
    tags: tuple[Tag, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    """Further cars, likeliest first; together with `tags` at least the five best, so that top-5 can be read off."""
    regions: tuple[Region, ...] | UnsetType = UNSET
    """The cars in it, largest first; empty where none was found, not there where none was looked for."""
    error: ReadError | UnsetType = UNSET
    path_on_disk: str | UnsetType = UNSET
    """Percent-encoded bytes of the name on disk, where they are not the UTF-8 of `path` (NFD, Latin-1, ...)."""
    confirmed: bool | UnsetType = UNSET
    """True: a person settled outcome and tags as a whole; no run changes them. False: she took that back, and the next
    run says again what the model thinks."""
    missing: bool | UnsetType = UNSET
    """True: the photo is gone, the record stays because it holds what a person said. Where another photo has its name
    now, it is kept under a name that no photo has (``car-001.jpg (gone 3f2a9c1d04be)``)."""
    by_model: ModelAnswer | UnsetType = UNSET
    """Beside what a person said in a review, what the model says: it is measured by that, and gets its say back if she
    takes hers back. Where other programs wrote a person's tags it is not there."""


class PhotoTags(Struct, frozen=True, kw_only=True, gc=False):
    """The part of a `PhotoRecord` that says which cars a photo shows: much faster to read than the whole."""

    path: str
    outcome: Outcome
    tags: tuple[Tag, ...] = ()
    error: ReadError | UnsetType = UNSET
    path_on_disk: str | UnsetType = UNSET
    missing: bool | UnsetType = UNSET


class RegionOutcome(Struct, frozen=True, kw_only=True, gc=False):
    """The part of a `Region` that says what it is, and not where."""

    outcome: Literal["tagged", "unknown", "no-car"]
    other: OtherCar | UnsetType = UNSET
    source: Literal["model", "human"] = "model"


class PhotoOutcomes(PhotoTags, frozen=True, kw_only=True, gc=False):
    """The part of a `PhotoRecord` that is counted when a gallery is summed up."""

    regions: tuple[RegionOutcome, ...] | UnsetType = UNSET


class IndexedModel(Struct, frozen=True, kw_only=True):
    """The model an index was made with."""

    name: str
    source: str
    revision: str
    dtype: str


class IndexedDetector(Struct, frozen=True, kw_only=True):
    """The detector that found the regions of an index."""

    name: str
    source: str
    revision: str
    regions: Literal["all", "main"]
    """Whether every car was looked at, or the largest of each photo."""


class IndexedCar(Struct, frozen=True, kw_only=True):
    """A car of the catalog an index was made with; enough for `find` to work from the index alone."""

    id: str
    name: str
    make: str
    aliases: tuple[str, ...] = ()


class IndexedCatalog(Struct, frozen=True, kw_only=True):
    """The catalog an index was made with."""

    name: str
    sha256: Sha256
    cars: tuple[IndexedCar, ...]
    source: str | UnsetType = UNSET
    former: tuple[IndexedCar, ...] | UnsetType = UNSET
    """Cars that have left the catalog and that a person's tags still name, by id."""

    @property
    def named(self) -> tuple[IndexedCar, ...]:
        """All cars that the index has a name for: those of the catalog, then the former ones."""
        return self.cars if self.former is UNSET else (*self.cars, *self.former)


class IndexHeader(Struct, frozen=True, kw_only=True):
    """Everything of an index but its photos."""

    schema_version: Annotated[int, Meta(ge=1)] = 1
    generator: str
    updated: str
    """UTC, RFC 3339."""
    model: IndexedModel
    detector: IndexedDetector | UnsetType = UNSET
    """Not there where photos were looked at as wholes."""
    catalog: IndexedCatalog
    scoring: str | UnsetType = UNSET
    """Digest of calibration and thresholds: with model and catalog it says whether scores are up to date."""


class IndexFile(IndexHeader, frozen=True, kw_only=True):
    """The file `cartag.json` as a whole."""

    photos: tuple[PhotoRecord, ...]


def human_tags(record: PhotoRecord) -> tuple[Tag, ...]:
    """The tags of a record that a person gave."""
    return tuple(tag for tag in record.tags if tag.source == "human")


def is_settled_by_human(record: PhotoRecord) -> bool:
    """Whether a person had a say in this record, so that no run may drop it."""
    return record.confirmed is True or bool(human_tags(record)) or bool(human_regions(record))


def human_regions(record: PhotoRecord) -> tuple[Region, ...]:
    """The regions of a record that a person drew or spoke of, also those that she deleted."""
    if record.regions is UNSET:
        return ()
    return tuple(region for region in record.regions if region.source == "human")


def shown_regions(record: PhotoRecord) -> tuple[Region, ...]:
    """The regions of a record as they are counted for a person, largest first: without the boxes that one deleted."""
    if record.regions is UNSET:
        return ()
    left = [region for region in record.regions if region.source == "model" or region.outcome != "no-car"]
    return tuple(sorted(left, key=lambda region: -region.box[2] * region.box[3]))


def as_model_has_it(record: PhotoRecord) -> PhotoRecord | None:
    """A record without what a person said; None where it does not tell what the model says."""
    if not is_settled_by_human(record):
        return None if record.confirmed is False else record
    said = record.by_model
    if said is UNSET:
        return None
    regions = UNSET if record.regions is UNSET or said.whole is True else model_regions(record.regions)
    return replace(
        record,
        outcome=said.outcome,
        tags=said.tags,
        candidates=said.candidates,
        regions=regions,
        confirmed=UNSET,
        by_model=UNSET,
    )


def model_regions(regions: Sequence[Region]) -> tuple[Region, ...]:
    """Regions without what a person said: boxes that she drew are gone, those that she deleted are back."""
    as_it_says = (region if region.source == "model" else _of_model(region) for region in regions)
    return tuple(region for region in as_it_says if region is not None and region.outcome != "no-car")


def _of_model(region: Region) -> Region | None:
    said = region.by_model
    if said is UNSET or said.outcome == "error" or region.found is UNSET:  # she drew it: the detector sees none there
        return None
    return Region(
        box=region.box,
        found=region.found,
        outcome=said.outcome,
        tags=said.tags,
        candidates=said.candidates,
        other=region.other,
    )


def ranking(record: PhotoRecord) -> list[str]:
    """Car ids of tags and candidates, likeliest first (ties keep the order of the file)."""
    scored: Sequence[Tag | Candidate] = (*record.tags, *record.candidates)
    return [item.car for item in sorted(scored, key=lambda item: -item.score)]
