"""Decoding: every kind of file to the same upright RGB, and the reason when there is none."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from conftest import Gallery, image_bytes, picture
from PIL import Image, ImageCms, ImageFile

from cartag.encoder.fake import COLOURS, FakeEncoder
from cartag.errors import PhotoError
from cartag.photos import images
from cartag.values import ImageSpec

SPEC = FakeEncoder.image_spec
HALF = (0.5, 0.5, 0.5)
INVERSE = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
"""The transposition (a number of PIL.Image.Transpose) that a camera held so would have made of the scene."""


def spec(fit: str, height: int = 32, width: int = 32) -> ImageSpec:
    return ImageSpec(height, width, fit, min(height, width), 3, HALF, HALF)  # type: ignore[arg-type]


def pixels(data: bytes, wanted: ImageSpec = SPEC) -> np.ndarray:
    decoded = images.decode(data, wanted).pixels
    assert decoded is not None
    assert decoded.dtype == np.uint8
    return decoded


def middle(data: bytes) -> tuple[int, ...]:
    """The colour of the centre."""
    return tuple(int(v) for v in pixels(data)[12:20, 12:20].reshape(-1, 3).mean(axis=0).round())


def is_near(colour: tuple[int, ...], wanted: tuple[int, ...], tolerance: int = 12) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(colour, wanted, strict=True))


def reason(data: bytes, **options: int) -> str:
    with pytest.raises(PhotoError) as caught:
        images.decode(data, SPEC, **options)
    assert caught.value.detail
    assert "\n" not in caught.value.detail
    return caught.value.reason


# --- upright ----------------------------------------------------------------------------------------------------


def scene() -> Image.Image:
    """96 x 64 with a colour of its own in each corner: no two orientations look alike."""
    image = Image.new("RGB", (96, 64), COLOURS["silver"])
    for box, colour in (((0, 0, 48, 32), "red"), ((48, 0, 96, 32), "green"), ((0, 32, 48, 64), "blue")):
        image.paste(COLOURS[colour], box)
    return image


def as_shot(orientation: int, kind: str) -> bytes:
    """The scene as a camera held in this orientation stores it."""
    turn = INVERSE[orientation]
    stored = scene() if turn is None else scene().transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    return image_bytes(stored, kind, exif=exif.tobytes(), **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
def test_every_orientation_gives_the_same_upright_photo(kind: str, orientation: int) -> None:
    decoded = images.decode(as_shot(orientation, kind), SPEC)
    upright = pixels(image_bytes(scene(), "PNG"))
    assert (decoded.width, decoded.height) == (96, 64)
    assert decoded.pixels is not None
    assert np.abs(decoded.pixels.astype(int) - upright)[2:14, 2:14].max() <= 6, "top left"
    assert np.abs(decoded.pixels.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_header_alone_gives_the_same_width_and_height(kind: str, orientation: int) -> None:
    decoded = images.decode(as_shot(orientation, kind), None)
    assert decoded.pixels is None
    assert (decoded.width, decoded.height) == (96, 64)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_leaves_the_photo_as_it_lies(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    decoded = images.decode(image_bytes(scene(), exif=exif.tobytes()), SPEC)
    assert (decoded.width, decoded.height) == (96, 64)


def test_damaged_exif_does_not_cost_the_photo() -> None:
    data = image_bytes(picture("red"), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert is_near(middle(data), COLOURS["red"])


# --- any mode to RGB --------------------------------------------------------------------------------------------


def png_16_bit(colour: tuple[int, int, int]) -> bytes:
    """A 16-bit RGB PNG, which Pillow reads but does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row = b"\0" + struct.pack(">HHH", *(257 * value for value in colour)) * 40
    header = struct.pack(">IIBBBBB", 40, 30, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 30)) + chunk(b"IEND", b"")


def with_transparent_edge(colour: str) -> Image.Image:
    """Opaque in the middle, transparent black around it."""
    image = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    image.paste((*COLOURS[colour], 255), (12, 9, 52, 39))
    return image


def grey(mode: str, value: float) -> Image.Image:
    return Image.new(mode, (40, 30), value)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_red_where_it_is_red(kind: str) -> None:
    data = image_bytes(picture("red").convert("CMYK"), kind)
    assert (b"Adobe" in data) == (kind == "JPEG"), "Adobe's CMYK JPEGs hold inverted values"
    assert is_near(middle(data), COLOURS["red"], 25)


def test_16_bit_rgb_is_scaled_not_clipped() -> None:
    assert is_near(middle(png_16_bit(COLOURS["red"])), COLOURS["red"], 2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("level", [0, 64, 128, 255])
def test_16_bit_grey_is_scaled_not_clipped(kind: str, level: int) -> None:
    assert is_near(middle(image_bytes(grey("I;16", 257 * level), kind)), (level,) * 3, 1)


def test_a_16_bit_orientation_is_applied_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = images.decode(image_bytes(grey("I;16", 30000), "PNG", exif=exif.tobytes()), SPEC)
    assert (decoded.width, decoded.height) == (30, 40)


def test_a_float_picture_is_stretched_between_its_extremes() -> None:
    values = np.linspace(-5.0, 5.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    found = pixels(image_bytes(Image.fromarray(values), "TIFF"))
    assert found[0].mean() < 20
    assert found[-1].mean() > 235


def test_a_float_picture_with_holes_in_it_still_gives_a_picture() -> None:
    values = np.linspace(0.0, 1.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    values[:2] = np.nan
    found = pixels(image_bytes(Image.fromarray(values), "TIFF"))
    assert found[-1].mean() > 235


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_transparency_lies_on_white(kind: str) -> None:
    data = image_bytes(with_transparent_edge("red"), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert is_near(middle(data), COLOURS["red"])
    assert is_near(tuple(pixels(data)[0, 0]), (255, 255, 255))


def test_a_palette_with_alpha_lies_on_white() -> None:
    image = picture("blue").quantize(4)
    data = image_bytes(image, "PNG", transparency=bytes(len(image.getpalette() or ()) // 3))
    assert is_near(middle(data), (255, 255, 255))


def test_grey_with_alpha_lies_on_white() -> None:
    image = Image.new("LA", (64, 48), (0, 0))
    image.paste((60, 255), (12, 9, 52, 39))
    data = image_bytes(image, "PNG")
    assert is_near(middle(data), (60, 60, 60))
    assert is_near(tuple(pixels(data)[0, 0]), (255, 255, 255))


@pytest.mark.parametrize(("mode", "value"), [("1", 255), ("1", 0), ("L", 90)])
def test_black_and_white_and_grey(mode: str, value: int) -> None:
    assert is_near(middle(image_bytes(grey(mode, value), "PNG")), (value,) * 3, 1)


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_other_colour_spaces(mode: str) -> None:
    image = picture("red")
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        assert converted is not None
    else:
        converted = image.convert(mode)
    assert is_near(middle(image_bytes(converted, "TIFF")), COLOURS["red"], 25)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [picture("blue"), picture("white"), picture("green")]
    data = image_bytes(frames[0], kind, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert is_near(middle(data), COLOURS["blue"])


# --- to the model's size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(400, 100), (100, 400), (10, 7), (1, 1), (3, 500)])
def test_every_photo_becomes_exactly_the_model_s_input(fit: str, size: tuple[int, int]) -> None:
    assert pixels(image_bytes(picture("red", size=size)), spec(fit, 40, 24)).shape == (40, 24, 3)


def test_padding_is_the_mean_colour_and_loses_nothing_of_the_photo() -> None:
    found = pixels(image_bytes(picture("red", size=(200, 50)), "PNG"), spec("pad"))
    assert is_near(tuple(found[0, 16]), (128, 128, 128), 1)
    assert is_near(tuple(found[16, 0]), COLOURS["red"])
    assert is_near(tuple(found[16, 31]), COLOURS["red"])


def test_a_native_photo_keeps_its_aspect_ratio() -> None:
    assert pixels(image_bytes(picture("red", size=(300, 100))), spec("native")).shape == (100, 300, 3)
    assert pixels(image_bytes(picture("red", size=(3000, 1000))), spec("native")).shape == (341, 1024, 3)


def test_a_large_jpeg_is_decoded_small_and_says_its_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: (loaded.append(self.size), load(self))[1])
    decoded = images.decode(image_bytes(picture("red", size=(1600, 1200))), SPEC)
    assert (decoded.width, decoded.height) == (1600, 1200)
    assert loaded[0] == (200, 150), "an eighth: the smallest scale with twice the 32 pixels wanted"


# --- reasons ----------------------------------------------------------------------------------------------------


def noise(kind: str) -> bytes:
    """A picture that does not compress to nothing, so that there is something to cut off."""
    values = np.random.default_rng(7).integers(0, 255, (64, 64, 3), np.uint8)
    return image_bytes(Image.fromarray(values), kind)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"])
def test_half_a_file_is_truncated(kind: str) -> None:
    data = noise(kind)
    assert reason(data[: len(data) // 2]) == "truncated"


@pytest.mark.parametrize("data", [b"this is no photo", b"<html>", b"\0" * 500, b"\xff\xd8", b"{}"])
def test_text_in_a_jpeg_s_clothes_is_not_an_image(data: bytes) -> None:
    assert reason(data) == "not-an-image"


def test_damaged_data_is_corrupt() -> None:
    data = bytearray(noise("PNG"))
    at = data.index(b"IDAT") + 4
    data[at : at + 8] = b"\xff" * 8
    assert reason(bytes(data)) == "corrupt"


@pytest.mark.usefixtures("without_heif")
def test_heic_without_its_decoder_is_unsupported() -> None:
    assert reason(heif()) == "unsupported"


def heif(**options: object) -> bytes:
    pillow_heif.register_heif_opener()
    return image_bytes(picture("red", size=(160, 96)), "HEIF", quality=95, **options)


def test_heic_is_read_upright() -> None:
    pillow_heif.register_heif_opener()
    for orientation in (1, 3, 6, 8):
        decoded = images.decode(as_shot(orientation, "HEIF"), SPEC)
        assert (decoded.width, decoded.height) == (96, 64)
        assert decoded.pixels is not None
        difference = np.abs(decoded.pixels.astype(int) - pixels(image_bytes(scene(), "PNG")).astype(int))
        assert difference.mean() < 8, orientation


def test_damaged_heic_is_a_reason_not_a_crash() -> None:
    whole = heif()
    for end in (len(whole) // 2, len(whole) - 1, 40):
        assert reason(whole[:end]) == "truncated"
    assert reason(whole[:28] + bytes(100)) == "corrupt"


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "BMP"])
def test_the_rarer_formats_are_read(kind: str) -> None:
    data = image_bytes(picture("blue", size=(160, 96)), kind)
    assert is_near(middle(data), COLOURS["blue"], 20)
    assert images.decode(data, None).height == 96


def test_more_pixels_than_the_limit_are_too_large() -> None:
    data = image_bytes(picture("red", size=(64, 48)))
    assert reason(data, max_pixels=64 * 48 - 1) == "too-large"
    assert images.decode(data, SPEC, 64 * 48).pixels is not None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_the_pixel_limit_is_applied_before_any_pixel_is_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = image_bytes(picture("red", size=(500, 400)), kind)
    loaded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: loaded.append(self.size))
    assert reason(data, max_pixels=1000) == "too-large"
    assert not loaded


def test_reading_bytes_tells_gone_from_empty(tmp_path: Path) -> None:
    for name, wanted in (("gone.jpg", "vanished"), ("empty.jpg", "empty")):
        if wanted == "empty":
            (tmp_path / name).touch()
        with pytest.raises(PhotoError) as caught:
            images.read_bytes(tmp_path / name)
        assert caught.value.reason == wanted


def test_every_orientation_has_the_same_outcome(gallery: Gallery) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
            data = image_bytes(picture("red", mark=orientation), kind, exif=exif.tobytes())
            (gallery.path / f"{orientation}.{extension}").write_bytes(data)
    gallery.tag()
    photos = gallery.raw()["photos"]
    assert len(photos) == 24
    assert {photo["tags"][0]["car"] for photo in photos} == {"red-racer"}
    for photo in photos:
        sides = (photo["width"], photo["height"])
        assert sides == ((48, 64) if photo["path"][0] in "5678" else (64, 48))
