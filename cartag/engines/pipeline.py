"""One pipeline of Ray Data for all shards: parts go in by number, records and embeddings come out, shards are written.

The numbers come out in the order they went in, so that the driver knows whose a block is without opening it: what is in
it goes from the worker that looked to the one that writes.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cartag.engines.cluster import Nodes
from cartag.engines.job import Job, PlannedShard
from cartag.engines.libraries import ExecutionCallback, ray
from cartag.engines.worker import Fetch, Looker, Tally, finish
from cartag.errors import EngineError
from cartag.progress import Progress

_SECONDS_A_LINE = 5.0
_POLL = 0.2
_PATIENCE = 120.0
_WRITTEN_AT_ONCE, _CPUS_A_WRITER = 8, 4
_AHEAD = 32  # blocks that wait for the driver


@dataclass
class Done:
    """What a run did, as far as it came."""

    shards: int = 0
    photos: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    dtype: str = ""


def run(
    job: Job,
    nodes: Nodes,
    replaced: Callable[[PlannedShard], Sequence[tuple[str, str]]],
    still_ours: Callable[[], None],
    progress: Progress,
) -> Done:
    """Has all shards of a job looked at and written.

    Args:
        job: what the workers have to know.
        nodes: what the cluster has.
        replaced: (shard, path) of the rows that hold no longer once a shard is written.
        still_ours: raises where another run has taken the index over.
        progress: hears of it.

    Raises:
        EngineError: a worker cannot work, or nothing has come for ``engine_stall_minutes``.
    """
    tally = ray.remote(num_cpus=0)(Tally).remote(job)
    watch = Watch(job, tally, progress)
    done, blocks = Done(), list[Any]()
    shards = iter(job.shards)
    shard: PlannedShard | None = next(shards)
    writing: dict[Any, PlannedShard] = {}
    writer = ray.remote(num_cpus=0)(finish)
    kept = ray.put(job)
    at_once = max(1, min(_WRITTEN_AT_ONCE, int(nodes.cpus // _CPUS_A_WRITER)))
    with _Blocks(_dataset(job, nodes, tally)) as coming:
        while writing or shard is not None:
            block = coming.next(_POLL) if shard is not None and len(writing) < at_once else None
            if block is not None:
                blocks.append(block)
            if shard is not None and len(blocks) == shard.parts:
                still_ours()
                writing[writer.remote(kept, shard, replaced(shard), *blocks)] = shard
                blocks, shard = [], next(shards, None)
            ready, _ = ray.wait(list(writing), timeout=0 if block is not None else _POLL) if writing else ([], None)
            for ref in ready:
                _count(done, writing.pop(ref), _got(ref))
            watch.look(done)
    done.seconds, done.dtype = watch.seconds, watch.dtype
    return done


def _count(done: Done, shard: PlannedShard, said: tuple[str, dict[str, int]]) -> None:
    failed, outcomes = said
    if failed:
        raise EngineError(failed)
    done.shards += 1
    done.photos += shard.photos
    for outcome, count in outcomes.items():
        done.outcomes[outcome] = done.outcomes.get(outcome, 0) + count


def _dataset(job: Job, nodes: Nodes, tally: Any) -> Any:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if _Executing not in (found := getattr(context, "custom_execution_callback_classes", [])):
        found.append(_Executing)
    parts = job.shards[-1].first + job.shards[-1].parts
    # Not `range`, whose tasks want a core each: where the workers have them all, nothing would ever begin.
    numbers = ray.data.from_items([{"id": part} for part in range(parts)], override_num_blocks=parts)
    most = int(nodes.gpus) if job.on_gpu else max(1, int(nodes.cpus // job.cores))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=None, initial_size=min(most, parts))
    if not job.on_gpu:
        return numbers.map(Looker, fn_constructor_args=(tally,), compute=pool, num_cpus=job.cores)
    cores = min(job.settings.engine_decode_cpus, nodes.smallest)
    read = numbers.map(Fetch(tally), num_cpus=cores)
    return read.map(Looker, fn_constructor_args=(tally,), compute=pool, num_gpus=1, num_cpus=0)


def _got(ref: Any) -> Any:
    """What a task or an actor says.

    Raises:
        EngineError: it, or the node that it was on, is dead, or does not answer.
    """
    try:
        return ray.get(ref, timeout=_PATIENCE)
    except Exception as e:  # Ray raises errors of many kinds
        said = str(e).strip().splitlines()
        raise EngineError(
            f"the cluster lost a part of this run ({said[0] if said else type(e).__name__}); what is done is kept, the "
            "same command goes on"
        ) from e


class _Executing(ExecutionCallback):  # type: ignore[misc]
    """Ray's own thread that runs a pipeline: where a run ends early it has to end too, before its cluster does."""

    now: ClassVar[list[Any]] = []

    def before_execution_starts(self, executor: Any) -> None:
        _Executing.now[:] = [executor]

    @staticmethod
    def end() -> None:
        """Ends it, if it still runs."""
        for executor in _Executing.now:
            with suppress(Exception):
                executor.shutdown(force=True)
        _Executing.now.clear()


class _Blocks:
    """The blocks of a data set as they come, taken by a thread: the driver must be able to look at the clock."""

    def __init__(self, dataset: Any) -> None:
        self._coming: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._take, args=(dataset,), name="cartag-blocks", daemon=True)

    def __enter__(self) -> _Blocks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        _Executing.end()
        self._thread.join(_PATIENCE)

    def next(self, patience: float) -> Any | None:
        """The next block's reference; None where none has come in time.

        Raises:
            EngineError: Ray gave up.
        """
        try:
            found = self._coming.get(timeout=patience)
        except queue.Empty:
            return None
        if isinstance(found, Exception):
            said = str(found).strip().splitlines()
            raise EngineError(f"Ray gave up: {said[-1] if said else type(found).__name__}") from found
        return found

    def _take(self, dataset: Any) -> None:
        try:
            for ref in _refs(dataset):
                if not self._put(ref):
                    return
        except Exception as e:  # told where it can end the run
            self._put(e)

    def _put(self, what: Any) -> bool:
        while not self._stop.is_set():
            try:
                self._coming.put(what, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False


def _refs(dataset: Any) -> Iterator[Any]:
    for bundle in dataset.iter_internal_ref_bundles():
        for block in bundle.blocks:
            yield block.ref if hasattr(block, "ref") else block[0]


class Watch:
    """Looks at the clock: a line every few seconds, and the end where nothing moves any more."""

    def __init__(self, job: Job, tally: Any, progress: Progress) -> None:
        self._job, self._tally, self._progress = job, tally, progress
        self._total = sum(shard.photos for shard in job.shards)
        self._began = self._moved = self._polled = time.monotonic()
        self._line = self._began
        self._counts: dict[str, float] = {}
        self._first: float | None = None
        self._shown = 0
        self.dtype = ""
        progress.start("tagging", self._total)

    @property
    def seconds(self) -> float:
        """Since the first photo was looked at: how long the work took, without the start."""
        return time.monotonic() - (self._first or self._began)

    def look(self, done: Done) -> None:
        """Raises:
        EngineError: a worker cannot work, or nothing has moved for ``engine_stall_minutes``.
        """
        now = time.monotonic()
        if now - self._polled < 1:
            return
        self._polled = now
        counts, failed, self.dtype = _got(self._tally.state.remote())
        if failed:
            raise EngineError(failed)
        counts["shards"] = done.shards
        if counts != self._counts:
            self._moved = now
        if counts.get("looked") and self._first is None:
            self._first = now
        self._counts = counts
        looked = int(counts.get("looked", 0))
        self._progress.advance(max(0, min(looked, self._total) - self._shown))
        self._shown = max(self._shown, min(looked, self._total))
        if now - self._moved > 60 * self._job.settings.engine_stall_minutes:
            raise EngineError(
                f"nothing has moved for {now - self._moved:.0f} seconds: {self.stage}; what is done is kept, the "
                "command goes on (settings: engine_stall_minutes)"
            )
        if now - self._line >= _SECONDS_A_LINE:
            self._line = now
            self._progress.note(self.line(done))

    @property
    def stage(self) -> str:
        """Where the work is, by what has been told so far."""
        loaded, read, looked = (int(self._counts.get(name, 0)) for name in ("loaded", "read", "looked"))
        if looked >= self._total:
            return f"all photos are looked at, writing stands still ({int(self._counts['shards'])} shards written)"
        if not loaded:
            return "no worker has loaded the model; is there room for one ('ray status')?"
        if read > looked:
            return f"{read - looked} photos are read, looking at them stands still"
        return f"{loaded} worker(s) wait for photos, reading them stands still"

    def line(self, done: Done) -> str:
        """How far the run is."""
        counts = self._counts
        looked, loaded = int(counts.get("looked", 0)), max(1, int(counts.get("loaded", 0)))
        rate = looked / max(self.seconds, 1e-9) if looked else 0.0
        left = (self._total - looked) / rate if rate else None
        share = counts.get("busy", 0.0) / loaded / max(self.seconds, 1e-9)
        return (
            f"tagging: {done.shards} of {len(self._job.shards)} shards, {looked} of {self._total} photos, "
            f"{rate:.1f}/s, {'GPU' if self._job.on_gpu else 'model'} {min(share, 1):.0%} busy on {loaded}, "
            f"{'?' if left is None else _duration(left)} left, {int(counts.get('unreadable', 0))} unreadable"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
