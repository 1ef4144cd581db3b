"""Paths into a gallery: what they may be, whether they lead out, what they are on disk and how they are shown.

Indexes, journals and what was learned come from disks that others write to. A record of theirs names a file below the
gallery, and nothing else: no absolute path, no ``..``, no drive, no NUL; and no folder on the way is a link that leads
elsewhere. Beside them the places that galleries and indexes lie in: folders, or URIs of object storage.
"""

from __future__ import annotations

import logging
import ntpath
import os
import shlex
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, AnyStr
from urllib.parse import SplitResult, quote_from_bytes, unquote, unquote_to_bytes, urlsplit

from cartag.errors import CartagError

if TYPE_CHECKING:
    from cartag.values import PhotoFile

IS_WINDOWS = os.name == "nt"
LEADS_OUT = "a link leads out of the folder on the way there"


def is_below(path: str) -> bool:
    """Whether a path with ``/`` between its parts is relative and stays below where it begins, by its text alone.

    A backslash is a character like others, but on Windows, where it parts names too and a drive may stand in front.
    """
    return _stay_below(f"/{path}/") and not (IS_WINDOWS and _leads_out_on_windows(path))


def is_below_on_disk(quoted: str) -> bool:
    """`is_below` of a name on disk as an index has it: percent-encoded bytes."""
    return is_below(os.fsdecode(unquote_to_bytes(quoted)))


def are_below(paths: Iterable[str], quoted: Iterable[str] = ()) -> bool:
    """Whether `is_below` holds of all ``paths``, and `is_below_on_disk` of all ``quoted``: 100,000 in 20 ms."""
    paths, quoted = list(paths), list(quoted)
    if IS_WINDOWS:
        return all(map(is_below, paths)) and all(map(is_below_on_disk, quoted))
    return (not paths or _stay_below(f"/{'/'.join(paths)}/")) and (
        not quoted or _stay_below(b"/%b/" % unquote_to_bytes("/".join(quoted)))
    )


def _stay_below(path: AnyStr) -> bool:
    """Of any number of paths in a row: what leads out shows between slashes, wherever one path ends."""
    wrong = ("\0", "//", "/./", "/../")
    if isinstance(path, bytes):
        return not any(part.encode() in path for part in wrong)
    return not any(part in path for part in wrong)


def _leads_out_on_windows(path: str) -> bool:
    drive, rest = ntpath.splitdrive(path)
    return bool(drive) or not _stay_below(f"/{rest}/".replace("\\", "/"))


def leads_out(folder: Path | str, relative: str, *, to_write: bool = False) -> bool:
    """Whether a file below ``folder`` lies elsewhere in truth, because a folder on the way is a link.

    To read, the file itself may be a link: a photo that a person linked into her gallery is one of it. To write, it may
    not: what is behind the link would be replaced.
    """
    if not is_below(relative.replace(os.sep, "/")):
        return True
    try:
        root, whole = os.path.realpath(folder), os.path.join(folder, relative)
        there = os.path.realpath(whole if to_write else os.path.dirname(whole))
        return os.path.commonpath((root, there)) != root
    except (OSError, ValueError):  # what the system does not take as a path, or another drive
        return True


def why_no_folder(path: Path | str) -> str | None:
    """Why what a person named can be no folder to write into, in words; None: it is one, or can be made."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "is a link that leads nowhere" if os.path.islink(path) else None
    except (OSError, ValueError) as e:
        return f"can be no folder ({(e.strerror if isinstance(e, OSError) else None) or e})"
    return None if stat.S_ISDIR(mode) else "is no folder"


# --- what a photo is called: its identity, its name on disk, and how either is shown --------------------------------


def printable(disk_path: str) -> str:
    """A path as valid Unicode, the same in every locale: its bytes as UTF-8, and those that are none as ``\\xNN``."""
    if disk_path.isascii():
        return disk_path
    try:
        return os.fsencode(disk_path).decode("utf-8", errors="backslashreplace")
    except UnicodeEncodeError:  # no name out of this locale: a text
        return _valid(disk_path)


def _valid(text: str) -> str:
    """A text as valid Unicode. Unlike `printable`, it does not take letters for what a locale made of bytes."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_typed(*words: Path | str, index: Path | str | None = None) -> str:
    """A command as it has to be typed, in the quotes in which messages name one: ``'cartag tag shoot'``.

    ``index`` is what ``--index`` was given, if anything was. Words that a shell would part are quoted.
    """
    where = () if index is None else ("--index", index)
    line = shlex.join(printable(str(word)) for word in ("cartag", *words, *where))
    return f"`{line}`" if "'" in line else f"'{line}'"


def printable_values(value: Any) -> Any:
    """A value of texts, dicts and lists, its texts valid Unicode: JSON holds no bytes that are not UTF-8.

    Names on disk are to be made `printable` before: in a locale that is not UTF-8 they are other letters.
    """
    if isinstance(value, str):
        return _valid(value)
    if isinstance(value, dict):
        return {printable_values(key): printable_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable_values(item) for item in value]
    return value


def name_on_disk(photo: PhotoFile) -> str | None:
    """Percent-encoded bytes of the name on disk, or None when the identity's UTF-8 is that name."""
    if photo.disk_path == photo.path and photo.path.isascii():
        return None
    raw = os.fsencode(photo.disk_path)
    return None if raw == photo.path.encode() else quote_from_bytes(raw)


def disk_path(path: str, path_on_disk: str | None) -> str:
    """Inverse of `name_on_disk`: the relative path to open, as `os.fsdecode` gives it.

    An identity is text, a name on disk is its UTF-8: in a locale that is not UTF-8, Python has other letters for that.
    """
    if path_on_disk is None:
        return path if path.isascii() else os.fsdecode(path.encode("utf-8", "surrogateescape"))
    return os.fsdecode(unquote_to_bytes(path_on_disk))


def place_of(where: Path | str, error: type[CartagError]) -> tuple[str, Path | None]:
    """A place as it was written, and its path where it is a folder of this machine; nothing is opened.

    Raises:
        CartagError: of the kind ``error``: it is a URI of another machine, or none.
    """
    uri = str(where)
    if "://" not in uri:
        return uri, Path(uri)
    parts = parts_of(uri, error)
    if parts.scheme != "file":
        return uri.rstrip("/"), None
    if parts.netloc not in ("", "localhost"):
        raise error(f"{uri}: names another machine; write file:///PATH for a folder of this one")
    return uri, Path(unquote(parts.path))


def parts_of(uri: str, error: type[CartagError]) -> SplitResult:
    """What a URI consists of.

    Raises:
        CartagError: of the kind ``error``: it is none.
    """
    try:
        return urlsplit(uri)
    except ValueError as e:
        raise error(f"{printable(uri)}: is no URI ({e}); write a folder, file://, s3:// or gs://") from e


def object_storage(uri: str, error: type[CartagError], **options: Any) -> tuple[Any, str]:
    """The file system of a URI, and the place's name on it. fsspec keeps file systems, so that this costs nothing.

    Raises:
        CartagError: of the kind ``error``: a package is missing, or there is no such kind of place.
    """
    try:
        from fsspec.core import url_to_fs  # not for folders of this machine

        if uri.startswith(("gs://", "gcs://")):
            _plain_gcsfs()
        fs, root = url_to_fs(uri, **options)
    except ImportError as e:
        raise error(f"{uri}: reading it needs more: pip install 'cartag[ray]' ({e})") from e
    except ValueError as e:
        raise error(f"{uri}: {first_line(e)}; use a folder, file://, s3:// or gs://") from e
    return fs, root.rstrip("/")


def _plain_gcsfs() -> None:
    """Has gcsfs, before it is loaded, ask for objects alone, and keep its tracebacks from whoever reads an error.

    As it comes it also asks by gRPC of what kind a bucket is; where it may not, before every request, with a warning.
    Only a bucket of one zone ("Rapid") needs that: whoever has one sets this variable to ``true``.
    """
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logger = logging.getLogger("gcsfs")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def why_not_reached(e: Exception, what: str) -> str:
    """What an error of a store's client comes to, whichever library it is of: it cannot be ``what`` (read, listed)."""
    said = store_said(e)
    if isinstance(e, PermissionError) or _is_forbidden(e):
        return f"may not be {what} ({said}); check the credentials"
    is_nobody = "redential" in said or getattr(e, "code", None) == 401  # gcsfs, who then asked as nobody
    remedy = "set the credentials of the store" if is_nobody else "check its name and the network"
    return f"cannot be {what} ({said}); {remedy}"


def store_said(e: Exception) -> str:
    """What a store said, in a line. Of what is forbidden gcsfs has the address first, and Google's words below."""
    return str(e).strip().splitlines()[-1] if _is_forbidden(e) else first_line(e)


def _is_forbidden(e: Exception) -> bool:
    return isinstance(e, OSError) and str(e).startswith("Forbidden: ")


def first_line(e: BaseException) -> str:
    """The first line of what an error says, or its kind."""
    return str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
