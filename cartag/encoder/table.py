"""The model table, and finding a model's files: in the bundle, in a folder, in the hub's cache, or on the hub."""

from __future__ import annotations

import contextlib
import filecmp
import fnmatch
import json
import logging
import os
import shutil
import socket
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cartag import plainyaml
from cartag.encoder.digests import check_recorded, digests_of, revision_of
from cartag.errors import ForeignFileError, ModelError
from cartag.paths import why_no_folder
from cartag.progress import Progress
from cartag.resources import shipped
from cartag.values import IndexedModel, ModelFiles, ModelSpec

log = logging.getLogger(__name__)

DEFAULT_HUB_MODEL = "clip-b32"
BUNDLED_MODEL = "mini"
FAKE_MODEL = "fake"
# Everything `transformers` and `cartag.encoder.closeup` read, and nothing else: hub repositories also hold the same
# weights in other formats.
_NEEDED = (
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
    "closeup.json",
    "closeup.safetensors",
)
# One of them holds the words; of a tokenizer_config.json alone transformers makes a tokenizer that knows none.
_VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")
_PROBE_SECONDS = 3.0


@cache
def known_models() -> dict[str, ModelSpec]:
    """The models known by name, in the order of `configs/models.yaml`."""
    raw = plainyaml.read(shipped("configs", "models.yaml"), ModelError, trusted=True)
    specs = {name: {"name": name, **entry} for name, entry in raw["models"].items()}
    return {name: msgspec.convert(spec, ModelSpec, strict=False) for name, spec in specs.items()}  # numbers from texts


def resolve(name: str, progress: Progress, *, fetch: bool = True) -> ModelFiles:
    """Finds the files of a model by table name, folder, or hub id; downloads them when ``fetch`` and they are absent.

    Raises:
        ModelError: unknown, incomplete, or neither here nor to be fetched.
    """
    if name == FAKE_MODEL:
        return ModelFiles(ModelSpec(FAKE_MODEL, FAKE_MODEL), "", "1")
    spec = known_models().get(name)
    if spec is not None and spec.name == BUNDLED_MODEL:
        return _from_folder(shipped("models", "mini"), spec, is_bundled=True)
    if spec is None and os.path.isdir(name):
        folder = Path(name).resolve()
        return _from_folder(folder, ModelSpec(folder.name, str(folder)))
    if spec is None and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        spec = ModelSpec(name, name)
    if spec is None:
        raise ModelError(
            f"no model {name!r}: it is none of {', '.join(known_models())}, no folder, and no hub id (owner/name)"
        )
    return _from_hub(spec, progress, fetch)


def resolve_auto(indexed: IndexedModel | None, progress: Progress) -> ModelFiles:
    """``--model auto``: the model the index was made with, else `clip-b32` if it can be had, else `mini`.

    Raises:
        ModelError: the index's own model cannot be had.
    """
    if indexed is not None:
        known = known_models().get(indexed.name)  # a folder may have the name of another model: its source tells
        return resolve(indexed.name if known and known.source == indexed.source else indexed.source, progress)
    try:
        return resolve(DEFAULT_HUB_MODEL, progress)
    except ModelError as e:
        log.debug("auto: %s", e)
        why = "offline mode is set" if _is_offline() else "it is not here and cannot be fetched now"
        progress.note(
            f"model: mini, the bundled one, instead of {DEFAULT_HUB_MODEL} ({why}); --model mini says so for good"
        )
        return resolve(BUNDLED_MODEL, progress)


# --- folders ----------------------------------------------------------------------------------------------------


def _from_folder(folder: Path, spec: ModelSpec, *, is_bundled: bool = False) -> ModelFiles:
    missing = missing_files(folder)
    if missing:
        raise ModelError(f"{folder}: not a complete checkpoint, {' and '.join(missing)} missing")
    digests = digests_of(_deciding(folder))
    if is_bundled:
        check_recorded(folder, digests)
    return ModelFiles(spec, str(folder), revision_of(digests))


def missing_files(folder: Path) -> list[str]:
    """What a checkpoint folder lacks before `transformers` can load it, in words.

    Raises:
        ModelError: the list of its weight files is damaged.
    """
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        missing.append("preprocessor_config.json")
    if not any(path.is_file() for name in _VOCABULARIES for path in folder.glob(name)):
        missing.append("the tokenizer")
    shards = folder / "model.safetensors.index.json"
    if shards.is_file():
        missing += [name for name in _shard_names(shards) if not (folder / name).is_file()]
    elif not (folder / "model.safetensors").is_file():
        missing.append("model.safetensors (weights in pickle formats are never loaded)")
    return missing


def _shard_names(path: Path) -> list[str]:
    try:
        names = sorted({str(name) for name in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise ModelError(f"{path}: not a list of weight files as transformers writes it ({type(e).__name__})") from e
    for name in names:
        if "/" in name or "\\" in name or not name.endswith(".safetensors"):
            raise ModelError(f"{path}: names {name}; only safetensors files beside it are ever loaded")
    return names


def _is_needed(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _NEEDED)


def _deciding(folder: Path) -> list[Path]:
    """The files that decide embeddings."""
    return [path for path in folder.iterdir() if _is_needed(path.name) and path.is_file()]


# --- the hub ----------------------------------------------------------------------------------------------------


def _from_hub(spec: ModelSpec, progress: Progress, fetch: bool) -> ModelFiles:
    cached = cached_snapshot(spec)
    if cached is not None:
        return ModelFiles(spec, str(cached), cached.name)
    if not fetch or not _hub_answers():
        raise ModelError(_cannot_fetch(spec, "offline mode is set" if _is_offline() else "the hub cannot be reached"))
    from huggingface_hub import snapshot_download

    size = f", {spec.size_mb} MB" if spec.size_mb else ""
    progress.note(f"model: fetching {spec.name} from {spec.source}{size}, once")
    try:
        folder = Path(snapshot_download(spec.source, revision=spec.revision, allow_patterns=list(_NEEDED)))
    except Exception as e:  # the hub's client raises errors of several libraries
        raise ModelError(_cannot_fetch(spec, " ".join(str(e).split())[:200] or type(e).__name__)) from e
    missing = missing_files(folder)
    if missing:
        raise ModelError(f"{spec.source}: the hub repository lacks {' and '.join(missing)}; choose another model")
    return ModelFiles(spec, str(folder), folder.name)


def cached_snapshot(spec: ModelSpec) -> Path | None:
    """The folder of a hub model in the local cache, if it is there completely."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(spec.source, revision=spec.revision, local_files_only=True))
        return None if missing_files(folder) else folder
    except Exception:  # not cached, or not whole
        return None


def is_here(spec: ModelSpec) -> bool:
    """Whether a model of the table can be loaded without network."""
    if spec.name == BUNDLED_MODEL:
        return not missing_files(shipped("models", "mini"))
    return cached_snapshot(spec) is not None


def fetch_to(name: str, folder: Path, progress: Progress, *, force: bool = False) -> Path:
    """Copies a model's files into ``folder``, to carry them to a machine without network (``--model FOLDER``).

    Raises:
        ModelError: see `resolve`; or the folder cannot be written, or is the model's own.
        ForeignFileError: a file of such a name is there with another content, and ``force`` is not said.
    """
    files = resolve(name, progress)
    if not files.folder:
        raise ModelError(f"model {name}: has no files to be carried; it is here wherever cartag is")
    if why := why_no_folder(folder):
        raise ModelError(f"--to {folder}: {why}; name another")
    if folder.resolve() == Path(files.folder).resolve():
        raise ModelError(f"{folder}: is where the model lies already; choose another folder")
    sources = {
        path.name: path.resolve()
        for path in sorted(Path(files.folder).iterdir())
        if path.is_file() and (_is_needed(path.name) or path.name == "calibration.json")
    }
    try:
        there = {name for name in sources if os.path.lexists(folder / name)}
        same = {name for name in there if _is_same(sources[name], folder / name)}
        for name in sorted(there - same):
            if not force or (folder / name).is_dir():
                raise ForeignFileError(
                    f"{folder / name}: is there with another content; name another folder with --to DIR"
                    + ("" if (folder / name).is_dir() else ", or replace it with --force")
                )
        folder.mkdir(parents=True, exist_ok=True)
        for name in sources:
            if name not in same:
                _copy(sources[name], folder / name)
    except OSError as e:
        raise ModelError(f"{folder}: cannot be written ({e.strerror or e})") from e
    return folder


def _is_same(source: Path, there: Path) -> bool:
    return there.is_file() and not there.is_symlink() and filecmp.cmp(source, there, shallow=False)


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all: half a file of weights would be taken for somebody else's the next time."""
    with tempfile.NamedTemporaryFile(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent, delete=False) as f:
        try:
            with source.open("rb") as whole:
                shutil.copyfileobj(whole, f, 2**20)
            f.close()
            shutil.copymode(source, f.name)
            os.replace(f.name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(f.name)
            raise


def _is_offline() -> bool:
    return any(
        os.environ.get(key, "").lower() in ("1", "true", "yes", "on")
        for key in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def _hub_answers() -> bool:
    """A quick look before the hub's client starts its minutes of retries. With a proxy only the client can tell."""
    if _is_offline():
        return False
    if any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        with socket.create_connection((url.hostname or "", port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False


def _cannot_fetch(spec: ModelSpec, why: str) -> str:
    return (
        f"model {spec.name}: {spec.source} is not in the local cache and {why}; on a machine with network run "
        f"'cartag models fetch {spec.name} --to DIR' and use --model DIR here, or use --model mini now"
    )
