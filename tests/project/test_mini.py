"""The bundled model: complete, small, loadable, what its recipe recorded, and able to name the drawings."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import cartag
from cartag import encoder
from cartag.checkpoints import resolve
from cartag.checkpoints.folders import missing_files
from cartag.photos import images
from cartag.progress import Silent
from cartag.scoring.calibration import calibration_of

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "models" / "mini"


def test_it_is_complete_and_light() -> None:
    assert not missing_files(MINI)
    assert sum(path.stat().st_size for path in MINI.iterdir() if path.is_file()) <= 25_000_000


def test_the_weights_are_those_the_recipe_recorded() -> None:
    """`python -m models.recipe.digests` writes them anew where a change of the recipe leaves the weights as they are."""
    from models.recipe.digests import RECIPE, recipe_digest

    recorded = json.loads((MINI / "digests.json").read_text(encoding="utf-8"))
    assert {"model.safetensors", RECIPE} <= recorded.keys()
    assert recorded.pop(RECIPE) == recipe_digest(), "the recipe is not what was recorded"
    for name, digest in recorded.items():
        assert hashlib.sha256((MINI / name).read_bytes()).hexdigest() == digest, f"{name} is not what was recorded"


def test_it_brings_its_calibration() -> None:
    calibration = calibration_of(MINI)
    assert calibration.fitted_on != type(calibration)().fitted_on


def test_it_names_the_drawings_of_the_sample_gallery(tmp_path: Path) -> None:
    gallery = ROOT / "data" / "gallery"
    report = cartag.tag(gallery, model="mini", index=tmp_path / "index.json")
    assert sum(report.outcomes.values()) == 37
    result = cartag.evaluate(gallery, gallery / "labels.csv", index=tmp_path / "index.json")
    assert result.top1 is not None
    assert result.top1 >= 0.7  # chance is 0.09; other random drawings than these gave 0.83 (model card)


def test_bfloat16_hardly_moves_its_embeddings() -> None:
    """With its first layers rounded too, or its norms folded after rounding, the least cosine was 0.995."""
    files = resolve("mini", Silent())
    exact, rounded = (encoder.load(files, device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    photos = [path.read_bytes() for path in sorted((ROOT / "data" / "gallery").glob("*.jpg"))[:16]]
    pixels = [p for p in (images.decode(photo, exact.image_spec).pixels for photo in photos) if p is not None]
    cosines = (exact.embed_images(pixels) * rounded.embed_images(pixels)).sum(axis=1)
    assert cosines.min() >= 0.999


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_its_recipe_learns() -> None:
    subprocess.run([sys.executable, "-m", "models.recipe", "--smoke"], cwd=ROOT, check=True)
