"""Tagging on a cluster, from the listing to the index. Ray places the work, cartag knows what is done.

    list -> join with what is done -> plan of shards -> one pipeline: read, look, judge, write -> what has gone

Nothing is remembered between runs but the index itself: a shard whose small file is there is done, all else does not
exist. So after any death the same command lists anew, finds what is missing, and goes on.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import UNSET

from cartag import encoder as encoders
from cartag.encoder import Encoder
from cartag.engines.cluster import Nodes, check_address, check_nodes, cluster
from cartag.engines.job import Job, PlannedShard, digest_of_files
from cartag.engines.libraries import pq
from cartag.engines.manifest import Ledger, list_photos
from cartag.engines.pipeline import Done, run
from cartag.engines.report import ClusterReport
from cartag.engines.words import follow_photos
from cartag.errors import EngineError, IndexFileError, UsageError
from cartag.photos import RawPairs, Source, Walk, reads_raw, say_pairs, source_of
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings
from cartag.state import (
    FILE_NAME,
    SCHEMA_VERSION,
    Index,
    ShardDone,
    ShardFolder,
    Store,
    catalog_of,
    every_shard,
    living,
    place_of,
    read_foreign_header,
    read_header,
    read_identities,
    read_said,
    running,
    shard_folder,
    taken_names,
    with_added_cars,
    write_header,
    write_shard,
)
from cartag.tagging import Basis, Judge, basis_of, judge_of, reading_spec
from cartag.values import OUTCOMES, IndexedModel, IndexHeader
from cartag.version import __version__

_PART, _PART_OF_PIXELS = 256, 64
_GONE_AT_ONCE = 100_000
_PUT_AT_ONCE = 8
_TOKEN = "run.json"


@dataclass(frozen=True)
class _Run:
    """What a run on a cluster is decided by."""

    source: Source
    place: ShardFolder
    settings: Settings
    old: IndexHeader | None
    basis: Basis
    shards: Sequence[ShardDone]
    """All that were done when the run began."""

    @property
    def key(self) -> str:
        """What the answers follow from, in a word; kept with every shard."""
        spec, basis = self.basis.files.spec, self.basis
        parts = (spec.name, basis.files.revision, basis.catalog.sha256, basis.scoring, basis.identity)
        return _digest("\0".join(parts))


def tag_on_ray(
    gallery: Path | str,
    options: Mapping[str, Any],
    *,
    address: str | None,
    retag: bool,
    gone: bool,
    settings: Settings | None,
    progress: Progress | None,
) -> ClusterReport:
    """Tags photos on a cluster; arguments and errors as of `cartag.tag`, settings that were given as ``options``."""
    settings = load_settings(options) if settings is None else settings.overridden(options)
    progress = progress or Silent()
    if settings.index is None:
        raise UsageError("--engine ray: name where the index goes, a folder or a URI: --index URI")
    check_address(address)
    source, place = source_of(gallery), shard_folder(settings.index)
    old = _header_of(place)
    beside = place_of(Path(), place.local / FILE_NAME) if place.local is not None else None
    known = None if old is None else Index(old, {}, Path(place.where(FILE_NAME)))
    with (
        running(beside) if beside is not None else nullcontext(),
        tempfile.TemporaryDirectory(prefix="cartag-") as temp,
    ):
        pairs = cast(RawPairs, settings.raw_pairs) if reads_raw() else None
        listing = Path(temp) / "listed.parquet"
        walk = list_photos(source, listing, pairs, settings.not_hers, settings.engine_list_threads, progress)
        say_pairs(walk, pairs, settings.raw_pairs, progress)
        # What was learned for an index on object storage lies in the cache of whoever learned it, for runs from there.
        basis = basis_of(beside or place_of(Path(), settings.index), known, settings, progress)
        every = every_shard(place)  # before photos are held against it: what is done later is not planned for again
        this = _Run(source, place, settings, old, basis, every)
        _check_kind(this, retag)
        stale = [shard.name for shard in living(every) if retag or shard.facts.get("basis", this.key) != this.key]
        with Ledger(Path(temp), listing, read_identities(place), stale) as ledger:
            ledger.keep_below(walk.unreadable_folders)
            _check_not_empty(this, ledger, gone)
            done, header = _done(this, ledger, address, Path(temp), progress)
            follow_photos(place, ledger, walk.unreadable_folders, progress)
            return _report(this, ledger, walk, done, header)


def _header_of(place: ShardFolder) -> IndexHeader | None:
    try:
        return read_header(place)
    except IndexFileError as e:
        raise IndexFileError(f"{e}; --engine ray writes an index of shards, in a folder of its own: --index URI") from e


def _check_kind(this: _Run, retag: bool) -> None:
    """Two kinds of scores never mix unasked.

    Raises:
        IndexFileError: the index is of another model, catalog or calibration.
    """
    if this.old is None or retag or this.basis.made(this.old):
        return
    made, spec = this.old, this.basis.files.spec
    raise IndexFileError(
        f"{this.place.uri}: was made with {made.model.name} for {made.catalog.name}, in another way than this run with "
        f"{spec.name} for {this.basis.catalog.name} would; name another --index, or do all of it again with --retag"
    )


def _check_not_empty(this: _Run, ledger: Ledger, gone: bool) -> None:
    """As a local run has it: a disk that is not mounted, or a prefix that is mistyped, empties no index."""
    if ledger.listed or gone or not (lost := ledger.gone):
        return
    raise IndexFileError(
        f"{this.place.uri}: knows {lost} photo{'s' if lost > 1 else ''}, and {this.source.uri} holds none: check the "
        "name, or mount its disk; if they are really gone, say so with --gone"
    )


def _done(this: _Run, ledger: Ledger, address: str | None, temp: Path, progress: Progress) -> tuple[Done, IndexHeader]:
    """Does what is left to do; the index's header as it is then."""
    done, header = Done(), this.old
    if this.old is not None and not ledger.to_do and not ledger.gone:
        return done, this.old
    with _taken_over(this.place) as still_ours:
        header = _written_header(this, this.old.model.dtype if this.old else "float32", anew=False)
        if ledger.to_do:
            with cluster(address) as nodes:
                check_nodes()
                job = _job(this, ledger, nodes, temp, progress)
                try:
                    size = this.settings.engine_shard_size
                    done = run(job, nodes, lambda shard: ledger.outdated(shard.start, size), still_ours, progress)
                finally:
                    progress.finish()
                _remove_plan(this.place, job.shards)
        for rows in ledger.gone_rows(_GONE_AT_ONCE):
            still_ours()
            name = f"gone-{_digest(repr(rows))}"
            write_shard(this.place, name, [], {}, replaced=rows, facts={"cartag": __version__, "basis": this.key})
        header = _written_header(this, done.dtype or header.model.dtype, anew=True)
    return done, header


@contextmanager
def _taken_over(place: ShardFolder) -> Iterator[Callable[[], None]]:
    """The newest run on an index has it; another that still goes on ends before its next shard. No clock is asked.

    A run of this machine is kept out by a lock before; this is for drivers on two machines.
    """
    token = uuid.uuid4().hex.encode()
    place.write(_TOKEN, token)

    def still_ours() -> None:
        if place.read_if_there(_TOKEN) != token:
            raise EngineError(f"{place.uri}: another run of tag has taken this index over; this one ends")

    try:
        yield still_ours
    finally:
        if place.read_if_there(_TOKEN) == token:
            place.remove(_TOKEN)


# --- the plan -------------------------------------------------------------------------------------------------------


def _job(this: _Run, ledger: Ledger, nodes: Nodes, temp: Path, progress: Progress) -> Job:
    """Says what is to be done by whom, and writes which photos are whose where the workers can read it."""
    settings, basis = this.settings, this.basis
    on_gpu = settings.device.startswith("cuda") or (settings.device == "auto" and nodes.gpus >= 1)
    if on_gpu and nodes.gpus < 1:
        raise EngineError(f"device {settings.device}: the cluster has no GPU; --device cpu works")
    part = settings.engine_batch_size or (_PART_OF_PIXELS if on_gpu else _PART)
    sight = basis.sight
    return Job(
        version=__version__,
        source=this.source,
        place=this.place,
        settings=settings,
        model=basis.files,
        model_digest=digest_of_files(basis.files),
        sight=sight,
        detector_digest=digest_of_files(sight.files) if sight else "",
        judge=_judge(basis, temp),
        embeddings=basis.identity,
        reading_spec=reading_spec(basis),
        glance_spec=sight.image_spec if sight else None,
        model_spec=encoders.image_spec(basis.files, fit=settings.fit),
        basis=this.key,
        shards=_planned(this, ledger, part, progress),
        on_gpu=on_gpu,
        cores=min(settings.engine_actor_cpus, nodes.smallest),
    )


def _judge(basis: Basis, temp: Path) -> Judge:
    """The text side is computed here, once, and not by every worker."""
    loaded: list[Encoder] = []

    def encoder() -> Encoder:
        if not loaded:
            settings = basis.settings
            loaded.append(encoders.load(basis.files, device="cpu", dtype=settings.dtype, fit=settings.fit))
        return loaded[0]

    with Store(temp, basis.identity) as store:
        return judge_of(basis, store, encoder)


def _planned(this: _Run, ledger: Ledger, part: int, progress: Progress) -> tuple[PlannedShard, ...]:
    """Shards by name, each with its photos in a file. Equal plans give equal names: what two runs do twice is one.

    A plan that was carried out before, of photos that went and came back, is another one: it has the name after.
    """
    size, planned, first = this.settings.engine_shard_size, list[PlannedShard](), 0
    taken = taken_names(this.place, this.shards) if ledger.to_do else set()
    writing: deque[Future[None]] = deque()
    progress.start("planning", ledger.to_do)
    with ThreadPoolExecutor(_PUT_AT_ONCE, "cartag-plan") as pool:
        for start in range(0, ledger.to_do, size):
            photos = ledger.photos(start, size)
            name = _digest(repr((photos.to_pydict(), ledger.outdated(start, size), this.key)))
            while name in taken:
                name = _digest(name)
            parts = -(-photos.num_rows // part)
            planned.append(PlannedShard(name, first, parts, start, photos.num_rows))
            data = io.BytesIO()
            pq.write_table(photos, data, row_group_size=part, compression="zstd")
            writing.append(pool.submit(this.place.write, planned[-1].listing, data.getvalue()))
            if len(writing) > _PUT_AT_ONCE:
                writing.popleft().result()  # no more of them wait than are being written
            first += parts
            progress.advance(photos.num_rows)
        for put in writing:
            put.result()
    progress.finish()
    return tuple(planned)


def _remove_plan(place: ShardFolder, shards: Sequence[PlannedShard]) -> None:
    with ThreadPoolExecutor(_PUT_AT_ONCE, "cartag-plan") as pool:
        list(pool.map(place.remove, [shard.listing for shard in shards]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


# --- what comes of it -----------------------------------------------------------------------------------------------


def _written_header(this: _Run, dtype: str, *, anew: bool) -> IndexHeader:
    """The header as it has to be; written where it says anything else than its date, or ``anew``.

    What others wrote into it is kept, during the run too: their fields, cars that people's words name, and those that
    a review added.
    """
    basis, spec = this.basis, this.basis.files.spec
    old = _header_of(this.place)
    said = {} if old is None else read_said(this.place).records
    foreign = {} if old is None else read_foreign_header(this.place, old)
    catalog, added = basis.catalog, frozenset[str]()
    if this.old is not None and old is not None:
        catalog, added = with_added_cars(catalog, this.old.catalog, old.catalog)
    header = IndexHeader(
        schema_version=SCHEMA_VERSION,
        generator=f"cartag {__version__}",
        updated=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        model=IndexedModel(name=spec.name, source=spec.source, revision=basis.files.revision, dtype=dtype),
        detector=basis.sight.indexed if basis.sight else UNSET,
        catalog=catalog_of(catalog, old.catalog if old else None, said, added),
        scoring=basis.scoring,
    )
    if not anew and old is not None:
        fields = {name: getattr(old, name) for name in IndexHeader.__struct_fields__}
        if msgspec.structs.replace(header, updated=old.updated) == IndexHeader(**fields):
            return header
    write_header(this.place, header, embeddings=basis.identity, foreign=foreign)
    return header


def _report(this: _Run, ledger: Ledger, walk: Walk, done: Done, header: IndexHeader) -> ClusterReport:
    standing = ledger.standing()
    counted: dict[str, int] = {
        outcome: standing.get(outcome, 0) + done.outcomes.get(outcome, 0) for outcome in OUTCOMES
    }
    return ClusterReport(
        index=Index(header, {}, Path(this.place.where(FILE_NAME))),
        unchanged=sum(standing.values()) - standing.get("error", 0),
        scored=0,
        embedded=done.photos - done.outcomes.get("error", 0),
        unreadable=counted["error"],
        gone=ledger.gone,
        raw_files=walk.raw_files,
        raw_pairs=walk.raw_pairs,
        unreadable_folders=tuple(walk.unreadable_folders),
        left_out=walk.left_out,
        unreadable_kinds=walk.unreadable_kinds,
        uri=this.place.uri,
        shards=done.shards,
        seconds=done.seconds,
        counted=counted,
    )
