"""What the files of a checkpoint hold, as digests: its identity, and whether it is what was shipped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from cartag.errors import ModelError

RECORD = "digests.json"
_WHOLE_BELOW = 64 * 2**20


def digests_of(paths: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file in hexadecimal, by its name; above 64 MiB one of the size and of samples."""
    return {path.name: _digest(path) for path in sorted(paths)}


def revision_of(digests: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits that change with any of the files."""
    return hashlib.sha256("".join(f"{name}\0{digests[name]}\0" for name in sorted(digests)).encode()).hexdigest()[:16]


def check_recorded(folder: Path, known: Mapping[str, str], *, only: str = "") -> None:
    """Holds the bundled model against what its recipe recorded (``digests.json``): is it whole, and of one making?

    It finds a damaged or half-replaced installation. It is no protection from somebody who can write there. ``known``
    are digests that need not be computed again; the recipe itself, which decides nothing here, may have changed. With
    ``only`` (".onnx") files of that kind alone are looked at.

    Raises:
        ModelError: a file is missing or another one than was recorded, or the record itself cannot be read.
    """
    record = folder / RECORD
    try:
        recorded = {str(name): str(digest) for name, digest in json.loads(record.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as e:
        raise ModelError(f"{record}: cannot be read ({type(e).__name__}); install cartag again") from e
    for name, digest in recorded.items():
        path = folder / name
        if path.suffix == ".py" or not name.endswith(only):
            continue
        if not path.is_file():
            raise ModelError(f"{path}: missing; install cartag again")
        found = known.get(name) or _digest(path)
        if found != digest:
            raise ModelError(
                f"{path}: not the file that cartag ships (SHA-256 {found[:12]}, recorded {digest[:12]}); "
                "install cartag again"
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        size = path.stat().st_size
        if size <= _WHOLE_BELOW:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(f"{size}\0".encode())
        for i in range(64):
            file.seek((size - 65536) * i // 63)
            digest.update(file.read(65536))
        for place in _tensor_places(file):  # training may have changed one tensor alone
            file.seek(place)
            digest.update(file.read(4096))
        return digest.hexdigest()


def _tensor_places(file: BinaryIO) -> list[int]:
    """Start and middle of every tensor of a safetensors file; none if its header is damaged, which loading reports."""
    try:
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, _WHOLE_BELOW)))
        spans = [tensor["data_offsets"] for name, tensor in header.items() if name != "__metadata__"]
        return sorted({8 + length + place for start, end in spans for place in (start, (start + end) // 2)})
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
