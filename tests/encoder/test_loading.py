"""From a model's files to a working encoder: folders of every family, and everything that is refused."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import (
    Touch,
    checkpoints,  # noqa: F401 - a fixture
    copy_of,
    edit_json,
    make_bert_only,
)
from hubs import (
    bad_config,
    bad_processor,
    bad_shard_list,
    half_the_weights,
    list_for_config,
    no_config,
    no_processor,
    no_safetensors,
    no_tokenizer,
    no_vocabulary,
    odd_processor,
    one_line,
    one_thread,  # noqa: F401 - a fixture
    sharded_copy,
    texts_of,
    unknown_type,
    weights_of,
)

from cartag import encoder
from cartag.checkpoints import resolve
from cartag.errors import ModelError, SettingsError
from cartag.progress import Silent

Checkpoints = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("one_thread")


def identity_of(folder: Path) -> str:
    return encoder.identity(resolve(str(folder), Silent()))


# --- folders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "siglip2-naflex", "vit-bert", "timm-bert"])
def test_a_folder_of_every_family_loads(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    files = resolve(str(checkpoints(kind)), Silent())
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
        return encoder.identity(resolve(str(folder), Silent()))

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
    files = resolve(str(sharded), Silent())
    np.testing.assert_allclose(texts_of(files), texts_of(resolve(str(whole), Silent())), rtol=0, atol=1e-6)
    shards[-1].unlink()
    with pytest.raises(ModelError, match=shards[-1].name) as error:
        resolve(str(sharded), Silent())
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
    files = resolve(str(checkpoints("clip")), Silent())
    asked = [{}, {"dtype": "float32"}, {"dtype": "bfloat16"}, {"fit": "pad"}, {"fit": "squash"}]
    assert len({encoder.identity(files, **options) for options in asked}) == len(asked)


def test_a_folder_may_be_called_fake(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    files = resolve(str(copy_of(checkpoints("clip"), tmp_path / "fake")), Silent())
    assert not isinstance(encoder.load(files, device="cpu"), encoder.FakeEncoder)
    assert encoder.identity(files) != encoder.FakeEncoder.identity


# --- what is refused --------------------------------------------------------------------------------------------


def test_pickled_weights_are_never_loaded(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder, trap = copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(trap)))
    with pytest.raises(ModelError, match=r"pickle formats are never loaded"):
        encoder.load(resolve(str(folder), Silent()), device="cpu")
    assert not trap.exists()
    pickle.loads((folder / "pytorch_model.bin").read_bytes())
    assert trap.exists(), "the trap itself must work"


def test_code_of_a_checkpoint_is_never_run(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder, trap = copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(trap)!r}).touch()\nclass Evil: pass\n")
    edit_json(folder / "config.json", auto_map={"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"})
    with contextlib.suppress(ModelError):  # to refuse it is as good as to leave the code alone
        texts_of(resolve(str(folder), Silent()))
    assert not trap.exists()


def test_a_shard_list_cannot_bring_in_pickled_weights(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    """`transformers` would hand the file to `torch.load`, whose advice is to switch its safety off."""
    folder, trap = copy_of(checkpoints("clip"), tmp_path / "model"), tmp_path / "sprung"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(trap)))
    shards = {"metadata": {}, "weight_map": {"logit_scale": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(ModelError) as error:
        encoder.load(resolve(str(folder), Silent()), device="cpu")
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
        encoder.load(resolve(str(folder), Silent()), device="cpu")
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
        encoder.load(resolve(str(folder), Silent()), device="cpu")
    assert str(folder) in one_line(error)


@pytest.mark.parametrize(
    "damage",
    [
        half_the_weights,
        no_safetensors,
        no_config,
        bad_config,
        list_for_config,
        unknown_type,
        no_tokenizer,
        no_vocabulary,
        no_processor,
        bad_processor,
        odd_processor,
        bad_shard_list,
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
        encoder.load(resolve(str(folder), Silent()), device="cpu")
    assert str(folder) in one_line(error)


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no image\\+text dual encoder") as error:
        encoder.load(resolve(str(make_bert_only(tmp_path / "bert")), Silent()), device="cpu")
    one_line(error)


# --- devices and dtypes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "meta"])
def test_a_device_nobody_knows_is_a_wrong_setting(device: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    with pytest.raises(SettingsError, match="use auto, cpu, cuda") as error:
        encoder.load(resolve(str(checkpoints("clip")), Silent()), device=device)
    one_line(error)


def test_a_device_that_is_not_here_says_that_the_cpu_works(checkpoints: Checkpoints) -> None:  # noqa: F811
    import torch

    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ModelError, match="--device cpu works"):
        encoder.load(resolve(str(checkpoints("clip")), Silent()), device=absent)


def test_cuda_where_there_is_none_says_that_the_cpu_works(
    checkpoints: Checkpoints,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)  # changes nothing where there is none
    with pytest.raises(ModelError, match=r"device cuda: .*--device cpu works") as error:
        encoder.load(resolve(str(checkpoints("clip")), Silent()), device="cuda")
    one_line(error)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_dtype_by_name_is_what_the_model_computes_in(dtype: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    model = encoder.load(resolve(str(checkpoints("clip")), Silent()), device="cpu", dtype=dtype)
    assert (model.dtype, model.embed_texts(["a car"]).dtype) == (dtype, np.float32)


@pytest.mark.parametrize("dtype", ["float64", "half", "int8", ""])
def test_a_dtype_nobody_knows_is_a_wrong_setting(dtype: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    with pytest.raises(SettingsError, match="float32, bfloat16") as error:
        encoder.load(resolve(str(checkpoints("clip")), Silent()), device="cpu", dtype=dtype)
    one_line(error)
