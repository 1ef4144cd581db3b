"""What regions cost: `look` itself, the model's pass of one region, and the whole tool against `--regions off`.

Core-milliseconds, in one process, in turns. Photos are copies of the drawings with one car and with two, as JPEGs of
camera size or as they are, and with `--photos` photographs in which one car is found; nothing is cached between
two turns but the texts. Every turn loads the models anew. "Times off" is the median over the turns.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
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
_PHOTOGRAPHS = 160


def measure(work: Path, *, runs: int, copies: int, photos: Path | None = None) -> Report:
    """Lets detector, model and runs take turns."""
    report = Report("regions", ("what", "core-ms a photo", "times off"))
    look = detectors.load(checkpoints.resolve_detector("look", Silent()), device="cpu")
    mini = encoder.load(checkpoints.resolve("mini", Silent()), device="cpu", dtype="float32")
    rng = np.random.default_rng(0)
    glances, regions = (
        list(rng.integers(0, 256, (_A_BATCH, spec.height, spec.width, 3), np.uint8))
        for spec in (look.image_spec, mini.image_spec)
    )
    parts: dict[str, Callable[[], object]] = {
        "look": lambda: look.boxes(glances),
        "one region of mini": lambda: mini.embed_images(regions),
    }
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
        _compare(report, f"drawings, {name}", gallery, _copied(gallery, cars, side, copies), runs)
    if photos is not None:
        gallery = work / "photographs"
        count = _alone(photos, gallery, work / "all-photographs")
        _compare(report, f"{count} photographs of one car", gallery, count, runs)
    return report


def _compare(report: Report, name: str, gallery: Path, count: int, runs: int) -> None:
    """A row for each mode, all of them in turns."""
    turns: list[dict[str, float]] = []
    for _ in range(runs + 1):  # the first turn embeds the texts
        turns.append({mode: _run(gallery, mode) / count for mode in ("off", "main", "all")})
    for mode in turns[0]:
        milliseconds = 1000 * median(turn[mode] for turn in turns[1:])
        report.add(f"{name}: --regions {mode}", milliseconds, median(turn[mode] / turn["off"] for turn in turns[1:]))


def _alone(photos: Path, gallery: Path, everything: Path) -> int:
    """A gallery of photographs in which one car is found, spread evenly over a folder; their number."""
    files = [file for file in sorted(photos.rglob("*")) if file.suffix.lower() in (".jpg", ".jpeg")]
    everything.mkdir(parents=True)
    for number, file in enumerate(files[:: max(1, len(files) // (3 * _PHOTOGRAPHS))]):
        shutil.copyfile(file, everything / f"{number:05}.jpg")
    found = _tagged(everything, "all").photos
    chosen = [path for path, record in sorted(found.items()) if len(record.regions or ()) == 1][:_PHOTOGRAPHS]
    if not chosen:
        raise SystemExit(f"{photos}: no photograph of one car in it")
    gallery.mkdir(parents=True)
    for path in chosen:
        shutil.copyfile(everything / path, gallery / path)
    return len(chosen)


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
    began = time.process_time()
    _tagged(gallery, mode)
    return time.process_time() - began


def _tagged(gallery: Path, mode: str) -> cartag.Index:
    settings = Settings(model="mini", regions=mode, dtype="float32", text_cache=str(gallery.parent / "texts"))
    return cartag.tag(gallery, settings=settings).index


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("regions", __doc__ or "")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs to measure on as well")
    options = parser.parse_args(arguments)
    with measuring.workplace(options.work) as work, tempfile.TemporaryDirectory(dir=work) as place:
        copies = _QUICK_COPIES if options.quick else _COPIES
        report = measure(Path(place), runs=options.runs or 3, copies=copies, photos=options.photos)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
