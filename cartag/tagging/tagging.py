"""Tagging a gallery: the way of a photo from the folder walk to the index. The only orchestration in cartag.

    walk -> plan -> read (threads) -> embed (batches) -> store, journal -> score -> merge with people's words -> index

`plan` decides for every photo how little has to be done: nothing, scoring from the cached embedding, or reading it.
`work` does it, `merging` makes the records of it, `saving` writes them.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from msgspec import UNSET

from cartag.errors import IndexFileError
from cartag.learning import learned_files
from cartag.paths import as_typed
from cartag.photos import RawPairs, Walk, reads_raw, say_pairs, walk
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings
from cartag.state import Index, outcome_counts, place_of, remove_leftovers, running
from cartag.tagging.plan import Plan, plan_of
from cartag.tagging.run import Run, check_is_one_file, check_not_empty, check_same_gallery, prepare
from cartag.tagging.saving import save
from cartag.tagging.work import Work


@dataclass(frozen=True)
class TagReport:
    """What a run of `tag` did. ``unchanged + scored + embedded + unreadable`` are the photos of the gallery."""

    index: Index
    unchanged: int
    """Photos whose record stands as it was."""
    scored: int
    """Photos scored from a cached embedding."""
    embedded: int
    """Photos decoded and run through the model."""
    unreadable: int
    """Photos that could not be read: records with outcome `error`."""
    gone: int
    """Records of the old index whose photo is no longer there."""
    raw_files: int = 0
    """RAW files seen and left out, for rawpy is not installed."""
    raw_pairs: int = 0
    """RAW files that are one photo with the JPEG beside them."""
    unreadable_folders: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    """Folders and files left out by the settings ``leave_out`` and ``leave_out_also``, by their pattern."""
    unreadable_kinds: dict[str, int] = field(default_factory=dict)
    """Files left out that look like photos and are of a kind that cannot be read, by extension."""

    @property
    def outcomes(self) -> dict[str, int]:
        """Photos per outcome, all four of them."""
        return outcome_counts(self.index)


def tag(
    gallery: Path | str,
    *,
    catalog: str | Path | None = None,
    model: str | None = None,
    regions: str | None = None,
    detector: str | None = None,
    device: str | None = None,
    runtime: str | None = None,
    index: Path | str | None = None,
    retag: bool = False,
    raw_pairs: str | None = None,
    isolate: bool | None = None,
    gone: bool = False,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> TagReport:
    """Tags every photo of a gallery and writes its index.

    Only what changed since the last run is done again: new and changed photos are read, a changed model, catalog or
    calibration is applied to cached embeddings where they are. ``retag`` reads everything anew. What a person said
    (tags of source `human`, confirmed photos) is never altered, and goes with its photo wherever that goes. Photos are
    only read.

    Args:
        gallery: the folder of photos.
        catalog: a shipped catalog's name or a YAML file; None: the one of the index, else `mille-miglia-2013`.
        model: a name of `cartag models`, a hub id, or a folder; None: as `--model auto`.
        regions: look at every car of a photo by itself (`all`), at the largest (`main`), or at the photo as a whole
            (`off`); None: as `--regions all`.
        detector: what finds the cars: a name of `cartag models`, a hub id, or a folder; None: as `--detector look`.
        device: auto, cpu, cuda (every GPU), cuda:N or mps.
        runtime: what computes a bundled model: `onnx` (ONNX Runtime, on a CPU) or `torch`; None: as `--runtime auto`.
        index: where the index lies, if not in the gallery.
        retag: forget what is cached and read every photo again.
        raw_pairs: which photo a RAW file and the JPEG beside it are: `jpeg`, `raw`, or `both`.
        isolate: decode in worker processes, so that a photo that crashes or hangs a decoder is a record, not the end.
        gone: a gallery without any photo is meant: otherwise an index that knows some is left alone.
        settings: the rarer settings; the arguments above go before them.
        progress: hears what is going on.

    Raises:
        GalleryError, IndexFileError, CatalogError, ModelError, SettingsError: see `cartag.errors`.
        KeyboardInterrupt: again, after what was done so far has been saved.
    """
    options: dict[str, Any] = {"catalog": catalog, "model": model, "device": device, "index": index}
    options |= {"raw_pairs": raw_pairs, "isolate": isolate, "regions": regions, "detector": detector}
    options |= {"runtime": runtime}
    settings = load_settings(options) if settings is None else settings.overridden(options)
    gallery, progress = Path(gallery), progress or Silent()
    place = place_of(gallery, settings.index)
    pairs = cast(RawPairs, settings.raw_pairs) if reads_raw() else None
    photos = walk(gallery, pairs, settings.not_hers)  # first of all: a mistyped folder should not wait for a model
    say_pairs(photos, pairs, settings.raw_pairs, progress)
    check_is_one_file(place)
    with running(place):
        remove_leftovers(place)
        run = prepare(gallery, place, settings, progress)
        if not gone:
            check_not_empty(run, photos)
        check_same_gallery(run, photos)
        report = _pass(run, photos, retag, progress)
        if report.scored + report.embedded and run.is_uncalibrated:
            progress.note(
                f"model: {run.files.spec.name} has no calibration, so its scores are not measured probabilities: label "
                f"some thirty photos ({as_typed('review', gallery, index=settings.index)}), then "
                f"{as_typed('learn', gallery, 'LABELS', index=settings.index)} fits it to yours"
            )
        if not _refitted(run, report, retag, progress):
            return report
        again = _pass(prepare(gallery, place, settings, progress), photos, False, progress)
        return replace(report, index=again.index)


def _pass(run: Run, photos: Walk, retag: bool, progress: Progress) -> TagReport:
    """All photos once; on an interrupt what is done is saved, and it is raised again."""
    plan = Plan()
    with Work(run, retag, progress) as work:
        try:
            plan = plan_of(run, photos.photos, work.journaled(), retag)
            unscored = work.score_cached(plan.known)
            plan.to_read += (photo for photo in photos.photos if photo.path in unscored)
            work.read_and_embed(plan.to_read)
        except KeyboardInterrupt:
            if run.old is None or run.old_is_current:  # two kinds of scores never mix in one index
                save(run, photos, plan, work, progress, complete=False)
            raise
        except (OSError, sqlite3.Error) as e:
            raise IndexFileError(
                f"{run.place.state}: cannot be used ({e}); mend that, or move the folder away, and the same command "
                "goes on from here"
            ) from e
        finally:
            work.journal.close()
        saved = save(run, photos, plan, work, progress, complete=True)
    return TagReport(
        index=saved.index,
        unchanged=len(plan.kept),
        scored=saved.scored - work.embedded,
        embedded=work.embedded,
        unreadable=sum(record.error is not UNSET for record in saved.index if record.missing is UNSET),
        gone=saved.gone,
        raw_files=photos.raw_files,
        raw_pairs=photos.raw_pairs,
        unreadable_folders=tuple(photos.unreadable_folders),
        left_out=photos.left_out,
        unreadable_kinds=photos.unreadable_kinds,
    )


def _refitted(run: Run, report: TagReport, retag: bool, progress: Progress) -> bool:
    """Whether what was learned from hand labels was learned anew: the photos have to be scored by it then."""
    if not learned_files(run.place)[0].is_file():
        return False
    from cartag.learning import owes_rows, refit  # noqa: PLC0415 - of no use to most runs

    return not owes_rows(run.place) and refit(
        run.gallery, report.index, anew=retag, settings=run.settings, progress=progress
    )
