"""What only a CUDA device can show: the same answers as on the CPU in every dtype, and memory that really runs out."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest
import torch
from checkpoints import checkpoints  # noqa: F401 - a fixture

from cartag import detector as detectors, encoder
from cartag.checkpoints import resolve, resolve_detector
from cartag.errors import ModelError
from cartag.photos import images
from cartag.progress import Silent

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "data" / "gallery"
DEVICE = "cuda"
# A relative error e of an embedding makes its cosine 1 - e**2 / 2. A number is rounded by 2**-9 in bfloat16, by 2**-12 in
# float16 and in TF32, in which cuDNN may multiply float32; a dozen layers make some ten times that of it.
LEAST_COSINE = {"bfloat16": 0.999, "float16": 0.9999, "float32": 0.9999}


@pytest.fixture(autouse=True)
def _give_memory_back() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()
    torch.cuda.empty_cache()


def load(model: str, device: str, dtype: str) -> Any:
    return encoder.load(resolve(model, Silent()), device=device, dtype=dtype)


def photos(model: Any, count: int = 37) -> list[np.ndarray]:
    paths = sorted(GALLERY.glob("*.jpg"))
    pixels = [images.decode(path.read_bytes(), model.image_spec).pixels for path in paths]
    return [pixels[i % len(pixels)] for i in range(count)]  # type: ignore[misc]


# --- the same answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["mini", "clip", "siglip", "siglip2-naflex", "timm-bert"])
def test_embeddings_are_those_of_the_cpu(name: str, dtype: str, checkpoints: Callable[[str], Path]) -> None:  # noqa: F811
    source = name if name == "mini" else str(checkpoints(name))
    exact, fast = load(source, "cpu", "float32"), load(source, DEVICE, dtype)
    pixels, texts = photos(exact), [f"a photo of car number {i}." for i in range(40)]
    for here, there in (
        (exact.embed_images(pixels), fast.embed_images(pixels)),
        (exact.embed_texts(texts), fast.embed_texts(texts)),
    ):
        assert here.shape == there.shape
        assert there.dtype == np.float32
        assert (here * there).sum(axis=1).min() >= LEAST_COSINE[dtype]


def test_a_photo_has_one_embedding_whatever_shares_its_pass(checkpoints: Callable[[str], Path]) -> None:  # noqa: F811
    model = load(str(checkpoints("clip")), DEVICE, "float32")
    pixels = photos(model, 300)  # two passes: the second is put together while the first is computed
    together = model.embed_images(pixels)
    np.testing.assert_allclose(together[:37], model.embed_images(pixels[:37]), atol=1e-3)
    np.testing.assert_allclose(together[263:], model.embed_images(pixels[263:]), atol=1e-3)


def test_look_finds_the_boxes_of_the_cpu() -> None:
    """Sums are added up in another order there."""
    files = resolve_detector("look", Silent())
    here, there = (detectors.load(files, device=device) for device in ("cpu", DEVICE))
    glances = [images.shaped(photo, here.image_spec) for photo in photos(load("mini", "cpu", "float32"))]
    for ours, theirs in zip(here.boxes(glances), there.boxes(glances), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


# --- memory ---------------------------------------------------------------------------------------------------------


def leave_room(mebibytes: int) -> None:
    """Lets torch take so much memory more than it holds."""
    gc.collect()
    torch.cuda.empty_cache()
    most = torch.cuda.memory_reserved() + mebibytes * 2**20
    torch.cuda.set_per_process_memory_fraction(most / torch.cuda.get_device_properties(0).total_memory)


def fill() -> list[torch.Tensor]:
    """Takes all memory that is left; it is free again when the answer is."""
    taken: list[torch.Tensor] = []
    leave_room(64)
    for size in (2**23, 2**21, 2**20, 2**9):  # torch keeps large and small pieces apart
        with suppress(torch.OutOfMemoryError):
            while True:
                taken.append(torch.empty(size, dtype=torch.uint8, device=DEVICE))
    return taken


def test_when_memory_runs_out_passes_are_halved_and_nothing_is_lost() -> None:
    model = load("mini", DEVICE, "float32")
    pixels = photos(model, 256)
    expected = model.embed_images(pixels)
    at_once = model._passes._at_once
    leave_room(300)  # the pixels of 256 photos take 36 MiB, the tower's widest layer many times that
    found = model.embed_images(pixels)
    assert 1 <= model._passes._at_once <= at_once // 2
    assert (found * expected).sum(axis=1).min() >= LEAST_COSINE["float32"]


def test_a_device_without_room_for_the_model_says_what_to_do() -> None:
    taken = fill()
    with pytest.raises(ModelError, match=r"memory does not hold this model; use a smaller --model, or --device cpu"):
        load("mini", DEVICE, "float32")
    assert taken


def test_a_device_without_room_for_one_photo_says_what_to_do() -> None:
    model = load("mini", DEVICE, "float32")
    pixels = photos(model, 4)
    taken = fill()
    with pytest.raises(ModelError, match="with a single photo"):
        model.embed_images(pixels)
    assert taken


# --- the whole command ----------------------------------------------------------------------------------------------


def tagged(tmp_path: Path, device: str, dtype: str) -> dict[str, Any]:
    index = tmp_path / f"{device}-{dtype}" / "cartag.json"
    index.parent.mkdir()
    options = ("--model", "mini", "--device", device, "--index", str(index))
    done = processes.run(tmp_path, "-m", "cartag", "tag", str(GALLERY), *options, CARTAG_DTYPE=dtype)
    assert done.returncode == 0, done.stderr
    return json.loads(index.read_bytes())


def verdicts(index: dict[str, Any]) -> dict[str, Any]:
    return {photo["path"]: (photo["outcome"], [tag["car"] for tag in photo["tags"]]) for photo in index["photos"]}


def test_the_sample_gallery_is_tagged_as_on_the_cpu(tmp_path: Path) -> None:
    expected = tagged(tmp_path, "cpu", "float32")
    exact = tagged(tmp_path, DEVICE, "float32")
    assert len(expected["photos"]) == 37
    assert verdicts(exact) == verdicts(expected)
    fast = tagged(tmp_path, DEVICE, "auto")
    assert fast["model"]["dtype"] in ("bfloat16", "float16")
    changed = [path for path, verdict in verdicts(fast).items() if verdict != verdicts(expected)[path]]
    assert len(changed) <= 1, changed  # one of them is a close call
