"""CSV and JSON Lines: flat rows that a spreadsheet, a database or a script reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from cartag.exporting.job import CarTag, Job, Photo
from cartag.exporting.places import places_of

COLUMNS = (
    *("path", "outcome", "car", "name", "make", "score", "source"),
    *("box_x", "box_y", "box_width", "box_height"),
    *("width", "height", "sha256", "error", "path_on_disk"),
    "regions",
)


def csv_text(job: Job) -> bytes:
    """One row a tag, and one for a photo without; UTF-8 as RFC 4180 has it, a name with a line break in quotes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for photo in job.photos:
        writer.writerows(_rows(photo))
    return text.getvalue().encode("utf-8")


def _rows(photo: Photo) -> Iterator[dict[str, Any]]:
    common = _facts(photo) | {"regions": _cell(photo)}
    for tag in photo.tags:
        box = dict(zip(("box_x", "box_y", "box_width", "box_height"), tag.box or (), strict=False))
        yield common | {key: _tag(tag)[key] for key in ("car", "name", "make", "score", "source")} | box
    if not photo.tags:
        yield common


def _cell(photo: Photo) -> str:
    """Every box that holds a car, in one cell: ``x y width height car|car`` or ``unknown``, between them semicolons."""
    return "; ".join(
        f"{' '.join(map(str, place.box))} {'|'.join(tag.car for tag in place.tags) or 'unknown'}"
        for place in places_of(photo)
    )


def json_lines(job: Job) -> bytes:
    """One object a photo, its tags and candidates inside, with names, and its regions as the index has them."""
    names = {car.id: car.name for car in job.cars}
    return b"".join(msgspec.json.encode(_object(photo, names)) + b"\n" for photo in job.photos)


def _object(photo: Photo, names: dict[str, str]) -> dict[str, Any]:
    candidates = [
        {"car": c.car, "name": names.get(c.car, c.car), "score": c.score} for c in photo.record.candidates
    ]  # of a car that is in no catalog any more, the id is all there is
    whole = _facts(photo) | {"tags": [_tag(tag) for tag in photo.tags], "candidates": candidates}
    regions = photo.record.regions
    return whole if regions is UNSET else whole | {"regions": regions}


def _facts(photo: Photo) -> dict[str, Any]:
    r = photo.record
    facts = {
        "path": r.path,
        "outcome": r.outcome,
        "width": r.width,
        "height": r.height,
        "sha256": r.sha256,
        "error": UNSET if r.error is UNSET else r.error.reason,
        "path_on_disk": r.path_on_disk,
    }
    return {key: value for key, value in facts.items() if value is not UNSET}


def _tag(tag: CarTag) -> dict[str, Any]:
    row = {"car": tag.car, "name": tag.name, "make": tag.make, "score": tag.score, "source": tag.source}
    return row if tag.box is None else row | {"box": tag.box}
