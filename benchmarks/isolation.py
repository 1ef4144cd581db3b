"""What `tag --isolate` costs: photos a second with decoding in threads and in worker processes, in turn, in one run.

python -m benchmarks.isolation [FOLDER]     the sample gallery by default, and the fake model: decoding is what counts
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cartag
from cartag.settings import Settings

_ROUNDS = 3
_COPIES = 2
_SAMPLES = Path(__file__).resolve().parent.parent / "data" / "gallery"


def main() -> None:
    """Prints the median of each, and their ratio; the start of the workers counts."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else _SAMPLES
    with tempfile.TemporaryDirectory() as scratch:
        for copy in range(_COPIES):
            (Path(scratch) / str(copy)).mkdir()
            for photo in source.glob("*.jpg"):
                shutil.copy(photo, Path(scratch) / str(copy) / photo.name)
        speeds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(_ROUNDS):
            for isolate in (False, True):
                began = time.perf_counter()
                report = cartag.tag(scratch, model="fake", retag=True, settings=Settings(isolate=isolate))
                speeds[isolate].append(len(report.index) / (time.perf_counter() - began))
    free, caged = (statistics.median(speeds[isolate]) for isolate in (False, True))
    cost = f"{free:.1f} photos/s in threads, {caged:.1f} with --isolate, ratio {caged / free:.2f}"
    print(f"{len(report.index)} photos: {cost}")


if __name__ == "__main__":
    main()
