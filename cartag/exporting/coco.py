"""COCO's JSON of boxes, as `pycocotools`, detectors and annotation tools read it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from cartag.exporting.job import Job, Photo
from cartag.exporting.places import Place, places_of

ANY_CAR = "car"
"""The category of a box whose car is none of the catalog's."""
_DIGITS = 2
_HEX = 13
"""Digits of a hash that an id is made of: 52 bits, which a float holds too, as `pycocotools` keeps ids."""


def document(job: Job) -> bytes:
    """Images, annotations and categories; of photos that were read and have a size.

    Ids of images and annotations are made of what they stand for (the photo's path; and the box), so that they stay
    when others come and go. Photos whose name is not UTF-8 are left out: nothing could open them.
    """
    cars = {car.id: car.name for car in job.cars}
    photos = [photo for photo in job.photos if photo.record.outcome != "error" and photo.size and photo.has_plain_name]
    for photo in photos:  # a car that no catalog had is known by its id
        cars |= {tag.car: tag.name for tag in photo.tags if tag.car not in cars}
    categories = {None: 1} | {car: number for number, car in enumerate(cars, 2)}
    taken: set[int] = set()
    images, annotations = [], []
    for photo in photos:
        width, height = photo.size or (0, 0)
        number = _id(taken, photo.record.path)
        images.append({"id": number, "file_name": photo.name, "width": width, "height": height})
        for place in places_of(photo):
            annotations.append({"id": 0, "image_id": number} | _annotation(place, photo, categories))
    for annotation in annotations:
        annotation["id"] = _id(taken, f"{annotation['image_id']}\0{annotation['bbox']}\0{annotation['category_id']}")
    header = job.index.header
    whole = {
        "info": {
            "description": f"cars found by cartag with {header.model.name}, catalog {header.catalog.name}",
            "contributor": header.generator,
            "date_created": header.updated,
        },
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": ANY_CAR, "supercategory": ANY_CAR}]
        + [{"id": categories[car], "name": name, "supercategory": ANY_CAR, "car": car} for car, name in cars.items()],
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def _annotation(place: Place, photo: Photo, categories: Mapping[str | None, int]) -> dict[str, Any]:
    """A box in pixels of the upright photo; its likeliest car, for one box has one category."""
    width, height = photo.size or (0, 0)
    tag = place.tags[0] if place.tags else None
    box = [value * side for value, side in zip(place.box, (width, height) * 2, strict=True)]
    x, y = box[0], box[1]
    w, h = min(box[2], width - x), min(box[3], height - y)
    source = place.source if tag is None else tag.source
    score = place.found if tag is None else tag.score
    fields: dict[str, Any] = {
        "category_id": categories[None if tag is None else tag.car],
        "bbox": [round(value, _DIGITS) for value in (x, y, w, h)],
        "area": round(w * h, _DIGITS),
        "iscrowd": 0,
        "segmentation": [],
        "source": source,
    }
    if source == "model" and score is not None:
        fields["score"] = score
    if place.other is not None:
        fields["other"] = place.other
    return fields


def _id(taken: set[int], text: str) -> int:
    """A number of a text that no other one has; not 0, which `pycocotools` takes for no match."""
    number = int(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HEX], 16)
    while number == 0 or number in taken:
        number = (number + 1) % 16**_HEX
    taken.add(number)
    return number
