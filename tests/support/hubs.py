"""What tests of models share: an empty hub cache, what a loaded model says, and every damage a folder can have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import copy_of, edit_json

from cartag import encoder
from cartag.errors import CartagError


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Models this small only wait for each other's threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(name="hub")
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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


# --- damages ----------------------------------------------------------------------------------------------------


def no_vocabulary(folder: Path) -> None:
    # transformers makes a tokenizer of the config that is left: every text becomes the same unknown word
    (folder / "tokenizer.json").unlink()


def half_the_weights(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights at all, but long enough for a header")


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def bad_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def list_for_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def unknown_type(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="flux-capacitor")


def no_tokenizer(folder: Path) -> None:
    for path in [*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("merges*")]:
        path.unlink()


def no_processor(folder: Path) -> None:
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink(missing_ok=True)


def bad_processor(folder: Path) -> None:
    no_processor(folder)
    (folder / "preprocessor_config.json").write_text("[1")


def odd_processor(folder: Path) -> None:
    no_processor(folder)
    (folder / "preprocessor_config.json").write_text('["no", "object"]')


def bad_shard_list(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("{}")
