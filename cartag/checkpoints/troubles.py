"""Why a checkpoint cannot be had from the hub, in one line each: what, where, what to do."""

from __future__ import annotations

import errno
import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cartag.values import ModelKind, ModelSpec

OPTIONS: dict[ModelKind, str] = {"model": "--model", "detector": "--detector"}
BUNDLED: dict[ModelKind, str] = {"model": "mini", "detector": "look"}
_LOG_IN = "log in with 'hf auth login', or set HF_TOKEN"
_ALIKE = 0.8
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)

# What a repository may hold instead of safetensors, by the pattern of its names.
_OTHER_WEIGHTS = {
    "GGUF": "*.gguf",
    "ONNX": "*.onnx",
    "pickle (.bin, .pt, .ckpt)": "*.bin *.pt *.pth *.ckpt",
    "TensorFlow or Flax": "*.h5 *.msgpack *.tflite",
    "open_clip": "open_clip_model*.safetensors",
}


def cannot_fetch(spec: ModelSpec, why: str) -> str:
    """What is not here and cannot be fetched now, with what can be done meanwhile."""
    return (
        f"{spec.kind} {spec.name}: {spec.source} is not in the local cache and {why}; on a machine with network run "
        f"'cartag models fetch {spec.name} --to DIR' and use {OPTIONS[spec.kind]} DIR here, or use "
        f"{OPTIONS[spec.kind]} {BUNDLED[spec.kind]} now"
    )


def instead(spec: ModelSpec) -> str:
    """What works without the hub."""
    return f"use another, or {OPTIONS[spec.kind]} {BUNDLED[spec.kind]} now"


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Of the known names those that ``name`` may be a misspelling of, nearest first."""
    import difflib

    spelt = {one.casefold(): one for one in known}
    return [spelt[near] for near in difflib.get_close_matches(name.casefold(), spelt, n=2, cutoff=_ALIKE)]


def why_no_checkpoint(names: Sequence[str], kind: ModelKind) -> str | None:
    """What a repository lacks that no download will bring, by the names of its files; None where it may be one."""
    tops = [name for name in names if "/" not in name]
    weights = any(fnmatch.fnmatchcase(name, "model*.safetensors") for name in tops)
    if weights and "config.json" in tops:
        return None
    others = [
        name
        for name, patterns in _OTHER_WEIGHTS.items()
        if any(fnmatch.fnmatchcase(file, pattern) for file in names for pattern in patterns.split())
    ]
    if not weights and others:
        return f"holds its weights as {' and '.join(others)} only; cartag reads model.safetensors and nothing else"
    lacks = [
        name
        for name, is_there in (("config.json", "config.json" in tops), ("model.safetensors", weights))
        if not is_there
    ]
    return f"is no {kind} that transformers loads: it lacks {' and '.join(lacks)}"


def is_not_found(e: BaseException) -> bool:
    """Whether the hub says that there is no such repository, or none that it would show."""
    names = {kind.__name__ for cause in _chain(e) for kind in type(cause).__mro__}
    return "RepositoryNotFoundError" in names and "GatedRepoError" not in names


def no_such(spec: ModelSpec, *, other_kind: str | None, known: Iterable[str]) -> str:
    """For a repository that is not found; ``other_kind`` is what the hub has by that name, ``known`` may be meant."""
    head = f"{spec.kind} {spec.name}: the hub has no model {spec.source}"
    if other_kind is not None:
        return f"{spec.kind} {spec.name}: {spec.source} is a {other_kind} of the hub and no model; {instead(spec)}"
    if near := near_names(spec.source, known):
        return f"{head}; did you mean {near[0]}?"
    return f"{head}, or it is private: then {_LOG_IN}; {instead(spec)}"


def why_not(spec: ModelSpec, e: BaseException) -> str:
    """One line for what the hub's client raised, by the first error in its chain that says something."""
    for cause in _chain(e):
        if (said := _said(spec, cause)) is not None:
            return said
    return cannot_fetch(spec, " ".join(str(e).split())[:200] or type(e).__name__)


def _said(spec: ModelSpec, e: BaseException) -> str | None:
    names = {kind.__name__ for kind in type(e).__mro__}
    status = getattr(getattr(e, "response", None), "status_code", None)
    for name, say in _BY_NAME.items():
        if name in names:
            return say(spec, status)
    if isinstance(status, int):
        return _of_status(spec, status)
    if isinstance(e, OSError) and e.errno in _FULL:
        return (
            f"{spec.kind} {spec.name}: the hub's cache cannot take it ({e.strerror}); make room, or set HF_HOME to a "
            "folder on another disk"
        )
    if isinstance(e, OSError) and e.errno in _FORBIDDEN:
        place = e.filename or "the hub's cache"
        return f"{spec.kind} {spec.name}: {place} cannot be written ({e.strerror}); set HF_HOME to a folder of yours"
    return None


def _of_status(spec: ModelSpec, status: int) -> str:
    head = f"{spec.kind} {spec.name}"
    if status == 401:
        anew = "log in anew with 'hf auth login', or unset HF_TOKEN"
        return f"{head}: the hub refuses the token it was given; {anew}; {instead(spec)}"
    if status == 403:
        return f"{head}: the hub forbids {spec.source} to this account or token; {instead(spec)}"
    if status == 429:
        return cannot_fetch(spec, "the hub has had too many requests from here (429; later it answers again)")
    return cannot_fetch(spec, f"the hub answers with {status} (try again later)")


def _gated(spec: ModelSpec, status: Any) -> str:
    head = f"{spec.kind} {spec.name}: {spec.source} is gated"
    page = f"https://huggingface.co/{spec.source}"
    if status == 403:
        return f"{head} and this account has not been let in; ask on {page}; {instead(spec)}"
    return f"{head}: accept its terms on {page}, then {_LOG_IN}; {instead(spec)}"


def _not_found(spec: ModelSpec, _: Any) -> str:
    return no_such(spec, other_kind=None, known=())


def _no_revision(spec: ModelSpec, _: Any) -> str:
    revision = spec.revision or "main"
    return f"{spec.kind} {spec.name}: {spec.source} has no revision {revision!r}, or has it no longer; {instead(spec)}"


def _lost(spec: ModelSpec, _: Any) -> str:
    return cannot_fetch(spec, "the connection to the hub broke off (the same command goes on with what is missing)")


def _slow(spec: ModelSpec, _: Any) -> str:
    return cannot_fetch(spec, "the hub takes too long to answer")


def _no_proxy(spec: ModelSpec, _: Any) -> str:
    return cannot_fetch(spec, "the proxy of HTTPS_PROXY or ALL_PROXY does not let it through")


# By the names of classes: the client's own, and those of the HTTP library below it, which changes with its versions.
_BY_NAME: dict[str, Callable[[ModelSpec, Any], str]] = {
    "GatedRepoError": _gated,
    "RepositoryNotFoundError": _not_found,
    "HFValidationError": _not_found,
    "DisabledRepoError": _not_found,
    "RevisionNotFoundError": _no_revision,
    "ProxyError": _no_proxy,
    "TimeoutException": _slow,
    "TransportError": _lost,
}


def _chain(e: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while e is not None and id(e) not in seen:
        seen.add(id(e))
        yield e
        e = e.__cause__ or e.__context__
