"""`cartag models check`: a model embeds pictures whose cars are known, and what must hold of it is looked at.

Pictures are looked at as wholes. Of a hub model this is the first time that anybody runs it here, so each check is one
that a checkpoint of the right shape with the wrong processor, tokenizer or dtype would fail.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cartag import checkpoints, encoder as encoders
from cartag.catalogs import load_catalog, prompt_classes
from cartag.encoder import Encoder, OwnProcessor, embedded_by_transformers
from cartag.errors import CartagError, UsageError
from cartag.measuring import read_labels
from cartag.photos import decode, read_bytes
from cartag.progress import Progress, Silent
from cartag.resources import shipped
from cartag.scoring import calibration_of, class_set, decide, score
from cartag.settings import DEFAULT_CATALOG, load_settings
from cartag.values import Catalog, ImageSpec, ModelFiles

_SAME_PIXELS = 0.98
"""Least cosine between what the checkpoint's own processor makes of a picture and cartag's decode: 0.999 as a rule."""
_SAME_BATCH = 0.9999
_SAME_TOWER = 0.9999
_SAME_DTYPE = 0.99
_TEXTS_APART = 0.9999
_FEW = 8
_FEWER = 2  # in bfloat16, which a processor without instructions for it computes at a crawl
_CHANCE = 0.001
"""How likely a model that knows no car may be to do as well."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    found: str
    holds: bool | None
    """None: a figure to read, not one that must be so."""


@dataclass(frozen=True)
class Trial:
    """What came of trying a model out."""

    model: str
    source: str
    revision: str
    pictures: int
    checks: tuple[Check, ...]
    top1: float
    """Share of the pictures of the catalog's cars whose likeliest car is the right one."""
    outcomes: dict[str, int]
    seconds_a_photo: float
    """Of the image tower, in a batch."""

    @property
    def holds(self) -> bool:
        """Whether everything holds that must."""
        return all(check.holds is not False for check in self.checks)


def check_model(
    name: str,
    gallery: Path | str | None = None,
    *,
    catalog: str | Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Trial:
    """Tries a model out on a gallery with hand labels in its `labels.csv`.

    Args:
        name: a name of `cartag models`, a hub id, or a folder; it is fetched where it is not here.
        gallery: the folder; None: the sample gallery of cartag's repository, which is drawings.
        catalog: what is looked for; None: `mille-miglia-2013`.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: hears what is going on.

    Raises:
        ModelError: the model cannot be had or loaded.
        UsageError: there are no labels, or no pictures.
    """
    folder = Path(gallery) if gallery is not None else shipped("data", "gallery")
    wanted = load_catalog(catalog or DEFAULT_CATALOG)
    settings = load_settings({"device": device})
    files = checkpoints.resolve(name, progress or Silent())
    pictures, labels = _labelled(folder, wanted)
    model = encoders.load(files, device=settings.device, dtype="float32")
    spec = model.image_spec
    ours = [_decoded(data, spec) for data in pictures]
    model.embed_images(ours[:_FEW])  # warms up
    began = time.perf_counter()
    vectors = model.embed_images(ours)
    seconds = (time.perf_counter() - began) / len(ours)
    checks = [
        *_of_vectors(vectors),
        *_of_pixels(files, model, pictures, ours, vectors),
        _of_towers(files, settings.device, ours, vectors),
        _of_batches(model, ours, vectors),
        _of_dtype(files, settings.device, ours, vectors),
    ]
    said, top1, outcomes = _of_answers(files, model, wanted, vectors, labels)
    checks += [*said, Check("seconds a photo, image tower in float32", f"{seconds:.3f}", None)]
    return Trial(
        files.spec.name, files.spec.source, files.revision, len(pictures), tuple(checks), top1, outcomes, seconds
    )


def _labelled(folder: Path, catalog: Catalog) -> tuple[list[bytes], list[str]]:
    """Pictures, and of each the id of the catalog's car, `unknown` or `none`; those of several cars are left out."""
    path = folder / "labels.csv"
    if not path.is_file():
        raise UsageError(
            f"{path}: not there; name a gallery with hand labels in its labels.csv, as --gallery DIR (the sample "
            "gallery lies in data/gallery of cartag's repository, and is not installed with it)"
        )
    pairs = []
    for label in read_labels(path, catalog.cars):
        if len(label.cars) <= 1 and (folder / label.file).is_file():
            pairs.append((read_bytes(folder / label.file), next(iter(label.cars), label.truth)))
    if not pairs:
        raise UsageError(f"{path}: names no picture that is there")
    return [data for data, _ in pairs], [truth for _, truth in pairs]


def _decoded(data: bytes, spec: ImageSpec) -> np.ndarray:
    pixels = decode(data, spec).pixels
    assert pixels is not None  # a spec was given
    return pixels


def _in_full(data: bytes) -> np.ndarray:
    whole = decode(data, None)
    return _decoded(data, ImageSpec(whole.height, whole.width, "squash", whole.height, 3, (0.5,) * 3, (0.5,) * 3))


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    cosines: np.ndarray = (one * other).sum(axis=1)
    return cosines


# --- the checks -------------------------------------------------------------------------------------------------


def _of_vectors(vectors: np.ndarray) -> Iterator[Check]:
    sound = bool(np.isfinite(vectors).all() and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3))
    yield Check("vectors are finite and of unit length", "yes" if sound else "no", sound)
    if len(vectors) > 1:
        apart = 1 - float((vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)].mean())
        yield Check("pictures differ (mean 1 - cosine)", f"{apart:.4f}", apart > 1e-3)


def _of_pixels(
    files: ModelFiles, model: Encoder, pictures: Sequence[bytes], ours: Sequence[np.ndarray], vectors: np.ndarray
) -> Iterator[Check]:
    spec = model.image_spec
    what = f"its own processor against cartag's decode (least cosine of {min(_FEW, len(ours))})"
    if spec.fit == "native":
        theirs = model.embed_images([_in_full(data) for data in pictures[:_FEW]])
    else:
        own = OwnProcessor(files)
        theirs = model.embed_images(own.pixels([_in_full(data) for data in pictures[:_FEW]]))
        normal = own.normalises_as(spec.mean, spec.std)
        yield Check("its own mean and deviation of colours are used", "yes" if normal else "no", normal)
    least = float(_cosines(theirs, vectors[:_FEW]).min())
    yield Check(what, f"{least:.4f}", least >= _SAME_PIXELS)


def _of_towers(files: ModelFiles, device: str, ours: Sequence[np.ndarray], vectors: np.ndarray) -> Check:
    what = f"the image tower as transformers has it against cartag's (least cosine of {min(_FEW, len(ours))})"
    if files.spec.source == checkpoints.FAKE_MODEL:
        return Check(what, "not of transformers", None)
    theirs = embedded_by_transformers(files, ours[:_FEW], device=device)
    least = float(_cosines(theirs, vectors[:_FEW]).min())
    return Check(what, f"{least:.6f}", least >= _SAME_TOWER)


def _of_batches(model: Encoder, ours: Sequence[np.ndarray], vectors: np.ndarray) -> Check:
    alone = np.concatenate([model.embed_images([one]) for one in ours[:_FEW]])
    least = float(_cosines(alone, vectors[:_FEW]).min())
    return Check("one at a time against a batch (least cosine)", f"{least:.6f}", least >= _SAME_BATCH)


def _of_dtype(files: ModelFiles, device: str, ours: Sequence[np.ndarray], vectors: np.ndarray) -> Check:
    what = "bfloat16 against float32 (least cosine)"
    try:
        narrow = encoders.load(files, device=device, dtype="bfloat16")
    except CartagError as e:
        return Check(what, f"not possible: {e}", None)
    least = float(_cosines(narrow.embed_images(ours[:_FEWER]), vectors[:_FEWER]).min())
    return Check(what, f"{least:.4f}", least >= _SAME_DTYPE)


def _of_answers(
    files: ModelFiles, model: Encoder, catalog: Catalog, vectors: np.ndarray, labels: Sequence[str]
) -> tuple[list[Check], float, dict[str, int]]:
    classes = prompt_classes(catalog)
    texts = model.embed_texts([text for c in classes for text in c.texts])
    prototypes = class_set(classes, texts)
    cars = prototypes.embeddings[: len(catalog.cars)]
    alike = float((cars @ cars.T)[~np.eye(len(cars), dtype=bool)].max()) if len(cars) > 1 else 0.0
    calibration = calibration_of(Path(files.folder) if files.folder else None, rejects=prototypes.rejects)
    scores = score(
        vectors, prototypes, logit_scale=model.logit_scale, logit_bias=model.logit_bias, calibration=calibration
    )
    verdicts = decide(scores, prototypes.cars, calibration, 1)
    shown = [(i, truth) for i, truth in enumerate(labels) if truth in prototypes.cars]
    right = sum(prototypes.cars[int(scores.cars[i].argmax())] == truth for i, truth in shown)
    chance = 1 / len(catalog.cars)
    can_tell = _luck(len(shown), len(shown), chance) < _CHANCE  # not of one car, or of two pictures
    outcomes: dict[str, int] = dict(Counter(str(verdict.outcome) for verdict in verdicts))
    answers = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    percent = f"{100 * right / max(1, len(shown)):.0f} % of {len(shown)} (by chance {100 * chance:.0f} %)"
    checks = [
        Check("names of cars differ (greatest cosine of two)", f"{alike:.4f}", alike < _TEXTS_APART),
        Check(
            "likeliest car is the right one", percent, _luck(right, len(shown), chance) < _CHANCE if can_tell else None
        ),
        Check("outcomes", f"{answers}; calibration: {calibration.fitted_on}", None),
    ]
    return checks, right / max(1, len(shown)), outcomes


def _luck(right: int, of: int, chance: float) -> float:
    """How likely at least so many are right by chance: the upper tail of the binomial distribution."""
    if chance >= 1:
        return 1.0
    log, log_other = math.log(chance), math.log1p(-chance)

    def likely(k: int) -> float:  # by logarithms: the ways to be right so often are too many for a float
        ways = math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1)
        return math.exp(ways + k * log + (of - k) * log_other)

    return sum(likely(k) for k in range(right, of + 1))
