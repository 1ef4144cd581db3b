"""What a worker takes for the driver's model: the same files, wherever they lie, and no others."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra cartag[ray] is not installed")

from cartag.checkpoints import resolve, resolve_detector
from cartag.engines.job import Job, digest_of_files
from cartag.errors import EngineError, ModelError
from cartag.progress import Silent
from cartag.resources import shipped
from cartag.scoring import Sight

MINI = shipped("models", "mini")


def job(**parts: Any) -> Job:
    """One of which only these parts are looked at."""
    return Job(**{field.name: None for field in dataclasses.fields(Job)} | parts)


def copy_of_mini(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MINI, tmp_path / "model", ignore=shutil.ignore_patterns("*.onnx", "*.png", "*.md")))


def test_the_drivers_files_are_taken(tmp_path: Path) -> None:
    files = resolve(str(copy_of_mini(tmp_path)), Silent())
    here = job(model=files, model_digest=digest_of_files(files)).model_here()
    assert (here.folder, here.revision) == (files.folder, files.revision)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"])
def test_other_files_of_a_model_are_refused(tmp_path: Path, name: str) -> None:
    """As on a node whose copy is of another day: one file, one byte."""
    folder = copy_of_mini(tmp_path)
    files = resolve(str(folder), Silent())
    began = job(model=files, model_digest=digest_of_files(files))
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(
        EngineError, match=r"model: is not the model model that this run began with .* same files there"
    ):
        began.model_here()


def test_the_bundled_model_is_this_machines_and_has_to_be_the_same(tmp_path: Path) -> None:
    files = resolve("mini", Silent())
    elsewhere = dataclasses.replace(files, folder=str(tmp_path / "another" / "place"))
    assert job(model=elsewhere, model_digest=digest_of_files(files)).model_here().folder == str(MINI)
    with pytest.raises(EngineError, match="mini that this run began with"):
        job(model=elsewhere, model_digest="0" * 64).model_here()


def test_a_model_that_is_not_here_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    files = resolve(str(copy_of_mini(tmp_path)), Silent())
    digest = digest_of_files(files)
    shutil.rmtree(files.folder)
    with pytest.raises(ModelError):
        job(model=files, model_digest=digest).model_here()


def test_another_detector_is_refused_too() -> None:
    files = resolve_detector("look", Silent())
    sight = Sight(files, "look@1", "all", 12, 0.05)
    taken = job(sight=sight, detector_digest=digest_of_files(files)).sight_here()
    assert taken is not None
    assert taken.most == 12
    with pytest.raises(EngineError, match="look that this run began with"):
        job(sight=sight, detector_digest="0" * 64).sight_here()
