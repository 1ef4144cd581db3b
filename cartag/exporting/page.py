"""A gallery page: one folder with a page and thumbnails, to look at and to send on; it loads nothing from elsewhere."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from cartag import images, pages
from cartag.errors import ExportError, PhotoError, UsageError
from cartag.exporting.job import Job, Photo, Remark, Step, Wanted, bytes_at
from cartag.photos import is_raw, printable
from cartag.settings import usable_cores
from cartag.values import ERROR_REASONS

THUMBS, COPIES = "thumbs", "photos"
THUMB_SIDE, COPY_SIDE = 400, 1600
_AT_ONCE = 64
_OWN_NAME = re.compile(r"[0-9a-f]{16}\.jpg")
_NO_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def check(job: Job) -> None:
    """A page needs a folder of its own; inside the gallery, the next `tag` would take its thumbnails for photos.

    Raises:
        UsageError: no folder was named, or one inside the gallery.
    """
    if job.to is None:
        raise UsageError("--as html needs a folder for the page and its thumbnails: name it with --to DIR")
    to, gallery = job.to.resolve(), job.gallery.resolve()
    inside = to.relative_to(gallery).parts if to.is_relative_to(gallery) else None
    if inside is not None and not any(part.startswith(".") for part in inside):
        raise UsageError(
            f"--to {job.to}: lies in the gallery, where its thumbnails would be photos; name another folder"
        )


def files(job: Job) -> Iterator[Step]:
    """The page, a thumbnail a photo, and with the setting `html_photos: copy` a larger picture of each."""
    to = job.to
    if to is None:
        raise UsageError("--as html needs --to DIR")
    sizes = {THUMBS: THUMB_SIDE} | ({COPIES: COPY_SIDE} if job.settings.html_photos == "copy" else {})
    yield from _pictures(job, to, sizes)
    for folder in (THUMBS, COPIES):
        yield from _left_over(to / folder, {_file_name(p) for p in job.photos} if folder in sizes else set())
    page = to / "index.html"
    yield Wanted(page, bytes_at(page), _page(job, to), is_text=False)


# --- pictures ---------------------------------------------------------------------------------------------------


def _file_name(photo: Photo) -> str | None:
    """Of the photo's content: a photo that changes gets another picture, one that moves keeps its own."""
    r = photo.record
    return None if r.sha256 is UNSET or r.outcome == "error" or r.error is not UNSET else f"{r.sha256[:16]}.jpg"


def _pictures(job: Job, to: Path, sizes: dict[str, int]) -> Iterator[Step]:
    """The pictures that are missing, made in threads, a bounded number ahead."""
    wanted: dict[Path, tuple[Photo, int]] = {}
    for photo in job.photos:
        if name := _file_name(photo):
            wanted |= {to / folder / name: (photo, side) for folder, side in sizes.items()}
    missing = [path for path in wanted if not path.exists()]
    absent = set(missing)
    yield from (Wanted.kept(path) for path in wanted if path not in absent)
    if job.dry_run:
        yield from (Wanted(path, None, b"", is_text=False) for path in missing)
        return
    unreadable: list[str] = []

    def picture(path: Path) -> Wanted | str:
        photo, side = wanted[path]
        try:
            data = images.read_bytes(job.gallery / photo.disk)
            return Wanted(
                path, None, images.jpeg(data, side, job.settings.max_pixels, raw=is_raw(photo.disk)), is_text=False
            )
        except PhotoError as e:
            return f"{photo.record.path} ({e.detail})"

    job.progress.start("pictures", len(missing))
    with ThreadPoolExecutor(job.settings.decode_threads or usable_cores()) as pool:
        for start in range(0, len(missing), _AT_ONCE):
            for made in pool.map(picture, missing[start : start + _AT_ONCE]):
                if isinstance(made, str):
                    unreadable.append(made)
                else:
                    yield made
                job.progress.advance()
    job.progress.finish()
    if unreadable:
        yield Remark(f"{len(unreadable)} picture(s) could not be made, the first of {unreadable[0]}", is_failure=True)


def _left_over(folder: Path, wanted: set[str | None]) -> Iterator[Step]:
    """Pictures of an earlier export that no photo has any more. Files that others put there are none of ours."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as e:
        raise ExportError(f"{printable(str(folder))}: cannot be listed ({e.strerror})") from e
    for name in names:
        if _OWN_NAME.fullmatch(name) and name not in wanted:
            yield Wanted(folder / name, b"", None, is_text=False)


# --- the page ---------------------------------------------------------------------------------------------------


def _page(job: Job, to: Path) -> bytes:
    values = {"title": html.escape(_title(job)), "data": _json(_data(job, to))}
    return pages.one_page("gallery.html", values).encode("utf-8")


def _title(job: Job) -> str:
    return printable(job.gallery.resolve().name) or "Photos"


def _json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it looks like a tag."""
    return msgspec.json.encode(value).decode().translate(_NO_HTML)


def _data(job: Job, to: Path) -> dict[str, Any]:
    cars = {car.id: {"id": car.id, "name": car.name, "make": car.make} for car in job.cars}
    for photo in job.photos:  # a car of an earlier catalog is known by its id
        for car in (*(t.car for t in photo.tags), *(c.car for c in photo.record.candidates)):
            cars.setdefault(car, {"id": car, "name": car, "make": ""})
    number = {car: i for i, car in enumerate(cars)}
    header = job.index.header
    return {
        "model": header.model.name,
        "catalog": header.catalog.name,
        "updated": header.updated,
        "cars": list(cars.values()),
        "photos": [_photo(photo, number, job, to) for photo in job.photos],
    }


def _photo(photo: Photo, number: dict[str, int], job: Job, to: Path) -> dict[str, Any]:
    r, name = photo.record, _file_name(photo)
    candidates = [{"car": number[c.car], "score": c.score} for c in r.candidates[:2] if c.score >= 0.01]
    fields = {
        "path": photo.name,
        "outcome": r.outcome,
        "thumb": name and f"{THUMBS}/{name}",
        "photo": _link(photo, name, job, to),
        "width": None if photo.size is None else photo.size[0],
        "height": None if photo.size is None else photo.size[1],
        "error": None if r.error is UNSET else ERROR_REASONS.get(r.error.reason, r.error.reason),
        "tags": [_tag(tag.score, tag.source, tag.box, number[tag.car]) for tag in photo.tags],
        "candidates": candidates if not photo.tags else [],
    }
    return {key: value for key, value in fields.items() if value is not None}


def _tag(score: float, source: str, box: tuple[float, ...] | None, car: int) -> dict[str, Any]:
    tag: dict[str, Any] = {"car": car, "score": score}
    if source == "human":
        tag |= {"human": True, "score": 1.0}
    return tag if box is None else tag | {"box": box}


def _link(photo: Photo, name: str | None, job: Job, to: Path) -> str | None:
    """Where the page finds the photo itself: where it lies, as a copy, or not at all."""
    if job.settings.html_photos == "copy":
        return name and f"{COPIES}/{name}"
    if job.settings.html_photos == "none":
        return None
    try:
        relative = os.path.relpath(job.gallery.resolve() / photo.disk, to.resolve())
    except ValueError:  # on another drive
        return None
    return quote(os.fsencode(relative.replace(os.sep, "/")))
