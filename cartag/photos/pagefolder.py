"""Which folders are no place for a page: galleries, and folders that hold photos."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from msgspec import UNSET

from cartag.errors import CartagError, ForeignFileError, UsageError
from cartag.paths import disk_path, printable
from cartag.photos.walking import PHOTO_EXTENSIONS, RAW_EXTENSIONS
from cartag.state import FILE_NAME, read_tags

_EXTENSIONS = PHOTO_EXTENSIONS | RAW_EXTENSIONS


def check_is_no_gallery(folder: Path, gallery: Path, option: str) -> None:
    """Makes sure that a page would not lie among the photos of a gallery.

    Raises:
        UsageError: ``folder`` is the gallery at hand, or one that has an index.
    """
    if folder.resolve() == gallery.resolve() or is_gallery(folder):
        raise UsageError(f"{option} {printable(str(folder))}: is a gallery; name another folder")


def is_gallery(folder: Path) -> bool:
    """Whether an index lies in a folder, and photos that it names."""
    if not (folder / FILE_NAME).is_file():
        return False
    try:
        photos = read_tags(folder, folder / FILE_NAME)
    except CartagError:
        return False
    on_disk = ((p.path, None if p.path_on_disk is UNSET else p.path_on_disk) for p in photos)
    return any(os.path.lexists(folder / disk_path(*names)) for names in on_disk)


def check_holds_no_photo(folder: Path, ours: Collection[str], option: str, remedy: str = "") -> None:
    """Makes sure that a page would not lie beside photos; those of the names ``ours`` do not count.

    Raises:
        ForeignFileError: names the first one.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # it is not there; or writing will tell what is wrong
        return
    for name in names:
        if os.path.splitext(name)[1].lower() in _EXTENSIONS and not name.startswith(".") and name not in ours:
            raise ForeignFileError(
                f"{option} {printable(str(folder))}: holds photos, {printable(name)} is one, and is no place for a "
                f"page; name another folder{remedy}"
            )
