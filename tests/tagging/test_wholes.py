"""The vector of a photo as a whole is kept under one key, whichever run made it: how far the two may differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cartag import encoder as encoders
from cartag.catalogs import load_catalog
from cartag.checkpoints import resolve
from cartag.photos import PICTURE, decode, shaped
from cartag.progress import Silent
from cartag.scoring import calibration_of, class_set_of, score
from cartag.settings import Settings
from cartag.state import SharedTexts, Store

GALLERY = Path(__file__).resolve().parents[2] / "data" / "gallery"


def test_a_whole_photo_says_the_same_whether_cars_were_looked_for_or_not(tmp_path: Path) -> None:
    """With `--regions off` it is decoded at the model's size, else reduced from the picture that cars are cut from."""
    files, fit = resolve("mini", Silent()), Settings().fit
    encoder, spec = encoders.load(files, device="cpu", dtype="float32", fit=fit), encoders.image_spec(files, fit=fit)
    photos = [path.read_bytes() for path in sorted(GALLERY.glob("*.jpg"))[::3]]
    off = encoder.embed_images([pixels for d in photos if (pixels := decode(d, spec).pixels) is not None])
    on = encoder.embed_images([shaped(p, spec) for d in photos if (p := decode(d, PICTURE).pixels) is not None])
    alike = np.sum(off * on, axis=1)
    with Store(tmp_path, "mini") as store:
        classes = class_set_of(
            load_catalog("mille-miglia-2013"), store, SharedTexts(tmp_path / "texts.sqlite", "mini"), lambda: encoder
        )
    own = calibration_of(Path(files.folder))
    scores = [score(v, classes, logit_scale=encoder.logit_scale, calibration=own) for v in (off, on)]
    apart = max(
        float(np.abs(a - b).max())
        for a, b in zip(*((s.cars, s.other[:, None], s.no_car[:, None]) for s in scores), strict=True)
    )
    print(f"{len(photos)} drawings: cosine {alike.min():.4f} at least, probabilities apart by {apart:.3f} at most")
    assert alike.min() > 0.99
    assert apart < 0.1
