"""Reaching a cluster, or beginning a local Ray, quietly; and whether its nodes can do this run's work."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from cartag.engines.libraries import ray
from cartag.errors import EngineError
from cartag.paths import first_line
from cartag.settings import usable_cores
from cartag.version import __version__

_ANSWERS_WITHIN = 5.0
_PROBE_SECONDS = 60.0
_LOCAL_OBJECTS = 512 * 2**20
"""Bytes of shared memory for a Ray of this machine alone: records and embeddings of a few shards."""

_PROBE = """
def version_here():
    try:
        from cartag.version import __version__
        return __version__
    except Exception as e:
        return f"{type(e).__name__}: {e}"
"""


@dataclass(frozen=True)
class Nodes:
    """What a cluster has."""

    cpus: float
    gpus: float
    smallest: int
    """Cores of the node with the fewest of those that have any."""


@contextmanager
def cluster(address: str | None) -> Iterator[Nodes]:
    """A connection to a running cluster, or with None to a Ray of this machine, which ends with it.

    Where this process is connected already, that is used, and left as it is.

    Raises:
        EngineError: nothing answers at this address.
    """
    is_new = not ray.is_initialized()
    if is_new:
        _begin(address)
    try:
        yield _nodes()
    finally:
        if is_new:
            with suppress(Exception):
                ray.shutdown()


def _begin(address: str | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    ours: dict[str, Any] = (
        {"address": address}
        if address
        else {
            "address": "local",
            "num_cpus": usable_cores(),
            "include_dashboard": False,
            "object_store_memory": _LOCAL_OBJECTS,
        }
    )
    try:
        ray.init(**ours, **quiet)
    except Exception as e:  # Ray raises errors of several kinds
        where = address or "a Ray of this machine"
        raise EngineError(
            f"{where}: cannot be used ({first_line(e)}); check the address, and that Ray runs there"
        ) from e


def check_address(address: str | None) -> None:
    """Whether anything answers there, before any work. Ray itself would try for a minute, and say so in many lines.

    Raises:
        EngineError: nothing does.
    """
    if address is None or address == "auto" or ray.is_initialized():
        return
    if address.startswith("ray://"):
        raise EngineError(
            f"{address}: cartag runs on a node of the cluster, not as Ray's client; start it there, with --address "
            "auto, or submit it with 'ray job submit'"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise EngineError(f"{address}: no address; write HOST:PORT as 'ray start --head' prints it, or auto")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN):
            pass
    except OSError as e:
        raise EngineError(
            f"{address}: no cluster answers there ({e.strerror or e}); check the address, and 'ray status' on its head"
        ) from e


def _nodes() -> Nodes:
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(of["CPU"]) for of in alive if of.get("CPU", 0) >= 1]
    if not cpus:
        raise EngineError("the cluster has no node with a core to work on; add one ('ray start --address ...')")
    return Nodes(sum(cpus), sum(of.get("GPU", 0) for of in alive), min(cpus))


def check_nodes() -> None:
    """Whether every node has this version of cartag. Nodes that come later are asked by their workers.

    Raises:
        EngineError: one has not, by its address.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(_PROBE, namespace)  # a function of no module: it travels as it is, to a node without cartag too
    probe = ray.remote(num_cpus=0, max_retries=0)(namespace["version_here"])
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    asked = {
        node["NodeManagerAddress"] + ":" + str(node["NodeManagerPort"]): probe.options(
            scheduling_strategy=strategy(node["NodeID"], soft=False)
        ).remote()
        for node in ray.nodes()
        if node["Alive"]
    }
    for where, answer in asked.items():
        try:
            found = ray.get(answer, timeout=_PROBE_SECONDS)
        except Exception as e:
            raise EngineError(f"node {where}: does not answer ({first_line(e)}); take it out of the cluster") from e
        if "Error" in found:
            raise EngineError(f"node {where}: has no cartag ({found}); install cartag {__version__} there, with [ray]")
        if found != __version__:
            raise EngineError(
                f"node {where}: has cartag {found}, this one is {__version__}; install the same one there"
            )
