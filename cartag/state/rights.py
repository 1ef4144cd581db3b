"""Who may read and write the files that cartag makes: new ones as their folder has it, replaced ones as before.

Two people who share a gallery have said how by the folder's group (setgid), its default ACL, and their umask. So a new
file asks for everything, and the system takes away what they say; nothing is given or taken afterwards. On file systems
that know no rights (FAT, NTFS, most network drives) none of this may fail a run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from pathlib import Path

_ACL = "system.posix_acl_access"
_EVERYBODY = 0o666
_TRIES = 100
_LONGEST_BEGINNING = 200  # bytes; with what makes it temporary, a name has at most 255
_NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def make_shared(path: Path) -> None:
    """Makes an empty file where there is none, for a library that would make it for its owner alone.

    One that is there is not opened: closing it again would drop the locks that this process holds on it.

    Raises:
        OSError: it can be neither found nor made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, flags, _EVERYBODY))


def temporary_for(target: Path, folder: Path) -> tuple[int, str]:
    """A new file in ``folder`` to replace ``target`` with, open for writing: never for more people than may read that.

    Raises:
        OSError: it cannot be made.
    """
    before = _stat(target)
    mode = _EVERYBODY if before is None else stat.S_IMODE(before.st_mode) & _EVERYBODY | stat.S_IWUSR
    # A name that is as long as a name may be has no room for more.
    name = target.name if len(os.fsencode(target.name)) <= _LONGEST_BEGINNING else "cartag"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    for attempt in range(_TRIES):
        path = folder / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), mode), str(path)
        except FileExistsError:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


def take_over(temporary: str, target: Path) -> None:
    """Gives the file that will replace ``target`` its owner, group, mode, ACL and user attributes, where it can.

    Where the group cannot be kept, the new one may do no more than everybody: the bits were meant for the other.
    Nothing is done for a file that is new.
    """
    before = _stat(target)
    if before is None or not hasattr(os, "chown"):
        return
    mode = stat.S_IMODE(before.st_mode) & 0o777
    if not _owned(temporary, before):
        mode = mode & ~0o070 | (mode & 0o007) << 3
    if _attributes_copied(temporary, target):  # an ACL holds the mode, too
        return
    with contextlib.suppress(OSError):
        if stat.S_IMODE(os.stat(temporary).st_mode) & 0o777 != mode:
            os.chmod(temporary, mode)


def _owned(temporary: str, before: os.stat_result) -> bool:
    """Whether the group is that of before; the owner is kept where root runs."""
    now = os.stat(temporary)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        for owner in (before.st_uid, -1):
            with contextlib.suppress(OSError):
                os.chown(temporary, owner, before.st_gid)
                return True
    return now.st_gid == before.st_gid


def _attributes_copied(temporary: str, target: Path) -> bool:
    """Copies the extended attributes that people set; whether there was an ACL among them."""
    if sys.platform != "linux":
        return False
    names: list[str] = []
    with contextlib.suppress(OSError):  # no such things here
        names = [name for name in os.listxattr(target) if name == _ACL or name.startswith("user.")]
    with contextlib.suppress(OSError):  # the folder's, that the file before did not have
        if _ACL not in names:
            os.removexattr(temporary, _ACL)
    copied: set[str] = set()
    for name in names:
        with contextlib.suppress(OSError):
            os.setxattr(temporary, name, os.getxattr(target, name))
            copied.add(name)
    return _ACL in copied


def make_durable(handle: int) -> None:
    """Waits until a file's bytes are on the disk, where the file system knows such a thing.

    Raises:
        OSError: they cannot be written.
    """
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in _NO_FSYNC:
            raise


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk: what was made, replaced or removed there stays so.

    Where the system cannot (Windows, some network drives), or lets nobody open the folder, nothing is waited for.

    Raises:
        OSError: they cannot be written.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # a folder that may be written and not listed
        return
    try:
        make_durable(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, so that they are still there after a power cut; one that is there is left.

    Raises:
        OSError: it cannot be made.
    """
    made = []
    for path in (folder, *folder.parents):
        if os.path.isdir(path):
            break
        made.append(path)
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        sync_folder(path.parent)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
