"""Tagging a gallery: the way of a photo from the folder walk to the index. The only orchestration in cartag.

    walk -> plan -> read (threads) -> embed (batches) -> store, journal -> score -> merge with people's words -> index

`plan` decides for every photo how little has to be done: nothing, scoring from the cached embedding, or reading it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import UNSET

from cartag import encoder as encoders, merging
from cartag.catalogs import load_catalog
from cartag.encoder import Encoder
from cartag.errors import IndexFileError
from cartag.learning import LabelRows, Learned, learned_files, load_learned, owes_rows
from cartag.merging import Learnt, Merged
from cartag.photos import RawPairs, Reader, ReadPhoto, Walk, batch_size, reads_raw, walk
from cartag.progress import Progress, Silent
from cartag.scoring import (
    Calibration,
    ClassSet,
    Verdict,
    adjusted,
    calibration_of,
    class_set_of,
    decide,
    default_catalog,
    model_facts,
    score,
)
from cartag.settings import Settings, load_settings, shared_texts
from cartag.state import (
    SCHEMA_VERSION,
    Facts,
    Foreign,
    Index,
    Journal,
    Place,
    SharedTexts,
    Stamp,
    Store,
    Whereabouts,
    latest,
    outcome_counts,
    place_of,
    read_index_if_there,
    remove_leftovers,
    replacing,
    running,
    stamp_of,
    with_foreign_fields,
    write_index,
)
from cartag.values import (
    RETRIED_REASONS,
    Catalog,
    IndexedModel,
    IndexHeader,
    ModelFiles,
    PhotoFile,
    PhotoRecord,
    is_settled_by_human,
)
from cartag.version import __version__

_SCORED_AT_ONCE = 4096


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
    device: str | None = None,
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
        device: auto, cpu, cuda, cuda:N or mps.
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
    options |= {"raw_pairs": raw_pairs, "isolate": isolate}
    settings = load_settings(options) if settings is None else settings.overridden(options)
    gallery, progress = Path(gallery), progress or Silent()
    place = place_of(gallery, settings.index)
    pairs = cast(RawPairs, settings.raw_pairs) if reads_raw() else None
    photos = walk(gallery, pairs, settings.not_hers)  # first of all: a mistyped folder should not wait for a model
    with running(place):
        remove_leftovers(place)
        run = _prepare(gallery, place, settings, progress)
        if not gone:
            _check_not_empty(run, photos)
        _check_same_gallery(run, photos)
        report = _pass(run, photos, retag, progress)
        if not _refitted(run, report, retag, progress):
            return report
        again = _pass(_prepare(gallery, place, settings, progress), photos, False, progress)
        return replace(report, index=again.index)


def _pass(run: _Run, photos: Walk, retag: bool, progress: Progress) -> TagReport:
    with ExitStack() as stack:
        return _Tagger(run, stack, photos, retag, progress).tag()


def _refitted(run: _Run, report: TagReport, retag: bool, progress: Progress) -> bool:
    """Whether what was learned from hand labels was learned anew: the photos have to be scored by it then."""
    if not learned_files(run.place)[0].is_file() or owes_rows(run.place):
        return False
    from cartag.learning import refit  # of no use to most runs

    return refit(run.gallery, report.index, anew=retag, settings=run.settings, progress=progress)


# --- preparing a run --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """Everything a run is decided by, before any photo is looked at."""

    gallery: Path
    place: Place
    settings: Settings
    old: Index | None
    catalog: Catalog
    files: ModelFiles
    identity: str
    calibration: Calibration
    learned: Learned | None
    """What `learn` fitted for this model and catalog."""
    stamp: Stamp | None
    """Of the old index: whether somebody else changed it since."""

    @cached_property
    def scoring(self) -> str:
        """Digest of what decides scores besides model and catalog; ends with how photos are fitted (squash192x192).

        A plus stands for what was learned from hand labels.
        """
        learned = f"+{self.learned.digest()}" if self.learned else ""
        return f"{self.calibration.digest()}{learned}-{self.settings.candidates}-{self.identity.split('/')[1]}"

    @cached_property
    def old_is_current(self) -> bool:
        """Whether the old index was made with this very model, catalog and calibration."""
        if self.old is None:
            return False
        header, spec = self.old.header, self.files.spec
        return (
            (header.model.name, header.model.revision) == (spec.name, self.files.revision)
            and self.settings.dtype in ("auto", header.model.dtype)
            and header.catalog.sha256 == self.catalog.sha256
            and header.scoring == self.scoring
        )


def _check_not_empty(run: _Run, photos: Walk) -> None:
    """A disk that is not mounted leaves an empty folder behind: an index elsewhere is not emptied for that.

    One that lies in the gallery is mounted with it.

    Raises:
        IndexFileError: no photo is to be seen, and the index knows some that it would lose.
    """
    lies_in_it = run.place.index.resolve().is_relative_to(run.gallery.resolve())
    if run.old is None or photos.photos or lies_in_it:
        return
    unseen = set(merging.in_folders(run.old.photos, photos.unreadable_folders))
    lost = sum(record.missing is UNSET and record.path not in unseen for record in run.old)
    if lost:
        raise IndexFileError(
            f"{run.place.index}: knows {lost} photo{'s' if lost > 1 else ''}, and {run.gallery} holds none: mount its "
            "disk, or name another folder; if they are really gone, say so with --gone"
        )


def _check_same_gallery(run: _Run, photos: Walk) -> None:
    """An index elsewhere (``--index FILE``) does not know its gallery: another one's must not take a person's tags.

    Raises:
        IndexFileError: none of the index's photos is here, by size, so that renamed ones count as here.
    """
    old, elsewhere = run.old, run.place.index.resolve().parent != run.gallery.resolve()
    if old is None or not elsewhere or not photos.photos or not any(map(is_settled_by_human, old)):
        return
    sizes = {photo.size for photo in photos.photos}
    if not any(record.size in sizes for record in old):
        raise IndexFileError(
            f"{run.place.index}: holds a person's tags, and none of its {len(old)} photos is in {run.gallery}: it "
            "seems to be of another gallery; name another --index FILE, or move it away"
        )


def _prepare(gallery: Path, place: Place, settings: Settings, progress: Progress) -> _Run:
    stamp = stamp_of(place)
    old = read_index_if_there(place)
    catalog = load_catalog(settings.catalog or default_catalog(old))
    if settings.model == "auto":
        files = encoders.resolve_auto(old.header.model if old else None, progress)
    else:
        files = encoders.resolve(settings.model, progress)
    identity = encoders.identity(files, dtype=settings.dtype, fit=settings.fit)
    learned = _learned(place, identity, catalog, progress)
    own = calibration_of(Path(files.folder) if files.folder else None)
    calibration = adjusted(
        learned.facts.calibration if learned else own,
        threshold=settings.threshold,
        margin=settings.margin,
        temperature=settings.temperature,
        mode=settings.mode,
    )
    return _Run(gallery, place, settings, old, catalog, files, identity, calibration, learned, stamp)


def _learned(place: Place, identity: str, catalog: Catalog, progress: Progress) -> Learned | None:
    """What `learn` fitted, if it is for this model and catalog; otherwise it is left alone, and said."""
    found = load_learned(place)
    if found is None or found.fits(model=identity, catalog=catalog.sha256):
        return found
    what = "model" if found.facts.model != identity else "catalog"
    if not found.facts.source:  # otherwise it is learned again at the end
        progress.note(f"learned: made with another {what}, not used; 'cartag learn' fits it to this one")
    return None


# --- the run ----------------------------------------------------------------------------------------------------


@dataclass
class _Plan:
    """What has to be done with each photo; every photo is in exactly one of them."""

    kept: dict[str, PhotoRecord] = field(default_factory=dict)
    known: list[Facts | PhotoRecord] = field(default_factory=list)
    """By the journal or the old index; of these, what the cache has no embedding of is read after all."""
    to_read: list[PhotoFile] = field(default_factory=list)


class _Tagger:
    """One run of `tag`; its state is what it has learnt so far."""

    def __init__(self, run: _Run, stack: ExitStack, photos: Walk, retag: bool, progress: Progress) -> None:
        self._run = run
        self._stack = stack
        self._walk = photos
        self._retag = retag
        self._progress = progress
        self._journal = Journal(run.place.journal)
        self._old: Mapping[str, PhotoRecord] = run.old.photos if run.old else {}
        self._facts: dict[str, Facts | PhotoRecord] = {}
        self._verdicts: dict[str, Verdict] = {}
        """By content hash: equal files are equal photos."""
        self._fresh: set[str] = set()
        """Hashes of the photos embedded in this run: of equal files only the first goes through the model."""
        self._embedded = 0

    def tag(self) -> TagReport:
        """Runs all stages; on an interrupt saves what is done and raises it again."""
        plan = _Plan()
        try:
            plan = self._plan()
            unscored = self._score_known(plan.known)
            plan.to_read += (photo for photo in self._walk.photos if photo.path in unscored)
            self._read_and_embed(plan.to_read)
        except KeyboardInterrupt:
            if self._run.old is None or self._run.old_is_current:
                self._save(plan, complete=False)
            raise
        except (OSError, sqlite3.Error) as e:
            raise IndexFileError(
                f"{self._run.place.state}: cannot be used ({e}); mend that, or move the folder away, and the same "
                "command goes on from here"
            ) from e
        finally:
            self._journal.close()
        return self._save(plan, complete=True)

    # --- what is left to do

    def _plan(self) -> _Plan:
        plan = _Plan()
        journaled = latest(self._journal.read())  # what a killed run has learnt after the old index
        stands = self._run.old_is_current and not self._retag
        for photo in self._walk.photos:
            old = self._old.get(photo.path)
            known: Facts | PhotoRecord | None = journaled.get(photo.path)
            if known is None and old is not None and stands and _stands(old, photo):
                plan.kept[photo.path] = old  # in most runs nearly all of them: a comparison, and nothing more
                continue
            known = known or old
            if self._retag or known is None or (known.size, known.mtime_ns) != (photo.size, photo.mtime_ns):
                plan.to_read.append(photo)
            elif known.error is not UNSET:
                if known.error.reason in RETRIED_REASONS:
                    plan.to_read.append(photo)
                else:
                    plan.known.append(known)
            elif old is not None and stands and _stands(old, photo):
                plan.kept[photo.path] = old
            else:
                plan.known.append(known)
        return plan

    @cached_property
    def _store(self) -> Store:
        """Opened, and checked, only when something must be looked up in it."""
        store = self._stack.enter_context(Store(self._run.place.state, self._run.identity))
        if store.was_set_aside:
            self._progress.note(f"cache: {store.path} was damaged; set aside, photos are embedded again as needed")
        return store

    @cached_property
    def _cached(self) -> set[str]:
        """Hashes of the photos whose embedding need not be computed."""
        return set() if self._retag else self._store.hashes()

    # --- scoring from the cache

    def _score_known(self, known: Sequence[Facts | PhotoRecord]) -> set[str]:
        """Scores what the cache has embeddings of; the paths of the others, which have to be read."""
        self._facts.update((facts.path, facts) for facts in known)
        readable = [facts for facts in known if facts.error is UNSET]
        if hashes := list(dict.fromkeys(facts.sha256 for facts in readable if facts.sha256)):
            self._progress.start("scoring", len(hashes))
            for some, embeddings in self._store.sound(hashes, _SCORED_AT_ONCE):
                self._verdicts.update(zip(some, self._judge(embeddings), strict=True))
                self._progress.advance(len(some))
            self._progress.finish()
        return {facts.path for facts in readable if self._verdict(facts) is None}

    def _verdict(self, facts: Facts | PhotoRecord) -> Verdict | None:
        """What was scored in this run of a photo with this content."""
        return self._verdicts.get(facts.sha256) if facts.sha256 and facts.error is UNSET else None

    def _judge(self, photos: np.ndarray) -> list[Verdict]:
        """Scores photos by their embeddings (n, d)."""
        model = self._model_facts
        scores = score(
            photos,
            self._classes,
            logit_scale=model["logit_scale"] or 1.0,
            logit_bias=model["logit_bias"],
            calibration=self._run.calibration,
        )
        return decide(scores, self._classes.cars, self._run.calibration, self._run.settings.candidates)

    @cached_property
    def _encoder(self) -> Encoder:
        """Loaded only when something must be embedded."""
        settings = self._run.settings
        encoder = encoders.load(self._run.files, device=settings.device, dtype=settings.dtype, fit=settings.fit)
        self._store.put_facts({"logit_scale": encoder.logit_scale, "logit_bias": encoder.logit_bias})
        return encoder

    @cached_property
    def _model_facts(self) -> dict[str, float | None]:
        return model_facts(self._store, lambda: self._encoder)

    @cached_property
    def _classes(self) -> ClassSet:
        shared = SharedTexts(shared_texts(self._run.settings), self._run.identity)
        classes = class_set_of(self._run.catalog, self._store, shared, lambda: self._encoder)
        return self._run.learned.applied(classes) if self._run.learned else classes

    # --- reading and embedding

    def _read_and_embed(self, photos: Sequence[PhotoFile]) -> None:
        if not photos:
            return
        settings = self._run.settings
        self._progress.start("tagging", len(photos))
        with Reader(
            self._run.gallery,
            photos,
            encoders.image_spec(self._run.files, fit=settings.fit),
            embedded=self._cached,
            settings=settings,
        ) as reader:
            reading = iter(reader)
            while batch := list(islice(reading, batch_size(settings))):
                self._take(batch)
                self._progress.advance(len(batch))
        self._progress.finish()

    def _take(self, batch: Sequence[ReadPhoto]) -> None:
        """Embeds, stores, journals and scores one batch, in this order: a journal line has its embeddings stored."""
        pixels = {
            photo.facts.sha256 or "": photo.pixels
            for photo in batch
            if photo.pixels is not None and photo.facts.sha256 not in self._fresh
        }
        fresh: dict[str, np.ndarray] = {}
        if pixels:
            fresh = dict(zip(pixels, self._encoder.embed_images(list(pixels.values())), strict=True))
            self._store.put(fresh)
            self._fresh.update(fresh)
        self._embedded += sum(photo.pixels is not None and photo.facts.sha256 in fresh for photo in batch)
        facts = [photo.facts for photo in batch]
        self._journal.append(facts)
        self._facts.update((fact.path, fact) for fact in facts)
        readable = [fact for fact in facts if fact.error is UNSET and fact.sha256]
        embeddings = fresh | self._store.get([f.sha256 for f in readable if f.sha256 and f.sha256 not in fresh])
        if scored := [fact for fact in readable if fact.sha256 in embeddings]:
            verdicts = self._judge(np.stack([embeddings[fact.sha256 or ""] for fact in scored]))
            self._verdicts.update(zip((fact.sha256 or "" for fact in scored), verdicts, strict=True))

    # --- the new index

    def _save(self, plan: _Plan, *, complete: bool) -> TagReport:
        with replacing(self._run.place):
            return self._merged_and_written(plan, complete)

    def _merged_and_written(self, plan: _Plan, complete: bool) -> TagReport:
        self._heed_edits()
        learnt = self._learnt()
        unseen = merging.in_folders(self._old, self._walk.unreadable_folders)
        if complete:
            kept = {path: self._old.get(path, record) for path, record in plan.kept.items()}
            new = merging.merged(self._old, self._walk.photos, kept, learnt, unseen)
            index = self._write_with_labels(new)
            self._say(new.where)
        else:
            index = self._write(merging.interrupted(self._old, self._walk.photos, learnt))
        self._journal.remove()
        found = {photo.path for photo in self._walk.photos}
        scored = sum(photo.verdict is not None for photo in learnt.values())
        unreadable = sum(record.error is not UNSET for record in index if record.missing is UNSET)
        return TagReport(
            index=index,
            unchanged=len(plan.kept),
            scored=scored - self._embedded,
            embedded=self._embedded,
            unreadable=unreadable,
            gone=len(self._old.keys() - found - set(unseen)),
            raw_files=self._walk.raw_files,
            raw_pairs=self._walk.raw_pairs,
            unreadable_folders=tuple(self._walk.unreadable_folders),
            left_out=self._walk.left_out,
            unreadable_kinds=self._walk.unreadable_kinds,
        )

    def _learnt(self) -> dict[str, Learnt]:
        """What the run knows of photos that are not as they were.

        An interrupt can fall between reading a photo and scoring it: then nothing is known of it.
        """
        learnt: dict[str, Learnt] = {}
        for photo in self._walk.photos:
            facts = self._facts.get(photo.path)
            verdict = self._verdict(facts) if facts is not None else None
            if facts is not None and (facts.error is not UNSET or verdict is not None):
                learnt[photo.path] = Learnt(facts, verdict)
        return learnt

    def _write_with_labels(self, new: Merged) -> Index:
        """Writes the index; the rows of the labels that were learned from go where their photos went."""
        run = self._run
        if run.old is None or not learned_files(run.place)[0].is_file():
            return self._write(new.records, new)
        with LabelRows(run.place, run.gallery, run.old, new.now, self._progress) as labels:
            index = self._write(new.records, new)
            labels.write()
        return index

    def _say(self, where: Whereabouts) -> None:
        """What became of people's words, where that is not plain; once, for the next run finds them where they are."""
        for paths, what in (
            (where.moved, "went with its photo, {old} is {new} now"),
            (where.set_aside, "waits for its photo: {old} is another one now, so it is kept as {new}, missing"),
            ({path: path for path in where.edited}, "stays on {new}, whose content is new: look whether it holds"),
        ):
            if paths:
                new, old = min(paths.items())
                more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
                self._progress.note(f"index: what a person said {what.format(old=old, new=new)}{more}")

    def _heed_edits(self) -> None:
        """Takes up what a person wrote into the index while the run was under way: that is not overwritten.

        Raises:
            IndexFileError: the index is damaged now; it is left alone, and the journal keeps what the run has learnt.
        """
        run = self._run
        if stamp_of(run.place) == run.stamp:
            return
        edited = read_index_if_there(run.place)
        if edited is not None:
            self._progress.note("index: changed by others during this run; their changes are kept")
            known, self._run = self._old, replace(run, old=edited)
            self._old = {path: r if path in known else self._as_it_lies(r) for path, r in edited.photos.items()}

    def _as_it_lies(self, record: PhotoRecord) -> PhotoRecord:
        """A record that others made during this run is of what lies there, whatever hash they gave it."""
        facts = self._facts.get(record.path)
        return record if facts is None else msgspec.structs.replace(record, sha256=facts.sha256)

    def _write(self, records: Mapping[str, PhotoRecord], new: Merged | None = None) -> Index:
        """Replaces the index, unless nothing but its date would change. ``new`` tells where photos went."""
        run, old = self._run, self._run.old
        photos = {path: records[path] for path in sorted(records)}
        header = self._header(photos)
        if old is not None and old.photos == photos:
            header = msgspec.structs.replace(header, updated=old.header.updated)
            if header == old.header:
                return old
            header = self._header(photos)
        is_there = old is not None and run.place.index.exists()  # somebody may have moved it away
        foreign = with_foreign_fields(old).foreign if old is not None and is_there else Foreign()
        if new is not None:
            foreign = foreign.moved(merging.homes_of(foreign.photos, self._old, new))
        index = Index(header, photos, run.place.index, foreign)
        write_index(index)
        return index

    def _header(self, photos: Mapping[str, PhotoRecord]) -> IndexHeader:
        run, old = self._run, self._run.old
        spec = run.files.spec
        dtype = "float32"
        if old is not None and (old.header.model.name, old.header.model.revision) == (spec.name, run.files.revision):
            dtype = old.header.model.dtype
        if "_encoder" in self.__dict__:
            dtype = self._encoder.dtype
        return IndexHeader(
            schema_version=SCHEMA_VERSION,
            generator=f"cartag {__version__}",
            updated=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            model=IndexedModel(name=spec.name, source=spec.source, revision=run.files.revision, dtype=dtype),
            catalog=merging.catalog_of(run.catalog, old.header.catalog if old else None, photos),
            scoring=run.scoring,
        )


def _stands(record: PhotoRecord, photo: PhotoFile) -> bool:
    """Whether a record is of the file as it is now (a killed run may have journaled a newer one)."""
    return (
        (record.size, record.mtime_ns) == (photo.size, photo.mtime_ns)
        and record.confirmed is not False
        and record.missing is UNSET
        and record.error is UNSET
        and record.outcome != "error"
    )
