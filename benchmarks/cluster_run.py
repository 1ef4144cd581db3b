"""Ray against plain `tag` on one machine: how much the cluster's way costs where one needs no cluster.

Both tag the same web photos with the bundled model and detector, as whole processes, in turns. *After the start* is by
how much a gallery takes longer than one of a quarter of its photos: so that importing torch, or starting Ray, is left
out of both. The Ray is one of this machine alone, which begins and ends with the command.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import measuring
from benchmarks.measuring import Report, Run
from benchmarks.photos import WEB, make_gallery
from cartag.settings import usable_cores

_PHOTOS, _QUICK = 2000, 64
_OF_ALL = 4
_MILLIONS = (1, 20, 1000)
_NODES, _GPU_NODES, _GPU_NODE = ((1, 64), (10, 64), (100, 64)), (4, 40), 566
_SMALL_REQUESTS = 0.02
"""Requests beside the one for a photo, a photo: listing, plans and shards."""
WAYS = {"plain tag": (), "tag --engine ray": ("--engine", "ray")}


def measure(work: Path, *, photos: int, runs: int, model: str = "mini") -> Report:
    """Lets both ways tag ``photos`` web photos, and a quarter of them, ``runs`` times."""
    report = Report(
        "cluster_run", ("way", "photos", "whole s", "after the start s", "core-ms a photo", "peak MiB", "is")
    )
    galleries = [make_gallery(work / "photos", WEB, count) for count in (photos, max(1, photos // _OF_ALL))]
    index_bytes = 0
    done = {way: {gallery: list[Run]() for gallery in galleries} for way in WAYS}
    for number in range(runs):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            for gallery in galleries:
                done[way][gallery].append(_tag(work, gallery, way, model))
                if WAYS[way] and gallery == galleries[0]:
                    index_bytes = sum(path.stat().st_size for path in (work / "index").rglob("*.*") if path.is_file())
    after = {way: _median(done[way][galleries[0]]) - _median(done[way][galleries[1]]) for way in WAYS}
    plain = after["plain tag"]
    spent = [median(run.core_seconds for run in done["plain tag"][gallery]) for gallery in galleries]
    core_ms = 1000 * (spent[0] - spent[1]) / (photos - max(1, photos // _OF_ALL))
    for way, of in done.items():
        whole = of[galleries[0]]
        times = "" if way == "plain tag" else f"{100 * (after[way] / plain - 1):+.0f} % after the start"
        peak = median(run.peak_mb for run in whole)
        report.add(way, photos, _median(whole), after[way], core_ms if way == "plain tag" else "", peak, times)
    report.facts = {
        "core_ms": core_ms,
        "index_bytes": index_bytes / photos,
        "seconds": {way: [run.seconds for run in of[galleries[0]]] for way, of in done.items()},
    }
    report.notes.append(
        "after the start: by how much all photos take longer than a quarter of them. Core time and memory are those of "
        "the command's own process: with Ray the photos are looked at in others."
    )
    return report


def needs(core_ms: float, index_bytes: float) -> Report:
    """What larger galleries take by these figures: computed, not run.

    Args:
        core_ms: core time of a photo, read, decoded, looked at, encoded and written.
        index_bytes: what a photo takes in the index.
    """
    report = Report(
        "cluster_needs", ("photos", "nodes", "photos/s", "takes", "core-hours", "index GB", "1,000 requests")
    )
    for million in _MILLIONS:
        photos = million * 1_000_000
        requests = photos / 1000 * (1 + _SMALL_REQUESTS)
        for nodes, rate in _rates(core_ms).items():
            hours = photos / rate / 3600
            takes = (
                f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} h" if hours >= 2 else f"{60 * hours:.1f} min"
            )
            cores = photos * core_ms / 3.6e6
            report.add(f"{million:,} million", nodes, rate, takes, cores, photos * index_bytes / 1e9, requests)
    report.notes.append(
        f"**Computed, not run**: {core_ms:.0f} core-ms and {index_bytes:.0f} bytes a photo, as measured above; every "
        "core busy, no node lost, the network and the store as fast as they are asked. The rate with GPUs is that of "
        f"docs/performance.md ({_GPU_NODE} web photos a second on a node of 16 cores with one H100, as wholes, where "
        "its cores are the limit). The core-hours are those of a run on cores."
    )
    return report


def _rates(core_ms: float) -> dict[str, float]:
    of_cores = {f"{nodes} x {cores} cores": nodes * cores * 1000 / core_ms for nodes, cores in _NODES}
    return of_cores | {f"{nodes} x (16 cores, 1 GPU)": float(nodes * _GPU_NODE) for nodes in _GPU_NODES}


def _median(runs: list[Run]) -> float:
    return median(run.seconds for run in runs)


def _tag(work: Path, gallery: Path, way: str, model: str) -> Run:
    index = work / "index"
    shutil.rmtree(index, ignore_errors=True)
    where = index if WAYS[way] else index / "cartag.json"
    command = [sys.executable, "-m", "cartag", "tag", gallery, "--index", where, "--model", model, *WAYS[way]]
    options = ["--device", "cpu", "--format", "json"]
    run = measuring.run([*map(str, command), *options], CARTAG_ENGINE_ACTOR_CPUS=str(usable_cores()))
    said = json.loads(run.output)
    if said["embedded"] != said["photos"] or said["unreadable"]:
        raise RuntimeError(f"{way}: {said}")
    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("cluster_run", __doc__ or "")
    parser.add_argument("--photos", type=int, default=_PHOTOS, help="how many")
    parser.add_argument("--model", default="mini", help="as `tag` takes it")
    options = parser.parse_args(arguments)
    photos = _QUICK if options.quick else options.photos
    with measuring.workplace(options.work) as work:
        report = measure(work, photos=photos, runs=options.runs or (1 if options.quick else 3), model=options.model)
    measuring.publish(report, options)
    more = needs(report.facts["core_ms"], report.facts["index_bytes"])
    measuring.publish(more, argparse.Namespace(json=None, write=options.write))


if __name__ == "__main__":
    main()
