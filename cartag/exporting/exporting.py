"""Exports: the table of formats, and the verb that has one of them written.

Every format is a file of its own and says, as values, which files it wants to be there (`job.Wanted`) or which text it
makes; `writing` writes them, atomically and only where something changes. Photos are only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from cartag.errors import UsageError
from cartag.exporting import coco, crops as pictures, exiftool, imagefolder, page, tables, xmp
from cartag.exporting.job import Job, Naming, Regions, Remark, Step, Wanted, bytes_at, photos_of
from cartag.exporting.writing import ACTIONS, ExportedFile, Writing
from cartag.paths import printable, why_no_folder
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings
from cartag.state import Footprint, digest_of, read_index

_ELSEWHERE = "name another folder with --to DIR"


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
    merges: bool = False
    """Whether it adds to files of others and takes only its own out of them; else it writes files of its own alone."""
    has_regions: bool = False
    """Whether it holds regions that can be chosen."""


FORMATS: dict[str, Format] = {
    "xmp": Format(files=xmp.files, merges=True, has_regions=True),
    "csv": Format(tables.csv_text, "cartag.csv"),
    "jsonl": Format(tables.json_lines, "cartag.jsonl"),
    "exiftool": Format(exiftool.document, "cartag.exiftool.json", has_regions=True),
    "html": Format(files=page.files, check=page.check),
    "imagefolder": Format(imagefolder.document, imagefolder.FILE_NAME, check=imagefolder.check),
    "coco": Format(coco.document, "cartag.coco.json"),
}
_CROPS = {"imagefolder": Format(files=pictures.files, check=pictures.check)}
"""Formats that can cut the cars out of their photos."""


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
        return sum(remark.count for remark in self.remarks if remark.is_failure)


def export(
    gallery: Path | str,
    as_: str,
    *,
    to: Path | str | None = None,
    dry_run: bool = False,
    force: bool = False,
    naming: Naming = "ext",
    regions: Regions = "iptc",
    crops: bool = False,
    index: Path | str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes what an index says in a form that other programs read.

    A file that would not change is not written, so a second export touches nothing. An existing XMP sidecar is
    merged into: only what cartag wrote there is changed or removed. Of all other files only those are replaced and
    removed that cartag made, and that nobody changed since (`cartag.state.footprint`). A file that cannot be written is
    a remark, and costs no other.

    Args:
        gallery: the folder of photos, tagged before.
        as_: a key of `FORMATS`.
        to: the folder to write to. Without it sidecars go beside the photos, and formats that are one document come
            back in the report.
        dry_run: writes nothing; the report says what would be done.
        force: replaces files of others that are in the way, too; none is ever removed.
        naming: of sidecars: ``ext`` for ``photo.jpg.xmp``, ``stem`` for ``photo.xmp``.
        regions: of sidecars and exiftool's JSON: ``iptc`` for IPTC's image regions, ``mwg`` for those of MWG as well,
            ``none`` for neither.
        crops: of `imagefolder`: cuts the cars out, a picture a box, into ``to``.
        index: where the index lies, if not in the gallery.
        settings: the rarer settings.
        progress: hears how far it is.

    Raises:
        UsageError: an unknown format, one that needs another folder or lacks what is asked for, or ``to`` is none.
        ForeignFileError: a file is in the way that is not cartag's; nothing was written.
        ExportError: a file cannot be read.
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    if as_ not in FORMATS:
        raise UsageError(f"--as {as_}: no such format; known are {', '.join(FORMATS)}")
    if naming not in get_args(Naming):
        raise UsageError(f"--naming {naming}: must be one of {', '.join(get_args(Naming))}")
    if regions not in get_args(Regions):
        raise UsageError(f"--regions {regions}: must be one of {', '.join(get_args(Regions))}")
    if regions != "iptc" and not FORMATS[as_].has_regions:
        raise UsageError(f"--regions {regions}: is for --as {' or '.join(_named(lambda f: f.has_regions))}")
    if crops and as_ not in _CROPS:
        raise UsageError(f"--crops: is for --as {' or '.join(_CROPS)}")
    settings = (settings or load_settings()).overridden({"index": index})
    gallery = Path(gallery)
    found = read_index(gallery, settings.index)
    format, folder = (_CROPS if crops else FORMATS)[as_], None if to is None else Path(to)
    if folder is not None and (why := why_no_folder(folder)):
        raise UsageError(f"--to {printable(str(folder))}: {why}; name another")
    made = None if folder is None or format.merges else Footprint(folder, _ELSEWHERE, force=force)
    photos = tuple(photos_of(found))
    job = Job(gallery, found, photos, folder, naming, dry_run, settings, progress or Silent(), made, regions)
    return _run(job, as_, format)


def _named(has: Callable[[Format], bool]) -> list[str]:
    return [name for name, format in FORMATS.items() if has(format)]


def _run(job: Job, name: str, format: Format) -> ExportReport:
    if format.check is not None:
        format.check(job)
    steps: Iterator[Step] = iter(())
    if format.document is not None:
        text = format.document(job)
        if job.to is None or job.made is None:
            return ExportReport(name, (), text, ())
        job.made.claim(format.file_name, digest_of(text))
        path = job.to / format.file_name
        before = bytes_at(path) if path.is_file() else None
        if before == text and not path.is_symlink():
            job.made.adopt(format.file_name, text)
        steps = iter([Wanted(path, before, text)])
    elif format.files is not None:
        steps = format.files(job)
    writing = Writing(job)
    writing.take(steps)
    return ExportReport(name, tuple(writing.files), None, tuple(writing.remarks))
