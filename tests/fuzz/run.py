"""Fuzzes cartag's own parsers, guided by coverage (atheris: pip install 'cartag[fuzz]').

    python tests/fuzz/run.py xmp --seconds 180        one parser
    python tests/fuzz/run.py all --seconds 180        all of them, one a core

It begins with the seeds and with the corpus that is kept in `tests/fuzz/corpus`: of the inputs of earlier runs the shortest
that take a step through cartag that no other does. `--keep` takes up what this run found. How many lines of the parser's modules
were reached is said at the end (`reach.MODULES`).

Every kind of exception is kept once, with the input that raised it, under --crashes; the run goes on. A hang (10 s) or
2 GiB of memory end it. Exits with 1 if anything was found.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import atheris

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(1, str(HERE.parents[1]))

with atheris.instrument_imports(include=["cartag", "yaml", "csv", "html"]):
    from fuzz.corpus import keep, kept
    from fuzz.harnesses import HARNESSES, remembering_shipped_files
    from fuzz.reach import share
    from fuzz.seeds import WORDS, seeds

    from cartag.catalogs import catalog
    from cartag.settings import usable_cores

SECONDS_PER_INPUT, MEGABYTES = 10, 2048
LONGEST = {"cache": 8192}
"""Bytes of an input; of all others 4096."""


def main() -> int:
    """Fuzzes one parser in this process, or all in one process each."""
    parser = argparse.ArgumentParser(description="Fuzzes cartag's own parsers.")
    parser.add_argument("parser", choices=[*HARNESSES, "all"])
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="of all parsers, how many at a time")
    parser.add_argument("--keep", action="store_true", help="take what was found into the corpus of the repository")
    parser.add_argument("--crashes", type=Path, default=Path(tempfile.gettempdir()) / "cartag-crashes")
    options = parser.parse_args()
    logging.disable()  # parsers say what they pass over
    if options.parser != "all":
        return _fuzz(options)
    arguments = [f"--{name}={getattr(options, name)}" for name in ("seconds", "seed", "crashes")]
    arguments += ["--keep"] if options.keep else []

    def fuzzed(name: str) -> int:
        return subprocess.call([sys.executable, __file__, name, *arguments]) and 1

    with ThreadPoolExecutor(options.jobs) as at_once:
        return max(at_once.map(fuzzed, HARNESSES))


def _fuzz(options: argparse.Namespace) -> int:
    """One parser. libFuzzer leaves the process when the time is up, so a child fuzzes and this one reports."""
    found = options.crashes / options.parser
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        corpus, words, tally = Path(scratch) / "corpus", Path(scratch) / "words", Path(scratch) / "tally.json"
        corpus.mkdir()
        for number, seed in enumerate((*seeds()[options.parser], *kept(options.parser))):
            (corpus / str(number)).write_bytes(seed)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS[options.parser]), encoding="ascii")
        flags = [
            f"-max_total_time={options.seconds}",
            f"-seed={options.seed}",
            f"-dict={words}",
            f"-max_len={LONGEST.get(options.parser, 4096)}",
        ]
        flags += [f"-timeout={SECONDS_PER_INPUT}", f"-rss_limit_mb={MEGABYTES}", f"-artifact_prefix={found}/hang-"]
        code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import run; run.child({options.parser!r}, sys.argv[1:])"
        command = [sys.executable, "-c", code, str(tally), str(found), *flags, str(corpus)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if not tally.is_file():
            print(ended.stdout)
            return 1
        counted = json.loads(tally.read_bytes())
        inputs = [path.read_bytes() for path in corpus.iterdir()]
        if options.keep:
            keep(options.parser, inputs)
        catalog._parse = remembering_shipped_files(catalog._parse)
        lines, whole = share(options.parser, HARNESSES[options.parser], inputs)
    crashes = sorted(path.name for path in found.glob("*.bin")) + sorted(path.name for path in found.glob("hang-*"))
    print(
        f"{options.parser}: {counted['inputs']} inputs in {counted['seconds']:.0f} s, corpus of {len(inputs)}, "
        f"{lines} of {whole} lines ({100 * lines / whole:.0f} %), "
        f"slowest {1000 * counted['slowest']:.0f} ms, {len(crashes)} defect(s) in {found}",
        flush=True,
    )
    for name in crashes:
        print(f"  {name}", flush=True)
    if ended.returncode:
        print(ended.stdout[-2000:], flush=True)
    return 1 if crashes or ended.returncode else 0


def child(name: str, arguments: list[str]) -> None:
    """Fuzzes until the time is up; what was done so far is written to a file every second."""
    logging.disable()
    tally, found, flags = Path(arguments[0]), Path(arguments[1]), arguments[2:]
    catalog._parse = remembering_shipped_files(catalog._parse)
    harness = HARNESSES[name]
    began = written = time.monotonic()
    inputs, slowest = 0, 0.0
    harness(b"")  # loads what is loaded once

    def once(data: bytes) -> None:
        nonlocal inputs, slowest, written
        before = time.monotonic()
        try:
            harness(data)
        except Exception as e:
            _keep(found, data, e)
        now = time.monotonic()
        inputs, slowest = inputs + 1, max(slowest, now - before)
        if now - written > 1:
            written = now
            tally.write_text(json.dumps({"inputs": inputs, "seconds": now - began, "slowest": slowest}))

    atheris.Setup([sys.argv[0], *flags], once)
    atheris.Fuzz()


def _keep(found: Path, data: bytes, error: Exception) -> None:
    """One input for every place that raises: the shortest."""
    places: list[Any] = [(frame.name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)[-3:]]
    digest = hashlib.sha256(repr((type(error).__name__, places)).encode()).hexdigest()[:8]
    path = found / f"{type(error).__name__}-{digest}.bin"
    if not path.exists() or path.stat().st_size > len(data):
        path.write_bytes(data)
        text = "".join(traceback.format_exception(error))
        path.with_suffix(".txt").write_text(text, encoding="utf-8", errors="backslashreplace")


def _escaped(word: str) -> str:
    """A word as libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode("utf-8"))


if __name__ == "__main__":
    sys.exit(main())
