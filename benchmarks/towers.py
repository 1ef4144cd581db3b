"""Photos per second of the image towers alone: the bundled model at its input size against ViT-B/32 at 224 x 224.

Both run through cartag's own encoder, on random pixels, in turns in one process, each in the dtype that cartag would
choose here and in float32. The weights of ViT-B/32 are random: for speed they do not matter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import measuring
from benchmarks.checkpoint import clip_b32
from benchmarks.measuring import Report
from cartag import checkpoints, encoder
from cartag.encoder import Encoder
from cartag.progress import Silent

_BATCHES, _QUICK_BATCHES, _A_BATCH = 8, 2, 32


def measure(work: Path, *, runs: int, batches: int, device: str = "cpu") -> Report:
    """Lets the towers run in turns."""
    report = Report("towers", ("model", "input", "dtype", "photos/s", "times ViT-B/32"))
    rates: dict[tuple[str, str], list[float]] = {}
    towers = {
        (name, dtype): encoder.load(checkpoints.resolve(source, Silent()), device=device, dtype=dtype)
        for name, source in (("ViT-B/32", str(clip_b32(work / "clip-b32"))), ("mini", "mini"))
        for dtype in ("auto", "float32")
    }
    for _ in range(runs + 1):  # the first turn warms up
        for key, tower in towers.items():
            rates.setdefault(key, []).append(_rate(tower, batches))
    middles = {key: median(found[1:]) for key, found in rates.items()}
    for (name, dtype), rate in middles.items():
        tower = towers[name, dtype]
        spec = tower.image_spec
        shown = tower.dtype if dtype != "auto" else f"auto: {tower.dtype}"
        report.add(name, f"{spec.height} x {spec.width}", shown, rate, rate / middles["ViT-B/32", dtype])
    return report


def _rate(tower: Encoder, batches: int) -> float:
    spec = tower.image_spec
    pixels = np.random.default_rng(0).integers(0, 256, (_A_BATCH, spec.height, spec.width, 3), np.uint8)
    began = time.perf_counter()
    for _ in range(batches):
        tower.embed_images(list(pixels))
    return batches * _A_BATCH / (time.perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("towers", __doc__ or "")
    parser.add_argument("--device", default="cpu", help="as of `cartag tag`")
    options = parser.parse_args(arguments)
    with measuring.workplace(options.work) as work:
        batches = _QUICK_BATCHES if options.quick else _BATCHES
        report = measure(work, runs=options.runs or 3, batches=batches, device=options.device)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
