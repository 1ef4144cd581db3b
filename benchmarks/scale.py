"""Time and memory of commands as the gallery grows: the index and the cached embeddings are made, nothing is decoded.

`tag` again without a change, `tag` with another catalog over cached embeddings, `find` and `show`, each as a whole
process. Beyond 100,000 photos only `find` and `show`, which read nothing but the index. With --memory also the memory
of tagging camera photos, which must not grow with their number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measuring
from benchmarks.checkpoint import clip_b32
from benchmarks.galleries import make_gallery
from benchmarks.measuring import Report, Run, medians
from benchmarks.photos import CAMERA, make_gallery as make_photos

_MODEL = "mini"
_CATALOG, _OTHER_CATALOG = "mille-miglia-2013", "sports-cars"
_SIZES, _QUICK = (1_000, 10_000, 100_000, 1_000_000), (1_000, 10_000)
_WITHOUT_FILES = 1_000_000
_MEMORY = (200, 2_000)


def measure(work: Path, sizes: Sequence[int], runs: int) -> Report:
    """All commands at all sizes."""
    report = Report("scale", ("entries", "command", "seconds", "core-seconds", "peak MiB", "per second"))
    for size in sizes:
        has_files = size < _WITHOUT_FILES
        gallery = make_gallery(work / f"{size}", size, _MODEL, _CATALOG, files=has_files)
        _add(report, size, "show", [measuring.cartag("show", gallery) for _ in range(runs)])
        _add(report, size, "find", [measuring.cartag("find", gallery, "huayra") for _ in range(runs)])
        if has_files:
            _add(report, size, "tag, nothing changed", [_tag(gallery, _CATALOG) for _ in range(runs)])
            _add(report, size, "tag, another catalog", [_tag(gallery, _OTHER_CATALOG)])
            # Back again: all texts are known, so this is the scoring and the index alone, without a model.
            _add(report, size, "tag, the first catalog again", [_tag(gallery, _CATALOG)])
    return report


def measure_memory(report: Report, work: Path, counts: Sequence[int]) -> None:
    """Memory of tagging camera photos with a model of the size of `clip-b32`."""
    model = clip_b32(work / "clip-b32")
    for count in counts:
        gallery = make_photos(work / "photos", CAMERA, count)
        index = work / f"memory-{count}" / "cartag.json"
        options = ("--model", model, "--index", index, "--retag")
        index.parent.mkdir(exist_ok=True)
        _add(report, count, "tag, camera photos, ViT-B/32", [measuring.cartag("tag", gallery, *options)])


def _tag(gallery: Path, catalog: str) -> Run:
    """A run that finds all it needs in the cache."""
    done = measuring.cartag("tag", gallery, "--catalog", catalog, "--format", "json")
    if errors := json.loads(done.output)["outcomes"]["error"]:
        raise SystemExit(f"{gallery}: {errors} photos were looked for in their files, which are empty")
    return done


def _add(report: Report, size: int, command: str, runs: Sequence[Run]) -> None:
    middle = medians(runs)
    report.add(size, command, middle.seconds, middle.core_seconds, middle.peak_mb, round(size / middle.seconds))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("scale", __doc__ or "")
    parser.add_argument("--memory", action="store_true", help="also tag 200 and 2,000 camera photos: 9 GB of disk")
    options = parser.parse_args(arguments)
    with measuring.workplace(options.work) as work:
        report = measure(work, _QUICK if options.quick else _SIZES, options.runs or (1 if options.quick else 3))
        if options.memory:
            measure_memory(report, work, _MEMORY)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
