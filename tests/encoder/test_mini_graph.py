"""`mini` on ONNX Runtime says what it says by torch, whatever it is asked, and with weights of another training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cartag import encoder
from cartag.catalogs import load_catalog, prompt_classes
from cartag.checkpoints import GraphError, resolve
from cartag.encoder.graph import GraphEncoder
from cartag.errors import ModelError
from cartag.photos import images
from cartag.progress import Silent

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "models" / "mini"
ODD_TEXTS = ("", " ", "Ferrari" * 50, " ".join(["word"] * 200), "é à ö ß", "日本の車", "[PAD] [CLS] [SEP]", "a\x00b\tc")


@pytest.fixture(scope="module")
def graph() -> Any:
    return encoder.load(resolve("mini", Silent()), device="cpu", runtime="onnx")


@pytest.fixture(scope="module")
def torch_one() -> Any:
    return encoder.load(resolve("mini", Silent()), device="cpu", dtype="float32", runtime="torch")


@pytest.fixture(scope="module")
def pixels(graph: Any) -> list[np.ndarray]:
    photos = [path.read_bytes() for path in sorted((ROOT / "data" / "gallery").glob("*.jpg"))[:13]]
    return [p for p in (images.decode(photo, graph.image_spec).pixels for photo in photos) if p is not None]


def test_its_vectors_are_those_of_torch(graph: Any, torch_one: Any, pixels: list[np.ndarray]) -> None:
    assert isinstance(graph, GraphEncoder)
    assert type(torch_one).__name__ == "DualEncoder"
    texts = [text for c in prompt_classes(load_catalog("mille-miglia-2013"))[::9] for text in c.texts] + [*ODD_TEXTS]
    for one, other in (
        (graph.embed_images(pixels), torch_one.embed_images(pixels)),
        (graph.embed_texts(texts), torch_one.embed_texts(texts)),
    ):
        assert one.dtype == other.dtype == np.float32
        assert one.shape == other.shape
        np.testing.assert_allclose((one * other).sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    assert (graph.logit_scale, graph.logit_bias) == (torch_one.logit_scale, torch_one.logit_bias)
    assert graph.image_spec == torch_one.image_spec


def test_embeddings_are_shared(graph: Any) -> None:
    """One key in the cache, whatever computes."""
    assert graph.identity == encoder.identity(resolve("mini", Silent()))
    assert graph.dtype == "float32"


@pytest.mark.parametrize("count", [1, 2, 5, 13])
def test_a_photo_does_not_depend_on_those_beside_it(count: int, graph: Any, pixels: list[np.ndarray]) -> None:
    np.testing.assert_allclose(graph.embed_images(pixels[:count]), graph.embed_images(pixels)[:count], atol=1e-6)


def test_texts_come_back_in_their_order(graph: Any) -> None:
    texts = ["a red car parked in front of an old house.", "car", *ODD_TEXTS, "a photo of a Wiesmann."]
    alone = np.concatenate([graph.embed_texts([text]) for text in texts])
    np.testing.assert_allclose(graph.embed_texts(texts), alone, atol=1e-5)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120))
def test_any_text_is_cut_into_the_tokens_of_transformers(graph: Any, torch_one: Any, text: str) -> None:
    (found,) = graph._words.tokenizer.encode_batch([text])
    assert found.ids == torch_one._tokens([text])["input_ids"][0].tolist()


# --- other weights, other folders -------------------------------------------------------------------------------


def _copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MINI, tmp_path / "mine", ignore=shutil.ignore_patterns("*.onnx", "*.png", "*.md")))


def test_weights_of_another_training_go_with_the_same_graph(tmp_path: Path, pixels: list[np.ndarray]) -> None:
    from safetensors.numpy import load_file, save_file

    mine = _copy(tmp_path)
    weights = load_file(mine / "model.safetensors")
    rng = np.random.default_rng(0)
    for name, values in weights.items():
        if name.endswith(("weight", "bias", "running_mean")):
            weights[name] = (values * rng.uniform(0.9, 1.1, values.shape)).astype(values.dtype)
    save_file(weights, mine / "model.safetensors", {"format": "pt"})
    files = resolve(str(mine), Silent())
    one, other = (encoder.load(files, device="cpu", dtype="float32", runtime=r) for r in ("onnx", "torch"))
    assert isinstance(one, GraphEncoder)
    for a, b in (
        (one.embed_images(pixels[:2]), other.embed_images(pixels[:2])),
        (one.embed_texts(["a Ferrari"]), other.embed_texts(["a Ferrari"])),
    ):
        np.testing.assert_allclose((a * b).sum(axis=1), 1, atol=1e-4)


def test_a_model_of_another_make_has_no_graph(tmp_path: Path) -> None:
    from cartag.checkpoints import graphs_for
    from cartag.encoder.graph import DECIDED_BY

    mine = _copy(tmp_path)
    assert graphs_for(mine, "mini", DECIDED_BY, "auto") == MINI
    config = json.loads((mine / "config.json").read_text(encoding="utf-8"))
    config["text_config"]["num_hidden_layers"] = 2
    (mine / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert graphs_for(mine, "mini", DECIDED_BY, "auto") is None


def _no_number(weights: dict[str, np.ndarray]) -> None:
    weights["visual_projection.weight"][0, 0] = np.nan


def _another_shape(weights: dict[str, np.ndarray]) -> None:
    weights["text_projection.weight"] = weights["text_projection.weight"][:7].copy()


def _one_less(weights: dict[str, np.ndarray]) -> None:
    del weights["vision_model.timm_model.bn1.bias"]


def _one_more(weights: dict[str, np.ndarray]) -> None:
    weights["visual_projection.bias"] = np.zeros(256, np.float16)


@pytest.mark.parametrize("damage", [_no_number, _one_less, _one_more])
def test_weights_that_do_not_go_with_the_graph_are_refused(damage: Any, tmp_path: Path) -> None:
    mine = _damaged(tmp_path, damage)
    with pytest.raises(GraphError):
        GraphEncoder(resolve(str(mine), Silent()), MINI, "mine@1/squash")


def test_weights_of_texts_that_do_not_go_with_the_graph_are_refused_with_the_first_text(tmp_path: Path) -> None:
    mine = _damaged(tmp_path, _another_shape)
    loaded = GraphEncoder(resolve(str(mine), Silent()), MINI, "mine@1/squash")
    size = (loaded.image_spec.height, loaded.image_spec.width, 3)
    assert loaded.embed_images([np.zeros(size, np.uint8)]).shape == (1, 256)
    with pytest.raises(ModelError, match=r"mine: ONNX Runtime cannot read its texts .*; use --runtime torch"):
        loaded.embed_texts(["a Ferrari"])


def _damaged(tmp_path: Path, damage: Any) -> Path:
    from safetensors.numpy import load_file, save_file

    mine = _copy(tmp_path)
    weights = load_file(mine / "model.safetensors")
    damage(weights)
    save_file(weights, mine / "model.safetensors", {"format": "pt"})
    return mine
