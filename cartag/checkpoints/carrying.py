"""Copying a model's files into a folder, to be carried to a machine without network."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import tempfile
from pathlib import Path

from cartag.checkpoints.folders import is_needed
from cartag.checkpoints.table import resolve_either
from cartag.errors import ForeignFileError, ModelError
from cartag.paths import why_no_folder
from cartag.progress import Progress


def fetch_to(name: str, folder: Path, progress: Progress, *, force: bool = False) -> Path:
    """Copies the files of a model or of a detector into ``folder``, to carry them to a machine without network.

    There ``--model FOLDER`` or ``--detector FOLDER`` takes them.

    Raises:
        ModelError: see `resolve_either`; or the folder cannot be written, or is the model's own.
        ForeignFileError: a file of such a name is there with another content, and ``force`` is not said.
    """
    files = resolve_either(name, progress)
    if not files.folder:
        raise ModelError(f"model {name}: has no files to be carried; it is here wherever cartag is")
    if why := why_no_folder(folder):
        raise ModelError(f"--to {folder}: {why}; name another")
    if folder.resolve() == Path(files.folder).resolve():
        raise ModelError(f"{folder}: is where the model lies already; choose another folder")
    sources = {
        path.name: path.resolve()
        for path in sorted(Path(files.folder).iterdir())
        if path.is_file() and (is_needed(path.name) or path.name == "calibration.json")
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
