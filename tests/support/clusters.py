"""A small Ray cluster of several raylets, object storage on loopback, and how an index of shards is read for comparing."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
from googles import Google, google_server

from cartag.errors import GalleryError
from cartag.paths import object_storage
from cartag.state import Store, done_shards, read_index, shard_folder, shard_records
from cartag.state.shards.reading import blocks, replaced_rows
from cartag.values import PhotoRecord

OBJECTS = 80 * 2**20


@dataclass(frozen=True)
class Storage:
    """A kind of object storage, served on loopback; cartag reaches it by the client that people have."""

    scheme: str
    fs: Any
    google: Google | None = None

    def uri(self, place: str) -> str:
        return f"{self.scheme}://{place}"

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Any key, also one that is no path."""
        if self.google is None:
            self.fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data)
        else:
            self.google.put(bucket, key, data, {})


@contextmanager
def storage(scheme: str) -> Iterator[Storage]:
    """``s3`` (moto's server) or ``gs`` (`googles`) on a free port; how to reach it is in the environment meanwhile."""
    with ExitStack() as stack:
        google = None
        if scheme == "s3":
            pytest.importorskip("moto", reason="moto is not installed")
            ours = stack.enter_context(_s3_server())
        else:
            pytest.importorskip("google.auth", reason="gcsfs is not installed")
            url, google = stack.enter_context(google_server())
            ours = {"STORAGE_EMULATOR_HOST": url, "NO_GCE_CHECK": "true", "FSSPEC_GS_TOKEN": "anon"}
            stack.enter_context(_anonymous())
        stack.enter_context(_environment(ours))
        fs, _ = object_storage(f"{scheme}://any", GalleryError, use_listings_cache=False)
        try:
            yield Storage(scheme, fs, google)
        finally:
            type(fs).clear_instance_cache()  # of clients that know the address


_begun: list[int] = []  # ports of moto's servers


@contextmanager
def _s3_server() -> Iterator[dict[str, str]]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    if not _begun:  # all of moto's servers in a process have one memory: what another module left is not to be there
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    _begun.append(port)
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        _begun.remove(port)
        server.stop()


@contextmanager
def _anonymous() -> Iterator[None]:
    """For this process, as FSSPEC_GS_TOKEN for those that begin later: fsspec reads it when it is loaded."""
    from fsspec.config import conf

    before = conf.get("gs")
    conf["gs"] = {"token": "anon"}
    try:
        yield
    finally:
        conf.pop("gs") if before is None else conf.update(gs=before)


@contextmanager
def _environment(ours: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def ray_cluster(nodes: int = 2) -> Iterator[Any]:
    """A head without a core, and nodes of one core each; this process is connected to it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    quiet = {"include_dashboard": False, "object_store_memory": OBJECTS}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **quiet})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=OBJECTS)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def shard_files(index: Path | str) -> list[str]:
    """Names of the files that say that a shard is done."""
    return shard_folder(index).names("shards")


def records_of(index: Path | str) -> dict[str, PhotoRecord]:
    """All records of an index of shards that hold, by path."""
    place = shard_folder(index)
    shards = done_shards(place)
    gone = replaced_rows(place, shards)
    found: dict[str, PhotoRecord] = {}
    for shard in shards:
        for record in shard_records(place, shard):
            if record.path not in gone.get(shard.name, ()):
                assert record.path not in found, f"{record.path} stands twice"
                found[record.path] = record
    return found


Looks = dict[str, dict[Any, bytes]]
"""By content: float16 vectors as bytes, by box, the photo as a whole under None."""


def looks_of(index: Path | str) -> Looks:
    """All embeddings of an index of shards."""
    place = shard_folder(index)
    found: Looks = {}
    for shard in done_shards(place):
        for table in blocks(place, shard.photos, ["sha256", "looks"]):
            for row in table.to_pylist():
                found.setdefault(row["sha256"], {}).update(
                    {tuple(look["box"]) if look["box"] else None: look["vector"] for look in row["looks"] or ()}
                )
    return {h: looks for h, looks in found.items() if looks}


def local_looks(state: Path, identity: str, hashes: list[str]) -> Looks:
    """The same of a local run's cache."""
    wholes = Store.read_photos(state, identity, hashes)
    regions = Store.read_regions(state, identity, hashes)
    found: Looks = {h: {None: vector.astype(np.float16).tobytes()} for h, vector in wholes.items()}
    for h, looks in regions.items():
        found.setdefault(h, {}).update({box: vector.astype(np.float16).tobytes() for box, vector in looks})
    return found


def local_records(gallery: Path, index: Path) -> dict[str, PhotoRecord]:
    return read_index(gallery, index).photos


def kill_one(cluster: Any, title: str) -> int:
    """Kills a worker process of this cluster's nodes whose title holds this; its id, 0 where there is none now.

    No agent of a node, which has such a title too: the node ends with its agent.
    """
    raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            said = (entry / "cmdline").read_text()
            if parent in raylets and title in said and "Agent" not in said:
                os.kill(int(entry.name), signal.SIGKILL)
                return int(entry.name)
        except (OSError, ValueError, IndexError):
            continue
    return 0


def wait_for(said: Callable[[], Any], seconds: float = 150.0) -> Any:
    """What ``said`` says as soon as it is true."""
    until = time.monotonic() + seconds
    while not (found := said()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)
    return found
