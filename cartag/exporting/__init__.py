"""Handing tags on: XMP sidecars, tables, exiftool's JSON, a training set's metadata, a gallery page.

Every format is a file of its own and says, as values, which files it wants to be there (`job.Wanted`) or which text it
makes; this module writes them, atomically and only where something changes. Photos are only read.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cartag import index as indexes
from cartag.errors import ExportError, UsageError
from cartag.exporting import exiftool, imagefolder, page, tables, xmp
from cartag.exporting.job import Job, Naming, Remark, Step, Wanted, bytes_at, photos_of
from cartag.photos import printable
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings

Action = Literal["created", "changed", "removed", "unchanged"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Format:
    """How one format is exported: either as one document, or as many files."""

    document: Callable[[Job], bytes] | None = None
    """Makes the whole text; it goes to ``file_name`` in the folder that was named, else to whoever asked."""
    file_name: str = ""
    files: Callable[[Job], Iterator[Step]] | None = None
    """Says which files shall be there."""
    check: Callable[[Job], None] | None = None
    """Raises a `UsageError` where the format cannot do what is asked."""


FORMATS: dict[str, Format] = {
    "xmp": Format(files=xmp.files),
    "csv": Format(tables.csv_text, "cartag.csv"),
    "jsonl": Format(tables.json_lines, "cartag.jsonl"),
    "exiftool": Format(exiftool.document, "cartag.exiftool.json"),
    "html": Format(files=page.files, check=page.check),
    "imagefolder": Format(imagefolder.document, "metadata.jsonl", check=imagefolder.check),
}


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """What became of one file, or would become of it."""

    path: str
    action: Action
    diff: str = ""
    """Of a dry run: the change as a unified diff; empty where the file is no text."""


@dataclass(frozen=True)
class ExportReport:
    """What an export did, or with ``dry_run`` would do."""

    format: str
    files: tuple[ExportedFile, ...]
    document: bytes | None
    """The text of a format that is one document, where no folder was named for it."""
    remarks: tuple[Remark, ...]
    """What could not be treated like the rest, and why."""

    @property
    def counts(self) -> dict[str, int]:
        """Files per action, all of them."""
        found = Counter(file.action for file in self.files)
        return {action: found[action] for action in ACTIONS}

    @property
    def failures(self) -> int:
        """How many photos or files did not get what was asked for."""
        return sum(remark.is_failure for remark in self.remarks)


def export(
    gallery: Path | str,
    as_: str,
    *,
    to: Path | str | None = None,
    dry_run: bool = False,
    naming: Naming = "ext",
    index: Path | str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes what an index says in a form that other programs read.

    A file that would not change is not written, so a second export touches nothing. An existing XMP sidecar is merged
    into: only what cartag wrote there is changed or removed.

    Args:
        gallery: the folder of photos, tagged before.
        as_: a key of `FORMATS`.
        to: the folder to write to. Without it sidecars go beside the photos, and formats that are one document come
            back in the report.
        dry_run: writes nothing; the report says what would be done.
        naming: of sidecars: ``ext`` for ``photo.jpg.xmp``, ``stem`` for ``photo.xmp``.
        index: where the index lies, if not in the gallery.
        settings: the rarer settings.
        progress: hears how far it is.

    Raises:
        UsageError: an unknown format, or one that needs another folder.
        ExportError: a file cannot be read or written.
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    if as_ not in FORMATS:
        raise UsageError(f"--as {as_}: no such format; known are {', '.join(FORMATS)}")
    if naming not in get_args(Naming):
        raise UsageError(f"--naming {naming}: must be one of {', '.join(get_args(Naming))}")
    settings = (settings or load_settings()).overridden({"index": index})
    gallery = Path(gallery)
    found = indexes.read(gallery, settings.index)
    folder = None if to is None else Path(to)
    job = Job(gallery, found, tuple(photos_of(found)), folder, naming, dry_run, settings, progress or Silent())
    return _run(job, as_, FORMATS[as_])


def _run(job: Job, name: str, format: Format) -> ExportReport:
    if format.check is not None:
        format.check(job)
    steps: Iterator[Step] = iter(())
    if format.document is not None:
        text = format.document(job)
        if job.to is None:
            return ExportReport(name, (), text, ())
        path = job.to / format.file_name
        steps = iter([Wanted(path, bytes_at(path), text)])
    elif format.files is not None:
        steps = format.files(job)
    files: list[ExportedFile] = []
    remarks: list[Remark] = []
    for step in steps:
        if isinstance(step, Remark):
            remarks.append(step)
            continue
        action = _action(step)
        if action != "unchanged" and not job.dry_run:
            _apply(step)
        diff = _diff(step) if job.dry_run and step.is_text and action != "unchanged" else ""
        files.append(ExportedFile(str(step.path), action, diff))
    return ExportReport(name, tuple(files), None, tuple(remarks))


def _action(step: Wanted) -> Action:
    if step.before == step.after:
        return "unchanged"
    if step.before is None:
        return "created"
    return "removed" if step.after is None else "changed"


def _apply(step: Wanted) -> None:
    try:
        if step.after is None:
            step.path.unlink()
        else:
            step.path.parent.mkdir(parents=True, exist_ok=True)
            indexes.replace_file(step.path, step.after)
    except OSError as e:
        raise ExportError(
            f"{printable(str(step.path))}: cannot be written ({e.strerror}); name another folder with --to DIR"
        ) from e


def _diff(step: Wanted) -> str:
    """A unified diff, or nothing where either side is no text."""
    try:
        before, after = ((data or b"").decode("utf-8").splitlines() for data in (step.before, step.after))
    except UnicodeDecodeError:
        return ""
    name = printable(str(step.path))
    names = ("/dev/null" if step.before is None else name, "/dev/null" if step.after is None else name)
    return "\n".join(difflib.unified_diff(before, after, *names, lineterm=""))
