"""Photos per second of `cartag tag` against other ways, and against what the machine allows.

All tag the same JPEGs with the same labels and weights (ViT-B/32, random), each as a whole process, in turns. *Whole*
counts from start to end; *steady* is by how much a larger gallery takes longer than a smaller one, so that importing
torch is left out. cartag decodes photos meanwhile, so its smaller one is half of the larger, which is more than it can
decode in that time (but with ``--quick``); that of the others, which do not, is a single photo.

The others embed photos as wholes, so cartag does likewise; beside it, on a CPU, as it comes: looking for cars first.
These photos show none, so that is the price of looking alone.

The floor is (processor time to read and decode + processor time of the model) / cores, measured in the same run, each
alone with all cores busy: nothing that reads and embeds these photos with this model can be faster here.

With ``--device cuda`` the decoders and the GPU work at the same time: the limit is the slower of the two, each measured
alone, and cartag should come near it. *Steady* is measured in one process there, in which all is imported, and for the
other ways on a few of the photos (`benchmarks.rates`).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks import contestants, measuring
from benchmarks.checkpoint import clip_b32
from benchmarks.measuring import Report, Run, medians
from benchmarks.photos import KINDS, PhotoKind, make_galleries, make_gallery
from cartag import checkpoints, encoder
from cartag.photos import images
from cartag.progress import Silent
from cartag.settings import usable_cores

_PHOTOS = {"web": 1024, "camera": 256}
_QUICK = {"web": 128, "camera": 24}
_FEWER = 4
"""The other ways are given a quarter of the photos: some do three camera photos a second."""
_GPU_PHOTOS = {"web": 6144, "camera": 1024}
_GPU_QUICK = {"web": 512, "camera": 64}
_TRIED = 64
"""Photos with which the pipeline's best batch size is looked for, and the floor measured."""
_USUAL_BATCH = 8
_NOISE = 0.3  # seconds
_WHOLES = {"CARTAG_REGIONS": "off"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Floor:
    """Processor time of one photo, in seconds."""

    decode: float
    model: float

    def photos_per_second(self, cores: int) -> float:
        """What all cores together can do at most."""
        return cores / (self.decode + self.model)


def measure(work: Path, *, runs: int, counts: dict[str, int], device: str = "cpu") -> Report:
    """Makes the sets and lets all contestants run."""
    report = Report("throughput", ("photos", "way", "whole /s", "steady /s", "peak MiB", "cartag is"))
    model = clip_b32(work / "clip-b32")
    labels = work / "eleven.yaml"
    labels.write_text(_catalog(), encoding="utf-8")
    for name, count in counts.items():
        _measure_set(report, work, KINDS[name], count, model, labels, runs, device)
    report.notes.append(
        "steady: without the start, by the difference of two galleries. The other ways compute in float32 and decode "
        "on one core, as they come. The floor is processor time to decode and to embed, divided by the cores."
    )
    return report


def measure_gpu(work: Path, *, runs: int, counts: dict[str, int], device: str) -> Report:
    """The same on a GPU: cartag as a whole process too, all else in one process, by `benchmarks.rates`."""
    report = Report("throughput-cuda", ("photos", "way", "whole /s", "steady /s", "peak MiB", "cartag is"))
    model, galleries = prepare(work, counts)
    labels = work / "eleven.yaml"
    labels.write_text(_catalog(), encoding="utf-8")
    command = (sys.executable, "-m", "benchmarks.rates", model, device, labels, runs, *galleries.values())
    rates = json.loads(measuring.run([str(word) for word in command]).output)
    for name, gallery in galleries.items():
        done = medians([_tag(work, gallery, model, labels, device, **_WHOLES) for _ in range(runs)])
        _add_gpu_rows(report, f"{counts[name]} {name}", counts[name], done, rates | rates[gallery.name])
    report.device = rates["device"]
    report.facts = {"rates": rates}
    report.notes.append(
        "steady: in a process that has imported and loaded everything before, but for cartag's weights, which it loads "
        "again. The other ways are given a few of the photos; they compute in float32 and decode on one core, as they "
        "come. Decoders alone: reading, hashing and decoding, in cartag by threads. Model alone: photos that are "
        "decoded, their way to the GPU included."
    )
    return report


def prepare(work: Path, counts: dict[str, int]) -> tuple[Path, dict[str, Path]]:
    """Checkpoint and galleries by kind, all made at the same time."""
    with ProcessPoolExecutor() as pool:
        model = pool.submit(clip_b32, work / "clip-b32")
        galleries = make_galleries(work / "photos", {KINDS[name]: n for name, n in counts.items()}, pool)
        return model.result(), galleries


def _add_gpu_rows(report: Report, title: str, count: int, done: Run, rates: dict[str, Any]) -> None:
    steady = rates["tag"]
    report.add(title, f"cartag, {rates['dtype']}", count / done.seconds, steady, done.peak_mb, "")
    batch = rates["pipeline_batch"]
    for way, key in ((f"transformers pipeline, batch {batch}", "pipeline"), ("open_clip-style loop, batch 32", "loop")):
        report.add(title, way, "", rates[key], "", _times(steady, rates[key]))
    limit = min(("threads", "model"), key=lambda part: float(rates[part]))
    parts = {
        f"decoders alone, {usable_cores()} threads": "threads",
        f"decoders alone, {usable_cores()} processes": "processes",
        "model alone": "model",
    }
    for way, part in parts.items():
        share = f"at {100 * steady / rates[part]:.0f} % of it" if part == limit else ""
        report.add(title, way, "", rates[part], "", share)


def _measure_set(
    report: Report, work: Path, kind: PhotoKind, count: int, model: Path, labels: Path, runs: int, device: str
) -> None:
    single, few, half, gallery = (
        make_gallery(work / "photos", kind, max(1, n)) for n in (1, count // _FEWER, count // 2, count)
    )
    ways: dict[str, tuple[Path, Path, Callable[[Path], Run]]] = {}
    ways["cartag"] = half, gallery, lambda g: _tag(work, g, model, labels, device, **_WHOLES)
    ways["cartag, looking for cars"] = half, gallery, lambda g: _tag(work, g, model, labels, device)
    _tag(work, single, model, labels, device)  # also warms the disk's cache
    if _dtype(work) != "float32":
        ways["cartag, float32"] = (
            half,
            gallery,
            lambda g: _tag(work, g, model, labels, device, CARTAG_DTYPE="float32", **_WHOLES),
        )
    best = _USUAL_BATCH
    if runs > 1:
        sample = make_gallery(work / "photos", kind, min(_TRIED, count))
        best = int(json.loads(_other("best-batch", sample, model, 32, device).output)[0])
    pipeline = f"transformers pipeline, batch {best}"
    ways[pipeline] = single, few, lambda g: _other("pipeline", g, model, best, device)
    ways["open_clip-style loop, batch 32"] = single, few, lambda g: _other("loop", g, model, 32, device)
    turns = [{way: (go(small), go(large)) for way, (small, large, go) in ways.items()} for _ in range(runs)]  # A B A B
    rates: dict[str, float | None] = {}
    for way, (small, large, _) in ways.items():
        start, done = (medians([turn[way][i] for turn in turns]) for i in (0, 1))
        photos = len(list(large.iterdir()))
        rate = rates[way] = _steady(photos - len(list(small.iterdir())), done.seconds - start.seconds)
        ratio = "" if way.startswith("cartag") else _times(rates["cartag"], rate)
        report.add(f"{photos} {kind.name}", way, photos / done.seconds, rate or "-", done.peak_mb, ratio)
    floor = floor_of(gallery, model)
    limit = floor.photos_per_second(usable_cores())
    decode, network = (f"{1000 * value:.1f}" for value in (floor.decode, floor.model))
    reached, base = rates["cartag"], rates[pipeline]
    shares = [f"at {100 * reached / limit:.0f} % of it"] if reached else []
    shares += [f"it is {limit / base:.1f} x the pipeline"] if base else []
    report.add(kind.name, f"floor ({decode} + {network} core-ms)", limit, limit, "", "; ".join(shares))


def _steady(photos: int, seconds: float) -> float | None:
    """Photos per second, or None where the difference of two runs is within their noise."""
    return photos / seconds if seconds > _NOISE else None


def _times(one: float | None, other: float | None) -> str:
    return f"{one / other:.1f} x as fast" if one and other else "-"


def floor_of(gallery: Path, model: Path) -> Floor:
    """Processor time of reading and decoding, and of the model, each alone and with all cores busy.

    With all of them busy, for two cores of a virtual machine may be the two threads of one.
    """
    loaded = encoder.load(checkpoints.resolve(str(model), Silent()), device="cpu")
    paths = sorted(gallery.glob("*.jpg"))[:_TRIED]

    def read(path: Path) -> np.ndarray | None:
        data = images.read_bytes(path)
        images.content_hash(data)
        return images.decode(data, loaded.image_spec).pixels

    with ThreadPoolExecutor(usable_cores()) as pool:
        decode, pixels = _spent(lambda: list(pool.map(read, paths)))
    batch = [p for p in pixels * 64 if p is not None][: 16 * usable_cores()]
    loaded.embed_images(batch)
    network = min(_spent(lambda: loaded.embed_images(batch))[0] for _ in range(3))
    return Floor(decode / len(paths), network / len(batch))


def _spent(work: Callable[[], T]) -> tuple[float, T]:
    """Processor time of all threads, and what the work returned."""
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


def _tag(work: Path, gallery: Path, model: Path, labels: Path, device: str, **variables: str) -> Run:
    """A first run: no index, no cache, no text side."""
    state = work / "state"
    _empty(state)
    options = ("--model", model, "--catalog", labels, "--device", device, "--index", state / "cartag.json")
    return measuring.cartag("tag", gallery, *options, **variables)


def _dtype(work: Path) -> str:
    """What the last run computed in."""
    return str(json.loads((work / "state" / "cartag.json").read_bytes())["model"]["dtype"])


def _other(way: str, gallery: Path, model: Path, batch: int, device: str) -> Run:
    arguments = (way, gallery, model, batch, device)
    return measuring.run([sys.executable, "-m", "benchmarks.contestants", *map(str, arguments)])


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)


def _catalog() -> str:
    template = contestants.TEMPLATE.replace("{}", "{name}")
    cars = "".join(f"  - {label}\n" for label in contestants.LABELS)
    return f'templates: ["{template}"]\nother_cars: []\nno_car: []\ncars:\n{cars}'


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("throughput", __doc__ or "")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--photos", choices=[*KINDS, "both"], default="both", help="which set")
    options = parser.parse_args(arguments)
    is_cpu = options.device == "cpu"
    small, large = (_QUICK, _PHOTOS) if is_cpu else (_GPU_QUICK, _GPU_PHOTOS)
    counts = small if options.quick else large
    counts = {name: n for name, n in counts.items() if options.photos in (name, "both")}
    runs = options.runs or (1 if options.quick else 2)
    with measuring.workplace(options.work) as work:
        report = (measure if is_cpu else measure_gpu)(work, runs=runs, counts=counts, device=options.device)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
