"""`metadata.jsonl` as the ``imagefolder`` loader of Hugging Face's `datasets` reads it, to train something else."""

from __future__ import annotations

from typing import Any

import msgspec

from cartag.errors import UsageError
from cartag.exporting.job import Job, Photo
from cartag.exporting.places import places_of

FILE_NAME = "metadata.jsonl"


def check(job: Job) -> None:
    """The loader looks for the photos beside the file that names them.

    Raises:
        UsageError: the folder named is not the gallery.
    """
    if job.to is not None and job.to.resolve() != job.gallery.resolve():
        raise UsageError(
            f"--to {job.to}: metadata.jsonl must lie beside the photos it names; write it with --to {job.gallery}, "
            "or leave --to away and put what is printed where a copy of the photos is"
        )


def document(job: Job) -> bytes:
    """One line a photo that was read: its file, one label, all cars, and their boxes in pixels where there are any.

    Photos whose name is not UTF-8 are left out: the loader could not open them.
    """
    rows = [_row(photo) for photo in job.photos if photo.record.outcome != "error" and photo.has_plain_name]
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _row(photo: Photo) -> dict[str, Any]:
    """``label`` is the likeliest car, or ``unknown`` or ``no-car``; every line has the same fields."""
    best = max(photo.tags, key=lambda tag: (tag.source == "human", tag.score), default=None)
    row: dict[str, Any] = {
        "file_name": photo.name,
        "label": photo.record.outcome if best is None else best.car,
        "cars": [tag.car for tag in photo.tags],
        "scores": [tag.score for tag in photo.tags],
        "sources": [tag.source for tag in photo.tags],
    }
    width, height = photo.size or (0, 0)
    places = places_of(photo) if photo.size is not None else ()
    boxed = [(tag.car, place.box) for place in places for tag in place.tags]
    row["objects"] = {
        "bbox": [[round(v * side, 1) for v, side in zip(box, (width, height) * 2, strict=True)] for _, box in boxed],
        "categories": [car for car, _ in boxed],
    }
    return row
