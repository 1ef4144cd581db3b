"""Cuttings: what is cut out of the photographs to train on, as the tool will cut it, and what is known of each."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from cartag.values import Box
from models.recipe.cuts import spec_of, window_of
from models.recipe.labels import Item
from models.recipe.photos import Photo
from models.recipe.pictures import AROUND_HW, RUN_HW, Pictures

_WIDER = 0.125  # of a cut, on every side: training moves about there


@dataclass(frozen=True)
class Cutting:
    """A part of a picture: its row in the cache, what it shows, and the photograph that it was cut out of."""

    row: int
    key: str  # its class; "" for a car or a thing that nobody named
    photo: int  # number of the photograph, -1 where it is a picture that all folds share
    no_car: str = ""  # group of what is no car
    is_another: bool = False  # a car without a name that is none of the catalog's
    kind: ClassVar[str] = "whole"  # as what it is augmented


@dataclass(frozen=True)
class Cut:
    """Where a cutting lies: in which of some pictures, and where in it (None: all of it)."""

    picture: int
    box: Box | None
    key: str
    photo: int
    no_car: str = ""
    is_another: bool = False


def cuts_of_photos(photos: Sequence[Photo], boxes: Sequence[list[Box]]) -> list[Cut]:
    """What is trained on of photographs in which the tool finds these cars.

    The largest car has the name of the photograph, where it has one name. What else it finds are cars without a name;
    they are other cars where the photograph shows no car of the catalog. Where there is no car, whatever it takes for
    one is a lesson, as is the photograph itself.
    """
    found: list[Cut] = []
    for photo, own in zip(photos, boxes, strict=True):
        if photo.no_car:
            nothing = f"no car: {photo.no_car}"
            found += [Cut(photo.row, box, nothing, photo.row, photo.no_car) for box in (None, *own)]
            continue
        is_other = photo.cars == ("other",)
        if photo.is_plain:
            key = photo.labels[0] if photo.labels else ""
            found.append(Cut(photo.row, own[0] if own else None, key, photo.row, "", is_other and not key))
        if is_other:
            found += [Cut(photo.row, box, "", photo.row, "", is_another=True) for box in own[1:]]
    return found


def cuts_of_nothing(items: Sequence[Item], boxes: Sequence[list[Box]]) -> list[Cut]:
    """What the tool takes for cars in pictures without any."""
    return [Cut(item.row, box, item.key, -1, item.group) for item, own in zip(items, boxes, strict=True) for box in own]


def cut_out(sources: Sequence[tuple[Pictures, list[Cut]]], to: Path) -> tuple[Pictures, list[Cutting]]:
    """All of them in one cache, a quarter wider than the model will see them, so that training can move about there.

    The cache has a digest of what was cut in its name: other boxes are other cuttings.
    """
    jobs = [(pictures, job) for pictures, own in sources for job in own]
    places = [(n, job, pictures.aspects[job.picture]) for n, (pictures, own) in enumerate(sources) for job in own]
    where = repr([(n, job.picture, job.box, float(aspect)) for n, job, aspect in places])
    to = to.with_name(f"{to.name}-{hashlib.sha256(where.encode()).hexdigest()[:12]}")
    if not Path(f"{to}.aspect.npy").exists():
        out, aspects = np.empty((len(jobs), *AROUND_HW, 3), np.uint8), np.zeros(len(jobs), dtype=np.float32)
        for i, (pictures, job) in enumerate(jobs):
            out[i], aspects[i] = wider(pictures, job.picture, job.box)
        for ending, values in (
            (".npy", out),
            (".alpha.npy", np.full(out.shape[:3], 255, np.uint8)),
            (".aspect.npy", aspects),
        ):
            with tempfile.NamedTemporaryFile(dir=to.parent, delete=False) as part:
                np.save(part, values)
            Path(part.name).replace(f"{to}{ending}")
    cuttings = [Cutting(i, j.key, j.photo, j.no_car, j.is_another) for i, (_, j) in enumerate(jobs)]
    return Pictures.open(to), cuttings


def wider(pictures: Pictures, row: int, box: Box | None) -> tuple[np.ndarray, float]:
    """What is around a car (h, w, 3), and width / height of the part of the photograph that it shows."""
    picture = pictures.pixels[row]
    height, width = picture.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    left, top, right, bottom = whole if box is None else window_of(pictures, row, box, spec_of(RUN_HW))
    w, h = _WIDER * (right - left), _WIDER * (bottom - top)
    window = (max(0.0, left - w), max(0.0, top - h), min(width, right + w), min(height, bottom + h))
    taken = Image.fromarray(picture).resize(AROUND_HW[::-1], Image.Resampling.BICUBIC, box=window)
    shape = (window[2] - window[0]) / width / ((window[3] - window[1]) / height)
    return np.asarray(taken), float(pictures.aspects[row]) * shape
