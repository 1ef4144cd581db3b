"""XMP sidecars: which file belongs to which photo, and what it shall say."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

from cartag.exporting.job import Job, Photo, Remark, Step, Wanted, bytes_at
from cartag.exporting.keywords import keywords_of
from cartag.exporting.packet import NOTHING, ScoredCar, Statement, merged
from cartag.exporting.rdf import PacketError
from cartag.paths import LEADS_OUT, leads_out
from cartag.photos import printable

EXTENSION = ".xmp"


def files(job: Job) -> Iterator[Step]:
    """A sidecar for every photo with tags; from the sidecars of the others, what cartag wrote is taken out.

    A photo that could not be read and has no tags is left as it is: nothing is known of it.
    """
    shared = _shared_stems(job) if job.naming == "stem" else {}
    for photos in shared.values():
        names = " and ".join(photo.name for photo in photos)
        yield Remark(f"{names}: share a stem; each gets a sidecar with its whole name ({_ext(photos[0].name)})")
        yield from _step(job, _stem(photos[0].disk), NOTHING)
    job.progress.start("sidecars", len(job.photos))
    for photo in job.photos:
        if photo.tags or photo.record.outcome != "error":
            own_stem = job.naming == "stem" and _key(photo) not in shared
            name = _stem(photo.disk) if own_stem else _ext(photo.disk)
            yield from _step(job, name, _statement(photo, job))
        job.progress.advance()
    job.progress.finish()


def _step(job: Job, name: str, said: Statement) -> Iterator[Step]:
    path = (job.to or job.gallery) / name
    if leads_out(job.to or job.gallery, name, to_write=True):
        yield Remark(f"{printable(str(path))}: left as it is: {LEADS_OUT}", is_failure=bool(said.cars))
        return
    before = bytes_at(path)
    if before is None and not said.cars:
        return
    try:
        yield Wanted(path, before, merged(before, said))
    except PacketError as e:
        yield Remark(f"{printable(str(path))}: left as it is: {e}", is_failure=True)


def _statement(photo: Photo, job: Job) -> Statement:
    if not photo.tags:
        return NOTHING
    return Statement(
        cars=tuple(ScoredCar(tag.car, tag.name, f"{tag.score:.4f}", tag.source) for tag in photo.tags),
        outcome=photo.record.outcome,
        model=job.index.header.model.name,
        keywords=keywords_of(photo, job),
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
