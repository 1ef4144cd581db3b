"""Reading photos: from bytes to upright RGB pixels of the size a model wants. The only importer of Pillow."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from cartag.errors import PhotoError
from cartag.values import Decoded, ImageSpec

# Pillow's own limit is a constant of 179 megapixels, below what phones take today. `decode` reads the size from the
# header and applies cartag's limit before a pixel is decoded, so the one of Pillow is switched off here.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\.")  # broken EXIF and the like: the pixels are what counts
ImageFile.LOAD_TRUNCATED_IMAGES = False  # a truncated photo is a record, not a grey half

DEFAULT_MAX_PIXELS = 300_000_000
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_UPRIGHT_SWAPS_SIDES = {5, 6, 7, 8}
_NATIVE_LONG_SIDE = 1024
_ORIENTATION = 0x0112
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXTREME_ASPECT = 16
_DRAFTED = ("JPEG", "MPO")


def read_bytes(path: Path) -> bytes:
    """The bytes of a photo.

    Raises:
        PhotoError: vanished, unreadable, or empty.
    """
    try:
        if not path.is_file():  # opening a pipe or a device would block
            raise PhotoError("vanished", "the file is no longer there")
        data = path.read_bytes()
    except OSError as e:
        raise PhotoError("vanished" if isinstance(e, FileNotFoundError) else "unreadable", e.strerror or str(e)) from e
    if not data:
        raise PhotoError("empty", "the file has no bytes")
    return data


def content_hash(data: bytes) -> str:
    """SHA-256 of a photo's bytes, in hex: the key of its cached embedding."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, spec: ImageSpec | None, max_pixels: int = DEFAULT_MAX_PIXELS) -> Decoded:
    """Decodes a photo to what ``spec`` asks for; with ``spec`` None only the header is read.

    A JPEG is decoded at the smallest DCT scale that still gives twice the model's input on both sides (Pillow's
    `draft`), which costs a tenth of a full decode for a camera photo. Width and height of the result are those of the
    full upright photo.

    Raises:
        PhotoError: with the reason why the photo cannot be read.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _decode(image, spec, max_pixels)
    except PhotoError:
        raise
    except UnidentifiedImageError as e:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            raise PhotoError("unsupported", "HEIC/HEIF is not read by this version; export it as JPEG") from e
        raise PhotoError("not-an-image", "no decoder recognises the file") from e
    except Exception as e:  # a decoder fed with garbage raises whatever it likes; the photo becomes a record
        raise PhotoError("truncated" if _is_cut_off(data, e) else "corrupt", _one_line(e)) from e


def _decode(image: Image.Image, spec: ImageSpec | None, max_pixels: int) -> Decoded:
    width, height = image.size
    if width * height > max_pixels:
        raise PhotoError("too-large", f"{width} x {height} pixels, the limit is {max_pixels} (settings: max_pixels)")
    if image.format not in _DRAFTED:
        # Looking for EXIF decodes a PNG, and swallows what is wrong with it: decode first, in the open.
        image.load()  # first frame of an animation
        width, height = image.size
    orientation = _orientation(image)
    swapped = orientation in _UPRIGHT_SWAPS_SIDES
    upright_size = (height, width) if swapped else (width, height)
    if spec is None:
        return Decoded(None, *upright_size)
    upright = _resized(upright_size, spec)
    resized = upright[::-1] if swapped else upright
    drafted = image.draft(None, (2 * resized[0], 2 * resized[1]))
    image.load()
    # A side that is no multiple of the DCT scale ends in a column or row that is only partly photo: the box leaves the
    # rest of it out, or the photo would be stretched.
    rgb, box = _to_rgb(image), drafted[1] if drafted else None
    if spec.fit == "crop" and max(rgb.size) > _EXTREME_ASPECT * min(rgb.size):
        rgb, box = _less_extreme(rgb), None
        resized = _resized(rgb.size, spec)
    rgb = _resize(rgb, resized, spec, box)
    if orientation in _TO_UPRIGHT:
        rgb = rgb.transpose(_TO_UPRIGHT[orientation])
    return Decoded(_fit(np.asarray(rgb), spec), *upright_size)


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns TIFFs itself, while it loads them
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF: show the photo as it lies
        return 1
    return value if value in range(1, 9) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16 bits are scaled, not clipped; transparency lies on white."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float32)
        # 16-bit files use their full range; a float picture is stretched between its extremes.
        values = np.nan_to_num(values, nan=float(np.nanmin(values)) if not np.isnan(values).all() else 0.0)
        low, high = (0.0, 65535.0) if image.mode.startswith("I") else (float(values.min()), float(values.max()))
        scaled = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _less_extreme(rgb: Image.Image) -> Image.Image:
    """Cuts the far ends off a picture that is a mere strip: scaled whole, it would fill the memory, to be cropped."""
    width, height = rgb.size
    longest = _EXTREME_ASPECT * min(rgb.size)
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return rgb.crop((left, top, width - left, height - top))


def _resized(size: tuple[int, int], spec: ImageSpec) -> tuple[int, int]:
    """Width and height of the whole photo at the model's scale, before any crop or padding."""
    width, height = size
    if spec.fit == "squash":
        return spec.width, spec.height
    if spec.fit == "crop":
        # Rounded down, as the processors of `transformers` do.
        short, long = min(size), max(size)
        scaled = int(spec.resize * long / short)
        return (spec.resize, scaled) if width <= height else (scaled, spec.resize)
    if spec.fit == "pad":
        scale = min(spec.width / width, spec.height / height)
    else:
        scale = min(1.0, _NATIVE_LONG_SIDE / max(size))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resize(
    rgb: Image.Image, size: tuple[int, int], spec: ImageSpec, box: tuple[float, float, float, float] | None
) -> Image.Image:
    if box is None and rgb.size == size:
        return rgb
    # No reducing_gap: `draft` has already shrunk camera photos, and the others get exactly the reference's pixels.
    return rgb.resize(size, Image.Resampling(spec.resample), box=box)


def _fit(pixels: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Crops or pads a resized photo to the model's input: uint8 of shape (height, width, 3)."""
    if spec.fit == "crop":
        pixels = _centre(pixels, spec.height, spec.width)
    elif spec.fit == "pad":
        fill = tuple(round(255 * value) for value in spec.mean)
        canvas = np.empty((spec.height, spec.width, 3), np.uint8)
        canvas[:] = fill
        top, left = (spec.height - pixels.shape[0]) // 2, (spec.width - pixels.shape[1]) // 2
        canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        pixels = canvas
    return np.ascontiguousarray(pixels)


def _centre(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The centre of the photo; where the photo is smaller, black, as the processors of `transformers` do."""
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    if top >= 0 and left >= 0:
        return pixels[top : top + height, left : left + width]
    canvas = np.zeros((height, width, 3), np.uint8)
    inner = pixels[max(top, 0) : max(top, 0) + height, max(left, 0) : max(left, 0) + width]
    y, x = max(-top, 0), max(-left, 0)
    canvas[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
    return canvas


def _is_cut_off(data: bytes, error: Exception) -> bool:
    """Whether the file ends before the picture does, by the decoder's words or by the length that WebP records."""
    if data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        return True
    text = str(error).lower()
    return "truncated" in text or "unexpected end" in text or isinstance(error, EOFError)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]


def thumbnail(data: bytes, longest: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """A small upright JPEG of a photo, its longest side at most ``longest``, without metadata.

    Raises:
        PhotoError: with the reason why the photo cannot be read.
    """
    square = ImageSpec(longest, longest, "pad", longest, int(Image.Resampling.LANCZOS), (0.5,) * 3, (0.5,) * 3)
    pixels = decode(data, square, max_pixels)
    assert pixels.pixels is not None  # a spec was given
    scale = longest / max(pixels.width, pixels.height)
    height, width = (max(1, round(side * scale)) for side in (pixels.height, pixels.width))
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(_centre(pixels.pixels, height, width))).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
