"""What `tag --isolate` costs: photos a second with decoding in threads and in worker processes, in turn, in one run.

    python -m benchmarks.isolation [--web 2000] [--camera 200] [--rounds 3]

With the fake model: decoding is what counts. Every run is a first one, with all that belongs to it; a run with a single
photo is the start of the workers and little else.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import cartag
from benchmarks.photos import KINDS, make_gallery
from cartag.settings import Settings, usable_cores


def main() -> None:
    """Prints a line for each kind of photo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--web", type=int, default=2000, help="photos of 1600 x 1067 pixels")
    parser.add_argument("--camera", type=int, default=200, help="photos of 24 megapixels")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name, count in (("web", args.web), ("camera", args.camera)):
            single, gallery = (make_gallery(Path(scratch), KINDS[name], n) for n in (1, count))
            turns = [[(seconds(g, False), seconds(g, True)) for g in (single, gallery)] for _ in range(args.rounds)]
            (start, caged_start), (free, caged) = (
                [statistics.median(turn[i][j] for turn in turns) for j in (0, 1)] for i in (0, 1)
            )
            print(
                f"{count} {name} photos, {usable_cores()} cores: {count / free:.1f} photos/s in threads, "
                f"{count / caged:.1f} with --isolate, ratio {free / caged:.2f}; one photo: {start:.2f} and "
                f"{caged_start:.2f} s"
            )


def seconds(gallery: Path, isolate: bool) -> float:
    """How long a first run takes, into a state of its own."""
    with tempfile.TemporaryDirectory() as state:
        began = time.perf_counter()
        report = cartag.tag(gallery, model="fake", index=Path(state) / "i.json", settings=Settings(isolate=isolate))
        assert len(report.index) == int(gallery.name.rpartition("-")[2])
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
