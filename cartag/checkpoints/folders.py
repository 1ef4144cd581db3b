"""What a checkpoint's folder has to hold before it is loaded, and which of its files decide what it answers."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

from cartag.errors import ModelError
from cartag.values import ModelKind

# Everything that is read of a checkpoint (by `transformers`, by `cartag.detector.look`), and nothing else: hub
# repositories also hold the same weights in other formats.
NEEDED = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
)
# One of them holds the words; of a tokenizer_config.json alone transformers makes a tokenizer that knows none.
_VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")


def missing_files(folder: Path, kind: ModelKind = "model") -> list[str]:
    """What a checkpoint folder lacks before it can be loaded, in words. A detector needs no tokenizer.

    Raises:
        ModelError: the list of its weight files is damaged.
    """
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        missing.append("preprocessor_config.json")
    if kind == "model" and not any(path.is_file() for name in _VOCABULARIES for path in folder.glob(name)):
        missing.append("the tokenizer")
    shards = folder / "model.safetensors.index.json"
    if shards.is_file():
        missing += [name for name in _shard_names(shards) if not (folder / name).is_file()]
    elif not (folder / "model.safetensors").is_file():
        missing.append("model.safetensors (weights in pickle formats are never loaded)")
    return missing


def says_it_detects(folder: Path) -> bool:
    """Whether a checkpoint's config calls it a detector; False also of one that cannot be read."""
    try:
        architectures = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
        return any(str(name).endswith("ForObjectDetection") for name in architectures)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def deciding_files(folder: Path) -> list[Path]:
    """The files that decide what a checkpoint answers."""
    return [path for path in folder.iterdir() if is_needed(path.name) and path.is_file()]


def is_needed(name: str) -> bool:
    """Whether a file of that name is read of a checkpoint."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in NEEDED)


def _shard_names(path: Path) -> list[str]:
    try:
        names = sorted({str(name) for name in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise ModelError(f"{path}: not a list of weight files as transformers writes it ({type(e).__name__})") from e
    for name in names:
        if "/" in name or "\\" in name or not name.endswith(".safetensors"):
            raise ModelError(f"{path}: names {name}; only safetensors files beside it are ever loaded")
    return names
