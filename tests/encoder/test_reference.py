"""cartag's numbers against those of `transformers`: scores, precision, batches, and the fast way of decoding."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import LABELS, PUBLISHED, TEMPLATE, checkpoints, edit_json  # noqa: F401 - a fixture
from PIL import Image, ImageDraw, ImageFilter

import cartag
from cartag import encoder
from cartag.catalogs import catalog
from cartag.catalogs.prompts import prompt_classes
from cartag.checkpoints import resolve
from cartag.photos import images
from cartag.progress import Silent
from cartag.resources import shipped
from cartag.scoring import scoring
from cartag.scoring.calibration import Calibration
from cartag.settings import Settings

Checkpoints = Callable[[str], Path]
SMALL = [(32, 32), (48, 48), (56, 32), (60, 40), (33, 61)]  # below twice the input: nothing is decoded smaller
LARGE = [(240, 240), (400, 170), (151, 333)]  # a JPEG of these is decoded at a half or a quarter
PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "cars" / "photos"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small only wait for each other's threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- tools ------------------------------------------------------------------------------------------------------


def drawn(size: tuple[int, int], seed: int) -> Image.Image:
    """A picture with large shapes of many colours, edges, and a little grain."""
    rng = np.random.default_rng(seed)
    scale = 4
    picture = Image.new("RGB", (size[0] * scale, size[1] * scale), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y = (rng.uniform(-0.2, 1.0, 2) * picture.size).tolist()
        w, h = (rng.uniform(0.1, 0.7, 2) * picture.size).tolist()
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + w, y + h), fill=tuple(rng.integers(0, 256, 3).tolist()))
    pixels = np.asarray(picture.resize(size, Image.Resampling.BOX), np.int16)
    grain = rng.normal(0, 6, pixels.shape).astype(np.int16)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def write_catalog(path: Path, names: Sequence[str] = LABELS, template: str = TEMPLATE) -> Path:
    lines = [f"templates: ['{template}']", "other_cars: []", "no_car: []", "cars:", *(f"  - {name}" for name in names)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def loaded(folder: Path, dtype: str = "float32", fit: str = "auto") -> encoder.Encoder:
    return encoder.load(resolve(str(folder), Silent()), device="cpu", dtype=dtype, fit=fit)


def cartag_scores(model: encoder.Encoder, photos: Sequence[bytes], catalog_file: Path) -> np.ndarray:
    """Unrounded, shape (photos, cars)."""
    classes = prompt_classes(catalog.load_catalog(catalog_file))
    class_set = scoring.class_set(classes, model.embed_texts([text for c in classes for text in c.texts]))
    pixels = [images.decode(photo, model.image_spec).pixels for photo in photos]
    embeddings = model.embed_images([p for p in pixels if p is not None])
    scores = scoring.score(
        embeddings,
        class_set,
        logit_scale=model.logit_scale,
        logit_bias=model.logit_bias,
        calibration=Calibration(),
    )
    return scores.cars


def own_image_processor(folder: Path) -> Any:
    """The checkpoint's own processor with Pillow behind it.

    The torchvision twin resamples a little differently from Pillow (up to one level of 255 a pixel), and Pillow's
    pixels are those the published models were trained and measured on.
    """
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")


def pipeline_scores(folder: Path, photos: Sequence[bytes], labels: Sequence[str], template: str) -> np.ndarray:
    """The reference, in the order of the labels: shape (photos, labels)."""
    from transformers import AutoModel, AutoTokenizer, pipeline

    reference = pipeline(
        "zero-shot-image-classification",
        model=AutoModel.from_pretrained(folder, local_files_only=True),
        tokenizer=AutoTokenizer.from_pretrained(folder, local_files_only=True),
        image_processor=own_image_processor(folder),
        device="cpu",
    )
    rows = []
    for photo in photos:
        answer = reference(
            Image.open(io.BytesIO(photo)),
            candidate_labels=list(labels),
            hypothesis_template=template.replace("{name}", "{}"),
        )
        by_label = {item["label"]: item["score"] for item in answer}
        rows.append([by_label[label] for label in labels])
    return np.array(rows)


def reference_scores(kind: str, folder: Path, photos: Sequence[bytes]) -> np.ndarray:
    """SigLIP 2 was trained on lower-cased text, but neither Gemma's tokenizer nor the pipeline lower-cases: its
    authors ask the caller to, which cartag does. The reference gets such text as well."""
    if kind == "siglip2":
        return pipeline_scores(folder, photos, [label.lower() for label in LABELS], TEMPLATE.lower())
    return pipeline_scores(folder, photos, LABELS, TEMPLATE)


def assert_tells_apart(scores: np.ndarray) -> None:
    """Scores that are all alike would agree with anything."""
    assert scores.max() - scores.min() > 0.05
    assert np.ptp(scores, axis=0).max() > 0.02, "the same for every photo"
    assert np.ptp(scores, axis=1).max() > 0.02, "the same for every car"


# --- scores -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PUBLISHED)
def test_scores_equal_the_pipeline(kind: str, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    photos = [encoded(drawn(size, seed)) for seed, size in enumerate([*SMALL, *LARGE])]
    folder = checkpoints(kind)
    ours = cartag_scores(loaded(folder), photos, write_catalog(tmp_path / "cars.yaml"))
    assert_tells_apart(ours)
    np.testing.assert_allclose(ours, reference_scores(kind, folder, photos), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_scores_of_small_jpegs_equal_the_pipeline(
    kind: str,
    checkpoints: Checkpoints,  # noqa: F811
    tmp_path: Path,
) -> None:
    photos = [encoded(drawn(size, seed), "JPEG", quality=90) for seed, size in enumerate(SMALL, 40)]
    folder = checkpoints(kind)
    ours = cartag_scores(loaded(folder), photos, write_catalog(tmp_path / "cars.yaml"))
    np.testing.assert_allclose(ours, reference_scores(kind, folder, photos), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_the_index_holds_the_pipelines_scores(kind: str, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    photos = {f"{seed}.png": encoded(drawn(size, seed)) for seed, size in enumerate([*SMALL, *LARGE])}
    for name, data in photos.items():
        (gallery / name).write_bytes(data)
    folder = checkpoints(kind)
    report = cartag.tag(
        gallery,
        catalog=write_catalog(tmp_path / "cars.yaml"),
        model=str(folder),
        device="cpu",
        settings=Settings(dtype="float32", fit="auto", candidates=len(LABELS)),
    )
    assert report.embedded == len(photos)
    ids = [car.id for car in report.index.header.catalog.cars]
    found = []
    for name in photos:
        record = report.index.photos[name]
        scores = {item.car: item.score for item in (*record.tags, *record.candidates)}
        found.append([scores[car] for car in ids])
    expected = reference_scores(kind, folder, list(photos.values()))
    # 1e-4 between the two, and half a unit of the index's fourth digit
    np.testing.assert_allclose(np.array(found), expected, rtol=0, atol=1e-4 + 0.5e-4)


@pytest.mark.parametrize("kind", ["vit-bert", "timm-bert"])
def test_embeddings_of_a_two_tower_model_equal_its_own(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    """The pipeline knows no such models; the checkpoint's own processor and model are the reference."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = checkpoints(kind)
    pictures = [drawn(size, seed) for seed, size in enumerate(SMALL)]
    texts = [TEMPLATE.format(name=label) for label in LABELS]
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        pixels = own_image_processor(folder)(images=pictures, return_tensors="pt")
        own_photos = _unit(model.get_image_features(**pixels).pooler_output.numpy())
        own_texts = _unit(model.get_text_features(**tokens).pooler_output.numpy())
    ours = loaded(folder)
    np.testing.assert_allclose(_embed(ours, [encoded(p) for p in pictures]), own_photos, atol=1e-5)
    np.testing.assert_allclose(ours.embed_texts(texts), own_texts, atol=1e-5)


# --- what the agreement hangs on --------------------------------------------------------------------------------


def test_clip_crops_the_centre(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    wide = [encoded(drawn((96, 36), seed)) for seed in range(4)]
    folder = checkpoints("clip")
    cars = write_catalog(tmp_path / "cars.yaml")
    expected = pipeline_scores(folder, wide, LABELS, TEMPLATE)
    np.testing.assert_allclose(cartag_scores(loaded(folder), wide, cars), expected, atol=1e-4)
    for other in ("squash", "pad"):
        assert np.abs(cartag_scores(loaded(folder, fit=other), wide, cars) - expected).max() > 1e-2


def test_what_clip_crops_away_does_not_count(checkpoints: Checkpoints) -> None:  # noqa: F811
    picture = drawn((96, 32), 1)
    painted = picture.copy()
    painted.paste((255, 0, 255), (0, 0, 30, 32))  # left of the 32 x 32 in the centre
    spec = encoder.image_spec(resolve(str(checkpoints("clip")), Silent()))
    one, other = (images.decode(encoded(p), spec).pixels for p in (picture, painted))
    np.testing.assert_array_equal(one, np.asarray(picture)[:, 32:64])
    np.testing.assert_array_equal(one, other)


def test_siglip_squashes(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    wide = [encoded(drawn((96, 36), seed)) for seed in range(4)]
    folder = checkpoints("siglip")
    cars = write_catalog(tmp_path / "cars.yaml")
    expected = pipeline_scores(folder, wide, LABELS, TEMPLATE)
    np.testing.assert_allclose(cartag_scores(loaded(folder), wide, cars), expected, atol=1e-4)
    for other in ("crop", "pad"):
        assert np.abs(cartag_scores(loaded(folder, fit=other), wide, cars) - expected).max() > 1e-2


@pytest.mark.parametrize("kind", ["siglip", "siglip2", "siglip2-naflex"])
def test_siglip_reads_text_in_lower_case(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    model = loaded(checkpoints(kind))
    written, lower = (
        model.embed_texts(["A photo of a PAGANI Huayra"]),
        model.embed_texts(["a photo of a pagani huayra"]),
    )
    np.testing.assert_array_equal(written, lower)


def test_lower_case_is_not_the_tokenizers_doing(checkpoints: Checkpoints) -> None:  # noqa: F811
    """Else the test above would pass without cartag's own lower-casing."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoints("siglip2"), local_files_only=True)
    assert tokenizer("PAGANI").input_ids != tokenizer("pagani").input_ids


@pytest.mark.parametrize("kind", ["siglip", "siglip2", "siglip2-naflex"])
def test_siglip_pads_text_to_the_full_length(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    """Its text tower pools the last position: other padding gives another embedding."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = checkpoints(kind)
    texts = ["a photo of a wiesmann.", "a porsche"]
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    embedded = {}
    for padding in ("max_length", "longest"):
        tokens = tokenizer(texts, padding=padding, max_length=64, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            embedded[padding] = _unit(model.get_text_features(**tokens).pooler_output.numpy())
    ours = loaded(folder).embed_texts(texts)
    np.testing.assert_allclose(ours, embedded["max_length"], atol=1e-5)
    assert _cosines(ours, embedded["longest"]).min() < 0.999


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_text_beyond_the_models_length_is_cut(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    model = loaded(checkpoints(kind))
    assert np.isfinite(model.embed_texts(["a very long name " * 50])).all()


def test_clip_ignores_the_padding(checkpoints: Checkpoints) -> None:  # noqa: F811
    model = loaded(checkpoints("clip"))
    together = model.embed_texts(["a car", "a photo of the cleanest Lamborghini Countach"])
    np.testing.assert_allclose(together[:1], model.embed_texts(["a car"]), atol=1e-6)


# --- batches and precision --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*PUBLISHED, "vit-bert", "timm-bert"])
def test_the_batch_size_changes_no_score(kind: str, checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    photos = [encoded(drawn((64, 40 + seed), seed)) for seed in range(32)]
    model = loaded(checkpoints(kind))
    cars = write_catalog(tmp_path / "cars.yaml")
    whole = cartag_scores(model, photos, cars)
    for size in (1, 3, 8):
        parts = [cartag_scores(model, photos[i : i + size], cars) for i in range(0, len(photos), size)]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-5)


def test_the_batch_size_changes_no_index(checkpoints: Checkpoints, tmp_path: Path) -> None:  # noqa: F811
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    for seed in range(9):
        drawn((64, 48), seed).save(gallery / f"{seed}.png")
    found = []
    for size in (1, 3, 8, 32):
        report = cartag.tag(
            gallery,
            catalog=write_catalog(tmp_path / "cars.yaml"),
            model=str(checkpoints("clip")),
            device="cpu",
            index=tmp_path / str(size) / "cartag.json",
            settings=Settings(dtype="float32", batch_size=size),
        )
        found.append([{item.car: item.score for item in (*record.tags, *record.candidates)} for record in report.index])
    for scores in found[1:]:
        for one, other in zip(found[0], scores, strict=True):
            assert one.keys() == other.keys()
            assert max(abs(one[car] - other[car]) for car in one) <= 1e-4  # one unit of the last digit kept


@pytest.mark.parametrize("kind", [*PUBLISHED, "vit-bert", "timm-bert"])
def test_bfloat16_is_close_to_float32(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    photos = [encoded(drawn((64, 48), seed)) for seed in range(8)]
    texts = [TEMPLATE.format(name=label) for label in LABELS]
    full, half = loaded(checkpoints(kind)), loaded(checkpoints(kind), "bfloat16")
    assert half.dtype == "bfloat16"
    assert _cosines(_embed(full, photos), _embed(half, photos)).min() >= 0.999
    assert _cosines(full.embed_texts(texts), half.embed_texts(texts)).min() >= 0.999
    assert half.logit_scale == full.logit_scale
    assert half.logit_bias == full.logit_bias


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_embeddings_are_unit_float32(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    model = loaded(checkpoints(kind), "bfloat16")
    for vectors in (_embed(model, [encoded(drawn((40, 40), 1))]), model.embed_texts(["a car", "a bus"])):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


# --- the fast way of decoding -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def camera_photos() -> list[bytes]:
    """JPEGs of six megapixels with detail down to the pixel, as cameras write them."""
    photos = []
    for seed, size in enumerate([(3000, 2000), (2000, 3000), (2990, 2003)]):
        rng = np.random.default_rng(seed)
        shapes = drawn((375, 250), seed).resize(size, Image.Resampling.BICUBIC)
        fine = Image.fromarray(rng.integers(0, 256, (size[1] // 2, size[0] // 2), np.uint8)).resize(size)
        picture = Image.blend(shapes, fine.filter(ImageFilter.GaussianBlur(1)).convert("RGB"), 0.25)
        photos.append(encoded(picture, "JPEG", quality=88, subsampling=2 if seed else 0))
    return photos


def _models_to_decode_for() -> Iterator[Any]:
    yield from PUBLISHED
    yield "mini"


def _folder(kind: str, checkpoints: Checkpoints) -> Path:  # noqa: F811
    return shipped("models", "mini") if kind == "mini" else checkpoints(kind)


@pytest.mark.parametrize("kind", _models_to_decode_for())
def test_fast_decoding_of_camera_photos(
    kind: str,
    checkpoints: Checkpoints,  # noqa: F811
    camera_photos: list[bytes],
) -> None:
    folder = _folder(kind, checkpoints)
    assert _agreement_with_full_decoding(folder, camera_photos).min() >= 0.99


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the shared photos are not beside this checkout")
@pytest.mark.parametrize("kind", _models_to_decode_for())
def test_fast_decoding_of_real_photos(kind: str, checkpoints: Checkpoints) -> None:  # noqa: F811
    names = sorted(name for name in os.listdir(PHOTOS) if name.lower().endswith((".jpg", ".jpeg")))
    photos = [(PHOTOS / name).read_bytes() for name in names[:: max(1, len(names) // 40)][:40]]
    folder = _folder(kind, checkpoints)
    assert _agreement_with_full_decoding(folder, photos).min() >= 0.99


def test_fast_decoding_is_used(camera_photos: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the two tests above would compare the full decoding with itself."""
    from PIL import JpegImagePlugin

    drafted = []
    original = JpegImagePlugin.JpegImageFile.draft

    def spy(self: Any, mode: Any, size: Any) -> Any:
        answer = original(self, mode, size)
        drafted.append(self.size)
        return answer

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", spy)
    spec = encoder.FakeEncoder.image_spec
    decoded = images.decode(camera_photos[0], spec)
    assert (decoded.width, decoded.height) == (3000, 2000)
    assert drafted == [(375, 250)]


def _agreement_with_full_decoding(folder: Path, photos: Sequence[bytes]) -> np.ndarray:
    """Cosine of every photo between cartag's pixels and the checkpoint's own processor on the full decode."""
    import torch
    from transformers import AutoModel

    ours = _embed(loaded(folder), photos)
    opened = [Image.open(io.BytesIO(photo)).convert("RGB") for photo in photos]
    model, processor = AutoModel.from_pretrained(folder, local_files_only=True).eval(), own_image_processor(folder)
    own = []
    with torch.inference_mode():
        for image in opened:
            inputs = processor(images=image, return_tensors="pt")
            own.append(model.get_image_features(**inputs).pooler_output.numpy())
    return _cosines(ours, _unit(np.concatenate(own)))


# --- arithmetic -------------------------------------------------------------------------------------------------


def _embed(model: encoder.Encoder, photos: Sequence[bytes]) -> np.ndarray:
    pixels = [images.decode(photo, model.image_spec).pixels for photo in photos]
    return model.embed_images([p for p in pixels if p is not None])


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    cosines: np.ndarray = (_unit(one) * _unit(other)).sum(axis=1)
    return cosines
