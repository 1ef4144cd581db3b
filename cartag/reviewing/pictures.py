"""The pictures of a review page: small ones for the grid, kept in the state folder; large ones, made when asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore

from msgspec import UNSET

from cartag.errors import PhotoError
from cartag.paths import disk_path, leads_out
from cartag.photos import content_hash, is_raw, read_photo, small_jpeg
from cartag.settings import Settings, usable_cores
from cartag.state import Place, temporary_for
from cartag.values import PhotoRecord

SIDES = {"small": 400, "large": 1600, "full": 12_000}
"""Pixels of the longer side; `full` is the photo as it is, to be looked at pixel by pixel."""
THUMBS = "thumbs"
_DANGEROUS = ("crashed", "too-slow")
"""What `tag --isolate` has found of a photo: this process has no cage."""
_NAME = re.compile(r"[0-9a-f]{64}\.jpg")


@dataclass(frozen=True)
class Picture:
    """A JPEG, upright and without metadata."""

    data: bytes
    is_current: bool
    """False: the photo is another than when it was tagged, so that the picture may not be kept by its name."""


class Pictures:
    """Makes pictures of a gallery's photos, a bounded number at once: decoding a camera photo takes 70 MB."""

    def __init__(self, gallery: Path, place: Place, settings: Settings) -> None:
        self._gallery, self._folder, self._settings = gallery, place.state / THUMBS, settings
        self._keeps = not leads_out(place.state, THUMBS, to_write=True)
        """Whether small pictures are kept: not where somebody put a link in the place of their folder."""
        self._turn = BoundedSemaphore(settings.decode_threads or usable_cores())

    def picture(self, record: PhotoRecord, size: str) -> Picture:
        """A picture of a photo in one of `SIDES`.

        Raises:
            PhotoError: it cannot be read, or took a decoder down before.
        """
        if record.error is not UNSET and record.error.reason in _DANGEROUS:
            raise PhotoError(record.error.reason, record.error.detail)
        is_kept = self._keeps and size == "small" and record.sha256 is not UNSET
        kept = self._folder / f"{record.sha256}.jpg" if is_kept else None
        if kept is not None and not kept.is_symlink():
            with suppress(OSError):
                if _is_whole(data := kept.read_bytes()):
                    return Picture(data, True)
        on_disk = None if record.path_on_disk is UNSET else record.path_on_disk
        disk = disk_path(record.path, on_disk)
        with self._turn:
            data = read_photo(self._gallery, disk, self._settings.max_megabytes)
            made = small_jpeg(data, SIDES[size], self._settings.max_pixels, raw=is_raw(disk))
            picture = Picture(made, content_hash(data) == record.sha256)
        if kept is not None and picture.is_current:
            _keep(kept, made)
        return picture

    def forget_others(self, records: Iterable[PhotoRecord]) -> None:
        """Removes small pictures of photos that are gone, or are others now."""
        if not self._keeps:
            return
        wanted = {f"{record.sha256}.jpg" for record in records if record.sha256 is not UNSET}
        with suppress(OSError):
            for name in os.listdir(self._folder):
                if _NAME.fullmatch(name) and name not in wanted:
                    with suppress(OSError):  # one that stays is no reason to keep the others
                        (self._folder / name).unlink()


def is_whole_thumb(path: Path) -> bool:
    """Whether a small picture that was kept is all there: a power cut may leave half of one."""
    try:
        return _is_whole(path.read_bytes())
    except OSError:
        return False


def _is_whole(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")


def _keep(path: Path, data: bytes) -> None:
    """Whole or not at all; a full disk costs the next visitor a little time, nothing else."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = temporary_for(path, path.parent)
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(data)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
