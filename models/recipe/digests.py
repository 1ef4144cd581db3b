"""Digests, a program: writes `digests.json`, the SHA-256 of the recipe and of what it made.

A test notices when they part ways. Whoever changes the recipe and leaves the weights as they are runs it to say so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

RECIPE = "../recipe/*.py"  # ends as a program does: the tool does not look for it beside the weights
MADE_FIRST = ("model.safetensors", "image.onnx", "text.onnx")
MADE_LATER = ("tokenizer.json", "calibration.json")


def recipe_digest() -> str:
    """SHA-256 of names and contents of all modules of this package, and of what they compile."""
    found, own = hashlib.sha256(), Path(__file__).parent
    for path in sorted([*own.glob("*.py"), *own.glob("*.cpp")]):
        content = path.read_bytes()
        found.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def digests_of(out: Path) -> dict[str, str]:
    """Those of a folder with a model, by file."""
    made = {
        f: hashlib.sha256((out / f).read_bytes()).hexdigest() for f in (*MADE_FIRST, *MADE_LATER) if (out / f).exists()
    }
    return made | {RECIPE: recipe_digest()}


def write(out: Path) -> None:
    """Writes `digests.json` into a folder with a model."""
    (out / "digests.json").write_text(json.dumps(digests_of(out), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "mini")
    write(parser.parse_args().out)
