"""Writing what a format wants to be there: only where something changes, whole, and past what cannot be written."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from cartag.errors import CartagError
from cartag.exporting.job import Job, Remark, Step, Wanted, bytes_at
from cartag.paths import printable
from cartag.state import digest_of, folder_of, make_folder, replace_file, sync_folder

Action = Literal["created", "changed", "removed", "unchanged"]
ACTIONS: tuple[Action, ...] = get_args(Action)
_AT_ONCE = 64
"""Files that are noted as ours before they are written; as many are held in memory."""
_NAMED = 20
"""Failures with a line each; where a disk is full, a gallery would fill the screen."""


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """What became of one file, or would become of it."""

    path: str
    action: Action
    diff: str = ""
    """Of a dry run: the change as a unified diff; empty where the file is no text."""


class Writing:
    """Takes the steps of one export and writes what they want, or with a dry run only says what it would."""

    def __init__(self, job: Job) -> None:
        self._job, self._made = job, job.made
        self._failed = 0
        self._unsynced: set[Path] = set()
        """Folders in which sidecars were replaced or removed."""
        self.files: list[ExportedFile] = []
        self.remarks: list[Remark] = []

    def take(self, steps: Iterator[Step]) -> None:
        """Does all steps; what cannot be written becomes a remark.

        Raises:
            CartagError: what a format raises. What was written until then is noted.
        """
        has_begun = False
        try:
            while batch := list(islice(steps, 1 if self._made is None else _AT_ONCE)):
                self._take(batch)
                has_begun = True
        except BaseException:
            if has_begun:
                self._settle()
            raise
        self._settle()
        if self._failed > _NAMED:
            more = self._failed - _NAMED
            self.remarks.append(Remark(f"{more} more file(s) could not be written either", True, more))

    def _take(self, batch: Sequence[Step]) -> None:
        changes = [step for step in batch if isinstance(step, Wanted) and action_of(step) != "unchanged"]
        problem = None if self._job.dry_run else self._announced(changes)
        for step in batch:
            if isinstance(step, Remark):
                self.remarks.append(step)
                continue
            action = action_of(step)
            if action != "unchanged" and not self._job.dry_run:
                reason = self._applied(step) if problem is None else _cannot(step, problem)
                if reason is not None:
                    self._fail(reason)
                    continue
            diff = _diff(step) if self._job.dry_run and step.is_text and action != "unchanged" else ""
            self.files.append(ExportedFile(str(step.path), action, diff))

    def _announced(self, changes: Sequence[Wanted]) -> OSError | None:
        """Notes what is about to be written, without which nothing is; why that cannot be done."""
        if self._made is None:
            return None
        coming = {self._name(step): digest_of(step.after) for step in changes if step.after is not None}
        if not coming:
            return None
        try:
            self._made.expect(coming)
        except OSError as e:
            return e
        return None

    def _applied(self, step: Wanted) -> str | None:
        """Writes or removes one file; why that cannot be done."""
        try:
            if self._made is None:
                return self._replaced(step)
            if step.after is None:
                self._made.remove(self._name(step))
            else:
                self._made.write(self._name(step), step.after)
        except CartagError as e:
            return str(e)
        except OSError as e:
            return _cannot(step, e)
        return None

    def _replaced(self, step: Wanted) -> str | None:
        """Writes or removes a file that was merged into, unless it is another by now; why that cannot be done.

        Raises:
            OSError, ExportError: it cannot be read or written.
        """
        if bytes_at(step.path) != step.before:
            return f"{printable(str(step.path))}: was changed by another program meanwhile; export again"
        if step.after is None:
            step.path.unlink()
            self._unsynced.add(step.path.parent)
        else:
            make_folder(step.path.parent)
            replace_file(step.path, step.after, syncs_folder=False)
            self._unsynced.add(folder_of(step.path))
        return None

    def _fail(self, reason: str) -> None:
        self._failed += 1
        if self._failed <= _NAMED:
            self.remarks.append(Remark(reason, is_failure=True))

    def _settle(self) -> None:
        if self._job.dry_run:
            return
        self._sync()
        if self._made is None:
            return
        try:
            self._made.settle()
        except OSError as e:
            folder = printable(str(self._made.folder))
            self.remarks.append(
                Remark(
                    f"{folder}: what was made there cannot be noted ({e.strerror}); mend that, and export again", True
                )
            )

    def _sync(self) -> None:
        """What was written is on the disk, under its name, before anybody is told so; each folder once."""
        try:
            if self._made is not None:
                self._made.sync()
            while self._unsynced:
                sync_folder(self._unsynced.pop())
        except OSError as e:
            folder = printable(str(self._job.to or self._job.gallery))
            self.remarks.append(
                Remark(f"{folder}: may lose what was written if the power fails now ({e.strerror}); export again", True)
            )

    def _name(self, step: Wanted) -> str:
        assert self._made is not None
        return step.path.relative_to(self._made.folder).as_posix()


def action_of(step: Wanted) -> Action:
    """What a step does."""
    if step.before == step.after:
        return "unchanged"
    if step.before is None:
        return "created"
    return "removed" if step.after is None else "changed"


def _cannot(step: Wanted, error: OSError) -> str:
    where = printable(str(step.path))
    return f"{where}: cannot be written ({error.strerror}); mend that, or name another folder with --to DIR"


def _diff(step: Wanted) -> str:
    """A unified diff, or nothing where either side is no text."""
    try:
        before, after = ((data or b"").decode("utf-8").splitlines() for data in (step.before, step.after))
    except UnicodeDecodeError:
        return ""
    name = "".join(c if c.isprintable() else repr(c)[1:-1] for c in printable(str(step.path)))  # a header is one line
    names = ("/dev/null" if step.before is None else name, "/dev/null" if step.after is None else name)
    return "\n".join(difflib.unified_diff(before, after, *names, lineterm=""))
