"""Tagging on a cluster: a real Ray of several raylets, against the local engine, through deaths and reruns."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from clusters import (
    Storage,
    kill_one,
    local_looks,
    local_records,
    looks_of,
    ray_cluster,
    records_of,
    shard_files,
    storage,
    wait_for,
)
from conftest import check_index, later, paint, snapshot, write_catalog
from msgspec import structs

import cartag
from cartag.encoder.fake import FakeEncoder
from cartag.errors import EngineError
from cartag.progress import Silent
from cartag.settings import Settings
from cartag.state import read_index, read_said, shard_folder, write_index, write_said
from cartag.values import Tag

pytest.importorskip("ray", reason="the extra cartag[ray] is not installed")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Ray's test cluster is not for Windows")

COLOURS = ("red", "yellow", "blue", "orange", "black", "green", "white")
SMALL = Settings(engine_shard_size=100, engine_batch_size=25, engine_actor_cpus=1, decode_threads=1)


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, Storage]]:
    with storage("s3") as s3, storage("gs") as gs:
        yield {"s3": s3, "gs": gs}


@pytest.fixture(scope="module")
def cluster(stores: dict[str, Storage]) -> Iterator[Any]:
    """Begun after the servers of object storage: its nodes know them by their environment."""
    with ray_cluster() as found:
        yield found


@dataclass
class Pair:
    """A gallery, its index by the local engine, and by Ray."""

    folder: Path
    settings: Settings = SMALL
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def local(self) -> Path:
        return self.folder / "local" / "cartag.json"

    def tag(self, **options: Any) -> Any:
        return cartag.tag(self.photos, engine="ray", index=self.index, settings=self.settings, **self._of(options))

    def tag_locally(self) -> cartag.TagReport:
        return cartag.tag(self.photos, index=self.local, settings=replace(self.settings, look_ahead=1), **self._of({}))

    def _of(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"catalog": self.folder / "colours.yaml", "model": "fake", **self.options, **options}

    def say(self, path: str, car: str) -> None:
        """A person says what a photo shows, in both indexes."""
        index = read_index(self.photos, self.local)
        record = index.photos[path]
        tag = Tag(car=car, score=1.0, source="human")
        hers = structs.replace(record, outcome="tagged", tags=(tag, *(t for t in record.tags if t.car != car)))
        write_index(replace(index, photos={**index.photos, path: hers}))
        write_said(shard_folder(self.index), {path: hers})

    def check(self, said: Sequence[str] = ()) -> None:
        """Record for record, embedding for embedding; ``said``: paths of which people said something."""
        self.tag_locally()
        wanted = local_records(self.photos, self.local)
        hers = {path: record for path, record in wanted.items() if path in said}
        assert read_said(shard_folder(self.index)).records == hers
        assert len(hers) == len(said)
        found = records_of(self.index)
        assert {path: of for path, of in found.items() if path not in said} == {
            path: of for path, of in wanted.items() if path not in said
        }
        hashes = [record.sha256 for record in wanted.values() if isinstance(record.sha256, str)]
        here = local_looks(self.local.parent / ".cartag", FakeEncoder.identity, hashes)
        there = looks_of(self.index)
        assert {h: there[h] for h in here} == here
        check_index(self.index / "cartag.json")


def pair(folder: Path, count: int, **fields: Any) -> Pair:
    """A gallery in several folders: photos of all colours, copies, odd names, files that cannot be read."""
    write_catalog(folder)
    made = Pair(folder, **fields)
    for i in range(count):
        paint(made.photos / f"day-{i % 5}" / f"IMG_{i:04}.jpg", COLOURS[i % 7], mark=i)
    shutil.copy(made.photos / "day-0" / "IMG_0000.jpg", made.photos / "a copy of it.jpg")
    paint(os.fsencode(made.photos) + b"/day-1/caf\xe9 %2F \n.png", "blue")
    paint(made.photos / "day-2" / "nfd-e\u0301.png", "yellow")
    (made.photos / "broken.jpg").write_bytes(b"no photo")
    (made.photos / "empty.jpg").touch()
    (made.photos / "day-1" / ".hidden.jpg").write_bytes(b"hidden")
    return made


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the same as on one machine -------------------------------------------------------------------------------------


def test_an_index_is_the_local_engines_and_a_rerun_does_only_what_changed(cluster: Any, tmp_path: Path) -> None:
    both = pair(tmp_path, 495)
    before = snapshot(both.photos)
    report = both.tag()
    both.check()
    assert snapshot(both.photos) == before
    assert (report.unchanged, report.embedded, report.unreadable, report.shards) == (0, 498, 2, 5)
    assert report.outcomes == cartag.TagReport.outcomes.fget(both.tag_locally())
    assert shard_folder(both.index).names("plan") == []

    written = files_of(both.index)
    again = both.tag()
    assert files_of(both.index) == written
    assert (again.unchanged, again.embedded, again.unreadable, again.gone, again.shards) == (498, 0, 2, 0, 0)

    both.say("day-3/IMG_0003.jpg", "blue-bolt")  # of the photo that will be renamed
    both.say("day-2/IMG_0002.jpg", "red-racer")  # of the one that will be gone
    paint(both.photos / "day-1" / "IMG_0001.jpg", "green", mark=1)
    later(both.photos / "day-1" / "IMG_0001.jpg")
    (both.photos / "day-2" / "IMG_0002.jpg").unlink()
    (both.photos / "day-3" / "IMG_0003.jpg").rename(both.photos / "day-4" / "renamed.jpg")
    report = both.tag()
    assert (report.unchanged, report.embedded, report.gone, report.shards) == (495, 2, 2, 1)
    both.check(said=["day-4/renamed.jpg", "day-2/IMG_0002.jpg"])


def test_cars_are_looked_at_by_themselves_where_the_model_sits_on_a_gpu(cluster: Any, tmp_path: Path) -> None:
    """Two steps: decoding on the nodes' cores, looking on what counts as a GPU there."""
    both = pair(tmp_path, 60, options={"detector": "fake"})
    node = cluster.add_node(num_cpus=0, num_gpus=1, object_store_memory=80 * 2**20)
    try:
        report = both.tag(device="cuda")
    finally:
        cluster.remove_node(node)
    assert report.embedded == 63
    both.check()


def test_a_ray_of_this_machine_begins_and_ends_with_the_command(tmp_path: Path) -> None:
    """With the settings as they are: its workers may take every core."""
    both = pair(tmp_path, 20)
    command = [sys.executable, "-m", "cartag", "tag", both.photos, "--engine", "ray", "--index", both.index]
    command += ["--model", "fake", "--catalog", both.folder / "colours.yaml", "--format", "json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert (said["engine"], said["embedded"], said["unreadable"], said["shards"]) == ("ray", 23, 2, 1)
    both.check()


# --- deaths ---------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    both = pair(tmp_path, 200, settings=replace(SMALL, engine_batch_size=5, engine_shard_size=50))
    killed: list[int] = []

    def kill() -> None:  # the first that is seen: a quick machine is done soon after its first shard
        killed.append(wait_for(lambda: kill_one(cluster, "ray::MapWorker")))

    killer = threading.Thread(target=kill)
    killer.start()
    both.tag()
    killer.join()
    assert killed
    both.check()


def test_a_driver_that_dies_leaves_what_is_done(cluster: Any, tmp_path: Path) -> None:
    both = pair(tmp_path, 200, settings=replace(SMALL, engine_batch_size=5, engine_shard_size=50))
    command = [sys.executable, "-m", "cartag", "tag", both.photos, "--engine", "ray", "--address", cluster.address]
    command += ["--index", both.index, "--model", "fake", "--catalog", both.folder / "colours.yaml"]
    settings = {"SHARD_SIZE": 50, "BATCH_SIZE": 5, "ACTOR_CPUS": 1}
    environment = {**os.environ, **{f"CARTAG_ENGINE_{name}": str(value) for name, value in settings.items()}}
    driver = subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.DEVNULL)
    try:
        done = wait_for(lambda: shard_files(both.index))
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    first = {name: (both.index / name).stat().st_mtime_ns for name in done}
    (both.index / "photos" / "0123-0123456789abcdef.parquet").write_bytes(b"output of a shard that is not done")
    both.tag()
    assert {name: (both.index / name).stat().st_mtime_ns for name in done} == first
    both.check()


# --- object storage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_photos_and_index_lie_in_buckets(scheme: str, cluster: Any, stores: dict[str, Storage], tmp_path: Path) -> None:
    store = stores[scheme]
    store.fs.mkdir("gallery")
    store.fs.mkdir("indexes")
    both = pair(tmp_path, 40)
    keys = {
        p.relative_to(both.photos).as_posix(): p for p in both.photos.rglob("*") if p.is_file() and p.name.isascii()
    }
    keys |= {"a b/%2F + ?.jpg": paint_at(tmp_path, "red"), "a b/é<&>.jpg": paint_at(tmp_path, "blue")}
    for key, path in keys.items():
        store.fs.pipe_file(f"gallery/2013/{key}", path.read_bytes())
    store.put("gallery", "2013//odd.jpg", b"below a key with an empty part")
    photos, index = store.uri("gallery/2013"), store.uri("indexes/2013")
    options: dict[str, Any] = {"catalog": both.folder / "colours.yaml", "model": "fake", "settings": SMALL}
    report = cartag.tag(photos, engine="ray", index=index, **options)
    assert sum(report.outcomes.values()) == len(keys) - 1  # the hidden one
    records = records_of(index)
    assert records["a b/%2F + ?.jpg"].outcome == records["a b/é<&>.jpg"].outcome == "tagged"
    assert records["broken.jpg"].error.reason == "not-an-image"  # type: ignore[union-attr]
    both.tag_locally()
    for path, record in local_records(both.photos, both.local).items():
        if path in records:
            assert (records[path].sha256, records[path].tags) == (record.sha256, record.tags)

    again = cartag.tag(photos, engine="ray", index=index, **options)
    assert (again.unchanged, again.embedded, again.outcomes) == (report.embedded, 0, report.outcomes)


def paint_at(folder: Path, colour: str) -> Path:
    path = folder / f"{colour}.jpg"
    paint(path, colour)
    return path


# --- what cannot go well --------------------------------------------------------------------------------------------


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


def test_a_run_that_stands_still_says_where(cluster: Any, tmp_path: Path) -> None:
    import ray

    both = pair(tmp_path, 5, settings=replace(SMALL, engine_stall_minutes=0.06))

    @ray.remote(num_cpus=1)
    class Busy:
        def ready(self) -> bool:
            return True

    others = [Busy.remote() for _ in range(2)]
    ray.get([other.ready.remote() for other in others])
    began = time.monotonic()
    try:
        with pytest.raises(EngineError, match=r"nothing has moved for .* no worker has loaded the model"):
            both.tag()
    finally:
        for other in others:
            ray.kill(other)
    assert time.monotonic() - began < 60
    assert shard_files(both.index) == []


def test_a_model_that_cannot_be_loaded_ends_the_run_with_a_line(cluster: Any, tmp_path: Path) -> None:
    both = pair(tmp_path, 5)
    model = tmp_path / "model"
    shutil.copytree(Path(cartag.__file__).parents[1] / "models" / "mini", model)
    weights = next(model.glob("*.safetensors"))
    whole = weights.read_bytes()
    text_side_is_known = {"model": str(model), "regions": "off"}
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(cartag.errors.CartagError) as e:
        both.tag(**text_side_is_known)
    assert "\n" not in str(e.value)
    assert shard_files(both.index) == []


def test_a_node_with_another_cartag_or_none_is_refused(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All nodes of a test have one disk: what a node finds there is told by its environment."""
    from cartag.engines.cluster import check_nodes

    check_nodes()
    probe = (
        "def version_here():\n    import os, cartag\n    return os.environ.get('ODD_CARTAG') or cartag.__version__\n"
    )
    monkeypatch.setattr("cartag.engines.cluster._PROBE", probe)
    for found, said in (("0.0.1", r"has cartag 0\.0\.1, this one is"), ("ModuleNotFoundError: No", "has no cartag")):
        node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, env_vars={"ODD_CARTAG": found})
        try:
            with pytest.raises(EngineError, match=said):
                check_nodes()
        finally:
            cluster.remove_node(node)
