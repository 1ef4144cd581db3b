"""Fetching a checkpoint from the hub: only what is needed of a repository, and what went wrong said in one line."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cartag.checkpoints.folders import NEEDED, is_needed, missing_files
from cartag.checkpoints.troubles import cannot_fetch, instead, is_not_found, no_such, why_no_checkpoint, why_not
from cartag.errors import ModelError
from cartag.progress import Progress
from cartag.values import ModelSpec

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

log = logging.getLogger(__name__)

_PROBE_SECONDS = 3.0
_ANSWER_SECONDS = 15.0
_AT_ONCE = 2**20
_SUBFOLDERS = [
    "*/*"
]  # the hub's patterns let a star stand for a slash as well: "*.model" would fetch onnx/spiece.model


class OtherKindError(ModelError):
    """A repository holds a detector where a model was asked for, or the other way round."""


def cached_snapshot(spec: ModelSpec) -> Path | None:
    """The folder of a hub model in the local cache, if it is there completely."""
    if not _was_ever_fetched(spec):
        return None  # without the client, which takes longer to import than all that `tag` needs besides
    from huggingface_hub import snapshot_download

    try:
        # By the very patterns that it was fetched by: the client misses what else it has seen in the repository.
        folder = Path(
            snapshot_download(
                spec.source,
                revision=spec.revision,
                local_files_only=True,
                allow_patterns=list(NEEDED),
                ignore_patterns=_SUBFOLDERS,
            )
        )
        return None if missing_files(folder, spec.kind) else folder
    except Exception:  # not cached, or not whole
        return None


def _was_ever_fetched(spec: ModelSpec) -> bool:
    """Whether the local cache has a folder of that repository, as the client names it."""
    from huggingface_hub import constants

    name = constants.REPO_ID_SEPARATOR.join(("models", *spec.source.split("/")))
    return os.path.isdir(os.path.join(constants.HF_HUB_CACHE, name))  # False too of what is no name


def fetch(spec: ModelSpec, progress: Progress, known: Iterable[str] = ()) -> Path:
    """Fetches what is needed of a repository into the hub's cache, holds it against the hub's own digests, and returns
    its folder there.

    Files that are there already are not fetched again, so that a fetch that broke off goes on with those it lacks.
    ``known`` are hub ids that may have been meant where there is no such repository.

    Raises:
        OtherKindError: it is a detector and no model, or the other way round; nothing but its config was fetched.
        ModelError: the hub cannot be asked, refuses, or has no such checkpoint; or the disk cannot take it.
    """
    if is_offline():
        raise ModelError(cannot_fetch(spec, "offline mode is set"))
    if not hub_answers():
        raise ModelError(cannot_fetch(spec, "the hub cannot be reached"))
    try:
        with _waits_told(progress), _bars_on_a_terminal():
            return _fetched(spec, progress)
    except ModelError:
        raise
    except Exception as e:  # the hub's client raises errors of several libraries
        log.debug("%s", e, exc_info=True)
        if is_not_found(e):
            raise ModelError(no_such(spec, other_kind=_other_kind(spec.source), known=known)) from e
        raise ModelError(why_not(spec, e)) from e


def _other_kind(hub_id: str) -> str | None:
    """`dataset` or `space`, where the hub has one by that name."""
    from huggingface_hub import HfApi

    for kind in ("dataset", "space"):
        try:
            HfApi().repo_info(hub_id, repo_type=kind, timeout=_ANSWER_SECONDS)
        except Exception as e:  # neither, or the hub does not say
            log.debug("%s", e)
        else:
            return kind
    return None


def is_offline() -> bool:
    """Whether the environment forbids the hub's client every request."""
    return any(
        os.environ.get(key, "").lower() in ("1", "true", "yes", "on")
        for key in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def hub_answers() -> bool:
    """A quick look before the hub's client starts its minutes of retries. With a proxy only the client can tell.

    Raises:
        ModelError: the environment names another hub, by what is no address.
    """
    from urllib.request import getproxies, proxy_bypass

    if is_offline():
        return False
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        url = urlsplit(endpoint)
        host, port = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
    except ValueError as e:
        raise ModelError(f"HF_ENDPOINT={endpoint}: is no address ({e}); correct it, or unset it") from e
    if {url.scheme, "all"} & set(getproxies()) and not proxy_bypass(host):
        return True
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False


# --- one fetch --------------------------------------------------------------------------------------------------


def _fetched(spec: ModelSpec, progress: Progress) -> Path:
    from huggingface_hub import HfApi

    info = HfApi().model_info(spec.source, revision=spec.revision, files_metadata=True, timeout=_ANSWER_SECONDS)
    sizes = {f.rfilename: f.size or 0 for f in info.siblings or () if "/" not in f.rfilename}
    if why := why_no_checkpoint([f.rfilename for f in info.siblings or ()], spec.kind):
        raise ModelError(f"{spec.kind} {spec.name}: {spec.source} {why}; {instead(spec)}")
    before = _there(spec, info)
    _check_kind(spec, info, before)
    to_fetch = sum(size for name, size in sizes.items() if is_needed(name) and name not in before)
    _check_room(spec, to_fetch)
    licence = (info.card_data or {}).get("license") if spec.licence is None else None
    says = f", licence {licence} by its card" if isinstance(licence, str) else ""
    progress.note(
        f"{spec.kind}: fetching {spec.name} from {spec.source}, {max(1, round(to_fetch / 1e6))} MB, once{says}"
    )
    folder = _downloaded(spec)
    if folder.name != info.sha:  # moved on meanwhile
        info = HfApi().model_info(spec.source, revision=folder.name, files_metadata=True, timeout=_ANSWER_SECONDS)
    for path in sorted(folder.iterdir()):
        if is_needed(path.name) and path.is_file():
            _check_digest(spec, path, info, before)
    if missing := missing_files(folder, spec.kind):
        raise ModelError(f"{spec.source}: the hub repository lacks {' and '.join(missing)}; choose another {spec.kind}")
    return folder


def _there(spec: ModelSpec, info: ModelInfo) -> frozenset[str]:
    """Names of the files of this commit that the cache has."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{spec.source.replace('/', '--')}" / "snapshots" / (info.sha or "")
    return frozenset(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else frozenset()


def _check_kind(spec: ModelSpec, info: ModelInfo, before: frozenset[str]) -> None:
    """By its config alone, before gigabytes are fetched that would be refused."""
    from huggingface_hub import hf_hub_download

    path = Path(hf_hub_download(spec.source, "config.json", revision=info.sha))
    _check_digest(spec, path, info, before)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        names = [str(name) for name in config.get("architectures") or ()]
    except (OSError, ValueError, AttributeError, TypeError):
        return  # whoever loads it says what is wrong with it
    detects, sees = any(name.endswith("ForObjectDetection") for name in names), "vision_config" in config
    if detects and spec.kind == "model":
        raise OtherKindError(f"model {spec.name}: {spec.source} is a detector, which --detector takes; {instead(spec)}")
    if not detects and spec.kind == "detector" and sees:
        raise OtherKindError(f"detector {spec.name}: {spec.source} is no detector; --model takes it; {instead(spec)}")
    if spec.kind == "model" and not sees:
        raise ModelError(
            f"model {spec.name}: {spec.source} (a {config.get('model_type', 'nameless')} model) has no image tower, so "
            f"it is no image+text dual encoder; {instead(spec)}"
        )


def _check_room(spec: ModelSpec, needed: int) -> None:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    there = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ModelError(
            f"{spec.kind} {spec.name}: needs {needed / 1e6:.0f} MB and {there} has {free / 1e6:.0f} MB left; make "
            "room, or set HF_HOME to a folder on another disk"
        )


def _downloaded(spec: ModelSpec) -> Path:
    try:
        return _snapshot(spec)
    except Exception as e:
        if not _is_of_xet(e):
            raise
        # The files lie on the hub itself as well; a network that lets the hub through need not let its other store.
        log.info("%s: Xet storage cannot be used (%s); fetching over HTTP", spec.source, e)
        with _without_xet():
            return _snapshot(spec)


def _snapshot(spec: ModelSpec) -> Path:
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(spec.source, revision=spec.revision, allow_patterns=list(NEEDED), ignore_patterns=_SUBFOLDERS)
    )


def _is_of_xet(e: BaseException) -> bool:
    """Whether Xet's part of the client failed, by where the error was raised: its types are those of everything."""
    from huggingface_hub import constants

    if constants.HF_HUB_DISABLE_XET:
        return False
    trace = e.__traceback__
    while trace is not None:
        if "xet" in trace.tb_frame.f_code.co_name:
            return True
        trace = trace.tb_next
    return False


@contextmanager
def _without_xet() -> Iterator[None]:
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = False


# --- what came --------------------------------------------------------------------------------------------------


def _check_digest(spec: ModelSpec, path: Path, info: ModelInfo, before: frozenset[str]) -> None:
    """Holds a file against the digest that the hub lists: its client looks at sizes alone.

    A wrong one that was fetched just now is thrown away, so that the next fetch does not take it for whole.
    """
    listed = next((one for one in info.siblings or () if one.rfilename == path.name), None)
    digest = listed and (listed.lfs.sha256 if listed.lfs else listed.blob_id)
    if not digest or (found := _digest(path, digest)) == digest:
        return
    wrong = f"{spec.kind} {spec.name}: {path.name} is not what the hub lists ({found[:12]}, listed {digest[:12]})"
    if path.name in before:
        raise ModelError(f"{wrong}; it was in the cache already: remove {path.resolve()} and run this again")
    path.resolve().unlink()
    path.unlink(missing_ok=True)
    raise ModelError(f"{wrong} and was thrown away; the same command fetches it again; {instead(spec)}")


def _digest(path: Path, like: str) -> str:
    """As the hub lists it: SHA-256 of a large file, git's SHA-1 of a small one."""
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def _waits_told(progress: Progress) -> Iterator[None]:
    """Within it, what the hub's client logs is not printed; that it waits or begins anew is told in our words."""
    logger = logging.getLogger("huggingface_hub")
    teller = _Teller(progress)
    handlers, spreads = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [teller], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, spreads


@contextmanager
def _bars_on_a_terminal() -> Iterator[None]:
    """Within it the client draws its bars on a terminal alone; into a log it would write them as lines."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


class _Teller(logging.Handler):
    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress, self._told = progress, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        for words, told in _TOLD.items():
            if words in said and told not in self._told:
                self._told.add(told)
                self._progress.note(told)


_TOLD: Mapping[str, str] = {
    "Rate limited": "the hub asks to wait; waiting",
    "Trying to resume download": "the connection was cut; going on where it broke off",
}
