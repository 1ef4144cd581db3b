"""What makes tagging fast changes no result: passes on cores, folded batch norms, the dtype by trial, the look-ahead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import checkpoints  # noqa: F401 - a fixture
from conftest import Gallery, Seen, counts
from torch import nn

import cartag.tagging.work
from cartag import encoder
from cartag.checkpoints import resolve
from cartag.encoder.tower import faster_dtype, prepared
from cartag.photos import reading
from cartag.progress import Silent
from cartag.settings import Settings, usable_cores
from cartag.values import ImageSpec

CPU = torch.device("cpu")
CUDA = torch.device("cuda")  # named, never used: what is computed here stays on the CPU


# --- the tower --------------------------------------------------------------------------------------------------


class Tower(nn.Module):
    """Looks like a vision model of `transformers`; ``swapped``: its modules stand in another order than they run in."""

    def __init__(self, swapped: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.swapped = swapped
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 8, 1)
        with torch.no_grad():
            for tensor in (self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias):
                assert tensor is not None
                tensor.uniform_(0.5, 2.0)
        self.eval()

    def forward(self, pixel_values: torch.Tensor) -> Any:
        x = self.conv(pixel_values)
        x = self.norm(self.last(x).relu()) if self.swapped else self.last(self.norm(x).relu())
        return type("Output", (), {"pooler_output": x.mean(dim=(2, 3))})


def _norms(tower: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in tower.modules())


def test_batch_norms_are_folded_without_a_change() -> None:
    tower, pixels = Tower(), torch.rand(2, 3, 16, 16)
    expected = tower(pixels).pooler_output
    fast = prepared(tower)
    assert (_norms(tower), _norms(fast)) == (1, 0)
    torch.testing.assert_close(fast(pixels).pooler_output, expected)


def test_what_cannot_be_folded_stays_as_it_is() -> None:
    tower, pixels = Tower(swapped=True), torch.rand(2, 3, 16, 16)
    expected = tower(pixels).pooler_output
    fast = prepared(tower)
    assert _norms(fast) == 1
    torch.testing.assert_close(fast(pixels).pooler_output, expected)


def test_the_bundled_kind_of_tower_is_folded(checkpoints: Callable[[str], Path]) -> None:  # noqa: F811
    model: Any = encoder.load(resolve(str(checkpoints("timm-bert")), Silent()), device="cpu", dtype="float32")
    assert _norms(model._whole[0].vision_model) == 0


# --- the dtype --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("full", "half", "expected"), [(1.0, 0.2, "bfloat16"), (1.0, 0.95, "float32"), (1.0, 2.0, "float32")]
)
def test_the_faster_dtype_wins_by_a_tenth(
    full: float, half: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(layers: list[tuple[nn.Module, torch.Tensor]]) -> float:
        return half if layers[0][1].dtype == torch.bfloat16 else full

    monkeypatch.setattr("cartag.encoder.tower._seconds", seconds)
    assert faster_dtype(Tower()) == expected
    assert faster_dtype(nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 8))) == expected


def test_the_trial_is_short_and_leaves_the_model_alone() -> None:
    tower = nn.Sequential(nn.Linear(768, 3072), nn.Linear(3072, 768))
    before = torch.get_num_threads()
    assert faster_dtype(tower) in ("float32", "bfloat16")
    assert {p.dtype for p in tower.parameters()} == {torch.float32}
    assert torch.get_num_threads() == before
    assert faster_dtype(nn.Sequential()) == "float32"


@pytest.mark.parametrize("answer", ["float32", "bfloat16"])
def test_a_dtype_by_trial_keeps_the_key_of_the_cache(
    answer: str,
    checkpoints: Callable[[str], Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cartag.encoder.dual.choose_dtype", lambda wanted, device: None)
    monkeypatch.setattr("cartag.encoder.dual.faster_dtype", lambda tower: answer)
    files = resolve(str(checkpoints("clip")), Silent())
    model = encoder.load(files, device="cpu")
    assert model.dtype == answer
    assert model.identity == encoder.identity(files)


# --- texts ------------------------------------------------------------------------------------------------------


def test_texts_come_back_in_their_order_whatever_their_lengths(checkpoints: Callable[[str], Path]) -> None:  # noqa: F811
    model = encoder.load(resolve(str(checkpoints("clip")), Silent()), device="cpu", dtype="float32")
    texts = [
        "a car",
        "a photo of a very long car in the rain",
        "car",
        *(f"car number {i}" * (i % 4) for i in range(40)),
    ]
    alone = np.concatenate([model.embed_texts([text]) for text in texts])
    np.testing.assert_allclose(model.embed_texts(texts), alone, atol=1e-5)


def test_another_catalog_embeds_only_the_texts_that_are_new(gallery: Gallery, seen: Seen, tmp_path: Path) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    first = seen.texts
    text = gallery.catalog.read_text(encoding="utf-8")
    more = tmp_path / "more.yaml"
    more.write_text(text.replace("templates:", "  - {name: Silver Swan, make: Volt}\ntemplates:"), encoding="utf-8")
    gallery.tag(catalog=more)
    assert (first, seen.texts - first) == (6, 1)


# --- reading ahead ----------------------------------------------------------------------------------------------


def spec(side: int, fit: Any = "squash") -> ImageSpec:
    return ImageSpec(side, side, fit, side, 3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("image_spec", [spec(32), spec(192), spec(224), spec(384), spec(384, "native")])
def test_the_look_ahead_is_bounded_by_bytes(image_spec: ImageSpec) -> None:
    side = 1024 if image_spec.fit == "native" else image_spec.height
    ahead = reading.window(Settings(), image_spec)
    batch = reading.batch_size(Settings())
    assert ahead >= batch
    assert ahead == batch or ahead * 3 * side * side <= 64 * 2**20
    assert reading.window(Settings(batch_size=3, look_ahead=2), image_spec) == 6


def test_a_batch_suits_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, expected in ((1, 32), (2, 32), (4, 64), (64, 256)):
        monkeypatch.setattr(reading, "usable_cores", lambda cores=cores: cores)
        assert reading.batch_size(Settings()) == expected
    assert reading.batch_size(Settings(batch_size=5)) == 5
    assert usable_cores() >= 1


@pytest.mark.parametrize("settings", [{"batch_size": 1, "look_ahead": 1}, {"batch_size": 7}, {"decode_threads": 1}, {}])
def test_no_way_of_running_changes_the_index(gallery: Gallery, settings: dict[str, int]) -> None:
    for i, colour in enumerate(["red", "yellow", "blue", "green", "black", "red", "orange"] * 3):
        gallery.paint(f"{i % 3}/{i:02d}.jpg", colour, mark=i)
    gallery.tag(batch_size=2, look_ahead=2)
    expected = gallery.raw()["photos"]
    gallery.tag(retag=True, **settings)
    assert gallery.raw()["photos"] == expected


# --- an unchanged gallery ---------------------------------------------------------------------------------------


def test_an_unchanged_gallery_opens_neither_model_nor_cache(
    gallery: Gallery, forbid_encoder: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(5):
        gallery.paint(f"{i}.jpg", "red", mark=i)
    gallery.tag()
    before = gallery.index_file.read_bytes()
    forbid_encoder()
    monkeypatch.setattr(cartag.tagging.work, "Store", None)
    assert counts(gallery.tag()) == (5, 0, 0, 0)
    assert gallery.index_file.read_bytes() == before
