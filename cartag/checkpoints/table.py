"""The model table, and finding a model's files: in the bundle, in a folder, in the hub's cache, or on the hub."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cartag import plainyaml
from cartag.checkpoints import hub
from cartag.checkpoints.digests import check_recorded, digests_of, revision_of
from cartag.checkpoints.folders import deciding_files, missing_files, says_it_detects
from cartag.checkpoints.troubles import BUNDLED, OPTIONS, cannot_fetch, near_names
from cartag.errors import ModelError
from cartag.progress import Progress
from cartag.resources import shipped
from cartag.values import ModelFiles, ModelKind, ModelSpec

BUNDLED_MODEL, BUNDLED_DETECTOR = BUNDLED["model"], BUNDLED["detector"]
FAKE_MODEL = "fake"


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
        for kind in OPTIONS
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
    except hub.OtherKindError:
        return resolve_detector(name, progress)
    except ModelError:
        if name in known_models():
            raise
        try:
            files = resolve_detector(name, progress, fetch=False)
        except ModelError:
            files = None
        if files is None or not says_it_detects(Path(files.folder)):
            raise
        return files


def revision_at(folder: Path) -> str:
    """Digest of all files in a checkpoint's folder that decide what it answers, whatever its revision is called."""
    return revision_of(digests_of(deciding_files(folder)))


def is_here(spec: ModelSpec) -> bool:
    """Whether a model or a detector of the table can be loaded without network."""
    if spec.name == BUNDLED[spec.kind]:
        return not missing_files(shipped("models", spec.name), spec.kind)
    return hub.cached_snapshot(spec) is not None


def _resolve(name: str, kind: ModelKind, progress: Progress, fetch: bool) -> ModelFiles:
    if name == FAKE_MODEL:
        return ModelFiles(ModelSpec(FAKE_MODEL, FAKE_MODEL, kind=kind), "", "1")
    spec = _known()[kind].get(name)
    if spec is not None and spec.name == BUNDLED[kind]:
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
        return f"no {kind} {name!r}: it is a {other}, which {OPTIONS[other]} takes"
    try:
        path = [part for part in urlsplit(name).path.split("/") if part]
    except ValueError:  # a bracket in the place of a host
        path = []
    if path[:1] in (["datasets"], ["spaces"]) and len(path) == 3:
        return f"no {kind} {name!r}: it is a {path[0][:-1]} of the hub; name a repository with weights, as owner/name"
    if "://" in name and len(path) >= 2:
        return f"no {kind} {name!r}: a hub id is the owner and the name; did you mean {'/'.join(path[:2])!r}?"
    near = near_names(name, _known()[kind])
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no {kind} {name!r}: {hint}It is none of {', '.join(_known()[kind])}, no folder, and no hub id (owner/name)"


def _from_folder(folder: Path, spec: ModelSpec, *, is_bundled: bool = False) -> ModelFiles:
    missing = missing_files(folder, spec.kind)
    if missing:
        raise ModelError(f"{folder}: not a complete checkpoint, {' and '.join(missing)} missing")
    digests = digests_of(deciding_files(folder))
    if is_bundled:
        check_recorded(folder, digests)
    return ModelFiles(spec, str(folder), revision_of(digests))


def _from_hub(spec: ModelSpec, progress: Progress, fetch: bool) -> ModelFiles:
    folder = hub.cached_snapshot(spec)
    if folder is None and not fetch:
        raise ModelError(cannot_fetch(spec, "it was not to be fetched"))
    if folder is None:
        folder = hub.fetch(spec, progress, [other.source for other in _known()[spec.kind].values()])
    return ModelFiles(spec, str(folder), folder.name)
