"""Finding the photos of a gallery: a stable walk, and the identity of each file."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import quote_from_bytes

from cartag.errors import GalleryError
from cartag.paths import printable
from cartag.photos.leave_out import LeaveOut
from cartag.photos.raw import EXTRA
from cartag.progress import Progress
from cartag.values import PhotoFile

PHOTO_EXTENSIONS = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif"),
        *(".bmp", ".jp2", ".j2k", ".jpx", ".avif", ".heic", ".heif", ".hif"),
        *(".jif", ".jfi", ".mpo", ".apng", ".jpf", ".j2c", ".jpc", ".avifs"),
    }
)
RAW_EXTENSIONS = frozenset(
    {
        *(".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".dng", ".raf", ".orf", ".rw2", ".rwl"),
        *(".pef", ".srw", ".3fr", ".fff", ".iiq", ".mos", ".mef", ".mrw", ".erf", ".kdc", ".dcr", ".x3f"),
    }
)
UNREADABLE_EXTENSIONS = frozenset(
    {
        *(".jxl", ".jxr", ".wdp", ".hdp", ".heics", ".heifs", ".jpm", ".flif", ".bpg", ".pcd"),
        *(".psd", ".psb", ".xcf", ".afphoto", ".exr", ".hdr"),
        *(".gpr", ".raw", ".eip", ".cap"),  # of cameras; LibRaw reads them not, or not by themselves
    }
)
"""Kinds that people keep photos in and that cartag cannot read: counted, so that nobody believes them tagged."""
_LOOKED_AT = PHOTO_EXTENSIONS | RAW_EXTENSIONS | UNREADABLE_EXTENSIONS
# What a camera writes beside a RAW file: the same photo.
_CAMERA_EXTENSIONS = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".heic", ".heif", ".hif"))
RawPairs = Literal["jpeg", "raw", "both"]


@dataclass(frozen=True)
class Walk:
    """What a gallery holds."""

    photos: list[PhotoFile]
    """Sorted by path."""
    unreadable_folders: list[str] = field(default_factory=list)
    raw_files: int = 0
    """RAW files left out because they cannot be read: what is passed over is said."""
    raw_pairs: int = 0
    """RAW files that are the same photo as the JPEG beside them."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Folders and files left out, by the pattern that they match."""
    unreadable_kinds: dict[str, int] = field(default_factory=dict)
    """Files that look like photos and are of a kind that cannot be read, by extension."""


def is_raw(path: str) -> bool:
    """Whether a file is a camera's RAW file, by its extension."""
    return os.path.splitext(path)[1].lower() in RAW_EXTENSIONS


def walk(gallery: Path, raw_pairs: RawPairs | None = None, leave_out: Sequence[str] = ()) -> Walk:
    """Lists the photos of a gallery and its subfolders.

    Hidden files and folders are left out, symlinked folders are not followed (so no loop can arise), symlinked files
    are. Extensions count in any case.

    ``raw_pairs`` says which photo a RAW file and a JPEG of the same stem in the same folder are: the ``jpeg``, the
    ``raw``, or ``both``. None: RAW files cannot be read, and are left out.

    ``leave_out`` are patterns (`cartag.photos.leave_out`) of folders and files that are left out too.

    Raises:
        GalleryError: the gallery is not there, is no folder, or cannot be listed.
    """
    try:
        os.stat(gallery)
    except (FileNotFoundError, NotADirectoryError):
        raise GalleryError(f"{gallery}: no such folder; give the folder that holds the photos") from None
    except OSError as e:
        raise GalleryError(f"{gallery}: cannot be looked at ({e.strerror}); check its permissions") from e
    if not os.path.isdir(gallery):
        raise GalleryError(f"{gallery}: not a folder; give the folder that holds the photos")
    seen, photos = Walking(raw_pairs, leave_out, _name_of(gallery)), list[PhotoFile]()
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(gallery / folder), key=lambda entry: entry.name)
        except OSError as e:
            if not folder:
                raise GalleryError(f"{gallery}: cannot be listed ({e.strerror}); check its permissions") from e
            seen.unreadable_folders.append(printable(folder))
            continue
        found, below = seen.folder(folder, entries)
        photos += found
        folders += below
    return seen.walk(sorted(identified(photos), key=attrgetter("path")))


def say_pairs(found: Walk, used: RawPairs | None, asked: str, progress: Progress) -> None:
    """Says so where RAW files were asked for that cannot be read, and the JPEGs beside them were taken.

    ``used`` is what the walk was given, ``asked`` the setting.
    """
    if used is None and asked != "jpeg" and found.raw_pairs:
        progress.note(
            f"raw_pairs: {asked} wants rawpy (pip install '{EXTRA}'); without it the JPEG was taken, beside "
            f"{found.raw_pairs} RAW file{'s' if found.raw_pairs > 1 else ''}"
        )


class Entry(Protocol):
    """What a folder holds: an `os.DirEntry`, or what stands for one on object storage."""

    @property
    def name(self) -> str: ...

    def is_dir(self, *, follow_symlinks: bool = True) -> bool: ...

    def is_file(self, *, follow_symlinks: bool = True) -> bool: ...

    def is_symlink(self) -> bool: ...

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result: ...


class Walking:
    """Goes through folders, wherever they lie, and counts what it passes over."""

    def __init__(self, raw_pairs: RawPairs | None, leave_out: Sequence[str], name: str) -> None:
        """``name`` is the gallery's own; the others are arguments of `walk`."""
        self._raw_pairs, self._not_hers = raw_pairs, LeaveOut(leave_out, name)
        self.unreadable_folders: list[str] = []
        self.raw_files = self.paired_files = 0
        self._left_out, self._unreadable_kinds = Counter[str](), Counter[str]()

    def folder(self, folder: str, entries: Iterable[Entry]) -> tuple[list[PhotoFile], list[str]]:
        """Of a folder, by its path in the gallery: its photos, by their names on disk, and the folders in it."""
        found: list[PhotoFile] = []
        raws: list[PhotoFile] = []
        below: list[str] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            relative = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if pattern := self._not_hers.folder(relative):
                        self._left_out[pattern] += 1
                    else:
                        below.append(relative)
                    continue
                extension = entry.name[max(entry.name.rfind("."), 0) :].lower()
                if extension not in _LOOKED_AT:
                    continue
                if pattern := self._not_hers.file(relative):
                    self._left_out[pattern] += 1
                elif extension in UNREADABLE_EXTENSIONS:
                    self._unreadable_kinds[extension] += entry.is_file()
                elif extension in RAW_EXTENSIONS and entry.is_file():
                    raws.append(_file(relative, entry.stat()))
                elif extension in PHOTO_EXTENSIONS and entry.is_file():
                    found.append(_file(relative, entry.stat()))
                elif extension in PHOTO_EXTENSIONS and entry.is_symlink() and not entry.is_dir():
                    found.append(
                        _file(relative, entry.stat(follow_symlinks=False))
                    )  # a broken link: named, not skipped
            except OSError:
                _keep_unreadable(entry, relative, found, [] if self._raw_pairs is None else raws)
        found, raw_files, paired = _paired(found, raws, self._raw_pairs)
        self.raw_files += raw_files
        self.paired_files += paired
        return found, below

    def walk(self, photos: list[PhotoFile]) -> Walk:
        """What was found, with these photos."""
        return Walk(
            photos,
            sorted(self.unreadable_folders),
            self.raw_files,
            self.paired_files,
            dict(self._left_out),
            dict(+self._unreadable_kinds),
        )


def _name_of(gallery: Path) -> str:
    """The gallery's own name, also where it is called ``.``."""
    return os.path.basename(os.path.realpath(gallery))


def _file(disk_path: str, stat: os.stat_result) -> PhotoFile:
    """A file by its name on disk; its identity is settled when all names are known."""
    return PhotoFile(disk_path, disk_path, stat.st_size, stat.st_mtime_ns)


_Found = list[PhotoFile]


def _paired(found: _Found, raws: _Found, raw_pairs: RawPairs | None) -> tuple[_Found, int, int]:
    """All files that are photos of their own; how many RAW files are left out, and how many are one with a JPEG."""
    if not raws:  # as in most galleries: no stems to compare
        return found, 0, 0
    developed = {_stem(photo) for photo in found if _is_of_camera(photo)}
    paired = [raw for raw in raws if _stem(raw) in developed]
    alone = [raw for raw in raws if _stem(raw) not in developed]
    if raw_pairs is None:
        return found, len(alone), len(paired)
    if raw_pairs == "both":
        return found + raws, 0, 0
    if raw_pairs == "jpeg":
        return found + alone, 0, len(paired)
    shot = set(map(_stem, paired))
    kept = [photo for photo in found if _stem(photo) not in shot or not _is_of_camera(photo)]
    return kept + raws, 0, len(paired)


def _stem(photo: PhotoFile) -> str:
    return printable(os.path.splitext(photo.disk_path)[0]).casefold()


def _is_of_camera(photo: PhotoFile) -> bool:
    return os.path.splitext(photo.disk_path)[1].lower() in _CAMERA_EXTENSIONS


def _keep_unreadable(entry: Entry, relative: str, found: _Found, raws: _Found) -> None:
    """A photo that the system refuses to look at is named, not passed over, unless it is gone since the listing.

    So is a link that leads to itself, one whose path is too long, one in a folder that may be listed and not entered.
    """
    extension = os.path.splitext(entry.name)[1].lower()
    try:
        stat = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError:
        stat = os.stat_result((0,) * 10, {"st_mtime_ns": 0})  # reading it will tell why
    if extension in PHOTO_EXTENSIONS:
        found.append(_file(relative, stat))
    elif extension in RAW_EXTENSIONS:
        raws.append(_file(relative, stat))


def identified(found: Sequence[PhotoFile]) -> Iterator[PhotoFile]:
    """Gives every file its identity; two names that are equal in NFC stay two photos."""
    # Of plain names, which most are, nothing has to be looked at: they are their own identity.
    plain = [photo for photo in found if photo.disk_path.isascii()]
    yield from plain
    taken = {photo.path for photo in plain}
    others = [photo for photo in found if not photo.disk_path.isascii()]
    for photo in sorted(others, key=lambda p: (not _is_nfc(printable(p.disk_path)), os.fsencode(p.disk_path))):
        shown = printable(photo.disk_path)
        forms = (unicodedata.normalize("NFC", shown), shown, quote_from_bytes(os.fsencode(photo.disk_path)))
        path = next((form for form in forms if form not in taken), None)
        while path is None or path in taken:  # somebody named files after the escaped names of others
            path = f"{path or forms[-1]}%"
        taken.add(path)
        yield PhotoFile(path, photo.disk_path, photo.size, photo.mtime_ns)


def _is_nfc(text: str) -> bool:
    return unicodedata.is_normalized("NFC", text)
