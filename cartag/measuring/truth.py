"""What people say the photos of an index show: from a CSV, from folders named after cars, or from another index."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import msgspec
from msgspec import UNSET

from cartag.catalogs import UNKNOWN, Vocabulary, load_catalog, match_exactly
from cartag.errors import CatalogError, GalleryError, IndexFileError, LabelsError
from cartag.measuring.labels import read_folders, read_labels
from cartag.measuring.rows import BoxLabel, Label
from cartag.photos import walk
from cartag.state import FILE_NAME, Index, contents_of, place_words, read_index, word_of
from cartag.values import Box, Car, IndexedCar, PhotoRecord, Region, human_tags, is_settled_by_human


@dataclass(frozen=True)
class Truth:
    """Hand labels beside the index they are about."""

    pairs: tuple[tuple[Label, PhotoRecord], ...]
    """Labels with the photo they are of."""
    not_in_index: tuple[str, ...]
    """Labelled files that the index does not hold."""
    without_label: int
    """Photos of the index that have no label."""
    names_outside_catalog: dict[str, int]
    """Names of cars that the catalog does not hold, with their counts; they count as another car."""
    labels_outside_catalog: int
    """Photos whose label holds such a name, or several."""
    near_misses: dict[str, str]
    """Of these names those that look like a car of the catalog, and which."""
    silent_folders: tuple[str, ...] = ()
    """Of labels that are folders: those with photos whose name is no car's; their photos have no label."""
    near_folders: dict[str, str] = field(default_factory=dict)
    """Of these folders those whose name looks like a car of the catalog, and which."""

    def digest(self) -> str:
        """Equal digests mean that the same is said of the same photos."""
        said = sorted((record.path, sorted(label.cars), label.truth, *_at(label)) for label, record in self.pairs)
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def _at(label: Label) -> list[list[tuple[Box, list[str]]]]:
    """Which car stands where, where the label says so."""
    return [sorted((box.box, sorted(box.cars)) for box in label.boxes)] if label.boxes else []


def read_truth(labels: Path, index: Index, gallery: Path | None = None, leave_out: Sequence[str] = ()) -> Truth:
    """Hand labels for the photos of an index.

    ``labels`` is a CSV ``file,label``; another index (a file of JSON), whose human tags and confirmed photos count;
    or a folder whose subfolders are named after cars, ``none`` or ``unknown`` (the gallery itself, or one of copies
    of its photos by the same names; what matches ``leave_out`` is none of them). The files of a CSV may also be paths
    that lead into the ``gallery``.

    Raises:
        LabelsError: the labels cannot be read, or none of them is of a photo in the index.
    """
    here = {record.path: record for record in index if record.missing is UNSET}
    hand, silent = _labels(labels, index, here, gallery, leave_out)
    pairs = tuple((label, here[label.file]) for label in hand if label.file in here)
    if not pairs:
        raise LabelsError(
            f"{labels}: none of its {len(hand)} files is in {index.path}; files are named relative to the gallery, "
            f"e.g. {next(iter(here), 'day-1/IMG_0042.JPG')!r}"
        )
    labelled = {label.file for label in hand}
    outside = Counter(name for label in hand for name in label.other if name != UNKNOWN)
    vocabulary = Vocabulary(index.header.catalog.cars)
    return Truth(
        pairs,
        tuple(sorted(labelled - here.keys())),
        len(here.keys() - labelled),
        dict(sorted(outside.items())),
        sum(any(name != UNKNOWN for name in label.other) for label in hand),
        {name: near for name in sorted(outside) if (near := vocabulary.near_miss(name))},
        tuple(silent),
        {name: near for name in silent if (near := vocabulary.near_miss(name.rsplit("/", 1)[-1]))},
    )


def other_cars(index: Index) -> list[Car | IndexedCar]:
    """Cars that labels of an index's photos may name besides the catalog's: those that the catalog rejects by, where it
    can still be read, and those that people tagged and the catalog lost."""
    catalog = index.header.catalog
    tagged = {tag.car for record in index for tag in record.tags} - {car.id for car in catalog.named}
    lost = [*catalog.named[len(catalog.cars) :], *(IndexedCar(id=car, name=car, make=car) for car in sorted(tagged))]
    try:
        known = load_catalog(catalog.name if catalog.source is UNSET else catalog.source)
    except CatalogError:
        return [*lost]
    return [*lost, *known.other_cars]


def _labels(
    labels: Path, index: Index, here: Mapping[str, PhotoRecord], gallery: Path | None, leave_out: Sequence[str]
) -> tuple[list[Label], list[str]]:
    cars, others = index.header.catalog.cars, partial(other_cars, index)
    if os.path.isdir(labels) and (labels / FILE_NAME).is_file() and labels.resolve() != index.path.parent.resolve():
        labels = labels / FILE_NAME
    if os.path.isdir(labels):
        photos = walk(labels, leave_out=leave_out).photos
        return read_folders(labels, [photo.path for photo in photos], cars, here.keys(), others)
    if labels.suffix.lower() == ".json":
        return _of_index(labels, index, here), []
    return read_labels(labels, cars, here.keys(), gallery, others), []


def _of_index(path: Path, index: Index, here: Mapping[str, PhotoRecord]) -> list[Label]:
    """What people said in another index, or in this one: of the photos' contents, whatever they are called there."""
    try:
        found = read_index(path.parent, path)
    except (GalleryError, IndexFileError) as e:
        raise LabelsError(str(e) if os.path.lexists(path) else f"{path}: cannot be read; it is not there") from e
    cars = _as_called_here(found.header.catalog.named, index.header.catalog.cars)
    names = {car.id: car.name for car in found.header.catalog.named}
    settled = {record.path: record for record in found if is_settled_by_human(record)}
    if not settled:
        raise LabelsError(f"{path}: no tag of a person in it; give a CSV of labels, file,label")
    words = {name: word_of(record) for name, record in settled.items()}
    homes = place_words(words, contents_of(found.photos), contents_of(here)).homes
    return [replace(_said(record, cars, names), file=homes[name]) for name, record in settled.items()]


def _as_called_here(theirs: Sequence[IndexedCar], ours: Sequence[IndexedCar]) -> dict[str, str]:
    """Ids of our cars by what the other index calls them: a car is the same one where any of its names is."""
    here = {car.id: car.id for car in ours}
    for car in theirs:
        same = next((m for text in (car.name, *car.aliases) if (m := match_exactly(text, ours))), None)
        if same is not None:
            here.setdefault(car.id, same.id)
    return here


def _said(record: PhotoRecord, here: Mapping[str, str], names: Mapping[str, str]) -> Label:
    tags: Sequence[str] = [tag.car for tag in (record.tags if record.confirmed is True else human_tags(record))]
    other = tuple(names.get(car, car) for car in tags if car not in here)
    if not tags and record.outcome != "no-car":
        other = (UNKNOWN,)
    boxes = () if record.regions is UNSET or record.confirmed is not True else _boxes_said(record.regions, here, names)
    return Label(record.path, frozenset(here[car] for car in tags if car in here), other, boxes)


def _boxes_said(regions: Sequence[Region], here: Mapping[str, str], names: Mapping[str, str]) -> tuple[BoxLabel, ...]:
    """The boxes of a photo of which a person settled every one: some alone would make the others look wrong."""
    if any(region.source != "human" for region in regions):
        return ()
    boxes = []
    for region in regions:
        if region.outcome != "no-car":
            cars = [tag.car for tag in region.tags]
            other = tuple(names.get(car, car) for car in cars if car not in here)
            known = frozenset(here[car] for car in cars if car in here)
            boxes.append(BoxLabel(region.box, known, other if other or known else (UNKNOWN,)))
    return tuple(boxes)
