"""The inputs that are kept in the repository: few and short, each for a step through cartag that no other takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fuzz.harnesses import HARNESSES
from fuzz.reach import fewest
from fuzz.seeds import seeds

FOLDER = Path(__file__).with_name("corpus")


def kept(name: str) -> list[bytes]:
    """The inputs of a parser, by their names."""
    return [path.read_bytes() for path in sorted((FOLDER / name).glob("*"))]


def keep(name: str, inputs: Iterable[bytes]) -> None:
    """Writes the corpus of a parser anew, out of what is in it and these inputs; where the seeds go needs none."""
    chosen = fewest(HARNESSES[name], {*inputs, *kept(name)}, seeds()[name])
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for data in chosen:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
