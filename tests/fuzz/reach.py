"""How much of a parser an input reaches, by steps from line to line of cartag's own code; and the few inputs that reach
all that many do."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import cartag

PACKAGE = str(Path(cartag.__file__).parent)
Line = tuple[str, int]
Step = tuple[str, int, int]
"""From one line of a file to another, within a function."""

MODULES = {
    "catalog": ("catalogs.catalog", "plainyaml"),
    "labels": ("measuring.rows", "measuring.labels", "catalogs.vocabulary"),
    "index": ("state.index", "paths"),
    "journal": ("state.journal",),
    "xmp": ("exporting.encoded", "exporting.packet", "exporting.rdf"),
    "article": ("catalogs.article.page", "catalogs.article.markup", "catalogs.article.archive", "catalogs.article.mentions"),
    "note": ("state.footprint",),
    "learned": ("learning.learned",),
    "cache": ("state.inspection",),
}  # fmt: skip
"""What is stated of a harness: the lines of these modules; writing and other verbs are in them too, so never all."""


def reached(harness: Callable[[bytes], None], data: bytes) -> set[Step]:
    """The steps that a harness takes through cartag with an input."""
    steps: set[Step] = set()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            steps.add((frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno))
            last[frame] = frame.f_lineno
        elif event == "return":
            last.pop(frame, None)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        harness(data)
    except Exception:  # a defect is told elsewhere
        pass
    finally:
        sys.settrace(before)
    return steps


def fewest(harness: Callable[[bytes], None], inputs: Iterable[bytes], known: Iterable[bytes] = ()) -> list[bytes]:
    """Of these inputs those that take a step that none before them does, the shortest first; ``known`` go before all."""
    seen: set[Step] = set()
    for data in known:
        seen |= reached(harness, data)
    kept = []
    for data in sorted(inputs, key=lambda data: (len(data), data)):
        new = reached(harness, data)
        if not new <= seen:
            kept.append(data)
            seen |= new
    return kept


def share(name: str, harness: Callable[[bytes], None], inputs: Iterable[bytes]) -> tuple[int, int]:
    """How many lines of a harness's modules the inputs reach, and how many there are within functions."""
    whole = {line for module in MODULES[name] for line in _lines(module)}
    seen: set[Line] = set()
    for data in inputs:
        seen |= {(file, line) for file, _, line in reached(harness, data)} & whole
    return len(seen), len(whole)


@cache
def _lines(module: str) -> frozenset[Line]:
    spec = importlib.util.find_spec(f"cartag.{module}")
    assert spec is not None
    assert spec.origin is not None
    code = compile(Path(spec.origin).read_bytes(), spec.origin, "exec")
    return frozenset((spec.origin, line) for line in _within(code, is_top=True))


def _within(code: CodeType, *, is_top: bool = False) -> Iterable[int]:
    """Lines of functions: those of modules and classes run when they are imported."""
    if not is_top and code.co_flags & 0x2:  # CO_NEWLOCALS: a function
        yield from {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _within(constant)
