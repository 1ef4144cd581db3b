"""The index of a gallery, whichever kind it is: one file, or a folder of shards, here or on object storage.

Whoever reads or writes an index asks here, and gets the same values of either.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec
from msgspec import UNSET

from cartag.errors import IndexFileError
from cartag.paths import as_typed, parts_of
from cartag.settings import cache_folder, load_settings
from cartag.state import index as files, place as places
from cartag.state.index import Index, Stamp, TagIndex
from cartag.state.place import FILE_NAME, STATE_FOLDER, Place
from cartag.state.tally import Tally, tally_of
from cartag.values import IndexHeader, PhotoRecord, PhotoTags, is_settled_by_human

if TYPE_CHECKING:
    from cartag.state.shards.columns import Looks
    from cartag.state.shards.folder import ShardFolder
    from cartag.state.shards.sharded import ShardedIndex
    from cartag.state.store import Store


def place_of(gallery: Path, index: Path | str | None = None) -> Place:
    """``GALLERY/cartag.json`` with its state in ``GALLERY/.cartag``, or ``index`` with its state beside it.

    ``index`` is a file, a folder, or a URI; the state of one on object storage lies in the user's cache.

    Raises:
        IndexFileError: it is no URI, though it looks like one.
    """
    uri = str(index)
    if index is None or "://" not in uri:
        return places.place_of(gallery, index)
    parts = parts_of(uri, IndexFileError)
    if parts.scheme == "file":
        return places.place_of(gallery, unquote(parts.path))
    folder = (cache_folder() or Path.home() / ".cartag") / "indexes" / hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Place(folder / FILE_NAME, folder / STATE_FOLDER, uri.rstrip("/"))


def has_shards(place: Place) -> bool:
    """Whether a folder of shards may lie there. Of a folder that may not be looked into, whoever reads says why."""
    try:
        return (place.index.parent / "shards").is_dir()
    except OSError:
        return False


def shards_at(place: Place) -> ShardFolder | None:
    """The folder of shards that lies there; None: a single file does, or nothing yet.

    Raises:
        IndexFileError: what lies there is no index of shards, and cannot be another on object storage.
    """
    if place.uri is None and not (has_shards(place) and _is_header(place.index)):
        return None
    from cartag.state.shards.folder import shard_folder

    return shard_folder(place.index.parent if place.uri is None else place.uri)


def tag_as_typed(gallery: Path | str, *options: str, index: Path | str | None = None, anew: bool = False) -> str:
    """The `tag` that goes on with this index, as it has to be typed.

    ``anew``: what it scores by is another since. A file is scored again then; of shards everything is done again, and
    that has to be said.
    """
    place = place_of(Path(gallery), index)
    if place.uri is not None or (has_shards(place) and _is_header(place.index)):
        options = (*options, "--engine", "ray", *(("--retag",) if anew and "--retag" not in options else ()))
        index = place.uri or place.index.parent
    return as_typed("tag", gallery, *options, index=index)


def lacks_shards(place: Place) -> bool:
    """Whether a header of a folder of shards lies there, and the folder ``shards`` does not."""
    return place.uri is None and not (place.index.parent / "shards").is_dir() and _is_header(place.index)


def lacks_header(place: Place) -> bool:
    """Whether shards lie there without the header that makes an index of them."""
    if place.uri is not None or os.path.lexists(place.index) or not any((place.index.parent / "shards").glob("*.json")):
        return False  # a photo folder named "shards" needs no extra
    from cartag.state.shards.folder import shard_folder
    from cartag.state.shards.inspecting import read_done_files

    return bool(read_done_files(shard_folder(place.index.parent)).whole)


class _Kind(msgspec.Struct):
    shards: msgspec.Raw | msgspec.UnsetType = UNSET
    photos: msgspec.Raw | msgspec.UnsetType = UNSET


def _is_header(path: Path) -> bool:
    """Whether a file is the header of a folder of shards; a photo folder named "shards" makes none of it."""
    if path.name != FILE_NAME:
        return False
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        kind = msgspec.json.decode(path.read_bytes(), type=_Kind)
        return kind.shards is not UNSET and kind.photos is UNSET
    return False


# --- reading ----------------------------------------------------------------------------------------------------


def read_index(gallery: Path | str, index: Path | str | None = None) -> Index:
    """Reads the index of a gallery, the whole of it.

    Raises:
        GalleryError: the gallery is not there.
        IndexFileError: there is no index, or it is damaged or of a newer schema.
    """
    sharded = _sharded(gallery, index)
    return files.read_index(gallery, _local(index)) if sharded is None else sharded.whole()


def load(gallery: Path | str, index: Path | str | None = None) -> Index:
    """Reads the index of a gallery, the whole of it.

    Args:
        gallery: the folder of photos, tagged before.
        index: where its index lies; None: where the settings have it, else in the gallery.

    Raises:
        GalleryError: the gallery is not there.
        IndexFileError: there is no index, or it is damaged or of a newer schema.
        SettingsError: see `cartag.errors`.
    """
    return read_index(gallery, load_settings({"index": index}).index)


def read_index_if_there(place: Place) -> Index | None:
    """Like `read_index`, but None when there is no index yet."""
    sharded = _opened(place)
    if sharded is not None:
        return sharded.whole()
    return None if place.uri is not None else files.read_index_if_there(place)


def read_tags(gallery: Path | str, index: Path | str | None = None) -> TagIndex[PhotoTags]:
    """Reads of the index of a gallery only which photos show which cars: of a single file, four times as fast.

    Raises:
        GalleryError, IndexFileError: as `read_index`.
    """
    sharded = _sharded(gallery, index)
    if sharded is None:
        return files.read_tags(gallery, _local(index))
    return TagIndex(sharded.header, tuple(sharded.all_tags()), sharded.path)


@dataclass(frozen=True)
class Counted:
    """An index in figures, and its header."""

    header: IndexHeader
    tally: Tally
    where: str


def read_tally(gallery: Path | str, index: Path | str | None, key: Callable[[str], str]) -> Counted:
    """Counts what an index says; cars that are none of the catalog's are grouped by ``key`` of their names.

    Raises:
        GalleryError, IndexFileError: as `read_index`.
    """
    sharded = _sharded(gallery, index)
    if sharded is None:
        found = files.read_outcomes(gallery, _local(index))
        return Counted(found.header, tally_of(found, key), str(found.path))
    place = place_of(Path(gallery), index)
    return Counted(sharded.header, sharded.tally(key), place.uri or str(place.index))


def open_index(
    gallery: Path | str, index: Path | str | None = None, *, whole: bool
) -> Index | TagIndex[PhotoTags] | ShardedIndex:
    """What a query reads: ``asked`` of it are the photos in question. Of a single file that is read now, all of them.

    Args:
        gallery: the folder of photos.
        index: where its index lies, if not in the gallery.
        whole: whether more than tags is asked for.

    Raises:
        GalleryError, IndexFileError: as `read_index`.
    """
    sharded = _sharded(gallery, index)
    if sharded is not None:
        return sharded
    return files.read_index(gallery, _local(index)) if whole else files.read_tags(gallery, _local(index))


def _sharded(gallery: Path | str, index: Path | str | None) -> ShardedIndex | None:
    """The index of a gallery, where it is a folder of shards."""
    if index is None and not os.path.isdir(gallery):
        return None  # whoever reads the file says so
    place = place_of(Path(gallery), index)
    sharded = _opened(place)
    if sharded is None and place.uri is not None:
        tag = tag_as_typed(gallery, index=place.uri)
        raise IndexFileError(f"{place.uri}: no index there; make one with {tag}")
    return sharded


def _opened(place: Place) -> ShardedIndex | None:
    folder = shards_at(place)
    if folder is None:
        return None
    from cartag.state.shards.sharded import open_sharded

    return open_sharded(folder, place.index)


def _local(index: Path | str | None) -> Path | str | None:
    """A path, of a URI of this machine too."""
    return place_of(Path(), index).index if index is not None and "://" in str(index) else index


def with_foreign_fields(index: Index) -> Index:
    """The same index with the fields that this version does not know, to be written back by `write_index`.

    Raises:
        IndexFileError: these fields are damaged.
    """
    return index if index.shards is not None else files.with_foreign_fields(index)


def stamp_of(place: Place) -> Stamp | None:
    """Another stamp, another content; None when there is no index."""
    folder = shards_at(place)
    if folder is None:
        return None if place.uri is not None else files.stamp_of(place)
    names = [*folder.names("shards"), *folder.names("said")]
    data = "\0".join(names).encode() + (folder.read_if_there(FILE_NAME) or b"")
    return len(names), zlib.crc32(data), len(data)


# --- writing ----------------------------------------------------------------------------------------------------


def write_index(index: Index) -> None:
    """Replaces the index; into a folder of shards goes what people say, and the header: shards are what a run writes.

    Raises:
        IndexFileError: it cannot be written, or a single file would take the place of a folder of shards.
    """
    if index.shards is not None:
        return _write_said(index, index.shards)
    if has_shards(Place(index.path, index.path.parent / STATE_FOLDER)) and _is_header(index.path):
        raise IndexFileError(
            f"{index.path}: is the index of a folder of shards; 'cartag tag --engine ray' goes on with it, "
            "'cartag merge' makes one file of it"
        )
    return files.write_index(index)


def _write_said(index: Index, folder: ShardFolder) -> None:
    from cartag.state.shards.said import read_said, write_said
    from cartag.state.shards.shards import plain_header, read_header, write_header

    before = read_said(folder).records
    changed = {
        record.path: record for record in index if _is_hers(record, before) and before.get(record.path) != record
    }
    write_said(folder, changed, sorted(before.keys() - index.photos.keys()), index.foreign)
    header = read_header(folder)
    if header is not None and plain_header(header) != index.header:
        embeddings = header.shards.embeddings
        write_header(folder, index.header, embeddings=embeddings, foreign=index.foreign.header)


def _is_hers(record: PhotoRecord, before: Iterable[str]) -> bool:
    """Whether a record lies over that of the shards: a person said something, or took back what she had said."""
    return record.path in before or record.confirmed is not UNSET or is_settled_by_human(record)


# --- embeddings -------------------------------------------------------------------------------------------------


def open_store(place: Place, identity: str) -> Store:
    """The embeddings of the index's photos, and a cache for texts; those of a folder of shards come out of it.

    Raises:
        sqlite3.OperationalError: the cache cannot be opened for writing.
    """
    from cartag.state.store import Store

    sharded = _opened(place)
    if sharded is None:
        return Store(place.state, identity)
    from cartag.state.shards.store import ShardStore

    place.state.mkdir(parents=True, exist_ok=True)
    return ShardStore(place.state, identity, sharded)


def all_looks(place: Place) -> Iterator[dict[str, Looks]]:
    """All embeddings of a folder of shards, by content, those of some thousand photos at a time."""
    sharded = _opened(place)
    return iter(()) if sharded is None else sharded.all_looks()
