"""How long `cartag --help` and `cartag find` on 1,000 photos take as whole processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import measuring
from benchmarks.galleries import make_gallery
from benchmarks.measuring import Report, medians

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
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = measuring.parser("startup", __doc__ or "").parse_args(arguments)
    with measuring.workplace(options.work) as work:
        report = measure(work, options.runs or (5 if options.quick else 15))
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
