"""From a model's name to a working encoder: the table, folders, the hub's cache, `auto`, and everything that is refused."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import (
    COMMIT,
    Touch,
    checkpoints,  # noqa: F401 - a fixture
    copy_of,
    edit_json,
    make_bert_only,
    make_clip,
    put_in_cache,
)
from conftest import Gallery
from PIL import Image
from processes import run

import cartag
from cartag import encoder
from cartag.encoder import table
from cartag.errors import CartagError, ModelError, SettingsError
from cartag.progress import Silent
from cartag.resources import shipped
from cartag.values import IndexedModel, ModelFiles, ModelSpec

Checkpoints = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small only wait for each other's threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache; the hub's client reads its place when it is imported, hence the attributes."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return cache


def texts_of(files: Any) -> np.ndarray:
    return encoder.load(files, device="cpu", dtype="float32").embed_texts(["a Pagani Huayra", "an empty street"])


def one_line(error: pytest.ExceptionInfo[CartagError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


class Listener(Silent):
    """Keeps what a person would have been told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def sharded_copy(folder: Path, to: Path) -> list[Path]:
    """The same checkpoint in several weight files; returns these."""
    from transformers import AutoModel

    copy_of(folder, to)
    (to / "model.safetensors").unlink()
    AutoModel.from_pretrained(folder).save_pretrained(to, max_shard_size="40KB")
    return sorted(to.glob("model-*.safetensors"))


def weights_of(folder: Path) -> dict[str, bytes]:
    """Every weight to the bit. What is computed from them may differ in the last one, by where they lie in memory."""
    from safetensors.numpy import load_file

    return {name: w.tobytes() for file in folder.glob("*.safetensors") for name, w in load_file(file).items()}


def identity_of(folder: Path) -> str:
    return encoder.identity(encoder.resolve(str(folder), Silent()))


def indexed(files: ModelFiles) -> IndexedModel:
    """What an index keeps of the model it was made with."""
    return IndexedModel(name=files.spec.name, source=files.spec.source, revision=files.revision, dtype="float32")


# --- the table --------------------------------------------------------------------------------------------------


def test_the_table_holds_the_promised_models() -> None:
    promised = ["mini", "clip-b32", "siglip-b16", "clip-l14", "siglip-so400m", "openai-b32"]
    assert list(table.known_models()) == promised
    assert [model.name for model in cartag.models()] == promised


@pytest.mark.parametrize("name", ["clip-b32", "siglip-b16", "clip-l14", "siglip-so400m", "openai-b32"])
def test_a_name_of_the_table_is_found_in_the_hubs_cache(name: str, hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    spec = table.known_models()[name]
    snapshot = put_in_cache(hub, spec.source, checkpoints("clip"), spec.revision or "main")
    files = encoder.resolve(name, Silent())
    assert (files.spec, Path(files.folder), files.revision) == (spec, snapshot, COMMIT)
    assert {m.name for m in cartag.models() if m.here} == {"mini", name}


def test_an_unknown_name_lists_the_known_ones(hub: Path) -> None:
    with pytest.raises(ModelError) as error:
        encoder.resolve("clip-b23", Silent())
    assert all(name in one_line(error) for name in ("clip-b23", "clip-b32", "mini"))


@pytest.mark.parametrize("name", ["Clip-B32", "./nowhere", "/nowhere/model", "a/b/c", "~/model"])
def test_what_can_be_no_model_lists_the_known_ones(name: str, hub: Path) -> None:
    with pytest.raises(ModelError) as error:
        encoder.resolve(name, Silent())
    assert repr(name) in one_line(error)
    assert ", ".join(table.known_models()) in one_line(error)


def test_mini_is_the_folder_that_ships() -> None:
    files = encoder.resolve("mini", Silent())
    assert (files.spec.source, Path(files.folder)) == ("models/mini", shipped("models", "mini"))
    assert files.revision == encoder.resolve(files.folder, Silent()).revision


@pytest.mark.parametrize("name", ["clip-b32", "someone/cars-clip"])
def test_another_revision_in_the_cache_is_another_model(name: str, hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    spec = table.known_models().get(name, ModelSpec(name, name))
    put_in_cache(hub, spec.source, checkpoints("clip"), "experiment")
    with pytest.raises(ModelError, match="not in the local cache"):
        encoder.resolve(name, Silent())


# --- folders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "siglip2-naflex", "vit-bert", "timm-bert"])
def test_a_folder_of_every_family_loads(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    files = encoder.resolve(str(checkpoints(kind)), Silent())
    model = encoder.load(files, device="cpu", dtype="float32")
    texts = model.embed_texts(["a Pagani Huayra", "an empty street"])
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    assert model.identity == encoder.identity(files, dtype="float32")


def test_the_identity_is_the_content_of_the_folder(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    one = copy_of(checkpoints("clip"), tmp_path / "a" / "model")
    other = copy_of(one, tmp_path / "b" / "model")
    for path in other.iterdir():
        os.utime(path, (1, 1))

    def identity(folder: Path) -> str:
        return encoder.identity(encoder.resolve(str(folder), Silent()))

    assert identity(one) == identity(other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert identity(one) != identity(other)


def test_a_sharded_checkpoint_is_the_same_model(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    whole, sharded = checkpoints("clip"), tmp_path / "sharded"
    shards = sharded_copy(whole, sharded)
    assert len(shards) > 1
    assert weights_of(sharded) == weights_of(whole)
    files = encoder.resolve(str(sharded), Silent())
    np.testing.assert_allclose(texts_of(files), texts_of(encoder.resolve(str(whole), Silent())), rtol=0, atol=1e-6)
    shards[-1].unlink()
    with pytest.raises(ModelError, match=shards[-1].name) as error:
        encoder.resolve(str(sharded), Silent())
    assert str(sharded) in one_line(error)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "processor_config.json", "model.safetensors"])
def test_a_change_of_any_file_that_decides_embeddings_changes_the_identity(
    name: str,
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = copy_of(checkpoints("clip"), tmp_path / "model")
    before, path = identity_of(folder), folder / name
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[-1] = content[-1] ^ 1 if name == "model.safetensors" else ord(" ")  # the length stays
    path.write_bytes(content)
    os.utime(path, ns=times)  # so does the time: it is the content that counts
    assert identity_of(folder) != before


@pytest.mark.parametrize("name", ["README.md", "calibration.json", ".hidden"])
def test_a_file_that_decides_no_embedding_leaves_the_identity(
    name: str,
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = copy_of(checkpoints("clip"), tmp_path / "model")
    before = identity_of(folder)
    (folder / name).write_text("{}")
    assert identity_of(folder) == before


def test_a_change_in_any_shard_changes_the_identity(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    shards = sharded_copy(checkpoints("clip"), tmp_path / "model")
    identities = {identity_of(tmp_path / "model")}
    for shard in shards:
        weights = bytearray(shard.read_bytes())
        weights[-1] ^= 1
        shard.write_bytes(weights)
        identities.add(identity_of(tmp_path / "model"))
    assert len(identities) == 1 + len(shards)


def test_one_tensor_trained_further_changes_the_identity_of_a_large_model(
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Training a projection alone is common, and it is a thousandth of the file; the old embeddings are wrong then."""
    folder = copy_of(checkpoints("clip"), tmp_path / "model")
    projection, rest = 2**19, 80 * 2**20  # bytes
    tensors = {
        "another.weight": {"dtype": "F32", "shape": [2**16], "data_offsets": [0, 2**18]},
        "projection.weight": {"dtype": "F32", "shape": [projection // 4], "data_offsets": [2**18, 2**18 + projection]},
        "rest.weight": {
            "dtype": "F32",
            "shape": [rest // 4],
            "data_offsets": [2**18 + projection, 2**18 + projection + rest],
        },
    }
    header = json.dumps(tensors).encode()
    start = 8 + len(header)
    with (folder / "model.safetensors").open("wb") as file:  # sparse: takes no room and no time
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(start + 2**18 + projection + rest)
    before = identity_of(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(start + 2**18)
        file.write(b"\x3f" * projection)
    assert identity_of(folder) != before


def test_a_dtype_and_a_fit_that_were_asked_for_are_kept_apart(checkpoints: Checkpoints) -> None:  # noqa: F811
    files = encoder.resolve(str(checkpoints("clip")), Silent())
    asked = [{}, {"dtype": "float32"}, {"dtype": "bfloat16"}, {"fit": "pad"}, {"fit": "squash"}]
    assert len({encoder.identity(files, **options) for options in asked}) == len(asked)


def test_a_folder_may_be_called_fake(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    files = encoder.resolve(str(copy_of(checkpoints("clip"), tmp_path / "fake")), Silent())
    assert not isinstance(encoder.load(files, device="cpu"), encoder.FakeEncoder)
    assert encoder.identity(files) != encoder.FakeEncoder.identity


# --- what is refused --------------------------------------------------------------------------------------------


def test_pickled_weights_are_never_loaded(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder, trap = copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(trap)))
    with pytest.raises(ModelError, match=r"pickle formats are never loaded"):
        encoder.load(encoder.resolve(str(folder), Silent()), device="cpu")
    assert not trap.exists()
    pickle.loads((folder / "pytorch_model.bin").read_bytes())
    assert trap.exists(), "the trap itself must work"


def test_code_of_a_checkpoint_is_never_run(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder, trap = copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(trap)!r}).touch()\nclass Evil: pass\n")
    edit_json(folder / "config.json", auto_map={"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"})
    with contextlib.suppress(ModelError):  # to refuse it is as good as to leave the code alone
        texts_of(encoder.resolve(str(folder), Silent()))
    assert not trap.exists()


def test_a_shard_list_cannot_bring_in_pickled_weights(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    """`transformers` would hand the file to `torch.load`, whose advice is to switch its safety off."""
    folder, trap = copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(trap)))
    shards = {"metadata": {}, "weight_map": {"logit_scale": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(ModelError) as error:
        encoder.load(encoder.resolve(str(folder), Silent()), device="cpu")
    assert not trap.exists()
    assert "pytorch_model.bin" in one_line(error)
    assert "weights_only" not in one_line(error)


def test_a_shard_list_names_files_of_its_own_folder_only(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    """The identity covers the folder: weights from elsewhere could change without it."""
    folder = copy_of(checkpoints("clip"), tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    shards = {"metadata": {}, "weight_map": {"logit_scale": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(ModelError, match="elsewhere") as error:
        encoder.load(encoder.resolve(str(folder), Silent()), device="cpu")
    assert str(folder) in one_line(error)


@pytest.mark.parametrize("lost", ["text_projection.weight", "logit_scale"])
def test_weights_that_lack_a_tensor_are_refused(lost: str, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    """`transformers` fills a gap with random numbers, other ones in every run."""
    from safetensors.torch import load_file, save_file

    folder = copy_of(checkpoints("clip"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights[lost]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=lost) as error:
        encoder.load(encoder.resolve(str(folder), Silent()), device="cpu")
    assert str(folder) in one_line(error)


def _no_vocabulary(folder: Path) -> None:
    # transformers makes a tokenizer of the config that is left: every text becomes the same unknown word
    (folder / "tokenizer.json").unlink()


def _damaged(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def _no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights at all, but long enough for a header")


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _bad_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _list_for_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def _unknown_type(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="flux-capacitor")


def _no_tokenizer(folder: Path) -> None:
    for path in [*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("merges*")]:
        path.unlink()


def _no_processor(folder: Path) -> None:
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink(missing_ok=True)


def _bad_processor(folder: Path) -> None:
    _no_processor(folder)
    (folder / "preprocessor_config.json").write_text("[1")


def _odd_processor(folder: Path) -> None:
    _no_processor(folder)
    (folder / "preprocessor_config.json").write_text('["no", "object"]')


def _bad_shard_list(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("{}")


@pytest.mark.parametrize(
    "damage",
    [
        _damaged,
        _no_safetensors,
        _no_config,
        _bad_config,
        _list_for_config,
        _unknown_type,
        _no_tokenizer,
        _no_vocabulary,
        _no_processor,
        _bad_processor,
        _odd_processor,
        _bad_shard_list,
    ],
)
def test_a_damaged_folder_is_one_line_with_its_name(
    damage: Callable[[Path], None],
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = copy_of(checkpoints("clip"), tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError) as error:
        encoder.load(encoder.resolve(str(folder), Silent()), device="cpu")
    assert str(folder) in one_line(error)


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no image\\+text dual encoder") as error:
        encoder.load(encoder.resolve(str(make_bert_only(tmp_path / "bert")), Silent()), device="cpu")
    one_line(error)


# --- devices and dtypes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "meta"])
def test_a_device_nobody_knows_is_a_wrong_setting(device: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    with pytest.raises(SettingsError, match="use auto, cpu, cuda") as error:
        encoder.load(encoder.resolve(str(checkpoints("clip")), Silent()), device=device)
    one_line(error)


def test_a_device_that_is_not_here_says_that_the_cpu_works(checkpoints: Checkpoints) -> None:  # noqa: F811
    import torch

    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ModelError, match="--device cpu works"):
        encoder.load(encoder.resolve(str(checkpoints("clip")), Silent()), device=absent)


def test_cuda_where_there_is_none_says_that_the_cpu_works(
    checkpoints: Checkpoints,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)  # changes nothing where there is none
    with pytest.raises(ModelError, match=r"device cuda: .*--device cpu works") as error:
        encoder.load(encoder.resolve(str(checkpoints("clip")), Silent()), device="cuda")
    one_line(error)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_dtype_by_name_is_what_the_model_computes_in(dtype: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    model = encoder.load(encoder.resolve(str(checkpoints("clip")), Silent()), device="cpu", dtype=dtype)
    assert (model.dtype, model.embed_texts(["a car"]).dtype) == (dtype, np.float32)


@pytest.mark.parametrize("dtype", ["float64", "half", "int8", ""])
def test_a_dtype_nobody_knows_is_a_wrong_setting(dtype: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    with pytest.raises(SettingsError, match="float32, bfloat16") as error:
        encoder.load(encoder.resolve(str(checkpoints("clip")), Silent()), device="cpu", dtype=dtype)
    one_line(error)


# --- the hub ----------------------------------------------------------------------------------------------------


def test_any_hub_id_in_the_cache_loads_without_network(hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    put_in_cache(hub, "someone/cars-clip", checkpoints("clip"))
    files = encoder.resolve("someone/cars-clip", Silent())
    np.testing.assert_array_equal(texts_of(files), texts_of(encoder.resolve(str(checkpoints("clip")), Silent())))


def test_half_a_snapshot_is_no_model(hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    snapshot = put_in_cache(hub, "someone/cars-clip", checkpoints("clip"))
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="not in the local cache") as error:
        encoder.resolve("someone/cars-clip", Silent())
    one_line(error)


def _broken_link(snapshot: Path) -> None:
    (snapshot / "model.safetensors").resolve().unlink()


def _lost_shard(snapshot: Path) -> None:
    shards = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(shards))


@pytest.mark.parametrize("loss", [_broken_link, _lost_shard, _no_config, _no_tokenizer, _no_vocabulary, _no_processor])
def test_a_download_that_broke_off_is_no_model(
    loss: Callable[[Path], None],
    hub: Path,
    checkpoints: Checkpoints,  # noqa: F811
) -> None:
    loss(put_in_cache(hub, table.known_models()["clip-b32"].source, checkpoints("clip")))
    with pytest.raises(ModelError, match=r"clip-b32.*not in the local cache"):
        encoder.resolve("clip-b32", Silent())
    assert [model.name for model in cartag.models() if model.here] == ["mini"]
    assert encoder.resolve_auto(None, Silent()).spec.name == "mini"


def test_the_place_of_the_cache_is_the_environments(tmp_path: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    """Everything real: the variables, the client that reads them, the command, and what it writes."""
    put_in_cache(tmp_path / "home" / "hub", "someone/cars-clip", checkpoints("clip"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "cars.yaml").write_text("cars: [Red Racer, Blue Bird]\nother_cars: [Green Goblin]\nno_car: [black]\n")
    Image.new("RGB", (60, 40), (220, 20, 30)).save(tmp_path / "photos" / "red.png")
    tag = ("-m", "cartag", "tag", "photos", "--catalog", "cars.yaml", "--device", "cpu")
    here = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = run(tmp_path, *tag, "--model", "someone/cars-clip", **here)
    assert done.returncode == 0, done.stderr
    model = json.loads((tmp_path / "photos" / "cartag.json").read_text())["model"]
    assert (model["name"], model["revision"]) == ("someone/cars-clip", COMMIT)


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE"])
def test_the_command_fetches_from_the_cache_without_network(
    variable: str,
    tmp_path: Path,
    checkpoints: Checkpoints,  # noqa: F811
) -> None:
    cache = tmp_path / "place" / "hub"
    put_in_cache(cache, table.known_models()["clip-b32"].source, checkpoints("clip"))
    place = {variable: str(cache.parent if variable == "HF_HOME" else cache), "HF_HUB_OFFLINE": "1"}
    done = run(tmp_path, "-m", "cartag", "models", "fetch", "clip-b32", "--to", "copy", **place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "copy\n", "")
    whole, copy = (encoder.resolve(str(folder), Silent()) for folder in (checkpoints("clip"), tmp_path / "copy"))
    assert copy.revision == whole.revision
    np.testing.assert_array_equal(texts_of(copy), texts_of(whole))
    done = run(tmp_path, "-m", "cartag", "models", "fetch", "clip-b32", **place)  # without --to: where the cache has it
    assert done.returncode == 0, done.stderr
    cached = encoder.resolve(done.stdout.strip(), Silent())
    assert Path(cached.folder).is_relative_to(cache)
    assert cached.revision == whole.revision


def test_what_is_not_here_offline_says_what_to_do(hub: Path) -> None:
    with pytest.raises(ModelError) as error:
        encoder.resolve("clip-l14", Silent())
    for words in ("clip-l14", "offline", "cartag models fetch clip-l14", "--model mini"):
        assert words in one_line(error)


def test_a_hub_that_does_not_answer_costs_seconds_not_minutes(tmp_path: Path) -> None:
    """In a process of its own: the hub's client reads its settings when it is imported."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "CARTAG_", "TRANSFORMERS_"))}
    environment = {k: v for k, v in environment.items() if not k.lower().endswith("_proxy")}
    environment |= {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cartag", "models", "fetch", "clip-b32", "--to", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be reached" in done.stderr
    assert "--model mini" in done.stderr
    assert not (tmp_path / "out").exists()


def test_tagging_with_a_hub_that_does_not_answer_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "photos" / "one.png")
    done = run(tmp_path, "-m", "cartag", "tag", "photos", "--model", "siglip-b16", HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    for words in ("siglip-b16", "cannot be reached", "cartag models fetch siglip-b16", "--model mini"):
        assert words in done.stderr


def test_auto_with_a_hub_that_does_not_answer_is_mini_and_says_so(tmp_path: Path) -> None:
    code = (
        "from cartag import encoder; from cartag.cli.output import TerminalProgress;"
        "print(encoder.resolve_auto(None, TerminalProgress()).spec.name)"
    )
    done = run(tmp_path, "-c", code, HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "mini\n", 1), done.stderr
    for words in ("mini", "clip-b32", "cannot be fetched"):
        assert words in done.stderr


class _KnowsNothing(http.server.BaseHTTPRequestHandler):
    """A hub that has no such repository."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_hub_that_knows_no_such_model_is_one_line(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _KnowsNothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        fetch = ("-m", "cartag", "models", "fetch", "someone/no-such", "--to", "out")
        done = run(tmp_path, *fetch, HF_ENDPOINT=endpoint)
        server.shutdown()
    assert done.returncode == 1
    notes, last = done.stderr.splitlines()[:-1], done.stderr.splitlines()[-1]
    assert all(note.startswith("cartag: model: fetching someone/no-such") for note in notes)
    assert last.startswith("cartag: model someone/no-such")
    assert "--model mini" in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("endpoint", "port"), [("http://hub.invalid", 80), ("https://hub.invalid", 443)])
def test_the_quick_look_knocks_at_the_port_of_the_endpoint(
    endpoint: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test cannot open port 80, hence the stand-in for the socket."""
    knocked = []

    def connect(address: tuple[str, int], timeout: float | None = None) -> socket.socket:
        knocked.append(address)
        raise OSError

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr(socket, "create_connection", connect)
    assert not table._hub_answers()
    assert knocked == [("hub.invalid", port)]


def test_a_fetched_copy_is_a_model_folder(hub: Path, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    spec = table.known_models()["clip-b32"]
    put_in_cache(hub, spec.source, checkpoints("clip"))
    folder = cartag.fetch("clip-b32", tmp_path / "to" / "carry")
    assert not any(path.is_symlink() for path in folder.iterdir())
    shutil.rmtree(hub)
    np.testing.assert_array_equal(
        texts_of(encoder.resolve(str(folder), Silent())), texts_of(encoder.resolve(str(checkpoints("clip")), Silent()))
    )


def test_a_fetched_copy_of_shards_holds_every_one(hub: Path, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    shards = sharded_copy(checkpoints("clip"), tmp_path / "sharded")
    put_in_cache(hub, "someone/cars-clip", tmp_path / "sharded")
    folder = cartag.fetch("someone/cars-clip", tmp_path / "out")
    assert {path.name for path in shards} <= {path.name for path in folder.iterdir()}
    whole = encoder.resolve(str(checkpoints("clip")), Silent())
    assert weights_of(folder) == weights_of(checkpoints("clip"))
    np.testing.assert_allclose(texts_of(encoder.resolve(str(folder), Silent())), texts_of(whole), rtol=0, atol=1e-6)


def test_a_fetched_copy_holds_what_is_needed_and_nothing_else(
    hub: Path,
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Hub repositories hold the same weights once more for other tools: gigabytes that nobody wants to carry."""
    full = copy_of(checkpoints("clip"), tmp_path / "full")
    for name in ("pytorch_model.bin", "open_clip_model.safetensors", "flax_model.msgpack", "evil.py"):
        (full / name).write_bytes(b"not needed")
    put_in_cache(hub, "someone/cars-clip", full)
    folder = cartag.fetch("someone/cars-clip", tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {path.name for path in checkpoints("clip").iterdir()}


def test_a_fetched_mini_keeps_its_calibration(tmp_path: Path) -> None:
    folder = cartag.fetch("mini", tmp_path / "out")
    assert (folder / "calibration.json").read_bytes() == (shipped("models", "mini") / "calibration.json").read_bytes()
    assert not encoder.table.missing_files(folder)


@pytest.mark.parametrize("place", ["itself", "a-file", "a-file/below"])
def test_a_place_that_cannot_take_a_copy_is_one_line(place: str, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    model = copy_of(checkpoints("clip"), tmp_path / "itself")
    (tmp_path / "a-file").write_text("mine")
    with pytest.raises(CartagError) as error:
        cartag.fetch(str(model), tmp_path / place)
    assert str(tmp_path / place) in one_line(error)
    assert (tmp_path / "a-file").read_text() == "mine"
    assert texts_of(encoder.resolve(str(model), Silent())).shape[0] == 2, "the model itself is as it was"


# --- auto -------------------------------------------------------------------------------------------------------


def test_auto_is_mini_when_clip_b32_cannot_be_had_and_says_so(hub: Path) -> None:
    listener = Listener()
    assert encoder.resolve_auto(None, listener).spec.name == "mini"
    (note,) = listener.notes
    assert all(words in note for words in ("mini", "clip-b32", "offline"))


def test_auto_is_clip_b32_when_it_is_here(hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    put_in_cache(hub, table.known_models()["clip-b32"].source, checkpoints("clip"))
    listener = Listener()
    assert encoder.resolve_auto(None, listener).spec.name == "clip-b32"
    assert not listener.notes


def test_auto_is_first_of_all_the_model_of_the_index(hub: Path, checkpoints: Checkpoints) -> None:  # noqa: F811
    put_in_cache(hub, table.known_models()["clip-b32"].source, checkpoints("clip"))
    put_in_cache(hub, "someone/cars-clip", checkpoints("clip"))

    def indexed(spec: ModelSpec) -> IndexedModel:
        return IndexedModel(name=spec.name, source=spec.source, revision="1", dtype="float32")

    for spec in (
        table.known_models()["mini"],
        ModelSpec("someone/cars-clip", "someone/cars-clip"),
        ModelSpec("siglip", str(checkpoints("siglip"))),
    ):
        assert encoder.resolve_auto(indexed(spec), Silent()).spec.source == spec.source
    with pytest.raises(ModelError, match="gone"):  # never another model in its place without being asked
        encoder.resolve_auto(indexed(ModelSpec("gone", "/nowhere/gone")), Silent())


@pytest.mark.parametrize("name", ["clip-l14", "mini", "fake"])
def test_auto_keeps_to_the_folder_of_the_index_whatever_it_is_called(
    name: str,
    hub: Path,
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    """`models fetch clip-l14 --to ./clip-l14` is what the docs show; the hub's own may not even be here."""
    files = encoder.resolve(str(copy_of(checkpoints("clip"), tmp_path / name)), Silent())
    assert encoder.resolve_auto(indexed(files), Silent()) == files


def test_a_gallery_begun_with_mini_stays_with_it(hub: Path, checkpoints: Checkpoints, gallery: Gallery) -> None:  # noqa: F811
    gallery.paint("red.jpg")
    first, second = Listener(), Listener()
    gallery.tag(model="auto", device="cpu", progress=first)
    assert gallery.raw()["model"]["name"] == "mini"
    assert any("mini" in note and "clip-b32" in note for note in first.notes)
    put_in_cache(hub, table.known_models()["clip-b32"].source, checkpoints("clip"))
    gallery.paint("blue.jpg", "blue")
    gallery.tag(model="auto", device="cpu", progress=second)
    assert gallery.raw()["model"]["name"] == "mini"
    assert not any("clip-b32" in note for note in second.notes)


def test_two_names_for_one_seed_are_two_models(tmp_path: Path) -> None:
    one, other = make_clip(tmp_path / "one", seed=21), make_clip(tmp_path / "other", seed=22)
    files = [encoder.resolve(str(folder), Silent()) for folder in (one, other)]
    assert encoder.identity(files[0]) != encoder.identity(files[1])
    assert np.abs(texts_of(files[0]) - texts_of(files[1])).max() > 0.01
