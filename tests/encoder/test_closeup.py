"""The close-up: a box around the car, cut from every photo before the model sees it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from checkpoints import checkpoints, copy_of, edit_json  # noqa: F401 - a fixture
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from safetensors.torch import load_file, save_file

from cartag import encoder
from cartag.checkpoints import resolve
from cartag.encoder.closeup import CloseUp, Locator, box_around, write
from cartag.encoder.processor import CloseUpSpec, read_image_spec
from cartag.encoder.resizing import Mode, cuts
from cartag.encoder.tower import to_dtype
from cartag.errors import ModelError
from cartag.photos import images
from cartag.progress import Silent
from cartag.resources import shipped

Checkpoints = Callable[[str], Path]
GALLERY = Path(__file__).resolve().parents[2] / "data" / "gallery"
SPEC = CloseUpSpec(
    architecture="tf_efficientnet_lite0",
    stages=3,
    photo=(96, 128),
    reduction=2,
    mean=0.5,
    std=0.5,
    faint=0.25,
    relative=0.35,
    tail=0.0,
    margin=0.0,
    least=0.0,
    squareness=0.0,
)
evidences = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.floats(0, 1, width=32)
)
shares = st.floats(0, 1)


# --- from evidence to a box -------------------------------------------------------------------------------------


def test_the_box_is_around_the_cells_that_hold_a_car() -> None:
    evidence = np.zeros((4, 8), np.float32)
    evidence[1:3, 2:4] = 0.9
    evidence[0, 7] = 0.3  # a third of the likeliest: does not count
    np.testing.assert_allclose(box_around(evidence, SPEC), [2 / 8, 1 / 4, 4 / 8, 3 / 4])


def test_the_margin_is_a_share_of_the_box() -> None:
    evidence = np.zeros((4, 8), np.float32)
    evidence[1:3, 2:4] = 0.9
    wide = msgspec.structs.replace(SPEC, margin=0.1)
    np.testing.assert_allclose(box_around(evidence, wide), [0.225, 0.2, 0.525, 0.8], atol=1e-6)


def test_the_tail_leaves_out_what_little_lies_far_away() -> None:
    evidence = np.zeros((1, 10), np.float32)
    evidence[0, 2:4], evidence[0, 9] = 1.0, 0.4
    near = msgspec.structs.replace(SPEC, tail=0.25)
    left, _, right, _ = box_around(evidence, near)
    assert 0.2 <= left < right < 0.5


def test_a_box_is_not_smaller_than_the_least_and_not_narrower_than_told() -> None:
    evidence = np.zeros((10, 10), np.float32)
    evidence[9, 0:4] = 1.0
    square = msgspec.structs.replace(SPEC, least=0.2, squareness=0.5)
    np.testing.assert_allclose(box_around(evidence, square), [0.0, 0.8, 0.4, 1.0], atol=1e-6)


@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_without_a_likely_car_the_model_sees_the_whole_photo(chance: float) -> None:
    np.testing.assert_array_equal(box_around(np.full((7, 9), chance, np.float32), SPEC), [0, 0, 1, 1])


@given(evidences, st.floats(0, 0.99), st.floats(0, 0.49), shares, shares, shares, shares)
def test_a_box_lies_in_the_photo_and_is_as_large_as_it_has_to_be(
    evidence: np.ndarray, relative: float, tail: float, margin: float, least: float, squareness: float, faint: float
) -> None:
    spec = CloseUpSpec("x", 1, (8, 8), 1, 0.5, 0.5, faint, relative, tail, margin, least, squareness)
    left, top, right, bottom = box_around(evidence, spec)
    assert -1e-6 <= left < right <= 1 + 1e-6
    assert -1e-6 <= top < bottom <= 1 + 1e-6
    width, height = right - left, bottom - top
    assert min(width, height) >= min(1, least) - 1e-6
    assert min(width, height) >= squareness * max(width, height) - 1e-6


# --- from photos to close-ups -----------------------------------------------------------------------------------


def _closeup(spec: CloseUpSpec = SPEC) -> CloseUp:
    torch.manual_seed(3)
    return CloseUp(spec, Locator(spec.architecture, spec.stages))


def _photos(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (count, 3, 96, 128), np.uint8))


def test_close_ups_have_the_models_size_and_are_pixels() -> None:
    with torch.inference_mode():
        seen = _closeup()(_photos(3), 40, 56)
    assert seen.shape == (3, 3, 40, 56)
    assert seen.dtype == torch.float32
    assert seen.min() >= 0
    assert seen.max() <= 255


def test_a_photo_is_cut_the_same_alone_and_among_others() -> None:
    closeup, photos = _closeup(msgspec.structs.replace(SPEC, faint=0.0)), _photos(6)
    with torch.inference_mode():
        together = closeup.boxes(photos)
        alone = np.concatenate([closeup.boxes(photos[i : i + 1]) for i in range(6)])
    np.testing.assert_array_equal(together, alone)


def test_the_cut_is_the_box_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    closeup, photos = _closeup(), _photos(1)
    monkeypatch.setattr(closeup, "boxes", lambda _: np.array([[10, 20, 66, 60]]))
    with torch.inference_mode():
        seen = closeup(photos, 40, 56)
    np.testing.assert_allclose(seen[0].numpy(), photos[0, :, 20:60, 10:66].numpy(), atol=1e-3)


@st.composite
def _cut_out(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int]]:
    """Boxes in photos of 96 x 128 pixels, and a size."""
    corners = st.tuples(st.integers(0, 126), st.integers(0, 94), st.integers(1, 128), st.integers(1, 96))
    boxes = [
        (left, top, min(128, left + width), min(96, top + height))
        for left, top, width, height in draw(st.lists(corners, min_size=1, max_size=5))
    ]
    return np.array(boxes), draw(st.tuples(st.integers(1, 160), st.integers(1, 160)))


@settings(deadline=None, max_examples=60)
@given(_cut_out(), st.sampled_from(["bilinear", "bicubic"]), st.integers(0, 3))
def test_a_gpu_is_to_cut_the_very_bytes_that_torch_cuts_on_a_cpu(
    cut_out: tuple[np.ndarray, tuple[int, int]], mode: Mode, seed: int
) -> None:
    boxes, size = cut_out
    pixels = np.random.default_rng(seed).integers(0, 256, (len(boxes), 96, 128, 3), np.uint8)
    pixels[::2] = np.where(pixels[::2] > 127, 255, 0)  # hard edges, over which a bicubic filter overshoots
    photos = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    expected = [
        torch.nn.functional.interpolate(photo[None, :, top:bottom, left:right], size, mode=mode, antialias=True)
        for photo, (left, top, right, bottom) in zip(photos, boxes.tolist(), strict=True)
    ]
    assert torch.equal(cuts(photos, boxes, size, mode), torch.cat(expected))


def test_a_gpu_is_to_see_what_a_cpu_sees() -> None:
    rng = np.random.default_rng(2)
    large = torch.from_numpy(rng.integers(0, 256, (5, 432, 576, 3), np.uint8)).permute(0, 3, 1, 2)
    spec = msgspec.structs.replace(SPEC, photo=(432, 576), faint=0.0)
    on_cpu, as_on_gpu = _closeup(spec), _closeup(spec)
    as_on_gpu._torch_resizes_bytes = False
    with torch.inference_mode():
        np.testing.assert_array_equal(as_on_gpu.boxes(large), on_cpu.boxes(large))
        assert torch.equal(as_on_gpu(large, 192, 256), on_cpu(large, 192, 256))


def test_more_photos_than_are_cut_at_once_come_in_their_order() -> None:
    photos = _photos(2).repeat(40, 1, 1, 1)
    boxes = np.array([[i % 40, i % 40, 60 + i % 37, 50 + i % 37] for i in range(80)])
    together = cuts(photos, boxes, (24, 32), "bicubic")
    for i in (0, 63, 64, 79):
        assert torch.equal(together[i : i + 1], cuts(photos[i : i + 1], boxes[i : i + 1], (24, 32), "bicubic"))


def test_a_folded_locator_says_the_same() -> None:
    torch.manual_seed(3)
    locator = Locator(SPEC.architecture, SPEC.stages).eval()
    for module in locator.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    glances = torch.rand(2, 3, 48, 64) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(CloseUp(SPEC, locator)._locator(glances), locator(glances), atol=1e-4, rtol=1e-4)


def test_the_smallest_box_is_a_pixel() -> None:
    closeup = _closeup(msgspec.structs.replace(SPEC, faint=0.0, tail=0.4999))
    boxes = closeup.boxes(_photos(4))
    assert (boxes[:, :2] < boxes[:, 2:]).all()


# --- in a checkpoint --------------------------------------------------------------------------------------------


def _with_closeup(checkpoints: Checkpoints, to: Path, spec: CloseUpSpec = SPEC) -> Path:  # noqa: F811
    folder = copy_of(checkpoints("timm-bert"), to / "model")
    torch.manual_seed(3)
    write(folder, spec, Locator(spec.architecture, spec.stages))
    return folder


def test_a_checkpoint_with_a_locator_takes_larger_photos(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder = _with_closeup(checkpoints, tmp_path)
    model = encoder.load(resolve(str(folder), Silent()), device="cpu", dtype="float32")
    assert (model.image_spec.height, model.image_spec.width) == SPEC.photo
    photos = [np.ascontiguousarray(p) for p in _photos(5).permute(0, 2, 3, 1).numpy()]
    together = model.embed_images(photos)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, np.concatenate([model.embed_images([p]) for p in photos]), atol=1e-4)


def test_a_model_that_takes_any_shape_has_no_close_up(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    folder = copy_of(checkpoints("siglip2-naflex"), tmp_path / "model")
    write(folder, SPEC, Locator(SPEC.architecture, SPEC.stages))
    with pytest.raises(ModelError, match=r"closeup\.json"):
        encoder.load(resolve(str(folder), Silent()), device="cpu")


@pytest.mark.parametrize("size", [(600, 800), (800, 600), (700, 700), (1600, 100), (100, 1600), (3, 2)])
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_photos_of_every_shape_fill_what_mini_looks_at(size: tuple[int, int], fit: str) -> None:
    """A portrait that was scaled by its short side left a quarter of a wide picture black."""
    spec = read_image_spec(shipped("models", "mini"), fit)
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 40, 40)).save(buffer, "PNG")
    pixels = images.decode(buffer.getvalue(), spec).pixels
    assert pixels is not None
    assert pixels.shape == (spec.height, spec.width, 3)
    if fit != "pad":
        assert (pixels == (200, 40, 40)).all()


def test_half_precision_begins_after_the_first_stage(checkpoints: Checkpoints) -> None:  # noqa: F811
    model = encoder.load(resolve(str(checkpoints("timm-bert")), Silent()), device="cpu", dtype="bfloat16")
    body = model._model.vision_model.timm_model  # type: ignore[attr-defined]
    assert {p.dtype for p in [*body.conv_stem.parameters(), *body.blocks[0].parameters()]} == {torch.float32}
    assert {p.dtype for p in body.blocks[1].parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("lacking", ["bn1", "blocks"])
def test_a_tower_of_another_build_is_converted_whole(lacking: str) -> None:
    parts = {"conv_stem": torch.nn.Conv2d(3, 4, 3), "bn1": torch.nn.BatchNorm2d(4)}
    parts["blocks"] = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 4, 3))
    if lacking == "bn1":
        del parts["bn1"]
    else:
        parts["blocks"] = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3))
    model = torch.nn.ModuleDict({"vision_model": torch.nn.ModuleDict({"timm_model": torch.nn.ModuleDict(parts)})})
    to_dtype(model, torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_another_box_is_another_model(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    """Cached embeddings must not outlive a change of what the model is shown."""
    folder = _with_closeup(checkpoints, tmp_path)
    before = encoder.identity(resolve(str(folder), Silent()))
    write(folder, msgspec.structs.replace(SPEC, margin=0.3), Locator(SPEC.architecture, SPEC.stages))
    assert encoder.identity(resolve(str(folder), Silent())) != before


def _edit(**changes: object) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "closeup.json", **changes)


def _no_weights(folder: Path) -> None:
    (folder / "closeup.safetensors").unlink()


def _half_weights(folder: Path) -> None:
    path = folder / "closeup.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def _no_numbers(folder: Path) -> None:
    path = folder / "closeup.safetensors"
    save_file({name: value * float("nan") for name, value in load_file(path).items()}, path)


def _no_json(folder: Path) -> None:
    (folder / "closeup.json").write_text("{")


@pytest.mark.parametrize(
    "damage",
    [
        _no_weights,
        _half_weights,
        _no_json,
        _edit(stages=4),
        _edit(stages=40),
        _edit(stages=0),
        _edit(architecture="hf-hub:somebody/model"),
        _edit(architecture="no_such_network"),
        _edit(architecture="vit_tiny_patch16_224"),
        _edit(photo=[0, 128]),
        _edit(photo=[10**6, 10**6]),
        _edit(reduction=0),
        _edit(std=0),
        _edit(tail=0.5),
        _edit(margin="wide"),
        _edit(relative=1),
        _no_numbers,
        _edit(unknown=1),
    ],
)
def test_a_damaged_locator_is_one_line_with_its_place(
    damage: Callable[[Path], None],
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = _with_closeup(checkpoints, tmp_path)
    damage(folder)
    with pytest.raises(ModelError) as error:
        encoder.load(resolve(str(folder), Silent()), device="cpu")
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


# --- the one that ships -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "top"), [(0, 0), (330, 0), (20, 240), (340, 250), (170, 130)])
def test_mini_finds_a_small_car_wherever_it_is(left: int, top: int) -> None:
    """A drawn car, small, on plain grey: the box holds its middle and is no more than half of the photo."""
    folder = shipped("models", "mini")
    closeup = CloseUp.load(folder, torch.device("cpu"))
    assert closeup is not None
    spec = read_image_spec(folder)
    drawing = Image.open(sorted(GALLERY.rglob("*.jpg"))[0]).convert("RGB").resize((230, 170))
    canvas = Image.new("RGB", (spec.width, spec.height), (128, 130, 132))
    canvas.paste(drawing, (left, top))
    photo = torch.from_numpy(np.array(canvas)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        x0, y0, x1, y1 = closeup.boxes(photo)[0]
    assert x0 <= left + 115 <= x1
    assert y0 <= top + 95 <= y1
    assert (x1 - x0) * (y1 - y0) <= spec.width * spec.height / 2
