"""The family tests once more, on the real checkpoints of the table. `make hub` runs them; elsewhere they are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from test_reference import cartag_scores, drawn, encoded, loaded, own_image_processor, reference_scores, write_catalog

from cartag.checkpoints import is_here, known_models, resolve
from cartag.photos import images
from cartag.progress import Silent

NAMES = [name for name in known_models() if name != "mini"]
SIZES = [(640, 427), (333, 500), (1024, 300)]
WANTED = os.environ.get("HUB_TESTS") == "1"


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest) -> Path:
    """Of a checkpoint of the table whose files are here."""
    if not WANTED:
        pytest.skip("real checkpoints of the hub: `make hub` runs this")
    if not is_here(known_models()[request.param]):
        pytest.skip(f"{request.param} is not here; where there is network: cartag models fetch {request.param}")
    return Path(resolve(request.param, Silent()).folder)


def test_scores_are_the_pipelines(folder: Path, tmp_path: Path) -> None:
    photos = [encoded(drawn(size, seed)) for seed, size in enumerate(SIZES)]
    ours = cartag_scores(loaded(folder), photos, write_catalog(tmp_path / "cars.yaml"))
    kind = "siglip2" if "siglip2" in folder.parents[1].name else "clip"
    np.testing.assert_allclose(ours, reference_scores(kind, folder, photos), rtol=0, atol=2e-3)


def test_pixels_are_those_of_its_own_processor(folder: Path) -> None:
    spec = loaded(folder).image_spec
    processor = own_image_processor(folder)
    for seed, size in enumerate(SIZES):
        picture = drawn(size, seed)
        ours = images.decode(encoded(picture), spec).pixels
        assert ours is not None
        theirs = processor(images=picture, return_tensors="np", do_rescale=False, do_normalize=False)["pixel_values"][0]
        assert np.abs(ours.astype(float) - theirs.transpose(1, 2, 0)).mean() < 1.0
