"""Where photos lie: a folder of this machine, or a bucket of object storage. Listed folder by folder, read one by one.

Both are walked by the same rules. On object storage a folder is what stands between two slashes of a key; a file's time
is the store's own, so that no clock but the store's counts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cartag.errors import GalleryError, PhotoError
from cartag.paths import is_below, object_storage, place_of, store_said, why_not_reached
from cartag.photos import images
from cartag.photos.walking import Entry
from cartag.values import PhotoFile

NO_NAME = ""
"""Of what lies below a key with an empty part (``a//b.jpg``): that is no path, so it can be no photo's identity."""

_PAGE = 1000  # keys: the most that S3 and Google Cloud Storage give at once


@dataclass(frozen=True)
class Source:
    """A gallery by its path or URI. Plain values: another process makes the same of it."""

    uri: str
    """As a person wrote it: a path, ``file://``, ``s3://``, ``gs://`` ..."""
    local: Path | None
    """Its folder, where it is one of this machine."""

    @property
    def name(self) -> str:
        """The gallery's own name, for patterns that ask for it."""
        if self.local is not None:
            return os.path.basename(os.path.realpath(self.local))
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def entries(self, folder: str) -> Iterable[Entry]:
        """What lies right in a folder, by its path in the gallery, sorted by name.

        Raises:
            OSError: it cannot be listed.
            GalleryError: the gallery as a whole cannot.
        """
        if self.local is not None:
            return sorted(os.scandir(self.local / folder), key=lambda entry: entry.name)
        return sorted(self._objects(folder), key=lambda entry: entry.name)

    def read(self, photo: PhotoFile, max_megabytes: int) -> bytes:
        """The bytes of a photo; of an object in one request, so that all of them are of one version.

        Raises:
            PhotoError: as `images.read_bytes`.
        """
        if self.local is not None:
            return images.read_bytes(self.local / photo.disk_path, max_megabytes)
        if photo.size > max_megabytes * 2**20:
            raise PhotoError("too-large", f"more than {max_megabytes} MiB (settings: max_megabytes)")
        try:
            fs, root = self._remote()
            data: bytes = fs.cat_file(f"{root}/{photo.disk_path}")
        except FileNotFoundError as e:
            raise PhotoError("vanished", "the object is no longer there") from e
        except MemoryError as e:
            raise PhotoError("too-large", "reading it needs more memory than there is") from e
        except Exception as e:  # clients of object storage raise errors of several libraries
            raise PhotoError("unreadable", store_said(e)) from e
        if not data:
            raise PhotoError("empty", "the object has no bytes")
        return data

    def check(self) -> None:
        """Whether it is there and can be listed.

        Raises:
            GalleryError: it is not, with the reason.
        """
        if self.local is None:
            next(iter(self._objects("")), None)
        elif not os.path.isdir(self.local):
            what = "not a folder" if os.path.exists(self.local) else "no such folder"
            raise GalleryError(f"{self.uri}: {what}; give the folder that holds the photos")

    def _objects(self, folder: str) -> Iterator[_Object]:
        """Of a prefix page by page, where the store can: a page is a list of dicts, a hundred times as large."""
        with self._telling():
            fs, root = self._remote()
            prefix = f"{root}/{folder}" if folder else root
            for page in _pages(fs, prefix):
                for found in page:
                    name = found["name"].removeprefix(f"{prefix}/").removesuffix("/")
                    is_marker = not name and found["type"] == "file"  # what stands for the folder itself
                    if not is_marker:
                        yield _object(name if is_below(name) else NO_NAME, found)

    def _remote(self) -> tuple[Any, str]:
        """The file system, and the gallery's place on it."""
        return object_storage(self.uri, GalleryError, use_listings_cache=False)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except GalleryError:
            raise
        except FileNotFoundError as e:
            raise GalleryError(f"{self.uri}: no such bucket or folder; check its name") from e
        except Exception as e:
            raise GalleryError(f"{self.uri}: {why_not_reached(e, 'listed')}") from e


def source_of(where: Path | str) -> Source:
    """A gallery by its path or URI; nothing is opened yet.

    Raises:
        GalleryError: it is a URI of another machine.
    """
    return Source(*place_of(where, GalleryError))


@dataclass(frozen=True, slots=True)
class _Object:
    """An object, or a prefix, as a folder's entry."""

    name: str
    size: int
    mtime_ns: int
    is_prefix: bool
    etag: str = field(default="")

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.is_prefix

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return not self.is_prefix

    def is_symlink(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        seconds = self.mtime_ns // 10**9
        plain = (stat.S_IFREG, 0, 0, 0, 0, 0, self.size, seconds, seconds, seconds)
        return os.stat_result(plain, {"st_mtime_ns": self.mtime_ns})


def etag_of(entry: Entry) -> str:
    """What the store calls an entry's content; empty for a file of this machine."""
    return entry.etag if isinstance(entry, _Object) else ""


def _object(name: str, found: dict[str, Any]) -> _Object:
    when = found.get("LastModified") or found.get("mtime") or found.get("updated") or found.get("created")
    if isinstance(when, str):
        when = datetime.fromisoformat(when.replace("Z", "+00:00"))
    whole = when if isinstance(when, datetime) else None
    ns = 0 if whole is None else int(whole.timestamp()) * 10**9 + whole.microsecond * 1000
    etag = str(found.get("ETag") or found.get("etag") or "").strip('"')
    return _Object(name, int(found.get("size") or 0), ns, found["type"] == "directory", etag)


def _pages(fs: Any, prefix: str) -> Iterator[list[dict[str, Any]]]:
    """What lies right below a prefix. S3's and Google's pages as they come; of others what fsspec lists, as one."""
    bucket, _, key = prefix.partition("/")
    below = f"{key}/" if key else ""
    if hasattr(fs, "call_s3"):
        yield from _s3_pages(fs, bucket, below)
    elif "gs" in fs.protocol:
        yield from _gs_pages(fs, bucket, below)
    else:
        yield fs.ls(prefix, detail=True)


def _s3_pages(fs: Any, bucket: str, below: str) -> Iterator[list[dict[str, Any]]]:
    asked = {"Bucket": bucket, "Prefix": below, "Delimiter": "/", "MaxKeys": _PAGE}
    while True:
        said = fs.call_s3("list_objects_v2", **asked)
        yield [
            *({"name": f"{bucket}/{of['Prefix']}", "type": "directory"} for of in said.get("CommonPrefixes", ())),
            *(
                {**of, "name": f"{bucket}/{of['Key']}", "size": of["Size"], "type": "file"}
                for of in said.get("Contents", ())
            ),
        ]
        if not said.get("IsTruncated"):
            return
        asked["ContinuationToken"] = said["NextContinuationToken"]


def _gs_pages(fs: Any, bucket: str, below: str) -> Iterator[list[dict[str, Any]]]:
    """Time and etag are those of a generation, the bytes: Google's own change when only the storage class does."""
    asked = {"prefix": below or None, "delimiter": "/", "maxResults": _PAGE}
    while True:
        said = fs.call("GET", "b/{}/o", bucket, json_out=True, **asked)
        yield [
            *({"name": f"{bucket}/{prefix}", "type": "directory"} for prefix in said.get("prefixes", ())),
            *(
                {
                    "name": f"{bucket}/{of['name']}",
                    "type": "file",
                    "size": of["size"],
                    "created": of["timeCreated"],
                    "etag": of["generation"],
                }
                for of in said.get("items", ())
            ),
        ]
        if not (token := said.get("nextPageToken")):
            return
        asked["pageToken"] = token
