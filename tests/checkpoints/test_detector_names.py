"""Detectors by name: their table, the cache, copies to carry away, and that none is taken for a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import COMMIT, checkpoints, copy_of, edit_json, put_in_cache  # noqa: F401 - a fixture
from detectors import made_detectors, painted  # noqa: F401 - a fixture
from hubs import (
    empty_hub,  # noqa: F401 - a fixture
    one_line,
    one_thread,  # noqa: F401 - a fixture
)
from notes import Notes
from processes import run

import cartag
from cartag import detector
from cartag.checkpoints import (
    BUNDLED_DETECTOR,
    fetch_to,
    is_here,
    known_detectors,
    known_models,
    resolve,
    resolve_detector,
    resolve_either,
)
from cartag.errors import ForeignFileError, ModelError
from cartag.progress import Silent

Folders = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("one_thread")
HUB_NAMES = ("dfine-nano", "dfine-small")


# --- the table --------------------------------------------------------------------------------------------------


def test_the_table_holds_the_promised_detectors() -> None:
    assert list(known_detectors()) == [BUNDLED_DETECTOR, *HUB_NAMES]
    assert {spec.kind for spec in known_detectors().values()} == {"detector"}
    assert {spec.kind for spec in known_models().values()} == {"model"}
    assert not set(known_detectors()) & set(known_models()), "a name is one of both"
    facts = {name: (s.source, s.licence, s.size_mb, s.coco_ap) for name, s in known_detectors().items() if s.coco_ap}
    assert facts == {
        "dfine-nano": ("ustc-community/dfine-nano-coco", "Apache-2.0", 15, 42.8),
        "dfine-small": ("ustc-community/dfine-small-coco", "Apache-2.0", 42, 48.5),
    }


def test_the_command_lists_both(tmp_path: Path) -> None:
    listed = run(tmp_path, "-m", "cartag", "models", "--format", "json")
    entries = json.loads(listed.stdout)
    assert [(e["name"], e["kind"]) for e in entries] == [
        *((name, "model") for name in known_models()),
        *((name, "detector") for name in known_detectors()),
    ]
    assert all(e["coco_ap"] is None for e in entries if e["kind"] == "model")
    assert entries == [
        {field: getattr(model, field) for field in model.__dataclass_fields__} for model in cartag.models()
    ]
    table = run(tmp_path, "-m", "cartag", "models").stdout.splitlines()
    heads = [line.split()[0] for line in table if "licence" in line]
    assert heads == ["model", "detector"]
    assert any(line.split()[:4] == ["dfine-nano", "640", "15", "42.8"] for line in table)


# --- the cache --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HUB_NAMES)
def test_a_detector_is_here_once_it_is_in_the_cache(name: str, hub: Path, detectors: Folders) -> None:
    spec = known_detectors()[name]
    assert not is_here(spec)
    put_in_cache(hub, spec.source, detectors("yolos"))
    assert is_here(spec)
    assert resolve_detector(name, Silent()).revision == COMMIT
    assert resolve_either(name, Silent()) == resolve_detector(name, Silent())


@pytest.mark.parametrize("lost", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_download_that_broke_off_is_no_detector(lost: str, hub: Path, detectors: Folders) -> None:
    spec = known_detectors()["dfine-nano"]
    (put_in_cache(hub, spec.source, detectors("yolos")) / lost).unlink()
    assert not is_here(spec)
    with pytest.raises(ModelError, match="not in the local cache"):
        resolve_detector("dfine-nano", Silent())


def test_what_is_not_here_offline_says_what_to_do(hub: Path) -> None:
    with pytest.raises(ModelError) as error:
        resolve_detector("dfine-nano", Silent())
    for words in (
        "detector dfine-nano",
        "offline",
        "cartag models fetch dfine-nano --to DIR",
        "--detector DIR",
        "look",
    ):
        assert words in one_line(error)
    assert "--model" not in str(error.value)


# --- what is a detector, and what is none -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dfine-huge", "./nowhere", "a/b/c", "~/detector", ""])
def test_what_can_be_no_detector_lists_the_known_ones(name: str, hub: Path) -> None:
    with pytest.raises(ModelError) as error:
        resolve_detector(name, Silent())
    assert ", ".join(known_detectors()) in one_line(error)


def test_a_name_of_the_other_table_says_which_option_takes_it(hub: Path) -> None:
    with pytest.raises(ModelError, match="is a detector, which --detector takes"):
        resolve("dfine-nano", Silent())
    with pytest.raises(ModelError, match="is a model, which --model takes"):
        resolve_detector("mini", Silent())


def test_a_detector_needs_no_tokenizer_and_a_model_does(detectors: Folders) -> None:
    folder = str(detectors("yolos"))
    assert resolve_detector(folder, Silent()).spec.kind == "detector"
    with pytest.raises(ModelError, match="the tokenizer missing"):
        resolve(folder, Silent())


def test_which_of_both_a_folder_is_its_own_config_says(
    detectors: Folders,
    checkpoints: Folders,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert resolve_either(str(detectors("yolos")), Silent()).spec.kind == "detector"
    assert resolve_either(str(checkpoints("clip")), Silent()).spec.kind == "model"
    lost = copy_of(checkpoints("clip"), tmp_path / "lost")
    for path in [*lost.glob("tokenizer*"), *lost.glob("vocab*"), *lost.glob("merges*")]:
        path.unlink()
    with pytest.raises(ModelError, match="the tokenizer missing"):  # and is no detector for that
        resolve_either(str(lost), Silent())
    edit_json(lost / "config.json", architectures="odd")
    with pytest.raises(ModelError, match="the tokenizer missing"):
        resolve_either(str(lost), Silent())


# --- copies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dfine-nano", "someone/cars-detector"])
def test_a_fetched_copy_is_a_detector_folder(name: str, hub: Path, detectors: Folders, tmp_path: Path) -> None:
    spec = known_detectors().get(name)
    put_in_cache(hub, spec.source if spec else name, detectors("yolos"))
    folder = fetch_to(name, tmp_path / "copy", Notes())
    assert {path.name for path in folder.iterdir()} == {"config.json", "preprocessor_config.json", "model.safetensors"}
    one, other = (
        detector.load(resolve_detector(place, Silent()), device="cpu").boxes([painted(60, 90)])[0]
        for place in (str(folder), name)
    )
    np.testing.assert_array_equal(one, other)
    (folder / "config.json").write_text("mine")
    with pytest.raises(ForeignFileError):
        fetch_to(name, tmp_path / "copy", Silent())
    assert (folder / "config.json").read_text() == "mine"


def test_the_command_fetches_a_detector(tmp_path: Path, detectors: Folders) -> None:
    put_in_cache(tmp_path / "home" / "hub", known_detectors()["dfine-nano"].source, detectors("yolos"))
    here = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = run(tmp_path, "-m", "cartag", "models", "fetch", "dfine-nano", "--to", "copy", **here)
    assert (done.returncode, done.stdout) == (0, "copy\n"), done.stderr
    cached = run(tmp_path, "-m", "cartag", "models", "fetch", "dfine-nano", **here)
    assert Path(cached.stdout.strip()).name == COMMIT
    missing = run(tmp_path, "-m", "cartag", "models", "fetch", "dfine-small", **here)
    assert missing.returncode == 1
    assert "cartag models fetch dfine-small --to DIR" in missing.stderr
    assert missing.stderr.count("\n") == 1
