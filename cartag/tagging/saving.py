"""From what a run has learnt to the index on the disk, with what people said meanwhile; labels follow their photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from cartag.learning import learned_files
from cartag.photos import Walk
from cartag.progress import Progress
from cartag.state import (
    SCHEMA_VERSION,
    Foreign,
    Index,
    Whereabouts,
    catalog_of,
    read_index_if_there,
    replacing,
    stamp_of,
    with_added_cars,
    with_foreign_fields,
    write_index,
)
from cartag.tagging.merging import Merged, homes_of, in_folders, interrupted, merged
from cartag.tagging.plan import Plan
from cartag.tagging.run import Run
from cartag.tagging.work import Work
from cartag.values import IndexedModel, IndexHeader, PhotoRecord
from cartag.version import __version__

Records = Mapping[str, PhotoRecord]


@dataclass(frozen=True)
class Saved:
    """What became of a run."""

    index: Index
    scored: int
    """Photos that have a verdict of this run."""
    gone: int
    """Records of the old index whose photo is no longer there."""


def save(run: Run, photos: Walk, plan: Plan, work: Work, progress: Progress, *, complete: bool) -> Saved:
    """Makes the new records and replaces the index; nobody else changes it meanwhile.

    ``complete``: whether all photos were looked at; else the records of the others stand.

    Raises:
        IndexFileError: the index cannot be written, or is damaged now; the journal keeps what the run has learnt.
    """
    with replacing(run.place):
        run, old = _heeding_edits(run, work, progress)
        learnt = work.learnt(photos.photos)
        unseen = in_folders(old, photos.unreadable_folders)
        if complete:
            kept = {path: old.get(path, record) for path, record in plan.kept.items()}
            new = merged(old, photos.photos, kept, learnt, unseen)
            index = _written_with_labels(run, old, new, work, progress)
            say_where(new.where, progress)
        else:
            index = _written(run, old, interrupted(old, photos.photos, learnt), work)
        work.journal.remove()
    found = {photo.path for photo in photos.photos}
    scored = sum(photo.verdict is not None for photo in learnt.values())
    return Saved(index, scored, len(old.keys() - found - set(unseen)))


def _heeding_edits(run: Run, work: Work, progress: Progress) -> tuple[Run, Records]:
    """Takes up what a person wrote into the index while the run was under way: that is not overwritten."""
    known: Records = run.old.photos if run.old else {}
    edited = None if stamp_of(run.place) == run.stamp else read_index_if_there(run.place)
    if edited is None:
        return run, known
    progress.note("index: changed by others during this run; their changes are kept")
    records = {path: record if path in known else _as_it_lies(record, work) for path, record in edited.photos.items()}
    if run.old is None:
        return replace(run, old=edited), records
    catalog, added = with_added_cars(run.catalog, run.old.header.catalog, edited.header.catalog)
    return replace(run, catalog=catalog, added=added, old=edited), records


def _as_it_lies(record: PhotoRecord, work: Work) -> PhotoRecord:
    """A record that others made during this run is of what lies there, whatever hash they gave it."""
    facts = work.facts(record.path)
    return record if facts is None else msgspec.structs.replace(record, sha256=facts.sha256)


def _written_with_labels(run: Run, records: Records, new: Merged, work: Work, progress: Progress) -> Index:
    """Writes the index; the rows of the labels that were learned from go where their photos went."""
    if run.old is None or not learned_files(run.place)[0].is_file():
        return _written(run, records, new.records, work, new)
    from cartag.learning import LabelRows  # noqa: PLC0415 - of no use to most runs

    with LabelRows(run.place, run.gallery, run.old, new.now, progress) as labels:
        index = _written(run, records, new.records, work, new)
        labels.write()
    return index


def _written(run: Run, before: Records, records: Records, work: Work, new: Merged | None = None) -> Index:
    """Replaces the index, unless nothing but its date would change. ``new`` tells where photos went."""
    old = run.old
    photos = {path: records[path] for path in sorted(records)}
    header = _header(run, photos, work)
    if old is not None and old.photos == photos:
        undated = msgspec.structs.replace(header, updated=old.header.updated)
        if undated == old.header:
            return old
    is_there = old is not None and run.place.index.exists()  # somebody may have moved it away
    foreign = with_foreign_fields(old).foreign if old is not None and is_there else Foreign()
    if new is not None:
        foreign = foreign.moved(homes_of(foreign.photos, before, new))
    index = Index(header, photos, run.place.index, foreign)
    write_index(index)
    return index


def _header(run: Run, photos: Records, work: Work) -> IndexHeader:
    old, spec = run.old, run.files.spec
    dtype = "float32"
    if old is not None and (old.header.model.name, old.header.model.revision) == (spec.name, run.files.revision):
        dtype = old.header.model.dtype
    return IndexHeader(
        schema_version=SCHEMA_VERSION,
        generator=f"cartag {__version__}",
        updated=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        model=IndexedModel(name=spec.name, source=spec.source, revision=run.files.revision, dtype=work.dtype or dtype),
        detector=run.sight.indexed if run.sight else UNSET,
        catalog=catalog_of(run.catalog, old.header.catalog if old else None, photos, run.added),
        scoring=run.scoring,
    )


def say_where(where: Whereabouts, progress: Progress) -> None:
    """What became of people's words, where that is not plain; once, for the next run finds them where they are."""
    for paths, what in (
        (where.moved, "went with its photo, {old} is {new} now"),
        (where.set_aside, "waits for its photo: {old} is another one now, so it is kept as {new}, missing"),
        ({path: path for path in where.edited}, "stays on {new}, whose content is new: look whether it holds"),
    ):
        if paths:
            new, old = min(paths.items())
            more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
            progress.note(f"index: what a person said {what.format(old=old, new=new)}{more}")
