"""Pieces cut out of photos: of the upright photo, no larger than asked for, whatever the box."""

from __future__ import annotations

import io

import pytest
from conftest import image_bytes
from hypothesis import given, settings, strategies as st
from PIL import Image

from cartag.errors import PhotoError
from cartag.photos import pieces


def quarters(size: tuple[int, int] = (200, 100), **options: object) -> bytes:
    """Red, green, blue and white quarters, row by row."""
    image = Image.new("RGB", size, "white")
    w, h = size[0] // 2, size[1] // 2
    for colour, place in (("red", (0, 0)), ("lime", (w, 0)), ("blue", (0, h))):
        image.paste(colour, (*place, place[0] + w, place[1] + h))
    return image_bytes(image, "PNG", **options)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert not image.getexif()
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


def test_every_box_is_cut_in_its_order() -> None:
    red, white = map(opened, pieces(quarters(), [(0, 0, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)], 640))
    assert red.size == white.size == (100, 50)
    assert red.getpixel((50, 25))[0] > 240 > 20 > red.getpixel((50, 25))[1]  # type: ignore[index]
    assert min(white.getpixel((50, 25))) > 240  # type: ignore[type-var]


def test_boxes_are_those_of_the_upright_photo() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: blue comes to the top left
    (found,) = map(opened, pieces(quarters(exif=exif.tobytes()), [(0, 0, 0.5, 0.5)], 640))
    assert found.size == (50, 100)
    assert found.getpixel((25, 50))[2] > 200  # type: ignore[index]


def test_a_margin_ends_where_the_photo_does() -> None:
    sizes = [opened(piece).size for piece in pieces(quarters(), [(0.4, 0.4, 0.2, 0.2), (0, 0, 1, 1)], 640, margin=0.5)]
    assert sizes == [(80, 40), (200, 100)]


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.lists(st.tuples(*(st.floats(0, 1),) * 2, *(st.floats(1e-6, 1),) * 2), min_size=1, max_size=3),
    st.integers(1, 80),
)
@settings(deadline=None, max_examples=60)
def test_a_piece_has_a_pixel_at_least_and_is_no_larger_than_asked_for(
    size: tuple[int, int], boxes: list[tuple[float, float, float, float]], longest: int
) -> None:
    boxes = [(min(x, 1 - w), min(y, 1 - h), w, h) for x, y, w, h in boxes]
    cut = pieces(image_bytes(Image.new("RGB", size)), boxes, longest)
    assert len(cut) == len(boxes)
    assert all(1 <= side <= longest for piece in cut for side in opened(piece).size)


def test_what_is_no_photo_is_said() -> None:
    with pytest.raises(PhotoError):
        pieces(b"no picture", [(0, 0, 1, 1)], 640)
