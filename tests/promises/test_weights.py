"""Weights are data: nothing of a checkpoint is run or unpickled or fetched, and the bundled model is what was shipped."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Touch, checkpoints, copy_of, edit_json  # noqa: F401 - a fixture
from hypothesis import given, strategies as st
from processes import run

from cartag import encoder
from cartag.checkpoints import digests, resolve, table, vetting
from cartag.errors import ModelError
from cartag.progress import Silent
from cartag.resources import shipped

Checkpoints = Callable[[str], Path]
MINI = shipped("models", "mini")


def texts_of(folder: Path) -> np.ndarray:
    files = resolve(str(folder), Silent())
    return encoder.load(files, device="cpu", dtype="float32").embed_texts(["a Pagani Huayra", "an empty street"])


def set_in_config(folder: Path, place: str, value: Any) -> None:
    """Sets e.g. ``vision_config.model_args.pretrained``; objects on the way are made."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    node = config
    *way, last = place.split(".")
    for key in way:
        node[key] = node.get(key) or {}
        node = node[key]
    node[last] = value
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


# --- no pickle --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "open_clip_pytorch_model.bin"])
def test_a_folder_with_nothing_but_a_pickle_is_refused_in_one_line(
    name: str,
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder, trap = copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Touch(trap)))
    with pytest.raises(ModelError, match=r"pickle formats are never loaded") as error:
        resolve(str(folder), Silent())
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert not trap.exists()


def test_the_command_refuses_a_pickle_in_one_line(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder = copy_of(checkpoints("clip"), tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (tmp_path / "photos").mkdir()
    done = run(tmp_path, "-m", "cartag", "tag", "photos", "--model", "./model")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "pickle" in done.stderr


def test_a_pickle_beside_safetensors_is_left_alone(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder, trap = copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(trap)))
    np.testing.assert_array_equal(texts_of(folder), texts_of(checkpoints("clip")))
    assert not trap.exists()


# --- no code ----------------------------------------------------------------------------------------------------


def trapped(folder: Path, trap: Path) -> Path:
    """A module in a checkpoint that makes a file when it is imported, and configs that name it for everything."""
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(trap)!r}).touch()\nclass Evil: pass\n")
    everything = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    for name in ("config.json", "tokenizer_config.json"):
        edit_json(folder / name, auto_map=everything, trust_remote_code=True)
    return folder


def test_the_code_of_a_checkpoint_of_a_known_kind_is_ignored(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder = trapped(copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung")
    np.testing.assert_array_equal(texts_of(folder), texts_of(checkpoints("clip")))
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_that_only_its_own_code_can_load_is_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder = trapped(copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung")
    edit_json(folder / "config.json", model_type="flux-capacitor")
    with pytest.raises(ModelError) as error:
        texts_of(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()


# --- nothing from elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("vision_config.model_args.checkpoint_path", "weights.pth"),
        ("vision_config.model_args.pretrained", True),
        ("vision_config.model_args.pretrained_cfg", {"file": "weights.pth"}),
        ("vision_config.model_args.pretrained_cfg_overlay", {"hf_hub_id": "someone/else"}),
        ("vision_config.model_args.embed_layer", "../elsewhere"),
        ("vision_config.model_args.norm_layer", ["hf-hub:someone/else"]),
        ("vision_config.architecture", "hf-hub:timm/resnet18.a1_in1k"),
        ("vision_config.architecture", "local-dir:/elsewhere"),
        ("vision_config.backbone", "someone/else"),
        ("vision_config.use_pretrained_backbone", True),
        ("vision_config.backbone_kwargs.checkpoint_path", "weights.pth"),
        ("text_config.attn_implementation", "someone/kernel"),
        ("attn_implementation", {"text_config": "someone/kernel"}),
        ("_attn_implementation", "someone/kernel@v1:function"),
        ("transformers_weights", "others.safetensors"),
    ],
)
def test_a_config_that_leads_elsewhere_is_refused_before_a_library_sees_it(
    place: str,
    value: Any,
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import transformers

    folder = copy_of(checkpoints("timm-bert"), tmp_path / "model")
    set_in_config(folder, place, value)
    monkeypatch.setattr(transformers, "AutoModel", None)  # to touch it would be another error
    with pytest.raises(ModelError, match="never does") as error:
        texts_of(folder)
    assert f"{folder / 'config.json'}: {place}: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pickle_named_in_the_arguments_of_timm_is_not_opened(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    """timm's releases before it asked for ``weights_only`` ran it."""
    import torch

    folder, trap = copy_of(checkpoints("timm-bert"), tmp_path / "model"), tmp_path / "sprung"
    torch.save({"state_dict": Touch(trap)}, tmp_path / "weights.pth")
    set_in_config(folder, "vision_config.model_args", {"checkpoint_path": str(tmp_path / "weights.pth")})
    with pytest.raises(ModelError, match="checkpoint_path"):
        texts_of(folder)
    assert not trap.exists()


def test_an_adapter_is_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder = copy_of(checkpoints("clip"), tmp_path / "model")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    with pytest.raises(ModelError, match=r"adapter_config\.json"):
        texts_of(folder)


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "siglip2-naflex", "vit-bert", "timm-bert"])
def test_plain_checkpoints_pass(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    vetting.vet(checkpoints(kind))


def test_what_is_left_out_of_a_config_is_not_handed_on(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    """Only at the top, where whoever calls takes it out."""
    folder = copy_of(checkpoints("timm-bert"), tmp_path / "model")
    edit_json(folder / "config.json", use_pretrained_backbone=True)
    with pytest.raises(ModelError, match="use_pretrained_backbone"):
        vetting.vet(folder)
    config = vetting.vet(folder, left_out=("use_pretrained_backbone",))
    assert config == vetting.vet(checkpoints("timm-bert"))
    set_in_config(folder, "vision_config.use_pretrained_backbone", True)
    with pytest.raises(ModelError, match=r"vision_config\.use_pretrained_backbone"):
        vetting.vet(folder, left_out=("use_pretrained_backbone",))


def test_mini_passes() -> None:
    vetting.vet(MINI)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(config=_JSON, way=st.lists(st.text(max_size=5) | st.integers(0, 2), max_size=4))
def test_a_path_among_timms_arguments_is_found_however_deep(config: Any, way: list[str | int]) -> None:
    """Whatever stands beside it and above it."""
    node: Any = {"model_args": {"anything": "hf-hub:someone/else"}, "more": config}
    for step in way:
        node = [config, node] if isinstance(step, int) else {step: node, "more": config}
    assert list(vetting._asks(node))


# --- the bundled model is the one that was shipped --------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the bundled model that stands for it."""
    folder = Path(shutil.copytree(MINI, tmp_path / "mini"))
    monkeypatch.setattr(table, "shipped", lambda kind, name="": folder if kind == "models" else shipped(kind, name))
    table._known.cache_clear()
    return folder


def test_the_bundled_model_as_it_was_shipped_is_taken(bundle: Path) -> None:
    assert resolve("mini", Silent()).folder == str(bundle)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "calibration.json"])
def test_a_changed_file_of_the_bundled_model_is_one_line(name: str, bundle: Path) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(ModelError, match="install cartag again") as error:
        resolve("mini", Silent())
    assert str(bundle / name) in str(error.value)
    assert hashlib.sha256(content).hexdigest()[:12] in str(error.value)
    assert "\n" not in str(error.value)


def _lost(bundle: Path) -> None:
    (bundle / digests.RECORD).unlink()


def _damaged(bundle: Path) -> None:
    (bundle / digests.RECORD).write_text("[1")


def _of_another_kind(bundle: Path) -> None:
    (bundle / digests.RECORD).write_text("[1]")


def _without_calibration(bundle: Path) -> None:
    (bundle / "calibration.json").unlink()


@pytest.mark.parametrize("damage", [_lost, _damaged, _of_another_kind, _without_calibration])
def test_a_bundled_model_that_is_not_whole_is_one_line(damage: Callable[[Path], None], bundle: Path) -> None:
    damage(bundle)
    with pytest.raises(ModelError, match="install cartag again") as error:
        resolve("mini", Silent())
    assert str(bundle) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_recipe_is_recorded_and_is_not_looked_for(bundle: Path) -> None:
    """It is in no installation, and decides nothing there."""
    record = bundle / digests.RECORD
    recorded = json.loads(record.read_text(encoding="utf-8"))
    (recipe,) = (name for name in recorded if name.endswith(".py"))
    assert not list(bundle.glob(recipe))
    before = resolve("mini", Silent()).revision
    record.write_text(json.dumps(recorded | {recipe: "another"}), encoding="utf-8")
    assert resolve("mini", Silent()).revision == before


def test_a_copy_of_the_bundled_model_may_be_trained_further(bundle: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(bundle, tmp_path / "mine"))
    (mine / "calibration.json").unlink()
    assert resolve(str(mine), Silent()).revision == resolve("mini", Silent()).revision
