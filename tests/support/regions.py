"""Photos with several cars, and their regions as a run writes them into the index."""

from __future__ import annotations

from typing import Any

import msgspec
from conftest import Gallery
from PIL import Image, ImageDraw

from cartag.scoring import follow
from cartag.values import Region

FOUR = {
    (0.05, 0.45, 0.4, 0.4): "red",
    (0.5, 0.4, 0.3, 0.25): "blue",
    (0.7, 0.68, 0.25, 0.2): "yellow",
    (0.04, 0.04, 0.15, 0.12): "orange",
}
"""Boxes, largest first, and what is painted in each of them."""
BOXES = [list(box) for box in FOUR]


def region(box: list[float], car: str | None = None, score: float = 0.9, other: str | None = None) -> dict[str, Any]:
    """A region of the model's; without a car an unknown one, which may look like one outside of the catalog."""
    found: dict[str, Any] = {"box": box, "found": 0.9, "outcome": "tagged" if car else "unknown"}
    if car:
        found["tags"] = [{"car": car, "score": score, "source": "model"}]
    found["candidates"] = [{"car": "yellow-yeti", "score": 0.05}]
    return found | ({"other": {"name": other, "score": 0.6}} if other else {})


def four_regions() -> list[dict[str, Any]]:
    return [
        region(BOXES[0], "red-racer"),
        region(BOXES[1], "blue-bolt", 0.7),
        region(BOXES[2]),
        region(BOXES[3], other="Ferrari F430"),
    ]


def paint_four(gallery: Gallery, name: str = "four.jpg", size: tuple[int, int] = (600, 400)) -> None:
    """A photo of four cars."""
    image = Image.new("RGB", size, (150, 170, 150))
    for (x, y, w, h), colour in FOUR.items():
        corners = (x * size[0], y * size[1], (x + w) * size[0], (y + h) * size[1])
        ImageDraw.Draw(image).rectangle(corners, fill=colour)
    image.save(gallery.path / name)


def put_regions(gallery: Gallery, name: str, regions: list[dict[str, Any]]) -> None:
    """Writes regions into the index, and what follows from them for the photo."""
    verdict = follow(msgspec.convert(regions, list[Region]), 5)
    answer = msgspec.to_builtins({"tags": verdict.tags, "candidates": verdict.candidates})
    gallery.edit_photo(name, regions=regions, outcome=verdict.outcome, **answer)
