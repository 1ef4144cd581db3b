"""XMP sidecars: which file belongs to which photo, and what it shall say."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from functools import partial
from pathlib import Path

from msgspec import UNSET

from cartag.errors import ExportError, PhotoError
from cartag.exporting.encoded import PacketError
from cartag.exporting.job import Job, Photo, Remark, Step, Wanted, bytes_at
from cartag.exporting.keywords import keywords_of
from cartag.exporting.packet import NOTHING, ScoredCar, Statement, merged
from cartag.paths import LEADS_OUT, leads_out, printable

EXTENSION = ".xmp"
_LONGEST_NAME = 255
"""Bytes of a file's name, on nearly every file system."""
_MOST_BYTES = 64 * 2**20
"""Sidecars with the masks of a photo program have some megabytes; a tree takes ten times that in memory."""


def files(job: Job) -> Iterator[Step]:
    """A sidecar for every photo with tags; from the sidecars of the others, what cartag wrote is taken out.

    A photo that could not be read and has no tags is left as it is: nothing is known of it. A sidecar that cannot be
    read or merged into is left as it is, and costs nothing but itself.
    """
    known = frozenset(str(record.sha256) for record in job.index if record.sha256 is not UNSET)
    shared = _shared_stems(job) if job.naming == "stem" else {}
    for photos in shared.values():
        names = " and ".join(photo.name for photo in photos)
        yield Remark(f"{names}: share a stem; each gets a sidecar with its whole name ({_ext(photos[0].name)})")
        yield from _step(job, _stem(photos[0].disk), lambda: NOTHING, known)
    job.progress.start("sidecars", len(job.photos))
    for photo in job.photos:
        if photo.tags or photo.record.outcome != "error":
            own_stem = job.naming == "stem" and _key(photo) not in shared
            name = _stem(photo.disk) if own_stem else _ext(photo.disk)
            yield from _step(job, name, partial(_statement, photo, job), known)
        job.progress.advance()
    job.progress.finish()


def _step(job: Job, name: str, statement: Callable[[], Statement], known: Set[str]) -> Iterator[Step]:
    path = (job.to or job.gallery) / name
    where = printable(str(path))
    try:
        said = statement()
        if not said.cars and not os.path.isfile(path):  # whatever is there, nothing of ours is in it
            return
        if leads_out(job.to or job.gallery, name, to_write=True):
            why = f"{LEADS_OUT}; move it away, and export again"
            yield Remark(f"{where}: left as it is: {why}", is_failure=bool(said.cars))
            return
        before = bytes_at(path, _MOST_BYTES)
        yield Wanted(path, before, merged(before, said, known))
    except PacketError as e:
        yield Remark(f"{where}: left as it is: {e}; mend it or move it away, and export again", is_failure=True)
    except PhotoError as e:
        why = f"the photo cannot be read ({e.detail}), so nobody can tell how its boxes lie; mend that"
        yield Remark(f"{where}: left as it is: {why}, and export again", is_failure=True)
    except ExportError as e:
        yield Remark(_too_long(job, path) or str(e), is_failure=True)


def _too_long(job: Job, path: Path) -> str:
    """What to do about a name that no file can have, where that is what is wrong with it; else an empty text."""
    if len(os.fsencode(path.name)) <= _LONGEST_NAME:
        return ""
    stem = "--naming stem needs four bytes less, or rename the photo" if job.naming == "ext" else "rename the photo"
    return f"{printable(str(path))}: the name is longer than the {_LONGEST_NAME} bytes that a file's may have; {stem}"


def _statement(photo: Photo, job: Job) -> Statement:
    if not photo.tags:
        return NOTHING
    sha256 = photo.record.sha256
    return Statement(
        cars=tuple(ScoredCar(tag.car, tag.name, f"{tag.score:.4f}", tag.source) for tag in photo.tags),
        outcome=photo.record.outcome,
        model=job.index.header.model.name,
        keywords=keywords_of(photo, job, or_upright=False),  # regions that are right stay as they are
        photo="" if sha256 is UNSET else sha256,
    )


def _shared_stems(job: Job) -> dict[str, list[Photo]]:
    """Photos of one folder whose names differ in the extension alone: one sidecar cannot speak for both."""
    by_stem: defaultdict[str, list[Photo]] = defaultdict(list)
    for photo in job.photos:
        by_stem[_key(photo)].append(photo)
    return {stem: photos for stem, photos in by_stem.items() if len(photos) > 1}


def _key(photo: Photo) -> str:
    return _stem(photo.disk).casefold()  # some file systems hold Img.xmp and IMG.xmp to be the same


def _stem(disk: str) -> str:
    return os.path.splitext(disk)[0] + EXTENSION


def _ext(disk: str) -> str:
    return disk + EXTENSION
