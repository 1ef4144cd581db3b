"""What regions cost: `look` itself, the model's pass of one region, and the whole tool against `--regions off`.

Core-milliseconds, in one process, in turns. Photos are copies of the drawings with one car and with two, as JPEGs of
camera size or as they are; nothing is cached between two turns but the texts. Every turn loads the models anew.
"""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

import cartag
from benchmarks import measuring
from benchmarks.measuring import Report
from cartag import checkpoints, detector as detectors, encoder
from cartag.progress import Silent
from cartag.settings import Settings

_GALLERY = measuring.ROOT / "data" / "gallery"
_A_BATCH, _COPIES, _QUICK_COPIES = 32, 4, 1
_CAMERA = 3000  # pixels


def measure(work: Path, *, runs: int, copies: int) -> Report:
    """Lets detector, model and runs take turns."""
    report = Report("regions", ("what", "core-ms a photo", "times off"))
    look = detectors.load(checkpoints.resolve_detector("look", Silent()), device="cpu")
    mini = encoder.load(checkpoints.resolve("mini", Silent()), device="cpu", dtype="float32")
    rng = np.random.default_rng(0)
    glances, regions = (
        list(rng.integers(0, 256, (_A_BATCH, spec.height, spec.width, 3), np.uint8))
        for spec in (look.image_spec, mini.image_spec)
    )
    parts = {"look": lambda: look.boxes(glances), "one region of mini": lambda: mini.embed_images(regions)}
    found: dict[str, list[float]] = {}
    for _ in range(runs + 1):  # the first turn warms up
        for name, part in parts.items():
            began = time.process_time()
            part()
            found.setdefault(name, []).append((time.process_time() - began) / _A_BATCH)
    for name in parts:
        report.add(name, 1000 * median(found[name][1:]), "")
    for name, cars, side in (("one car", 1, None), ("two cars", 2, None), ("one car, camera photos", 1, _CAMERA)):
        gallery = work / name.replace(" ", "-").replace(",", "")
        count = _copied(gallery, cars, side, copies)
        seconds: dict[str, list[float]] = {}
        for _ in range(runs + 1):
            for mode in ("off", "main", "all"):
                seconds.setdefault(mode, []).append(_run(gallery, mode) / count)
        off = median(seconds["off"][1:])
        for mode, taken in seconds.items():
            middle = median(taken[1:])
            report.add(f"whole tool, {name}: --regions {mode}", 1000 * middle, middle / off)
    return report


def _copied(gallery: Path, cars: int, side: int | None, copies: int) -> int:
    """A gallery of drawings with so many cars, each several times, no two alike; the number of photos."""
    gallery.mkdir(parents=True)
    with (_GALLERY / "labels.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["label"] != "none"]
    chosen = [row["file"] for row in rows if len(row["label"].split("|")) == cars]
    for file in chosen:
        with Image.open(_GALLERY / file) as opened:
            image = opened.convert("RGB")
        if side is not None:
            image = image.resize((side, round(side * image.height / image.width)))
        for copy in range(copies):
            image.putpixel((0, 0), (copy, copy, copy))
            image.save(gallery / f"{copy}-{file}", quality=90)
    return len(chosen) * copies


def _run(gallery: Path, mode: str) -> float:
    """Processor seconds of a run that starts from nothing, but for the texts."""
    shutil.rmtree(gallery / ".cartag", ignore_errors=True)
    (gallery / "cartag.json").unlink(missing_ok=True)
    settings = Settings(model="mini", regions=mode, dtype="float32", text_cache=str(gallery.parent / "texts"))
    began = time.process_time()
    cartag.tag(gallery, settings=settings)
    return time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("regions", __doc__ or "")
    options = parser.parse_args(arguments)
    with measuring.workplace(options.work) as work:
        report = measure(work, runs=options.runs or 3, copies=_QUICK_COPIES if options.quick else _COPIES)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
