"""What cartag made in a folder that a person named: nothing else there is ever replaced or removed.

A hidden note in the folder holds, by name, the digests of what was written there. A file is ours as long as its content
is one of them; what a person changed since is hers. A digest is noted before its file is written, so that one who was
killed in between finds his own work again.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

import msgspec

from cartag.errors import ForeignFileError
from cartag.paths import is_below, printable
from cartag.state import locks, rights
from cartag.state.index import replace_file

NOTE = ".cartag-made.json"
_VERSION = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST = 64 * 2**20
"""Bytes of a note: hundreds of thousands of files."""


class _Note(msgspec.Struct, frozen=True):
    version: int
    made: dict[str, tuple[str, ...]]
    """Digests by name; several where a file was about to be replaced."""


class Footprint:
    """The files of a folder that are cartag's own; the only way to write or remove one there."""

    def __init__(self, folder: Path, elsewhere: str, *, force: bool | None = None, note: Path | None = None) -> None:
        """Reads the note of ``folder``, or the one that lies at ``note``.

        ``elsewhere`` is what a person can do where a file of hers is in the way, and ``force`` whether it is replaced
        all the same; None: that cannot be asked for.

        Raises:
            ForeignFileError: what lies in the place of the note is none of cartag's, or damaged.
        """
        self.folder, self.force = folder, bool(force)
        self._elsewhere, self._replaces = elsewhere, force is not None
        self._note = folder / NOTE if note is None else note
        self._made = self._read()
        self._noted = dict(self._made)
        """As the note on disk has it."""
        self._agreed: dict[str, str] = {}
        """Digests of files that `claim` found to be our own by their content."""
        self._expected: set[str] = set()
        self._unsynced: set[Path] = set()
        """Folders in which files were replaced or removed since the last `sync`."""

    # --- asking

    def names(self) -> list[str]:
        """What is noted as ours, by name; what was changed or removed since is among it."""
        return sorted(self._made)

    def has(self, name: str) -> bool:
        """Whether a file of this name is noted, whatever is in it now."""
        return name in self._made

    def is_ours(self, name: str, is_own: Callable[[bytes], bool] | None = None) -> bool:
        """Whether the file is there, and is as cartag wrote it; ``is_own`` is as in `claim`."""
        with suppress(ForeignFileError, OSError):
            self.check_way(name)
            found = _digest_of(self.folder / name)
            if name in self._made or is_own is None:
                return found in self._made.get(name, ())
            return _recognised(is_own, (self.folder / name).read_bytes())
        return False

    def claim(self, name: str, digest: str = "", is_own: Callable[[bytes], bool] | None = None) -> None:
        """Makes sure that a file may be written: nothing is there, the same is there, or our own.

        ``digest`` is that of what shall be written. ``is_own`` recognises by its content what is not noted, as it was
        made before there were notes.

        Raises:
            ForeignFileError: a file of somebody else, one that a person changed, a folder or a link is there.
        """
        self.check_way(name)
        path = self.folder / name
        try:
            mode = os.lstat(path).st_mode
        except OSError:  # nothing is there; or writing will tell what is wrong
            return
        if stat.S_ISDIR(mode):
            raise self._refusal(path, "is a folder", may_replace=False)
        if self.force:
            return
        if not stat.S_ISREG(mode):
            raise self._refusal(path, "is a link" if stat.S_ISLNK(mode) else "is no plain file")
        try:
            found = _digest_of(path)
            if found in (digest, self._agreed.get(name), *self._made.get(name, ())):
                return
            if name not in self._made and is_own is not None and _recognised(is_own, path.read_bytes()):
                self._agreed[name] = found
                return
        except OSError as e:
            raise self._refusal(path, f"cannot be read ({e.strerror}), so that whose it is cannot be told") from e
        raise self._refusal(path, "was changed since cartag made it" if name in self._made else "is none of cartag's")

    def check_way(self, name: str) -> None:
        """Makes sure that the folders between ours and a file are folders, and no links to other places.

        Raises:
            ForeignFileError: one of them is not.
        """
        for part in reversed(PurePosixPath(name).parents[:-1]):
            path = self.folder / part
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                return
            if not stat.S_ISDIR(mode):
                what = "is a link that leads elsewhere" if stat.S_ISLNK(mode) else "is no folder"
                raise self._refusal(path, what, may_replace=False)

    def _refusal(self, path: Path, what: str, *, may_replace: bool = True) -> ForeignFileError:
        force = ", or replace it with --force" if may_replace and self._replaces else ""
        return ForeignFileError(f"{printable(str(path))}: {what}; {self._elsewhere}{force}")

    # --- doing

    def expect(self, coming: Mapping[str, str]) -> None:
        """Notes the digests of files that are about to be written; what they replace stays noted until `settle`.

        Raises:
            OSError: the note cannot be written.
        """
        self._expected |= coming.keys()
        for name, digest in coming.items():
            self._made[name] = (*(old for old in self._made.get(name, ()) if old != digest), digest)
        self._save()

    def write(self, name: str, data: bytes) -> None:
        """Writes a file that `expect` was told of, whole, if it may be written; `sync` has its name on the disk too.

        Raises:
            ForeignFileError: as `claim`.
            OSError: it cannot be written; what was there stands.
        """
        self.claim(name)
        path = self.folder / name
        rights.make_folder(path.parent)
        replace_file(path, data, through_links=False, syncs_folder=False)
        self._unsynced.add(path.parent)
        self._made[name] = (digest_of(data),)

    def adopt(self, name: str, data: bytes) -> None:
        """Notes a file as ours that holds, byte for byte, what cartag would have made."""
        self._made[name] = (digest_of(data),)

    def remove(self, name: str, is_own: Callable[[bytes], bool] | None = None) -> None:
        """Removes a file if it is ours (`is_ours`); one that is not any more is forgotten.

        Raises:
            OSError: it cannot be removed.
        """
        if self.is_ours(name, is_own):
            (self.folder / name).unlink()
            self._unsynced.add((self.folder / name).parent)
        self.forget(name)

    def forget(self, name: str) -> None:
        """Holds a file to be ours no longer."""
        self._made.pop(name, None)

    def sync(self) -> None:
        """Waits until what was written and removed so far is on the disk; a folder once, however many files it got.

        Raises:
            OSError: it cannot be.
        """
        while self._unsynced:
            rights.sync_folder(self._unsynced.pop())

    def settle(self) -> None:
        """Brings the note up to date for what was expected: one digest a file, and nothing for what is not there.

        The rest stays as it is noted: another export that runs now may have it still to write.

        Raises:
            OSError: the note cannot be written.
        """
        self.sync()
        for name in self._expected & self._made.keys():
            digests = self._made[name]
            ours = {*digests, *self._noted.get(name, ())}  # another export may have written its own over this one's
            if len(ours) > 1:
                with suppress(OSError):
                    found = _digest_of(self.folder / name)
                    self._made[name] = (found,) if found in ours else ()
            if not self._made[name] or not os.path.lexists(self.folder / name):
                self.forget(name)
        self._save()

    # --- the note

    def _read(self) -> dict[str, tuple[str, ...]]:
        try:
            mode = os.lstat(self._note).st_mode
        except OSError:
            return {}
        if stat.S_ISDIR(mode):
            raise self._refusal(
                self._note, "is a folder, where the note of what cartag made would be", may_replace=False
            )
        made = self._decoded()
        if made is not None:
            return made
        if self.force:
            return {}
        raise self._refusal(
            self._note,
            "cannot be read as cartag's note of what it made in this folder, so that nothing in it counts as cartag's",
        )

    def _decoded(self) -> dict[str, tuple[str, ...]] | None:
        try:
            if not stat.S_ISREG(os.lstat(self._note).st_mode) or self._note.stat().st_size > _MOST:
                return None
            note = msgspec.json.decode(self._note.read_bytes(), type=_Note)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        sound = note.version == _VERSION and all(map(_is_name, note.made))
        sound = sound and all(_DIGEST.fullmatch(digest) for digests in note.made.values() for digest in digests)
        return note.made if sound else None

    def _save(self) -> None:
        if self._made == self._noted:
            return
        if self._made:
            rights.make_folder(self._note.parent)
        with locks.writing_into(self._note.parent):
            made = self._with_what_others_noted()
            if made:
                note = _Note(_VERSION, {name: made[name] for name in sorted(made)})
                text = msgspec.json.format(msgspec.json.encode(note), indent=1) + b"\n"
                replace_file(self._note, text, through_links=False)
            else:
                self._note.unlink(missing_ok=True)
        self._noted = dict(self._made)

    def _with_what_others_noted(self) -> dict[str, tuple[str, ...]]:
        """The note as it stands, with what is new here: another export may have written into the folder meanwhile.

        Of its files only those count here that this one writes too: others it may have noted, and not made yet.
        """
        there = self._decoded() if os.path.lexists(self._note) else {}
        merged = dict(self._noted if there is None else there)
        for name in self._made.keys() | self._noted.keys():
            here, before = self._made.get(name, ()), self._noted.get(name, ())
            if here != before:
                theirs = [digest for digest in merged.pop(name, ()) if digest not in (*before, *here)]
                if theirs or here:
                    merged[name] = self._made[name] = (*theirs, *here)
        return merged


def digest_of(data: bytes) -> str:
    """The digest by which a file's content is known."""
    return hashlib.sha256(data).hexdigest()


def _digest_of(path: Path) -> str:
    """The digest of a plain file.

    Raises:
        OSError: it cannot be read, or is none.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as f:
        if not stat.S_ISREG(os.fstat(f.fileno()).st_mode):
            raise OSError(0, "no plain file")
        return hashlib.file_digest(f, "sha256").hexdigest()


def _recognised(is_own: Callable[[bytes], bool], data: bytes) -> bool:
    try:
        return is_own(data)
    except Exception:  # a file of somebody else may hold anything, and break any reader
        return False


def _is_name(name: str) -> bool:
    """Whether a name leads to a file below the folder, and nowhere else."""
    return is_below(name) and name != NOTE
