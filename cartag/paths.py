"""What a path into a gallery may be, and whether it leads out: by its text where it is read, by links where it is used.

Indexes, journals and what was learned come from disks that others write to. A record of theirs names a file below the
gallery, and nothing else: no absolute path, no ``..``, no drive, no NUL; and no folder on the way is a link that leads
elsewhere.
"""

from __future__ import annotations

import ntpath
import os
from collections.abc import Iterable
from pathlib import Path
from typing import AnyStr
from urllib.parse import unquote_to_bytes

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
