"""Files that programs do not agree on, and in which a person sees a good picture: so does cartag."""

from __future__ import annotations

import io
import random
import struct
import warnings

import numpy as np
import pytest
from badphotos import valid_files
from conftest import image_bytes
from PIL import Image, TiffImagePlugin

from cartag.errors import PhotoError
from cartag.photos import images, jpegs, tiffs
from cartag.photos.cage import Cages, Limits
from cartag.photos.samples import eight_bits
from cartag.values import ImageSpec

HALF = (0.5, 0.5, 0.5)
SIDE = 48
SPEC = ImageSpec(SIDE, SIDE, "squash", SIDE, 3, HALF, HALF)


def scene() -> np.ndarray:
    """A grey of 48 x 48 with all values in it, and with noise: uint8."""
    rng = np.random.default_rng(3)
    ramp = np.linspace(0, 220, SIDE * SIDE).reshape(SIDE, SIDE)
    return np.clip(ramp + rng.integers(0, 36, ramp.shape), 0, 255).astype(np.uint8)


def pixels(data: bytes, spec: ImageSpec = SPEC) -> np.ndarray:
    found = images.decode(data, spec).pixels
    assert found is not None
    return found


def tiff(values: np.ndarray, **tags: int) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag[1:])] = value
    return image_bytes(Image.fromarray(values), "TIFF", tiffinfo=info)


def is_like(found: np.ndarray, wanted: np.ndarray, tolerance: float = 2) -> bool:
    wanted = wanted if wanted.ndim == 3 else np.stack([wanted] * 3, axis=-1)
    return float(np.abs(found.astype(int) - wanted).mean()) <= tolerance


# --- which value is white ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_32_bit_whole_numbers_are_as_bright_as_the_bits_that_hold_them(bits: int) -> None:
    values = scene().astype(np.int32) * (2**bits - 1) // 255
    assert is_like(pixels(tiff(values)), scene())


def test_whole_numbers_beyond_16_bits_or_below_zero_are_stretched() -> None:
    for values in (scene().astype(np.int32) * 100_000, scene().astype(np.int32) - 128):
        assert is_like(pixels(tiff(values)), scene(), 4)


def test_12_bits_in_16_are_as_bright_as_they_were_meant() -> None:
    assert is_like(pixels(tiff((scene().astype(np.uint16) << 4) | 15)), scene())
    assert is_like(pixels(image_bytes(Image.fromarray(scene().astype(np.uint16) << 4), "PNG")), scene(), 9)


@pytest.mark.parametrize("brightest", [0, 100, 2047, 4096, 16383, 30000, 65535])
def test_a_dark_picture_of_16_bits_stays_dark(brightest: int) -> None:
    values = (scene().astype(np.float64) / 255 * brightest).astype(np.uint16)
    values[0, 0] = brightest
    assert is_like(pixels(tiff(values)), (values >> 8).astype(np.uint8), 1)


@pytest.mark.parametrize("brightest", [300, 4095, 65535])
def test_the_statistic_of_a_file_is_no_range(brightest: int) -> None:
    values = scene().astype(np.uint16) * 257
    assert is_like(pixels(tiff(values, t281=brightest, t280=0)), scene())


def rgb_16(values: np.ndarray) -> bytes:
    """A TIFF of three samples of 16 bits, which Pillow does not write."""
    data = values.astype("<u2").tobytes()
    entries = ((256, 3, 1, SIDE), (257, 3, 1, SIDE), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2))
    entries += ((273, 4, 1, 14), (277, 3, 1, 3), (278, 3, 1, SIDE), (279, 4, 1, len(data)))
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<I", 14 + len(data)) + struct.pack("<HHH", 16, 16, 16)
    return head + data + struct.pack("<H", len(entries)) + rows + bytes(4)


def test_colours_of_12_bits_in_16_are_as_bright_as_they_were_meant() -> None:
    rgb = np.stack([scene(), scene()[::-1], scene().T], axis=-1)
    assert is_like(pixels(rgb_16(rgb.astype(np.uint16) << 4)), rgb, 9)
    assert is_like(pixels(rgb_16(rgb.astype(np.uint16) * 257)), rgb)
    assert is_like(pixels(rgb_16(rgb.astype(np.uint16) * 7)), rgb.astype(np.uint16) * 7 >> 8, 1)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan, 1e30, -1e30, 3.0])
def test_one_wrong_pixel_of_a_float_picture_costs_itself(wrong: float) -> None:
    values = scene().astype(np.float32) / 255
    values[5, 7] = wrong
    found, wanted = pixels(tiff(values)).astype(int), np.stack([scene()] * 3, axis=-1).astype(int)
    found[4:7, 6:9] = wanted[4:7, 6:9] = 0
    assert is_like(found, wanted, 4)


def test_a_float_picture_without_a_number_in_it_is_one_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not pixels(tiff(np.full((SIDE, SIDE), np.nan, np.float32))).any()
        assert not eight_bits(np.full((4, 4), 0.3, np.float32), None).any()


# --- transparency -----------------------------------------------------------------------------------------------


def bmp(alpha: np.ndarray) -> bytes:
    """A BMP with a V4 header, whose masks name a fourth byte."""
    rgb = np.stack([scene(), scene()[::-1], scene().T, alpha], axis=-1)[::-1]
    body = np.ascontiguousarray(rgb[..., [2, 1, 0, 3]]).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, SIDE, SIDE, 1, 32, 3, len(body), 2835, 2835, 0, 0) + masks + b"BGRs"
    header += bytes(108 - len(header))
    return b"BM" + struct.pack("<IHHI", 122 + len(body), 0, 0, 122) + header + body


def test_an_alpha_of_a_bmp_that_is_nowhere_above_zero_is_none() -> None:
    rgb = np.stack([scene(), scene()[::-1], scene().T], axis=-1)
    assert is_like(pixels(bmp(np.zeros((SIDE, SIDE), np.uint8))), rgb)
    seen = np.zeros((SIDE, SIDE), np.uint8)
    seen[:, :24] = 255
    found = pixels(bmp(seen))
    assert is_like(found[:, :24], rgb[:, :24])
    assert (found[:, 24:] == 255).all()


def test_a_png_that_is_transparent_everywhere_stays_so() -> None:
    empty = Image.new("RGBA", (SIDE, SIDE), (200, 0, 0, 0))
    assert (pixels(image_bytes(empty, "PNG")) == 255).all()


# --- pages of a TIFF --------------------------------------------------------------------------------------------


def pages(*sizes: tuple[int, int], kind: int | None = None) -> bytes:
    """A TIFF whose pages have a grey of their own: 10 for the first, 20 for the second; ``kind`` is said of the first."""
    made = [Image.new("L", size, 10 * number) for number, size in enumerate(sizes, 1)]
    if kind is not None:
        info = TiffImagePlugin.ImageFileDirectory_v2()
        info[254] = kind
        made[0].encoderinfo = {"tiffinfo": info}
    return image_bytes(made[0], "TIFF", save_all=True, append_images=made[1:])


@pytest.mark.parametrize(
    ("sizes", "kind", "wanted"),
    [
        ([(48, 32), (480, 320)], None, 20),
        ([(160, 107), (480, 320)], None, 20),
        ([(480, 320), (48, 32)], None, 10),
        ([(480, 320), (480, 320)], None, 10),
        ([(300, 200), (480, 320)], None, 10),
        ([(48, 48), (480, 320)], None, 10),
        ([(48, 32), (96, 64), (480, 320), (480, 320)], None, 30),
    ],
)
def test_the_first_page_counts_unless_it_is_a_small_copy(
    sizes: list[tuple[int, int]], kind: int | None, wanted: int
) -> None:
    data = pages(*sizes, kind=kind)
    assert int(pixels(data).mean()) == wanted
    assert (images.decode(data, None).width, images.decode(data, None).height) == sizes[wanted // 10 - 1]


def test_a_page_that_says_it_is_reduced_or_a_mask_is_not_the_picture() -> None:
    page = tiffs.Page
    assert tiffs.picture([page((300, 300), 1), page((400, 300))]) == 1
    assert tiffs.picture([page((400, 300), 0, 2), page((400, 300))]) == 1
    assert tiffs.picture([page((400, 300), 4), page((400, 300), 2)]) == 1
    assert tiffs.picture([page((40, 30)), page((400, 300), 4)]) == 0
    assert tiffs.picture([page((40, 30), 1)]) == 0
    assert tiffs.picture([page((40, 30), 1), page((20, 15), 1)]) == 0
    assert tiffs.picture([page((40, 30), (1, 2)), page((10, 10))]) == 0
    assert tiffs.picture([]) == 0


def test_a_damaged_second_page_costs_not_the_first() -> None:
    data = bytearray(pages((480, 320), (48, 32)))
    start = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[start : start + 2], "little")
    struct.pack_into("<I", data, start + 2 + 12 * entries, len(data) - 3)
    assert int(pixels(bytes(data)).mean()) == 10


# --- JPEGs without their end ------------------------------------------------------------------------------------


def jpegs_of_all_kinds() -> dict[str, bytes]:
    rng = np.random.default_rng(9)
    image = Image.fromarray(rng.integers(0, 255, (40, 56, 3), np.uint8)).resize((112, 80))
    kinds = {
        "baseline": {},
        "grey": {},
        "subsampled": {"subsampling": 2},
        "restarts": {"restart_marker_blocks": 5},
        "restarts in rows": {"restart_marker_rows": 1},
        "progressive": {"progressive": True},
        "progressive with restarts": {"progressive": True, "restart_marker_blocks": 7},
    }
    return {
        name: image_bytes(image.convert("L") if name == "grey" else image, "JPEG", **{"quality": 85, **options})
        for name, options in kinds.items()
    }


def whole(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


@pytest.mark.parametrize("name", jpegs_of_all_kinds())
def test_a_jpeg_without_its_end_marker_is_a_picture(name: str) -> None:
    data = jpegs_of_all_kinds()[name]
    for cut in (1, 2):
        assert (pixels(data[:-cut]) == pixels(data)).all()
        assert images.small_jpeg(data[:-cut], 64) == images.small_jpeg(data, 64)
        assert (images.decode(data[:-cut], None).width, images.decode(data[:-cut], None).height) == (112, 80)


@pytest.mark.parametrize("name", jpegs_of_all_kinds())
def test_a_jpeg_that_lacks_a_pixel_is_truncated_wherever_it_ends(name: str) -> None:
    data = jpegs_of_all_kinds()[name]
    start = data.index(b"\xff\xda")
    ends = [*range(start, start + 40), *range(len(data) - 300, len(data) - 2)]
    ends += [at for at in range(start, len(data)) if data[at : at + 1] == b"\xff"]  # before and behind every marker
    ends += random.Random(1).sample(range(start, len(data)), 60)
    allowed = whole(data)
    for end in sorted(set(ends)):
        ended = images._with_end(data[:end], 10**6)
        if ended is None:
            if end < len(data) - 2:
                with pytest.raises(PhotoError) as caught:
                    pixels(data[:end])
                assert caught.value.reason in ("truncated", "corrupt", "not-an-image")
        else:
            assert whole(ended) == allowed, f"a picture of {end} of {len(data)} bytes"


def test_scans_that_say_no_last_digits_are_not_all_there() -> None:
    data = jpegs_of_all_kinds()["progressive"]
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    assert jpegs.lacks_its_end(data[:-2])
    for start in scans[1:]:
        assert not jpegs.lacks_its_end(data[:start])
    assert not jpegs.lacks_its_end(data)
    assert not jpegs.lacks_its_end(b"")


@pytest.mark.parametrize(
    "name", [name for name in valid_files() if not name.startswith(("jpeg", "progressive", "raw"))]
)
def test_only_jpegs_are_given_an_end(name: str) -> None:
    assert images._with_end(valid_files()[name][:-2], 10**6) is None or name == "mpo"


def test_the_pixel_limit_holds_for_them_too() -> None:
    data = jpegs_of_all_kinds()["baseline"]
    assert images._with_end(data[:-2], 112 * 80 - 1) is None
    assert images._with_end(data[:-2], 112 * 80) == data


def test_a_cage_sees_the_same() -> None:
    files = [tiff(scene().astype(np.int32)), bmp(np.zeros((SIDE, SIDE), np.uint8)), pages((48, 32), (480, 320))]
    files += [tiff(scene().astype(np.uint16) << 4), jpegs_of_all_kinds()["baseline"][:-2]]
    cages = Cages(Limits(60, 4096))
    try:
        for data in files:
            found = cages.decode(data, SPEC, 10**6).pixels
            assert found is not None
            assert (found == pixels(data)).all()
    finally:
        cages.close()
