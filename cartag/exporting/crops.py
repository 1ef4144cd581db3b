"""A training set for a classifier: a picture of every car, in a folder of its label, and `metadata.jsonl`."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from cartag.errors import PhotoError, UsageError
from cartag.exporting.imagefolder import FILE_NAME
from cartag.exporting.job import Job, Photo, Remark, Step, Wanted, bytes_at
from cartag.exporting.places import Place, places_of
from cartag.paths import printable
from cartag.photos import check_holds_no_photo, check_is_no_gallery, is_gallery, is_raw, pieces
from cartag.settings import usable_cores
from cartag.state import Footprint

SIDE = 640
"""Pixels of the longer side, at most: more than any classifier takes."""
MARGIN = 0.05
"""Of width and height, around the box: detectors cut close."""
_AT_ONCE = 64
_NAME = re.compile(r"[^/]+/[0-9a-f]{16}(-\d{4,5}){4}\.jpg")


def check(job: Job) -> None:
    """The pictures need a folder of their own: the next `tag` would take them for photos.

    Raises:
        UsageError: no folder was named, or one that is or lies in a gallery.
    """
    if job.to is None:
        raise UsageError("--crops needs a folder for the pictures: name it with --to DIR")
    check_is_no_gallery(job.to, job.gallery, "--to")
    to, gallery = job.to.resolve(), job.gallery.resolve()
    if any(folder == gallery or is_gallery(folder) for folder in to.parents):
        raise UsageError(f"--to {job.to}: lies in a gallery, where the pictures would be photos; name another folder")


@dataclass(frozen=True, slots=True)
class _Crop:
    """A picture that shall be there."""

    name: str
    place: Place
    row: dict[str, Any]
    """What `metadata.jsonl` says of it."""


def files(job: Job) -> Iterator[Step]:
    """A picture a box, and last the file that names them.

    Raises:
        ForeignFileError: the folder holds photos, or files in the way that are not cartag's. Nothing was written.
    """
    to, made = job.to, job.made
    if to is None or made is None:
        raise UsageError("--crops needs --to DIR")
    wanted = _wanted(job)
    names = {crop.name for _, crops in wanted for crop in crops}
    check_holds_no_photo(made.folder, made.names(), "--to")
    made.claim(FILE_NAME)
    for name in names:
        if not made.has(name):
            made.claim(name)
    there: set[str] = set()
    yield from _pictures(job, made, wanted, there)
    yield from _left_over(made, names)
    rows = {crop.name: crop.row for _, crops in wanted for crop in crops if crop.name in there}
    text = b"".join(msgspec.json.encode(row) + b"\n" for row in rows.values())
    path = made.folder / FILE_NAME
    yield Wanted(path, bytes_at(path) if os.path.isfile(path) else None, text)


def _wanted(job: Job) -> list[tuple[Photo, list[_Crop]]]:
    """Photos with the pictures that are cut from them, each picture once: two files may be one photo."""
    seen: set[str] = set()
    found = []
    for photo in job.photos:
        crops = [crop for crop in _crops(photo) if crop.name not in seen]
        seen.update(crop.name for crop in crops)
        if crops:
            found.append((photo, crops))
    return found


def _crops(photo: Photo) -> Iterator[_Crop]:
    sha256 = photo.record.sha256
    if sha256 is UNSET:
        return
    for place in places_of(photo):
        tag = place.tags[0] if place.tags else None
        label = "unknown" if tag is None else tag.car
        corners = "-".join(f"{round(10_000 * value):04d}" for value in place.box)
        name = f"{_folder(label)}/{sha256[:16]}-{corners}.jpg"
        row = {
            "file_name": name,
            "label": label,
            "score": None if tag is None else tag.score,
            "source": place.source if tag is None else tag.source,
            "found": place.found,
            "other": place.other,
            "photo": photo.name,
            "box": place.box,
        }
        yield _Crop(name, place, row)


def _folder(label: str) -> str:
    """A label as the name of a folder, whatever another program has called a car."""
    name = quote(label, safe="") or "%"
    return f"%2E{name[1:]}" if name.startswith(".") else name


def _pictures(job: Job, made: Footprint, wanted: list[tuple[Photo, list[_Crop]]], there: set[str]) -> Iterator[Step]:
    """The pictures that are missing, cut in threads, a bounded number of photos ahead; ``there`` gets what is there."""
    missing: list[tuple[Photo, list[_Crop]]] = []
    for photo, crops in wanted:
        kept = [crop for crop in crops if made.has(crop.name) and os.path.isfile(made.folder / crop.name)]
        there.update(crop.name for crop in kept)
        yield from (Wanted.kept(made.folder / crop.name) for crop in kept)
        if rest := [crop for crop in crops if crop.name not in there]:
            missing.append((photo, rest))
    if job.dry_run:
        there.update(crop.name for _, crops in missing for crop in crops)
        yield from (Wanted(made.folder / crop.name, None, b"", is_text=False) for _, crops in missing for crop in crops)
        return
    job.progress.start("pictures", len(missing))
    unreadable: list[str] = []
    for _, crops, pictures in _cut(job, missing):
        if isinstance(pictures, str):
            unreadable.append(pictures)
        else:
            for crop, picture in zip(crops, pictures, strict=True):
                there.add(crop.name)
                path = made.folder / crop.name
                yield Wanted(path, bytes_at(path) if os.path.isfile(path) else None, picture, is_text=False)
        job.progress.advance()
    job.progress.finish()
    if unreadable:
        first = f"{len(unreadable)} photo(s) could not be cut, the first {printable(unreadable[0])}"
        yield Remark(first, is_failure=True, count=len(unreadable))


def _cut(job: Job, wanted: list[tuple[Photo, list[_Crop]]]) -> Iterator[tuple[Photo, list[_Crop], list[bytes] | str]]:
    """Photos, in order, with their pictures; where they cannot be cut, why."""

    def pictures(one: tuple[Photo, list[_Crop]]) -> list[bytes] | str:
        photo, crops = one
        try:
            data = job.bytes_of(photo)
            boxes = [crop.place.box for crop in crops]
            most = job.settings.max_pixels
            return pieces(data, boxes, SIDE, margin=MARGIN, max_pixels=most, raw=is_raw(photo.disk))
        except PhotoError as e:
            return f"{photo.name} ({e.detail})"

    with ThreadPoolExecutor(job.settings.decode_threads or usable_cores()) as pool:
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            for (photo, crops), found in zip(some, pool.map(pictures, some), strict=True):
                yield photo, crops, found


def _left_over(made: Footprint, wanted: Collection[str]) -> Iterator[Step]:
    """Pictures of an earlier export whose box or label is another now; what a person changed since is hers."""
    for name in made.names():
        if _NAME.fullmatch(name) and name not in wanted:
            if made.is_ours(name):
                yield Wanted(made.folder / name, b"", None, is_text=False)
            else:
                made.forget(name)
