"""The index `cartag.json`: reading it whole, checking it, writing it atomically, and its JSON Schema."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import lt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET

from cartag import paths
from cartag.errors import GalleryError, IndexFileError
from cartag.state import rights
from cartag.state.place import STATE_FOLDER, Place, gallery_above, place_of
from cartag.values import OUTCOMES, IndexFile, IndexHeader, PhotoOutcomes, PhotoRecord, PhotoTags, Tag

if TYPE_CHECKING:
    from cartag.state.shards.folder import ShardFolder

SCHEMA_VERSION = 1
SCHEMA_ID = "urn:cartag:schema:index:1"

_HEADER_FIELDS = {f.encode_name for f in msgspec.structs.fields(IndexHeader)} | {"photos"}
_RECORD_FIELDS = {f.encode_name for f in msgspec.structs.fields(PhotoRecord)}
_TAG_FIELDS = {f.encode_name for f in msgspec.structs.fields(Tag)}
_HEADER_PARTS = ("model", "catalog")


@dataclass(frozen=True)
class Foreign:
    """Fields that this version does not know: they survive a rewrite where they were."""

    header: Mapping[str, Any] = field(default_factory=dict)
    photos: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By path."""
    tags: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """By path and car; of human tags only, a run makes the others anew."""

    def moved(self, homes: Mapping[str, str | None]) -> Foreign:
        """The same fields, for photos that are at other paths now (old path -> new path; None: nowhere)."""
        if all(old == path for old, path in homes.items()):
            return self
        photos: dict[str, Mapping[str, Any]] = {}
        for old, extra in self.photos.items():
            if (path := homes.get(old, old)) is not None:
                photos[path] = {**photos.get(path, {}), **extra}
        tags = {(path, car): x for (old, car), x in self.tags.items() if (path := homes.get(old, old)) is not None}
        return Foreign(self.header, photos, tags)


@dataclass(frozen=True)
class Index:
    """An index in memory: what `cartag.load` returns."""

    header: IndexHeader
    photos: dict[str, PhotoRecord]
    """By path, sorted."""
    path: Path
    foreign: Foreign = field(default_factory=Foreign)
    shards: ShardFolder | None = None
    """The folder that it was read from, if it is one of shards."""

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[PhotoRecord]:
        return iter(self.photos.values())

    def asked(self, cars: Collection[str], least: float | None, *, whole: bool) -> Iterator[PhotoRecord]:
        """All photos; of an index of shards only those in question (`ShardedIndex.asked`)."""
        return iter(self)

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict a tag (and one for a photo without): ``pandas.DataFrame(index.rows())``."""
        names = {car.id: car.name for car in self.header.catalog.named}
        rows: list[dict[str, Any]] = []
        for record in self:
            photo = {"path": record.path, "outcome": record.outcome}
            for tag in record.tags:
                rows.append(
                    {
                        **photo,
                        "car": tag.car,
                        "name": names.get(tag.car, tag.car),
                        "score": tag.score,
                        "source": tag.source,
                    }
                )
            if not record.tags:
                rows.append({**photo, "car": None, "name": None, "score": None, "source": None})
        return rows


P = TypeVar("P", bound=PhotoTags)


@dataclass(frozen=True)
class TagIndex(Generic[P]):
    """Which photos show which cars, and little else of an index: what `read_tags` and `read_outcomes` return."""

    header: IndexHeader
    photos: tuple[P, ...]
    """In the order of the file."""
    path: Path

    def __iter__(self) -> Iterator[P]:
        return iter(self.photos)

    def asked(self, cars: Collection[str], least: float | None, *, whole: bool) -> Iterator[P]:
        """All photos; of an index of shards only those in question (`ShardedIndex.asked`)."""
        return iter(self.photos)


def outcome_counts(photos: Iterable[PhotoRecord | PhotoTags]) -> dict[str, int]:
    """Photos per outcome, all four of them; photos that are gone do not count."""
    counts = Counter(record.outcome for record in photos if record.missing is UNSET)
    return {outcome: counts[outcome] for outcome in OUTCOMES}


# --- reading ----------------------------------------------------------------------------------------------------


def read_index(gallery: Path | str, index: Path | str | None = None) -> Index:
    """Reads the index of a gallery.

    Raises:
        GalleryError: the gallery is not there.
        IndexFileError: there is no index, or it is damaged or of a newer schema.
    """
    place = _place_to_read(Path(gallery), index)
    return _index(_decode(_bytes(place, Path(gallery)), IndexFile, place.index), place.index)


def read_tags(gallery: Path | str, index: Path | str | None = None) -> TagIndex[PhotoTags]:
    """Reads of the index of a gallery only which photos show which cars: four times as fast.

    Raises:
        GalleryError, IndexFileError: as `read`.
    """
    place = _place_to_read(Path(gallery), index)
    file = _decode(_bytes(place, Path(gallery)), _TagsFile, place.index)
    return TagIndex(_header(file), file.photos, place.index)


def read_outcomes(gallery: Path | str, index: Path | str | None = None) -> TagIndex[PhotoOutcomes]:
    """As `read_tags`, and what the regions of each photo are.

    Raises:
        GalleryError, IndexFileError: as `read`.
    """
    place = _place_to_read(Path(gallery), index)
    file = _decode(_bytes(place, Path(gallery)), _OutcomesFile, place.index)
    return TagIndex(_header(file), file.photos, place.index)


def read_index_if_there(place: Place) -> Index | None:
    """Like `read`, but None when there is no index yet."""
    data = _bytes_if_there(place)
    return None if data is None else _index(_decode(data, IndexFile, place.index), place.index)


def _place_to_read(gallery: Path, index: Path | str | None) -> Place:
    if index is None and not os.path.isdir(gallery):
        raise GalleryError(f"{gallery}: no such folder; give the folder that holds the photos")
    return place_of(gallery, index)


def _bytes(place: Place, gallery: Path) -> bytes:
    data = _bytes_if_there(place)
    if data is None:
        tag = paths.as_typed("tag", gallery, index=place.option(gallery))
        above = gallery_above(gallery) if place.option(gallery) is None else None
        hint = "" if above is None else f", or name {above}, whose index holds this folder's photos too"
        raise IndexFileError(f"{place.index}: no index there; make one with {tag}{hint}")
    return data


def _bytes_if_there(place: Place) -> bytes | None:
    try:
        return place.index.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise IndexFileError(f"{place.index}: cannot be read ({e.strerror})") from e


Stamp = tuple[int, int, int]
"""Inode, mtime in ns and size of an index file: another stamp, another content."""


def stamp_of(place: Place) -> Stamp | None:
    """The index file's stamp; None when there is none."""
    try:
        stat = place.index.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


class _Version(msgspec.Struct):
    schema_version: int


class _TagsFile(IndexHeader, frozen=True, kw_only=True):
    photos: tuple[PhotoTags, ...]


class _OutcomesFile(IndexHeader, frozen=True, kw_only=True):
    photos: tuple[PhotoOutcomes, ...]


F = TypeVar("F", IndexFile, _TagsFile, _OutcomesFile)


_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _damaged(path: Path, error: Exception, line: str = "") -> IndexFileError:
    remedy = "mend it by hand, or move it away and run tag again"
    return IndexFileError(f"{path}: damaged index{line}: {error}; {remedy}")


def _decode(data: bytes, kind: type[F], path: Path) -> F:
    """Checks and decodes an index."""
    try:
        try:
            file = msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError:
            _refuse_newer(msgspec.json.decode(data, type=_Version).schema_version, path)  # whose types may be others
            raise
    except _UNDECODABLE as e:
        raise _damaged(path, e, _line_of(data, str(e))) from e
    _refuse_newer(file.schema_version, path)
    names = [photo.path for photo in file.photos]
    are_sorted = all(map(lt, names, islice(names, 1, None)))  # as `encode` writes them: then none stands twice
    if not are_sorted and len(set(names)) != len(names):
        raise IndexFileError(f"{path}: damaged index: a path stands twice; move it away and run tag again")
    if not paths.are_below(names, _on_disk(file.photos)):
        raise _leading_out(data, file.photos, path)
    return file


def _on_disk(photos: Sequence[PhotoRecord | PhotoTags]) -> Iterator[str]:
    return (photo.path_on_disk for photo in photos if photo.path_on_disk is not UNSET)


def _leading_out(data: bytes, photos: Sequence[PhotoRecord | PhotoTags], path: Path) -> IndexFileError:
    """The whole index is refused: where one record was made to lead elsewhere, the others are no one's word either."""
    number = next(i for i, photo in enumerate(photos) if not paths.are_below([photo.path], _on_disk([photo])))
    photo, line = photos[number], _line_of(data, f"$.photos[{number}]")
    name = photo.path_on_disk if paths.is_below(photo.path) else photo.path
    return IndexFileError(
        f"{path}: damaged index{line}: photo {number + 1}, {name!r}, would lie outside of the gallery; "
        "take it out by hand if you trust the others, or move the index away and run tag again"
    )


class _RawPhotos(msgspec.Struct):
    photos: list[msgspec.Raw]


_BYTE, _PHOTO = re.compile(r"\(byte (\d+)\)"), re.compile(r"\$\.photos\[(\d+)\]")


def _line_of(data: bytes, message: str) -> str:
    """``, line 12`` of what a decoder complains of, by byte or by photo; nothing where it says neither."""
    if found := _BYTE.search(message):
        at = int(found[1])
    elif found := _PHOTO.search(message):
        at = data.index(b'"photos"')
        for photo in msgspec.json.decode(data, type=_RawPhotos).photos[: int(found[1]) + 1]:
            at = data.index(bytes(photo), at)
    else:
        return ""
    line = data.count(b"\n", 0, at) + 1
    return f", line {line}"


def _refuse_newer(version: int, path: Path) -> None:
    if version > SCHEMA_VERSION:
        raise IndexFileError(
            f"{path}: written by a newer cartag (schema {version}, this one knows {SCHEMA_VERSION}); "
            "update cartag, or write elsewhere with --index FILE"
        )


def _header(file: IndexHeader) -> IndexHeader:
    return IndexHeader(**{name: getattr(file, name) for name in IndexHeader.__struct_fields__})


def _index(file: IndexFile, path: Path) -> Index:
    return Index(_header(file), {record.path: record for record in file.photos}, path)


def with_foreign_fields(index: Index) -> Index:
    """The same index with the fields that this version does not know, to be written back by `write`.

    Raises:
        IndexFileError: these fields are damaged, or the file cannot be read any more.
    """
    try:
        data = index.path.read_bytes()
    except OSError as e:
        raise IndexFileError(f"{index.path}: cannot be read ({e.strerror})") from e
    if data == encode(index):
        return index  # as this version writes it: nothing unknown in it, and that is told in a tenth of the time
    try:
        raw = msgspec.json.decode(data)
    except _UNDECODABLE as e:  # what `read` passes over: fields that it does not know
        raise _damaged(index.path, e) from e
    photos, tags = {}, {}
    for photo in raw["photos"]:
        extra, of_tags = unknown_fields(photo)
        if extra:
            photos[photo["path"]] = extra
        tags.update(of_tags)
    return replace(index, foreign=Foreign(unknown_header_fields(raw, index.header), photos, tags))


def unknown_header_fields(raw: Mapping[str, Any], header: IndexHeader) -> dict[str, Any]:
    """The fields of a header, as JSON has it, that this version does not know."""
    found = _unknown(raw, _HEADER_FIELDS)
    for part in _HEADER_PARTS:
        known = {f.encode_name for f in msgspec.structs.fields(type(getattr(header, part)))}
        if extra := _unknown(raw[part], known):
            found[part] = extra
    return found


def header_with_foreign(header: IndexHeader, foreign: Mapping[str, Any]) -> dict[str, Any]:
    """A header, to be encoded: with its fields that this version does not know."""
    raw = cast(dict[str, Any], msgspec.to_builtins(header))
    for key, value in foreign.items():
        raw[key] = {**raw[key], **value} if key in _HEADER_PARTS else value
    return raw


def unknown_fields(photo: Mapping[str, Any]) -> tuple[dict[str, Any], dict[tuple[str, str], dict[str, Any]]]:
    """The fields of a photo, as JSON has it, that this version does not know; and those of its human tags."""
    tags = {}
    for tag in photo.get("tags", ()):
        if tag.get("source") == "human" and (extra := _unknown(tag, _TAG_FIELDS)):
            tags[photo["path"], tag["car"]] = extra
    return _unknown(photo, _RECORD_FIELDS), tags


def _unknown(raw: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in known}


# --- writing ----------------------------------------------------------------------------------------------------


def write_index(index: Index) -> None:
    """Replaces the index file atomically: readers see the old one or the new one, never half of one.

    Raises:
        IndexFileError: the file cannot be written.
    """
    data = encode(index)
    try:
        rights.make_folder(index.path.parent)
        replace_file(index.path, data)
    except OSError as e:
        raise IndexFileError(
            f"{index.path}: cannot be written ({e.strerror}); for a read-only gallery use --index FILE"
        ) from e


def encode(index: Index) -> bytes:
    """The file's bytes: the header indented, then one photo a line, so that diffs stay small."""
    header = header_with_foreign(index.header, index.foreign.header)
    head = msgspec.json.format(msgspec.json.encode(header), indent=2).rstrip()[:-1].rstrip()
    records = [record_with_foreign(index.photos[path], index.foreign) for path in sorted(index.photos)]
    lines = b",\n    ".join(map(msgspec.json.Encoder().encode, records))
    return b"".join((head, b',\n  "photos": [', *((b"\n    ", lines, b"\n  ") if lines else ()), b"]\n}\n"))


def record_with_foreign(record: PhotoRecord, foreign: Foreign) -> PhotoRecord | dict[str, Any]:
    """A record, to be encoded: with its fields that this version does not know."""
    if not foreign.photos and not foreign.tags:
        return record
    raw = cast(dict[str, Any], msgspec.to_builtins(record))
    raw["tags"] = [{**tag, **foreign.tags.get((record.path, tag["car"]), {})} for tag in raw["tags"]]
    return {**raw, **foreign.photos.get(record.path, {})}


def replace_file(path: Path, data: bytes, *, through_links: bool = True, syncs_folder: bool = True) -> None:
    """Writes ``data`` aside, makes it durable, and moves it into place; a link stays a link where ``through_links``.

    On return the new file is on the disk under its name; with ``syncs_folder`` False its bytes are, and the name once
    the caller has called `sync_folder` for the folder (`folder_of`), which many files share. Aside is in the state
    folder, where there is one: what a killed writer leaves there is ours for certain.

    Raises:
        OSError: it cannot be written; what was there stands as it was. If only the folder could not be synced, the new
            file stands, and may be the old one again after a power cut.
    """
    target = path.resolve() if through_links else path.parent.resolve() / path.name
    state = path.parent / STATE_FOLDER
    done = False
    if state.is_dir():
        with contextlib.suppress(OSError):  # it may lie on another file system, or be one's own only to read
            _replace(target, data, state)
            done = True
    if not done:
        _replace(target, data, target.parent)
    if syncs_folder:
        rights.sync_folder(target.parent)


def folder_of(path: Path, *, through_links: bool = True) -> Path:
    """The folder that holds the name of a file that `replace_file` replaces."""
    return (path.resolve() if through_links else path).parent


def _replace(target: Path, data: bytes, aside: Path) -> None:
    handle, temporary = rights.temporary_for(target, aside)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            rights.make_durable(f.fileno())
        rights.take_over(temporary, target)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove_leftovers(place: Place) -> None:
    """Removes what killed writers of the index left in the state folder; only who holds its lock may.

    A living one's would go too. Beside the index nothing is removed: there a name says too little of whose a file is.
    """
    ours = re.compile(rf"\.{re.escape(place.index.resolve().name)}\.[a-z0-9_]+\.tmp")  # no dot: `a.json`, `a.json.b`
    with contextlib.suppress(OSError):
        for name in os.listdir(place.state):
            if ours.fullmatch(name):
                (place.state / name).unlink()


# --- the schema -------------------------------------------------------------------------------------------------


def json_schema() -> dict[str, Any]:
    """The index's JSON Schema (draft 2020-12), generated from the types; shipped as `docs/cartag.schema.json`."""
    (schema,), components = msgspec.json.schema_components([IndexFile], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "cartag index, schema 1",
        **schema,
        "$defs": components,
    }
