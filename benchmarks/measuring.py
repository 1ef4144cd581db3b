"""Whole commands timed as processes, and their figures as JSON, as a Markdown table, or written into a page."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from cartag.settings import usable_cores

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("torch", "transformers", "onnxruntime", "pillow", "numpy")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command."""

    seconds: float
    """From start to end of the process."""
    core_seconds: float
    """Processor time of all its threads."""
    peak_mb: float
    """Most memory that was resident at once, in MiB."""
    output: str


def run(command: Sequence[str], **variables: str) -> Run:
    """Runs a command of this checkout to its end.

    Raises:
        RuntimeError: it failed; the message holds what it wrote to stderr.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CARTAG_")}
    modules = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])  # ours, and where others lie
    environment |= {"PYTHONPATH": modules, "HF_HUB_OFFLINE": "1", "XDG_CONFIG_HOME": "/nonexistent"}
    environment |= {"CARTAG_TEXT_CACHE": "off", **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's own modules are compiled once
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
        peak = _Peak(process.pid)
        peak.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        peak.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}: {err.read().decode(errors='replace')[-2000:]}")
        return Run(seconds, usage.ru_utime + usage.ru_stime, peak.mb, out.read().decode())


class _Peak(threading.Thread):
    """Watches a process's high-water mark; the one that `wait4` reports starts with the memory of the parent."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.mb = 0.0

    def run(self) -> None:
        while True:
            try:
                lines = self._status.read_text(encoding="utf-8").splitlines()
            except OSError:  # gone, or a system without /proc
                return
            found = next((line.split()[1] for line in lines if line.startswith("VmHWM")), None)
            if found is None:  # ended, not yet waited for
                return
            self.mb = int(found) / 1024
            time.sleep(0.01)


def cartag(*arguments: object, **variables: str) -> Run:
    """Runs `cartag` with these arguments."""
    return run([sys.executable, "-m", "cartag", *map(str, arguments)], **variables)


def medians(runs: Sequence[Run]) -> Run:
    """The run of medians: each figure for itself."""
    return Run(*(median(getattr(r, name) for r in runs) for name in Run.__slots__[:3]), output=runs[-1].output)


@dataclass
class Report:
    """A table with what it was measured on; rows hold texts and numbers."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    device: str = ""
    """The GPU, where there is one at work."""

    def add(self, *cells: Any) -> None:
        """Adds a row, and shows it on stderr: a benchmark takes minutes."""
        self.rows.append(cells)
        print("  ".join(map(_cell, cells)), file=sys.stderr)

    def markdown(self) -> str:
        """The table, the machine, and the notes."""
        head = [f"| {' | '.join(self.columns)} |", f"|{'|'.join('---' for _ in self.columns)}|"]
        body = [f"| {' | '.join(map(_cell, row))} |" for row in self.rows]
        where = f"{self.device}, {describe(machine())}" if self.device else describe(machine())
        return "\n".join([*head, *body, "", f"Measured on {where}.", *(f"\n{note}" for note in self.notes)])

    def as_json(self) -> dict[str, Any]:
        """Everything, with unrounded figures."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        facts = {"rows": rows, "notes": self.notes, **self.facts}
        return {"benchmark": self.name, "machine": machine(), "device": self.device, **facts}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def machine() -> dict[str, Any]:
    """The processor, its cores, and the versions that matter."""
    found = {"processor": _processor(), "cores": usable_cores(), "system": platform.system()}
    return {**found, "python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def describe(found: dict[str, Any]) -> str:
    """A machine in a line."""
    packages = ", ".join(f"{name} {found[name]}" for name in ("python", *_PACKAGES))
    return f"{found['processor']}, {found['cores']} core(s), {found['system']}; {packages}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    wanted = {"amx_tile": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
    has = [words for flag, words in wanted.items() if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())} ({', '.join(has[:2]) or 'no AVX2'})"


# --- the command ------------------------------------------------------------------------------------------------


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """What all benchmarks understand."""
    options = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    options.add_argument("--quick", action="store_true", help="smaller sets and fewer runs: less than a minute")
    options.add_argument("--runs", type=int, help="runs of each; their medians are shown")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as JSON")
    options.add_argument(
        "--write", type=Path, metavar="PAGE", help=f"write the table into a page, between its {name} markers"
    )
    options.add_argument(
        "--work", type=Path, metavar="DIR", help="keep photos and checkpoint there, for the next time; else a scratch"
    )
    return options


@contextmanager
def workplace(folder: Path | None) -> Iterator[Path]:
    """A folder for what the benchmark makes."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="cartag-benchmark-") as scratch:
        yield Path(scratch)


def publish(report: Report, options: argparse.Namespace) -> None:
    """Prints the table, and writes what was asked for."""
    print(report.markdown())
    if options.json is not None:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    if options.write is not None:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(between_markers(page, report.name, report.markdown()), encoding="utf-8")


def between_markers(page: str, name: str, text: str) -> str:
    """The page with ``text`` between its lines ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Raises:
        ValueError: the page lacks one of them.
    """
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no {start.strip()} ... {end}")
    return f"{before}{start}{text}\n{end}{after}"
