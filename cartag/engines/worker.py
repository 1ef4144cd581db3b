"""What runs on the nodes: photos are read, looked at and judged by the functions of `cartag.tagging`, shards written.

No worker knows what is done, or what another does. Whatever goes wrong in one is told as a value: an exception would
have Ray try again, or end the run with a traceback of its own.
"""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

from msgspec import UNSET

from cartag import encoder as encoders
from cartag.engines.job import Job, PartDone, PlannedShard, looks_as_bytes, looks_of_bytes, packed, unpacked
from cartag.engines.libraries import ray
from cartag.errors import CartagError, EngineError
from cartag.photos import Reader, ReadPhoto, batch_size
from cartag.settings import use_cores
from cartag.state import write_shard
from cartag.tagging import Forgetful, Looked, answer_of, eyes_of, pixels_of, record_of
from cartag.values import PhotoFile, PhotoRecord
from cartag.version import __version__

Row = dict[str, Any]


class Tally:
    """An actor that has the job, and counts what the workers do of it.

    What it counts the driver shows, and knows by it which stage stands still.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._counts: dict[str, float] = {}
        self._failed = self._dtype = ""

    def job(self) -> Job:
        """What there is to do."""
        return self._job

    def tell(self, counts: dict[str, float]) -> None:
        """``loaded``, ``read``, ``looked``, ``unreadable``, ``written``; ``busy``: seconds in the model."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    def loaded(self, dtype: str) -> None:
        """A worker has loaded the model, which computes in ``dtype``."""
        self._dtype = dtype
        self.tell({"loaded": 1})

    def failed(self, why: str) -> None:
        """A worker cannot work; the first reason is kept."""
        self._failed = self._failed or why

    def state(self) -> tuple[dict[str, float], str, str]:
        """All counts, why a worker failed, and the model's dtype."""
        return dict(self._counts), self._failed, self._dtype


def why(e: Exception, where: str) -> str:
    """One line of an error for the driver; of a mistake of ours the last line of its traceback too."""
    if isinstance(e, CartagError):
        return f"{where}: {e}"
    last = traceback.extract_tb(e.__traceback__)[-1]
    return f"{where}: {type(e).__name__}: {e} ({last.name}, {last.filename}:{last.lineno})"


def node() -> str:
    """How this machine is called in messages."""
    return f"node {ray.util.get_node_ip_address()}"


# --- reading --------------------------------------------------------------------------------------------------------


def read(job: Job, part: int) -> Iterator[tuple[PhotoFile, ReadPhoto]]:
    """The photos of a part, read and decoded, in their order; threads read ahead of whoever takes them."""
    photos = job.photos(part)
    most = job.settings.max_megabytes
    with Reader(
        lambda photo: job.source.read(photo, most),
        photos,
        job.reading_spec,
        embedded=(),
        settings=job.settings,
        glance=job.glance_spec,
    ) as reader:
        yield from zip(photos, reader, strict=True)


class Fetch:
    """A task that reads a part for a worker elsewhere: where the model sits on a GPU."""

    def __init__(self, tally: Any) -> None:
        self._tally = tally

    def __call__(self, row: Row) -> Row:
        part = int(row["id"])
        try:
            job = _job_of(self._tally)
            use_cores(max(1, round(job.settings.engine_decode_cpus)))
            found = list(read(job, part))
        except Exception as e:
            self._tally.failed.remote(why(e, node()))
            return {"id": part, "photos": b""}
        self._tally.tell.remote({"read": len(found)})
        return {"id": part, "photos": pickle.dumps(found, protocol=5)}


@cache
def _job_of(tally: Any) -> Job:
    """Asked for once a process. As an argument it would be too large to be kept where an actor begins again."""
    job: Job = ray.get(tally.job.remote())
    return job


# --- looking --------------------------------------------------------------------------------------------------------


class Looker:
    """An actor with the model: looks at the photos of a part, and says what there is to say of them."""

    def __init__(self, tally: Any) -> None:
        self._tally, self._why = tally, ""
        try:
            self._job = _job_of(tally)
            self._load()
        except Exception as e:
            self._why = why(e, node())
            tally.failed.remote(self._why)

    def _load(self) -> None:
        job = self._job
        if job.version != __version__:
            raise EngineError(f"has cartag {__version__}, this run is of {job.version}; install the same one")
        use_cores(job.cores)
        device = "cuda:0" if job.on_gpu else "cpu"
        settings = job.settings
        model, runtime = job.model_here(), settings.runtime
        encoder = encoders.load(model, device=device, dtype=settings.dtype, fit=settings.fit, runtime=runtime)
        self._eyes = eyes_of(
            job.sight_here(),
            job.model_spec,
            Forgetful(),
            lambda: encoder,
            device=device,
            runtime=runtime,
            presence=job.judge.presence,
            anew=True,
        )
        self._tally.loaded.remote(encoder.dtype)

    def __call__(self, row: Row) -> Row:
        part = int(row["id"])
        if self._why:
            return {"id": part, "done": packed(PartDone(part=part, failed=self._why))}
        try:
            photos = pickle.loads(row["photos"]) if "photos" in row else read(self._job, part)
            done = self._looked_at(part, iter(photos), reads="photos" not in row)
        except Exception as e:
            done = PartDone(part=part, failed=why(e, node()))
            self._tally.failed.remote(done.failed)
        return {"id": part, "done": packed(done)}

    def _looked_at(self, part: int, photos: Iterator[tuple[PhotoFile, ReadPhoto]], *, reads: bool) -> PartDone:
        records: list[PhotoRecord] = []
        seen: dict[str, Looked] = {}
        said: dict[str, Any] = {}
        at_once = batch_size(self._job.settings, self._job.reading_spec)
        while batch := list(islice(photos, at_once)):
            began = time.monotonic()
            new = {h: pixels for h, pixels in pixels_of([photo for _, photo in batch]).items() if h not in seen}
            for _, photo in batch:
                self._eyes.heed(photo.facts, None)  # a panorama's cars are narrow by the tile
            looked = self._eyes.look(new) if new else {}
            said |= self._job.judge.verdicts(looked)
            seen |= looked
            records += [self._record(file, photo, said) for file, photo in batch]
            counts = {"looked": len(batch), "busy": time.monotonic() - began}
            counts["unreadable"] = sum(photo.facts.error is not UNSET for _, photo in batch)
            self._tally.tell.remote(counts | ({"read": len(batch)} if reads else {}))
        return PartDone(
            part=part, records=tuple(records), looks={h: looks_as_bytes(looked) for h, looked in seen.items()}
        )

    @staticmethod
    def _record(file: PhotoFile, photo: ReadPhoto, said: dict[str, Any]) -> PhotoRecord:
        facts = photo.facts
        verdict = said[facts.sha256] if facts.error is UNSET and facts.sha256 else None
        return record_of(file, facts, answer_of(verdict))


# --- writing --------------------------------------------------------------------------------------------------------


def finish(
    job: Job, shard: PlannedShard, replaced: Sequence[tuple[str, str]], *blocks: Any
) -> tuple[str, dict[str, int]]:
    """Writes a shard of the blocks of its parts; why it cannot, or the outcomes of its photos."""
    try:
        parts = {done.part: done for block in blocks for data in block["done"].to_pylist() for done in [unpacked(data)]}
        if failed := next((done.failed for done in parts.values() if done.failed), ""):
            return failed, {}
        wanted = set(range(shard.first, shard.first + shard.parts))
        if parts.keys() != wanted:
            raise EngineError(f"shard {shard.name}: has parts {sorted(parts)}, not {sorted(wanted)}")
        listing = job.listing(shard)
        etags = dict(zip(listing["path"].to_pylist(), listing["etag"].to_pylist(), strict=True))
        done = write_shard(
            job.place,
            shard.name,
            [record for part in parts.values() for record in part.records],
            {h: looks_of_bytes(looks) for part in parts.values() for h, looks in part.looks.items()},
            embeddings=job.embeddings,
            etags={path: etag for path, etag in etags.items() if etag},
            replaced=replaced,
            facts={"cartag": __version__, "basis": job.basis},
        )
    except Exception as e:
        return why(e, node()), {}
    return "", done.outcomes
