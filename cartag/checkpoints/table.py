"""The model table, and finding a model's files: in the bundle, in a folder, in the hub's cache, or on the hub."""

from __future__ import annotations

import logging
import os
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cartag import plainyaml
from cartag.checkpoints.digests import check_recorded, digests_of, revision_of
from cartag.checkpoints.folders import NEEDED, deciding_files, missing_files, says_it_detects
from cartag.errors import ModelError
from cartag.progress import Progress
from cartag.resources import shipped
from cartag.values import IndexedModel, ModelFiles, ModelKind, ModelSpec

log = logging.getLogger(__name__)

DEFAULT_HUB_MODEL = "clip-b32"
BUNDLED_MODEL = "mini"
BUNDLED_DETECTOR = "look"
FAKE_MODEL = "fake"
_PROBE_SECONDS = 3.0
_OPTIONS: dict[ModelKind, str] = {"model": "--model", "detector": "--detector"}
_BUNDLED: dict[ModelKind, str] = {"model": BUNDLED_MODEL, "detector": BUNDLED_DETECTOR}


def known_models() -> dict[str, ModelSpec]:
    """The models known by name, in the order of `configs/models.yaml`."""
    return _known()["model"]


def known_detectors() -> dict[str, ModelSpec]:
    """The detectors known by name, likewise. No name is one of both."""
    return _known()["detector"]


@cache
def _known() -> dict[ModelKind, dict[str, ModelSpec]]:
    raw = plainyaml.read(shipped("configs", "models.yaml"), ModelError, trusted=True)
    return {
        kind: {
            # Not strict: numbers are texts in YAML as it is written.
            name: msgspec.convert({"name": name, "kind": kind, **entry}, ModelSpec, strict=False)
            for name, entry in raw[f"{kind}s"].items()
        }
        for kind in _OPTIONS
    }


def resolve(name: str, progress: Progress, *, fetch: bool = True) -> ModelFiles:
    """Finds the files of a model by table name, folder, or hub id; downloads them when ``fetch`` and they are absent.

    Raises:
        ModelError: unknown, incomplete, or neither here nor to be fetched.
    """
    return _resolve(name, "model", progress, fetch)


def resolve_detector(name: str, progress: Progress, *, fetch: bool = True) -> ModelFiles:
    """Finds the files of a detector, as `resolve` does those of a model.

    Raises:
        ModelError: likewise.
    """
    return _resolve(name, "detector", progress, fetch)


def resolve_either(name: str, progress: Progress) -> ModelFiles:
    """A model or a detector, whichever a name stands for; of a folder or a hub id its own config says it.

    Raises:
        ModelError: see `resolve`.
    """
    if name in known_detectors():
        return resolve_detector(name, progress)
    try:
        return resolve(name, progress)
    except ModelError:
        if name in known_models():
            raise
        try:
            files = resolve_detector(name, progress, fetch=False)  # what can be fetched was fetched
        except ModelError:
            files = None
        if files is None or not says_it_detects(Path(files.folder)):
            raise
        return files


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


def revision_at(folder: Path) -> str:
    """Digest of all files in a checkpoint's folder that decide what it answers, whatever its revision is called."""
    return revision_of(digests_of(deciding_files(folder)))


def is_here(spec: ModelSpec) -> bool:
    """Whether a model or a detector of the table can be loaded without network."""
    if spec.name == _BUNDLED[spec.kind]:
        return not missing_files(shipped("models", spec.name), spec.kind)
    return cached_snapshot(spec) is not None


def _resolve(name: str, kind: ModelKind, progress: Progress, fetch: bool) -> ModelFiles:
    if name == FAKE_MODEL:
        return ModelFiles(ModelSpec(FAKE_MODEL, FAKE_MODEL, kind=kind), "", "1")
    spec = _known()[kind].get(name)
    if spec is not None and spec.name == _BUNDLED[kind]:
        return _from_folder(shipped("models", spec.name), spec, is_bundled=True)
    if spec is None and os.path.isdir(name):
        folder = Path(name).resolve()
        return _from_folder(folder, ModelSpec(folder.name, str(folder), kind=kind))
    if spec is None and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        spec = ModelSpec(name, name, kind=kind)
    if spec is None:
        raise ModelError(_unknown(name, kind))
    return _from_hub(spec, progress, fetch)


def _unknown(name: str, kind: ModelKind) -> str:
    other: ModelKind = "detector" if kind == "model" else "model"
    if name in _known()[other]:
        return f"no {kind} {name!r}: it is a {other}, which {_OPTIONS[other]} takes"
    return f"no {kind} {name!r}: it is none of {', '.join(_known()[kind])}, no folder, and no hub id (owner/name)"


def _from_folder(folder: Path, spec: ModelSpec, *, is_bundled: bool = False) -> ModelFiles:
    missing = missing_files(folder, spec.kind)
    if missing:
        raise ModelError(f"{folder}: not a complete checkpoint, {' and '.join(missing)} missing")
    digests = digests_of(deciding_files(folder))
    if is_bundled:
        check_recorded(folder, digests)
    return ModelFiles(spec, str(folder), revision_of(digests))


# --- the hub ----------------------------------------------------------------------------------------------------


def _from_hub(spec: ModelSpec, progress: Progress, fetch: bool) -> ModelFiles:
    cached = cached_snapshot(spec)
    if cached is not None:
        return ModelFiles(spec, str(cached), cached.name)
    if not fetch or not _hub_answers():
        raise ModelError(_cannot_fetch(spec, "offline mode is set" if _is_offline() else "the hub cannot be reached"))
    from huggingface_hub import snapshot_download

    size = f", {spec.size_mb} MB" if spec.size_mb else ""
    progress.note(f"{spec.kind}: fetching {spec.name} from {spec.source}{size}, once")
    try:
        folder = Path(snapshot_download(spec.source, revision=spec.revision, allow_patterns=list(NEEDED)))
    except Exception as e:  # the hub's client raises errors of several libraries
        raise ModelError(_cannot_fetch(spec, " ".join(str(e).split())[:200] or type(e).__name__)) from e
    missing = missing_files(folder, spec.kind)
    if missing:
        lacks = f"{spec.source}: the hub repository lacks {' and '.join(missing)}"
        raise ModelError(f"{lacks}; choose another {spec.kind}")
    return ModelFiles(spec, str(folder), folder.name)


def cached_snapshot(spec: ModelSpec) -> Path | None:
    """The folder of a hub model in the local cache, if it is there completely."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(spec.source, revision=spec.revision, local_files_only=True))
        return None if missing_files(folder, spec.kind) else folder
    except Exception:  # not cached, or not whole
        return None


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
    option, bundled = _OPTIONS[spec.kind], _BUNDLED[spec.kind]
    return (
        f"{spec.kind} {spec.name}: {spec.source} is not in the local cache and {why}; on a machine with network run "
        f"'cartag models fetch {spec.name} --to DIR' and use {option} DIR here, or use {option} {bundled} now"
    )
