"""The image towers in torch alone, against those of `transformers`, and what is left to `transformers`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import checkpoints, copy_of, edit_json  # noqa: F401 - a fixture

from cartag import encoder
from cartag.checkpoints import resolve
from cartag.encoder.plain import image_tower
from cartag.encoder.processor import read_image_spec
from cartag.progress import Silent

Checkpoints = Callable[[str], Path]


def tower_of(folder: Path) -> torch.nn.Module | None:
    spec = read_image_spec(folder, "auto")
    return image_tower(folder, (spec.height, spec.width), torch.float32)


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
def test_it_gives_the_features_of_transformers(checkpoints: Checkpoints, kind: str) -> None:  # noqa: F811
    from transformers import AutoModel

    folder = checkpoints(kind)
    spec = read_image_spec(folder, "auto")
    pixels = torch.randn(5, 3, spec.height, spec.width, generator=torch.Generator().manual_seed(3))
    tower, model = tower_of(folder), AutoModel.from_pretrained(folder).eval()
    assert tower is not None
    with torch.inference_mode():
        ours, theirs = tower(pixels), model.get_image_features(pixels).pooler_output
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("kind", ["siglip2-naflex", "vit-bert", "timm-bert"])
def test_what_is_built_otherwise_is_left_to_transformers(checkpoints: Checkpoints, kind: str) -> None:  # noqa: F811
    assert image_tower(checkpoints(kind), (32, 32), torch.float32) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "clipseg"},
        {"vision_config": {"hidden_act": "relu"}},
        {"vision_config": {"num_attention_heads": 0}},
        {"vision_config": {"patch_size": 0}},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"vision_config": {"hidden_size": 48}},
        {"vision_config_dict": {"hidden_size": 32}},
        {"vision_config": None},
    ],
    ids=str,
)
def test_a_config_that_says_something_else_is_left_to_transformers(
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
    changes: dict[str, object],
) -> None:
    folder = copy_of(checkpoints("clip"), tmp_path / "clip")
    assert tower_of(folder) is not None
    known = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    inner = changes.get("vision_config")
    if isinstance(inner, dict):
        changes = {"vision_config": {**known["vision_config"], **inner}}
    edit_json(folder / "config.json", **changes)
    assert tower_of(folder) is None


@pytest.mark.parametrize(
    "lost", ["logit_scale", "text_model.final_layer_norm.bias", "vision_model.post_layernorm.weight"]
)
def test_a_checkpoint_that_lacks_weights_is_left_to_transformers(
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
    lost: str,
) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy_of(checkpoints("clip"), tmp_path / "clip")
    weights = load_file(folder / "model.safetensors")
    del weights[lost]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert tower_of(folder) is None


def test_codes_of_weights_are_left_to_transformers(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    from safetensors.torch import load_file, save_file

    folder = copy_of(checkpoints("clip"), tmp_path / "clip")
    weights = load_file(folder / "model.safetensors")
    name = "vision_model.encoder.layers.0.mlp.fc1.weight"
    weights[name] = weights[name].mul(10).to(torch.int8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert tower_of(folder) is None


def test_weights_in_several_files_are_read_by_their_index_unless_there_is_one_of_all(
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy_of(checkpoints("clip"), tmp_path / "clip")
    whole = load_file(folder / "model.safetensors")
    parts = {f"model-0000{n + 1}-of-00002.safetensors": sorted(whole)[n::2] for n in range(2)}
    for file, names in parts.items():
        save_file({name: whole[name] for name in names}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, names in parts.items() for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    one, stale = tower_of(folder), {name: torch.zeros_like(weight) for name, weight in whole.items()}
    (folder / "model.safetensors").unlink()
    several = tower_of(folder)
    assert one is not None
    assert several is not None
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), several.state_dict().values(), strict=True))
    save_file(stale, folder / "model.safetensors", metadata={"format": "pt"})
    preferred = tower_of(folder)
    assert preferred is not None
    assert not any(weight.any() for weight in preferred.state_dict().values())


def test_photos_are_embedded_without_transformers_and_texts_then_come_from_it(
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    program = """
import sys
import numpy as np
from cartag import encoder
from cartag.checkpoints import resolve
from cartag.progress import Silent

loaded = encoder.load(resolve(sys.argv[1], Silent()), device="cpu", dtype="float32")
size = (loaded.image_spec.height, loaded.image_spec.width, 3)
vectors = loaded.embed_images([np.random.default_rng(1).integers(0, 255, size, np.uint8)] * 2)
print(*(name for name in ("transformers", "torchvision", "timm", "torch._dynamo", "scipy") if name in sys.modules))
texts = loaded.embed_texts(["a photo of a car", "a dog"])
np.savez(sys.argv[2], vectors=vectors, texts=texts)
"""
    folder, kept = checkpoints("clip"), tmp_path / "vectors.npz"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(kept)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
    whole = encoder.load(resolve(str(folder), Silent()), device="cpu", dtype="float32")
    whole.embed_texts(["loads all of it"])
    texts = whole.embed_texts(["a photo of a car", "a dog"])
    assert np.allclose(np.load(kept)["texts"], texts, atol=1e-6)
    assert np.allclose(np.linalg.norm(np.load(kept)["vectors"], axis=1), 1, atol=1e-5)
