"""Reading photos: from bytes to upright RGB pixels of the size a model wants. The only importer of Pillow.

HEIC and HEIF come by pillow-heif, RAW files by `cartag.raw`; both are loaded when the first such photo comes along.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from cartag import raw as raws
from cartag.errors import PhotoError
from cartag.paths import LEADS_OUT, leads_out
from cartag.values import Decoded, ImageSpec

# Pillow's own limit is a constant of 179 megapixels, below what phones take today. `decode` reads the size from the
# header and applies cartag's limit before a pixel is decoded, so the one of Pillow is switched off here.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\.")  # broken EXIF and the like: the pixels are what counts
ImageFile.LOAD_TRUNCATED_IMAGES = False  # a truncated photo is a record, not a grey half

DEFAULT_MAX_PIXELS = 300_000_000
DEFAULT_MAX_MEGABYTES = 2048
# What cartag reads, and no more: Pillow would hand a PostScript file in a JPEG's clothes to Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "AVIF")
_HEIF_FORMATS = ("HEIF",)
_OUT_OF_MEMORY = "decoding it needs more memory than there is"
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
_SAME_ASPECT = 0.03
_JPEG_QUALITY = 82
_LARGE = 1000
_DRAFTED = ("JPEG", "MPO")
_TILE_WIDTH, _TILE_LENGTH = 322, 323
# Progressive JPEGs have some ten scans. Each goes over the whole picture again, however few bytes it has: a file of
# 300 kB can keep a decoder busy for minutes.
_MOST_SCANS = 100
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA


def read_bytes(path: Path, max_megabytes: int = DEFAULT_MAX_MEGABYTES) -> bytes:
    """The bytes of a photo.

    Raises:
        PhotoError: vanished, unreadable, empty, or larger than the limit.
    """
    most = max_megabytes * 2**20
    try:
        if not path.is_file():  # opening a pipe or a device would block
            raise PhotoError("vanished", "the file is no longer there")
        with path.open("rb") as f:
            data = f.read(most + 1) if os.fstat(f.fileno()).st_size <= most else None
    except MemoryError as e:
        raise PhotoError("too-large", _OUT_OF_MEMORY) from e
    except OSError as e:
        raise PhotoError("vanished" if isinstance(e, FileNotFoundError) else "unreadable", e.strerror or str(e)) from e
    if data is None or len(data) > most:
        raise PhotoError("too-large", f"more than {max_megabytes} MiB (settings: max_megabytes)")
    if not data:
        raise PhotoError("empty", "the file has no bytes")
    return data


def read_photo(gallery: Path, disk: str, max_megabytes: int = DEFAULT_MAX_MEGABYTES) -> bytes:
    """The bytes of a photo of an index, by its name on disk relative to the gallery: never of a file elsewhere.

    Raises:
        PhotoError: as `read_bytes`; unreadable too where a link on the way leads out of the gallery.
    """
    if leads_out(gallery, disk):
        raise PhotoError("unreadable", LEADS_OUT)
    return read_bytes(Path(os.path.join(gallery, disk)), max_megabytes)


def content_hash(data: bytes) -> str:
    """SHA-256 of a photo's bytes, in hex: the key of its cached embedding."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, spec: ImageSpec | None, max_pixels: int = DEFAULT_MAX_PIXELS, *, raw: bool = False) -> Decoded:
    """Decodes a photo to what ``spec`` asks for; with ``spec`` None only the header is read.

    A JPEG is decoded at the smallest DCT scale that still gives ``spec.drafted`` times what is asked for on both sides
    (Pillow's `draft`), which costs a tenth of a full decode for a camera photo. Width and height of the result are
    those of the full upright photo. ``raw`` says that the file is a camera's RAW file; most of them look like a TIFF.

    Raises:
        PhotoError: with the reason why the photo cannot be read.
    """
    if raw:
        return _decode_raw(data, spec, max_pixels)
    try:
        with _opened(data) as image:
            return _decode(image, spec, max_pixels)
    except PhotoError:
        raise
    except MemoryError as e:
        raise PhotoError("too-large", _OUT_OF_MEMORY) from e
    except UnidentifiedImageError as e:
        if not _is_heif(data):
            raise PhotoError("not-an-image", "no decoder recognises the file") from e
        raise PhotoError("truncated" if _is_cut_off(data, e) else "corrupt", "HEIC/HEIF that cannot be decoded") from e
    except Exception as e:  # a decoder fed with garbage raises whatever it likes; the photo becomes a record
        raise PhotoError("truncated" if _is_cut_off(data, e) else "corrupt", _one_line(e)) from e


def _opened(data: bytes) -> Image.Image:
    if _is_heif(data):
        _register_heif()
        return Image.open(io.BytesIO(data), formats=_HEIF_FORMATS)
    return Image.open(io.BytesIO(data), formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """Those of `_FORMATS` that this build of Pillow knows."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


@cache
def _register_heif() -> None:
    """Teaches Pillow HEIC and HEIF.

    Raises:
        PhotoError: pillow-heif is not there.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError as e:
        raise PhotoError("unsupported", "HEIC/HEIF needs pillow-heif: pip install pillow-heif") from e
    register_heif_opener()


def jpeg(data: bytes, longest: int, max_pixels: int = DEFAULT_MAX_PIXELS, *, raw: bool = False) -> bytes:
    """A photo as a JPEG whose longer side is at most ``longest`` pixels: upright, RGB, without metadata.

    Raises:
        PhotoError: with the reason why the photo cannot be read.
    """
    whole = decode(data, None, max_pixels, raw=raw)
    scale = min(1.0, longest / max(whole.width, whole.height))
    height, width = (max(1, round(side * scale)) for side in (whole.height, whole.width))
    spec = ImageSpec(height, width, "squash", longest, Image.Resampling.LANCZOS, (0.5,) * 3, (0.5,) * 3)
    if longest > _LARGE:  # nobody sees the difference, and a camera photo takes half the time
        spec = replace(spec, drafted=1)
    pixels = decode(data, spec, max_pixels, raw=raw).pixels
    assert pixels is not None  # a spec was given
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=_JPEG_QUALITY, optimize=True, progressive=longest > _LARGE)
    return out.getvalue()


def orientation(data: bytes) -> int:
    """How a photo has to be turned to be upright: an EXIF orientation, 1 to 8; 1 where nothing is said of it.

    Raises:
        PhotoError: no decoder recognises the file.
    """
    try:
        with _opened(data) as image:
            return _recorded_orientation(image)
    except Exception as e:
        raise PhotoError("not-an-image", _one_line(e)) from e


def _decode_raw(data: bytes, spec: ImageSpec | None, max_pixels: int) -> Decoded:
    """The preview where it is a picture of the whole photo and large enough, else the sensor's values developed."""
    opened = raws.read(data, max_pixels)
    if spec is None:
        return Decoded(None, opened.width, opened.height)
    pixels = None if opened.preview is None else _of_preview(opened, spec, max_pixels)
    if pixels is None:
        least = min(_resized((opened.width, opened.height), spec))
        developed = raws.develop(data, least, max_pixels).pixels
        assert developed is not None  # it was just developed
        pixels = _decode(Image.fromarray(developed), spec, max_pixels).pixels
    return Decoded(pixels, opened.width, opened.height)


def _of_preview(raw: raws.RawPicture, spec: ImageSpec, max_pixels: int) -> np.ndarray | None:
    """The preview as ``spec`` asks; None where it is too small, cut otherwise than the photo, or damaged."""
    try:
        with Image.open(io.BytesIO(raw.preview or b""), formats=("JPEG",)) as image:
            orientation = _recorded_orientation(image, default=raw.orientation)
            if orientation in _UPRIGHT_SWAPS_SIDES and _is_wide(image.size) == _is_wide((raw.width, raw.height)):
                orientation = 1  # stored upright: it is already as tall as the photo
            size = image.size[::-1] if orientation in _UPRIGHT_SWAPS_SIDES else image.size
            needed = _resized((raw.width, raw.height), spec)
            if any(have < need for have, need in zip(size, needed, strict=True)):
                return None
            if abs(size[0] * raw.height / (size[1] * raw.width) - 1) > _SAME_ASPECT:
                return None
            return _decode(image, spec, max_pixels, orientation).pixels
    except Exception:  # the sensor's values are still there
        return None


def _is_wide(size: tuple[int, int]) -> bool:
    return size[0] > size[1]


def _decode(image: Image.Image, spec: ImageSpec | None, max_pixels: int, turned: int | None = None) -> Decoded:
    """Decodes an opened picture; ``turned`` is its EXIF orientation where that is known from elsewhere."""
    width, height = image.size
    if width * height > max_pixels:
        raise PhotoError("too-large", f"{width} x {height} pixels, the limit is {max_pixels} (settings: max_pixels)")
    _check_hidden_work(image, max_pixels)
    if image.format not in _DRAFTED:
        # Looking for EXIF decodes a PNG, and swallows what is wrong with it: decode first, in the open.
        image.load()  # first frame of an animation
        width, height = image.size
    orientation = _orientation(image) if turned is None else turned
    swapped = orientation in _UPRIGHT_SWAPS_SIDES
    upright_size = (height, width) if swapped else (width, height)
    if spec is None:
        return Decoded(None, *upright_size)
    upright = _resized(upright_size, spec)
    resized = upright[::-1] if swapped else upright
    drafted = image.draft(None, (spec.drafted * resized[0], spec.drafted * resized[1]))
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


def _check_hidden_work(image: Image.Image, max_pixels: int) -> None:
    """What a decoder would do beyond the pixels of the header.

    Raises:
        PhotoError: tiles larger than the limit around a small picture, or scans without end.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, height = (image.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH))
        if width * height > max_pixels:
            raise PhotoError("too-large", f"tiles of {width} x {height} pixels, the limit is {max_pixels}")
    elif isinstance(image, ImageFile.ImageFile) and image.info.get("progressive") and _has_endless_scans(image):
        raise PhotoError("corrupt", f"a JPEG of more than {_MOST_SCANS} scans")


def _has_endless_scans(image: ImageFile.ImageFile) -> bool:
    """Whether a progressive JPEG has more than `_MOST_SCANS` scans, by its markers (ITU-T T.81, annex B)."""
    assert image.fp is not None  # it was just opened
    at, data = image.fp.tell(), image.fp.read()
    image.fp.seek(at)
    scans, start = 0, 0
    while scans <= _MOST_SCANS and (found := _MARKER.search(data, start)):
        marker, start = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return False
        scans += marker == _START_OF_SCAN
        if marker != _START_OF_IMAGE:
            start += int.from_bytes(data[start : start + 2], "big")
    return scans > _MOST_SCANS


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns TIFFs itself, while it loads them
        return 1
    return _recorded_orientation(image)


def _recorded_orientation(image: Image.Image, default: int = 1) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, default)
    except Exception:  # damaged EXIF: show the photo as it lies
        return default
    return value if value in range(1, 9) else default


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
        if spec.width != spec.height:  # what covers the target: a portrait's short side is not the target's
            scale = max(spec.width / width, spec.height / height)
            return max(spec.width, round(width * scale)), max(spec.height, round(height * scale))
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
    """Whether the file ends before the picture does, by the decoder's words or by the lengths that the file records."""
    if data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        return True
    if _is_heif(data) and _end_of_boxes(data) > len(data):
        return True
    text = str(error).lower()
    return any(words in text for words in ("truncated", "unexpected end", "end of file")) or isinstance(error, EOFError)


def _end_of_boxes(data: bytes) -> int:
    """Where the last box of an ISO media file (ISO/IEC 14496-12) should end; beyond the data if it is cut off."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # 0: up to the end of the file, whatever that is
            return len(data)
        at += size
    return at


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200].encode("utf-8", "backslashreplace").decode()  # an index holds no half characters
