"""What the driver hands to its workers: plain values, and the model's folder instead of the model."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cartag.checkpoints import BUNDLED_DETECTOR, BUNDLED_MODEL, FAKE_MODEL, resolve, resolve_detector, revision_at
from cartag.engines.libraries import pq
from cartag.engines.manifest import photos_of
from cartag.errors import EngineError
from cartag.photos import Source
from cartag.progress import Silent
from cartag.scoring import Sight
from cartag.settings import Settings
from cartag.state import ShardFolder
from cartag.tagging import Judge, Looked
from cartag.values import Box, ImageSpec, ModelFiles, PhotoFile, PhotoRecord


@dataclass(frozen=True)
class PlannedShard:
    """Photos of one shard, listed in ``plan/NAME.parquet``; a row group of that is a part, the work of one task."""

    name: str
    first: int
    """Number of its first part, counted through all shards of the run."""
    parts: int
    start: int
    """Place of its first photo among all that are to be done."""
    photos: int

    @property
    def listing(self) -> str:
        """Its file in the index's folder."""
        return f"plan/{self.name}.parquet"


@dataclass(frozen=True, eq=False)
class Job:
    """A run on a cluster, as every worker of it has to know it."""

    version: str
    """Of cartag: a worker with another one could answer otherwise."""
    source: Source
    place: ShardFolder
    settings: Settings
    model: ModelFiles
    model_digest: str
    """Of the files in its folder; empty for the fake."""
    sight: Sight | None
    detector_digest: str
    judge: Judge
    embeddings: str
    reading_spec: ImageSpec
    glance_spec: ImageSpec | None
    """How the detector wants its photos, where there is one."""
    model_spec: ImageSpec
    basis: str
    """What the answers follow from, in a word: rows of another one are of another kind."""
    shards: tuple[PlannedShard, ...]
    on_gpu: bool
    cores: int
    """Of a worker that looks."""

    def shard_of(self, part: int) -> PlannedShard:
        """The shard that a part belongs to."""
        return self.shards[bisect_right(self.shards, part, key=lambda shard: shard.first) - 1]

    def photos(self, part: int) -> list[PhotoFile]:
        """The photos of a part."""
        shard = self.shard_of(part)
        with self.place.open(shard.listing) as source, pq.ParquetFile(source) as file:
            return photos_of(file.read_row_group(part - shard.first))

    def listing(self, shard: PlannedShard) -> Any:
        """All photos of a shard, a pyarrow table."""
        with self.place.open(shard.listing) as source, pq.ParquetFile(source) as file:
            return file.read()

    def model_here(self) -> ModelFiles:
        """The model's files on this machine, and no others.

        Raises:
            EngineError, ModelError: they are not here, or are not the driver's.
        """
        return _here(self.model, self.model_digest)

    def sight_here(self) -> Sight | None:
        """How photos are looked at, with the detector's files on this machine.

        Raises:
            EngineError, ModelError: they are not here, or are not the driver's.
        """
        if self.sight is None:
            return None
        files = _here(self.sight.files, self.detector_digest)
        return Sight(files, self.sight.identity, self.sight.regions, self.sight.most, self.sight.least)


def digest_of_files(files: ModelFiles) -> str:
    """Digest of all that decides in a model's folder, whatever its revision is called."""
    return "" if files.spec.source == FAKE_MODEL else revision_at(Path(files.folder))


def _here(files: ModelFiles, digest: str) -> ModelFiles:
    """The same model on this machine: what is bundled or in the hub's cache may lie elsewhere than at the driver's."""
    spec = files.spec
    if spec.source == FAKE_MODEL:
        return files
    here = files
    if not Path(files.folder).is_dir() or spec.name in (BUNDLED_MODEL, BUNDLED_DETECTOR):
        find = resolve if spec.kind == "model" else resolve_detector
        here = find(spec.name, Silent(), fetch=False)
    if (found := revision_at(Path(here.folder))) != digest:
        raise EngineError(
            f"{here.folder}: is not the {spec.kind} {spec.name} that this run began with ({found[:12]}, not "
            f"{digest[:12]}); put the same files there"
        )
    return ModelFiles(spec, here.folder, files.revision)


# --- what comes back of a part --------------------------------------------------------------------------------------


class PartDone(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Records and embeddings of a part, or why there are none."""

    part: int
    records: tuple[PhotoRecord, ...] = ()
    looks: dict[str, list[tuple[Box | None, bytes]]] = {}
    """By content: boxes, None for the photo as a whole, and vectors, float16, as bytes."""
    failed: str = ""


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(PartDone)


def packed(done: PartDone) -> bytes:
    """A part as bytes."""
    return _encoder.encode(done)


def unpacked(data: bytes) -> PartDone:
    """The part that bytes hold."""
    return _decoder.decode(data)


def looks_as_bytes(looked: Looked) -> list[tuple[Box | None, bytes]]:
    """What was embedded of a photo."""
    boxes: Sequence[Box | None] = [box for box, _ in looked.boxes] or [None]
    vectors = list(zip(boxes, looked.vectors, strict=True))
    if looked.whole is not None:
        vectors.append((None, looked.whole))
    return [(box, vector.astype(np.float16).tobytes()) for box, vector in vectors]


def looks_of_bytes(looks: Sequence[tuple[Box | None, bytes]]) -> list[tuple[Box | None, np.ndarray]]:
    """The same, as `cartag.state.write_shard` takes it."""
    return [(box, np.frombuffer(vector, np.float16)) for box, vector in looks]
