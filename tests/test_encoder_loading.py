"""From a model's name to a working encoder: the table, folders, the hub's cache, `auto`, and everything that is refused."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoints, edit_json, make_bert_only, make_clip  # noqa: F401 - a fixture

import cartag
from cartag import encoder
from cartag.encoder import table
from cartag.errors import CartagError, ModelError, SettingsError
from cartag.progress import Silent
from cartag.values import IndexedModel, ModelSpec

Checkpoints = Callable[[str], Path]
ROOT = Path(__file__).resolve().parent.parent
COMMIT = "a" * 40


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


def put_in_cache(cache: Path, hub_id: str, folder: Path, revision: str = "main") -> Path:
    """Lays a checkpoint down as the hub's client does: blobs, a snapshot of links to them, and a ref."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for part in (repository / "blobs", repository / "refs", snapshot):
        part.mkdir(parents=True)
    (repository / "refs" / revision).write_text(COMMIT)
    for number, path in enumerate(sorted(folder.iterdir())):
        blob = repository / "blobs" / f"{number:040x}"
        shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


def copy_of(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


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
    from transformers import AutoModel

    whole = checkpoints("clip")
    sharded = copy_of(whole, tmp_path / "sharded")
    (sharded / "model.safetensors").unlink()
    AutoModel.from_pretrained(whole).save_pretrained(sharded, max_shard_size="40KB")
    shards = sorted(sharded.glob("model-*.safetensors"))
    assert len(shards) > 1
    files = encoder.resolve(str(sharded), Silent())
    np.testing.assert_array_equal(texts_of(files), texts_of(encoder.resolve(str(whole), Silent())))
    shards[-1].unlink()
    with pytest.raises(ModelError, match=shards[-1].name) as error:
        encoder.resolve(str(sharded), Silent())
    assert str(sharded) in one_line(error)


# --- what is refused --------------------------------------------------------------------------------------------


class _Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickled_weights_are_never_loaded(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder, trap = copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Touch(trap)))
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


def _damaged(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def _no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights at all, but long enough for a header")


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _bad_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


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
        _unknown_type,
        _no_tokenizer,
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


def test_a_fetched_copy_is_a_model_folder(hub: Path, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    spec = table.known_models()["clip-b32"]
    put_in_cache(hub, spec.source, checkpoints("clip"))
    folder = cartag.fetch("clip-b32", tmp_path / "to" / "carry")
    assert not any(path.is_symlink() for path in folder.iterdir())
    shutil.rmtree(hub)
    np.testing.assert_array_equal(
        texts_of(encoder.resolve(str(folder), Silent())), texts_of(encoder.resolve(str(checkpoints("clip")), Silent()))
    )


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


def test_two_names_for_one_seed_are_two_models(tmp_path: Path) -> None:
    one, other = make_clip(tmp_path / "one", seed=21), make_clip(tmp_path / "other", seed=22)
    files = [encoder.resolve(str(folder), Silent()) for folder in (one, other)]
    assert encoder.identity(files[0]) != encoder.identity(files[1])
    assert np.abs(texts_of(files[0]) - texts_of(files[1])).max() > 0.01
