"""A gallery page: one folder with a page and thumbnails, to look at and to send on; it loads nothing from elsewhere."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from cartag import pages
from cartag.errors import PhotoError, UsageError
from cartag.exporting.job import Job, Photo, Remark, Step, Wanted, bytes_at
from cartag.paths import printable
from cartag.photos import check_holds_no_photo, check_is_no_gallery, is_gallery, is_raw, small_jpeg
from cartag.settings import usable_cores
from cartag.state import STATE_FOLDER, Footprint, digest_of
from cartag.values import ERROR_REASONS

PAGE = "index.html"
THUMBS, COPIES = "thumbs", "photos"
THUMB_SIDE, COPY_SIDE = 400, 1600
_AT_ONCE = 64
_TEMPLATE = "gallery.html"
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_PICTURE = re.compile(rf"({THUMBS}|{COPIES})/[0-9a-f]{{16}}\.jpg")
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
_NO_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


class _Shown(msgspec.Struct):
    photos: list[dict[str, Any]]


def check(job: Job) -> None:
    """A page needs a folder of its own, apart from all photos: the next `tag` would take its thumbnails for some.

    Raises:
        UsageError: no folder was named, or one that is, lies in, or would mingle with a gallery.
    """
    if job.to is None:
        raise UsageError("--as html needs a folder for the page and its thumbnails: name it with --to DIR")
    check_is_no_gallery(job.to, job.gallery, "--to")
    to, gallery = job.to.resolve(), job.gallery.resolve()
    around = [folder for folder in to.parents if folder == gallery or is_gallery(folder)]
    for folder in around:
        if to.relative_to(folder).parts[0] == STATE_FOLDER:
            raise UsageError(f"--to {job.to}: is where cartag keeps what it may delete; name another folder")
        if not any(part.startswith(".") for part in to.relative_to(folder).parts):
            raise UsageError(
                f"--to {job.to}: lies in the gallery, where its thumbnails would be photos; name another folder"
            )
    for name in (THUMBS, COPIES):
        if gallery.is_relative_to((to / name).resolve()):
            raise UsageError(
                f"--to {job.to}: the gallery lies where the page has its own pictures, in {name}/; name another folder"
            )


def files(job: Job) -> Iterator[Step]:
    """The page, a thumbnail a photo, and with the setting `html_photos: copy` a larger picture of each.

    Raises:
        ForeignFileError: the folder holds photos, or files in the way that are not cartag's. Nothing was written.
    """
    to, made = job.to, job.made
    if to is None or made is None:
        raise UsageError("--as html needs --to DIR")
    sizes = {THUMBS: THUMB_SIDE} | ({COPIES: COPY_SIDE} if job.settings.html_photos == "copy" else {})
    page = _page(job, to)
    _claim(job, made, sizes, page)
    yield from _pictures(job, made, sizes)
    yield from _left_over(made, {f"{folder}/{_file_name(p)}" for p in job.photos for folder in sizes})
    before = bytes_at(to / PAGE) if os.path.isfile(to / PAGE) else None
    yield Wanted(to / PAGE, before, page, is_text=False)


def _claim(job: Job, made: Footprint, sizes: Collection[str], page: bytes) -> None:
    made.claim(PAGE, digest_of(page), is_page)
    for folder in sizes:
        made.check_way(f"{folder}/{PAGE}")
    if made.is_ours(PAGE, is_page):  # once it is a page's folder, what others put there is left alone
        return
    check_holds_no_photo(made.folder, made.names(), "--to")
    if not made.force:
        for folder in sizes:
            ours = [name.rpartition("/")[2] for name in made.names() if name.startswith(f"{folder}/")]
            remedy = ", or leave them beside the page's with --force"
            check_holds_no_photo(made.folder / folder, ours, "--to", remedy)


def is_page(data: bytes) -> bool:
    """Whether a page is as cartag makes it, to the byte, of whatever photos."""
    text = data.decode("utf-8")
    title, found = _TITLE.search(text), _DATA.search(text)
    if title is None or found is None:
        return False
    try:
        plain = _plain(msgspec.json.decode(found[1], type=_Shown).photos)
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError):  # nothing that we ever wrote
        return False
    return pages.one_page(_TEMPLATE, {"title": title[1], "data": found[1], "plain": plain}) == text


# --- pictures ---------------------------------------------------------------------------------------------------


def _file_name(photo: Photo) -> str | None:
    """Of the photo's content: a photo that changes gets another picture, one that moves keeps its own."""
    r = photo.record
    return None if r.sha256 is UNSET or r.outcome == "error" or r.error is not UNSET else f"{r.sha256[:16]}.jpg"


def _pictures(job: Job, made: Footprint, sizes: Mapping[str, int]) -> Iterator[Step]:
    """The pictures that are missing, made in threads, a bounded number ahead.

    One that is there and not noted is made too, first of all: where the two differ it is somebody else's.
    """
    wanted: dict[str, tuple[Photo, int]] = {}
    for photo in job.photos:
        if name := _file_name(photo):
            wanted |= {f"{folder}/{name}": (photo, side) for folder, side in sizes.items()}
    missing = [name for name in wanted if not os.path.lexists(made.folder / name)]
    absent = set(missing)
    unsure = [name for name in wanted if name not in absent and not made.has(name)]
    shown = _shown(made) if unsure else set()
    for name in wanted:
        if name not in absent and made.has(name):
            path = made.folder / name
            yield (
                Wanted.kept(path)
                if not path.is_dir()
                else Remark(
                    f"{printable(str(path))}: is a folder, where a picture would be; move it away, and export again",
                    True,
                )
            )
    makes = unsure if job.dry_run else [*unsure, *missing]
    job.progress.start("pictures", len(makes))
    unreadable: list[str] = []
    for name, picture in _made(job, {name: wanted[name] for name in makes}):
        path = made.folder / name
        if isinstance(picture, str):
            unreadable.append(picture)
        elif name in absent:
            yield Wanted(path, None, picture, is_text=False)
        else:
            yield _compared(made, name, picture, name in shown)
        job.progress.advance()
    job.progress.finish()
    if job.dry_run:
        yield from (Wanted(made.folder / name, None, b"", is_text=False) for name in missing)
    if unreadable:
        first = f"{len(unreadable)} picture(s) could not be made, the first of {unreadable[0]}"
        yield Remark(first, is_failure=True, count=len(unreadable))


def _made(job: Job, wanted: Mapping[str, tuple[Photo, int]]) -> Iterator[tuple[str, bytes | str]]:
    """Pictures by name, in order; where one cannot be made, why."""

    def picture(name: str) -> bytes | str:
        photo, side = wanted[name]
        try:
            data = job.bytes_of(photo)
            return small_jpeg(data, side, job.settings.max_pixels, raw=is_raw(photo.disk))
        except PhotoError as e:
            return f"{photo.record.path} ({e.detail})"

    names = list(wanted)
    with ThreadPoolExecutor(job.settings.decode_threads or usable_cores()) as pool:
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            yield from zip(some, pool.map(picture, some), strict=True)


def _compared(made: Footprint, name: str, picture: bytes, is_shown: bool) -> Wanted:
    """What becomes of a picture that is there and not noted.

    Raises:
        ForeignFileError: it is somebody else's, and is not to be replaced.
    """
    path = made.folder / name
    if path.is_file() and not path.is_symlink() and path.read_bytes() == picture:
        made.adopt(name, picture)
        return Wanted.kept(path)
    if is_shown:  # our own page of before there were notes says that it is ours; another Pillow may have made it
        return Wanted.kept(path)
    made.claim(name)
    return Wanted(path, b"", picture, is_text=False)


def _shown(made: Footprint) -> set[str]:
    """The pictures that a page of ours shows already."""
    try:
        page = (made.folder / PAGE).read_bytes()
        found = _DATA.search(page.decode("utf-8")) if is_page(page) else None
        photos = msgspec.json.decode(found[1], type=_Shown).photos if found else []
    except (OSError, ValueError, msgspec.DecodeError):
        return set()
    return {str(photo.get(key)) for photo in photos for key in ("thumb", "photo")}


def _left_over(made: Footprint, wanted: Collection[str]) -> Iterator[Step]:
    """Pictures of an earlier export that no photo has any more, by the note; what a person changed since is hers.

    A note that came with a folder from elsewhere may name anything; no export has ever made pictures of other names.
    """
    for name in made.names():
        if _PICTURE.fullmatch(name) and name not in wanted:
            if made.is_ours(name):
                yield Wanted(made.folder / name, b"", None, is_text=False)
            else:
                made.forget(name)


# --- the page ---------------------------------------------------------------------------------------------------


def _page(job: Job, to: Path) -> bytes:
    data = _data(job, to)
    values = {"title": html.escape(_title(job)), "data": _json(data), "plain": _plain(data["photos"])}
    return pages.one_page(_TEMPLATE, values).encode("utf-8")


def _title(job: Job) -> str:
    return printable(job.gallery.resolve().name) or "Photos"


def _json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it looks like a tag."""
    return msgspec.json.encode(value).decode().translate(_NO_HTML)


def _data(job: Job, to: Path) -> dict[str, Any]:
    cars = {car.id: {"id": car.id, "name": car.name, "make": car.make} for car in job.cars}
    for photo in job.photos:  # a car that no catalog had is known by its id
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
        "regions": _regions(photo, job) or None,
        "candidates": candidates if not photo.tags else [],
    }
    return {key: value for key, value in fields.items() if value is not None}


def _tag(score: float, source: str, box: tuple[float, ...] | None, car: int) -> dict[str, Any]:
    tag: dict[str, Any] = {"car": car, "score": score}
    if source == "human":
        tag |= {"human": True, "score": 1.0}
    return tag if box is None else tag | {"box": box}


def _regions(photo: Photo, job: Job) -> list[dict[str, Any]]:
    """The boxes of a photo, largest first, less those that a person deleted, with what stands at each of them."""
    r = photo.record
    names = {car.id: car.name for car in job.cars}
    said = {tag.car for tag in r.tags} if r.confirmed is True else None
    regions = () if r.regions is UNSET else r.regions
    shown: list[dict[str, Any]] = []
    for region in regions:
        is_human = region.source == "human"
        if is_human and region.outcome == "no-car":
            continue
        # Where she settled the photo as a whole, a box is not called by what she says that the photo does not show.
        tags = [tag for tag in region.tags if said is None or tag.car in said]
        name = " + ".join(names.get(tag.car, tag.car) for tag in tags)
        if not tags:
            other = None if is_human or region.other is UNSET else region.other
            name = "no car" if region.outcome == "no-car" else f"{other.name}?" if other else "unknown"
        sure = {"human": True} if is_human else {"score": tags[0].score} if tags else {}
        shown.append({"box": region.box, "name": name} | sure)
    return shown


def _plain(photos: Sequence[Mapping[str, Any]]) -> str:
    """Photos with boxes as they are shown where no script runs: a picture, and a drawing over it that grows with it."""
    return "\n".join(_figure(photo) for photo in photos if photo.get("regions") and photo.get("thumb"))


def _figure(photo: Mapping[str, Any]) -> str:
    regions, path = photo["regions"], html.escape(photo["path"])
    boxes = "".join(
        f'<g tabindex="0" role="img" aria-label="{name}"><rect x="{x}" y="{y}" width="{w}" height="{h}">'
        f"<title>{name}</title></rect></g>"
        for (x, y, w, h), name in ((region["box"], html.escape(region["name"])) for region in regions)
    )
    said = html.escape(", ".join(region["name"] for region in regions))
    return (
        f'<figure><div><img src="{html.escape(photo["thumb"])}" alt="" loading="lazy">'
        f'<svg viewBox="0 0 1 1" preserveAspectRatio="none">{boxes}</svg></div>'
        f"<figcaption><b>{said}</b> {path}</figcaption></figure>"
    )


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
