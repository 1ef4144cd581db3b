"""How long short commands take as whole processes: `--help`, `find`, and `tag` of a single photo in a new gallery."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import measuring
from benchmarks.checkpoint import clip_b32
from benchmarks.galleries import make_gallery
from benchmarks.measuring import ROOT, Report, Run, medians

_GALLERIES = ("cartag tag, 1 photo, first gallery of a model", "cartag tag, 1 photo, second gallery")
_GALLERY_RUNS = 3
_COMMANDS = {"cartag --help": ("--help",), "cartag find, 1,000 photos": ("find", "GALLERY", "ferrari")}


def measure(work: Path, runs: int) -> Report:
    """Runs the commands in turns."""
    gallery = make_gallery(work / "1000", 1000, "fake", "mille-miglia-2013", files=False)
    commands = {
        name: [str(gallery) if word == "GALLERY" else word for word in words] for name, words in _COMMANDS.items()
    }
    turns = [{name: measuring.cartag(*words) for name, words in commands.items()} for _ in range(runs + 1)]
    report = Report("startup", ("command", "seconds", "core-seconds", "peak MiB"))
    for name in commands:
        middle = medians([turn[name] for turn in turns[1:]])  # the first one reads the files of Python itself
        report.add(name, middle.seconds, middle.core_seconds, middle.peak_mb)
    model = clip_b32(work / "clip-b32")
    pairs = [_two_galleries(model) for _ in range(min(runs, _GALLERY_RUNS))]
    for name, taken in zip(_GALLERIES, zip(*pairs, strict=True), strict=True):
        middle = medians(taken)
        report.add(name, middle.seconds, middle.core_seconds, middle.peak_mb)
    report.notes.append(
        "`tag` with a model of ViT-B/32's size (random weights) and the shipped catalog, whose texts the second "
        "gallery finds embedded by the first."
    )
    return report


def _two_galleries(model: Path) -> list[Run]:
    """One photo each, tagged one after the other by a user who never tagged anything before."""
    photo = ROOT / "data" / "gallery" / "mille-miglia-2013-01.jpg"
    with TemporaryDirectory() as folder:
        runs = []
        for name in ("one", "two"):
            (Path(folder) / name).mkdir()
            shutil.copy(photo, Path(folder) / name)
            runs.append(
                measuring.cartag("tag", Path(folder) / name, "--model", model, CARTAG_TEXT_CACHE=f"{folder}/cache")
            )
        return runs


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = measuring.parser("startup", __doc__ or "").parse_args(arguments)
    with measuring.workplace(options.work) as work:
        report = measure(work, options.runs or (5 if options.quick else 15))
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
